//! A GICv2 as the kernel's interrupt controller.

use aarch64_cpu::asm::barrier;

use super::{CpuData, GicV2};
use crate::arch::aarch64::cpu_local;
use crate::cpu::{CpuId, CpuMask};
use crate::device::gic::{OUR_SGIS, WAKE_AND_PANIC};
use crate::drivers::gic::{self, OwnBank};
use crate::platform::{Irq, IrqChip, IrqChipError, IrqToken, LineChip, Sgi, Trigger};
use crate::sync::atomic::Ordering;

/// INTIDs of PPIs.
const PPIS: core::ops::Range<u32> = 16..32;

impl GicV2 {
    /// Returns the target list with the bits of `targets`. A CPU that has never come up,
    /// or that the GIC doesn't serve, has no bit.
    fn target_list(&self, targets: &CpuMask) -> u8 {
        // CPU numbers of this machine are below 8.
        let [first, ..] = targets.bits();
        let [mut left, ..] = first.to_le_bytes();
        let mut list = 0;
        while let Some(at) = left.checked_ilog2() {
            left &= !(1 << at);
            if let Some(cpu) = self.cpus.get(at as usize) {
                list |= cpu.interface.load(Ordering::Relaxed);
            }
        }
        list
    }
}

impl OwnBank for GicV2 {
    fn turn_on(&self, _me: CpuId, sgi: Sgi) {
        let bank = self.distributor.bank();
        bank.set_sgis(WAKE_AND_PANIC | 1 << sgi.number());
    }

    fn quieten(&self, _me: CpuId) {
        let bank = self.distributor.bank();
        bank.quieten();
        bank.clear_pending();
    }
}

impl IrqChip for GicV2 {
    fn early_init_cpu(&self, cpu: CpuId) -> Result<(), IrqChipError> {
        let own = &self.cpus[cpu.index()];
        let bank = self.distributor.bank();
        let interface = bank.interface(self.distributor.interfaces());
        let interface = interface.ok_or(IrqChipError::NoCpuInterface(own.mpidr))?;
        self.cpu_interface.init();
        if !bank.reset() {
            return Err(IrqChipError::SgisReserved(own.mpidr));
        }
        self.cpu_interface.open()?;
        own.interface.store(interface, Ordering::Relaxed);
        Ok(())
    }

    fn startup_cpu(&self, _cpu: CpuId) {
        self.distributor.bank().set_sgis(OUR_SGIS);
    }

    fn teardown_cpu(&self, _cpu: CpuId) {
        self.distributor.bank().quieten();
    }

    fn disable_cpu_interface(&self) {
        self.cpu_interface.close();
    }

    /// The registers can be accessed in any state. Firmware may have left the interface
    /// on, and a CPU that parks itself checks whether it is on.
    fn disable_refused_interface(&self) {
        self.cpu_interface.close();
    }

    /// Returns true: the registers are in memory, and can be accessed in any state.
    fn can_send(&self, _cpu: CpuId) -> bool {
        true
    }

    fn check_priorities(&self) -> Result<(), IrqChipError> {
        gic::check_priorities(self, cpu_local::this_cpu().cpu())
    }

    /// # Panics
    /// If `ppi` is not the INTID of a PPI, 16 to 31.
    fn enable_ppi(&self, _cpu: CpuId, ppi: u32, trigger: Trigger) {
        assert!(PPIS.contains(&ppi), "BUG: INTIDs of PPIs are 16 to 31");
        self.distributor.bank().enable_ppi(ppi, trigger);
    }

    /// # Panics
    /// If `ppi` is not the INTID of a PPI, 16 to 31.
    fn disable_ppi(&self, _cpu: CpuId, ppi: u32) {
        assert!(PPIS.contains(&ppi), "BUG: INTIDs of PPIs are 16 to 31");
        self.distributor.bank().disable_ppis(1 << ppi);
    }

    fn acknowledge(&self) -> Option<(IrqToken, Irq)> {
        let (raw, intid) = self.cpu_interface.acknowledge()?;
        let irq = match u8::try_from(intid) {
            Ok(number) if number < 16 => Irq::from_sgi_number(number),
            _ if PPIS.contains(&intid) => Irq::Ppi(intid),
            _ => Irq::Spi(intid),
        };
        Some((IrqToken(raw), irq))
    }

    fn end(&self, token: IrqToken) {
        self.cpu_interface.end(token.0);
    }

    fn set_priority_mask(&self, mask: u8) {
        self.cpu_interface.set_priority_mask(mask);
    }

    fn send_sgi(&self, number: u8, targets: &CpuMask) {
        let list = self.target_list(targets);
        if list == 0 {
            return;
        }
        barrier::dsb(barrier::ISHST);
        self.distributor.send_sgi(number, list);
        let me = &self.cpus[cpu_local::this_cpu().cpu().index()];
        me.sgi_writes.add(number, 1);
    }

    fn send_sgi_to(&self, number: u8, _me: CpuId, target: CpuId) {
        self.send_sgi(number, &CpuMask::of(target));
    }

    fn sgi_writes(&self, number: u8) -> u64 {
        let of = |cpu: &CpuData| cpu.sgi_writes.get(number);
        self.cpus.iter().map(of).sum()
    }

    fn name(&self) -> &'static str {
        "GICv2"
    }
}

impl GicV2 {
    /// Returns the bit of `cpu` in a target list.
    ///
    /// # Panics
    /// If `cpu` has never come up.
    fn target(&self, cpu: CpuId) -> u8 {
        let target = self.cpus[cpu.index()].interface.load(Ordering::Relaxed);
        assert!(target != 0, "BUG: CPU {cpu} has not come up yet");
        target
    }
}

impl LineChip for GicV2 {
    fn spi_count(&self) -> usize {
        self.distributor.spis()
    }

    fn has_line(&self, irq: Irq) -> bool {
        matches!(irq, Irq::Spi(spi) if gic::is_line(spi, self.spi_count()))
    }

    fn set_up(&self, irq: Irq, trigger: Trigger, cpu: CpuId) {
        self.distributor
            .set_up(irq.intid(), trigger, self.target(cpu));
    }

    fn mask(&self, irq: Irq) {
        self.distributor.mask(irq.intid());
    }

    fn unmask(&self, irq: Irq) {
        self.distributor.unmask(irq.intid());
    }

    fn route(&self, irq: Irq, cpu: CpuId) {
        self.distributor.route(irq.intid(), self.target(cpu));
    }

    fn enable_private(&self, _cpu: CpuId, ppi: u32, trigger: Trigger) {
        assert!(PPIS.contains(&ppi), "BUG: INTIDs of PPIs are 16 to 31");
        self.distributor.bank().enable_device_ppi(ppi, trigger);
    }

    fn disable_private(&self, _cpu: CpuId, ppi: u32) {
        assert!(PPIS.contains(&ppi), "BUG: INTIDs of PPIs are 16 to 31");
        self.distributor.bank().disable_ppis(1 << ppi);
    }

    fn set_pending(&self, irq: Irq) {
        self.distributor.set_pending(irq.intid());
    }
}
