//! A GICv3 as the kernel's interrupt controller.

use super::cpu_interface::INTERFACE;
use super::redistributor::Redistributor;
use super::{CpuData, GicV3, cpu_interface};
use crate::arch::aarch64::cpu_local;
use crate::cpu::{CpuId, CpuMask, Mpidr};
use crate::device::gic::OUR_SGIS;
use crate::drivers::gic::{self, OwnBank};
use crate::platform::{
    FIRST_LPI, Irq, IrqChip, IrqChipError, IrqToken, LineChip, OUR_SGI_COUNT, Sgi, Trigger,
};
use crate::smp::SgiWrite;
use crate::sync::atomic::Ordering;

/// INTIDs of PPIs.
const PPIS: core::ops::Range<u32> = 16..32;

impl GicV3 {
    /// Returns the redistributor of `cpu`.
    ///
    /// # Panics
    /// If `cpu` has none. [`IrqChip::early_init_cpu`] refuses such a CPU.
    fn redistributor(&self, cpu: CpuId) -> &Redistributor {
        let redistributor = self.cpus[cpu.index()].redistributor.as_ref();
        redistributor.expect("BUG: a CPU runs that has no redistributor")
    }
}

impl OwnBank for GicV3 {
    fn turn_on(&self, me: CpuId, sgi: Sgi) {
        self.redistributor(me).bank().enable_sgis(1 << sgi.number());
    }

    fn quieten(&self, me: CpuId) {
        let bank = self.redistributor(me).bank();
        bank.quieten();
        bank.clear_pending();
    }
}

impl IrqChip for GicV3 {
    fn early_init_cpu(&self, cpu: CpuId) -> Result<(), IrqChipError> {
        let own = &self.cpus[cpu.index()];
        let redistributor = own.redistributor;
        let redistributor = redistributor.ok_or(IrqChipError::NoRedistributor(own.mpidr))?;
        INTERFACE.bring_up(|| {
            redistributor.wake()?;
            redistributor.reset();
            Ok(())
        })?;
        own.was_up.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn startup_cpu(&self, cpu: CpuId) {
        self.redistributor(cpu).bank().enable_sgis(OUR_SGIS);
    }

    fn teardown_cpu(&self, cpu: CpuId) {
        self.redistributor(cpu).bank().quieten();
    }

    /// This doesn't put the redistributor to sleep. That is part of turning the power off,
    /// which firmware does; with two security states only firmware may do it.
    fn disable_cpu_interface(&self) {
        INTERFACE.close();
    }

    /// Does nothing: until `early_init_cpu` has succeeded the interface lets no interrupt
    /// through. If that failed early, an access to the registers may be UNDEFINED.
    fn disable_refused_interface(&self) {}

    fn can_send(&self, cpu: CpuId) -> bool {
        INTERFACE.is_usable(self.cpus[cpu.index()].was_up.load(Ordering::Relaxed))
    }

    fn check_priorities(&self) -> Result<(), IrqChipError> {
        gic::check_priorities(self, cpu_local::this_cpu().cpu())
    }

    /// # Panics
    /// If `ppi` is not the INTID of a PPI, 16 to 31.
    fn enable_ppi(&self, cpu: CpuId, ppi: u32, trigger: Trigger) {
        assert!(PPIS.contains(&ppi), "BUG: INTIDs of PPIs are 16 to 31");
        self.redistributor(cpu).bank().enable_ppi(ppi, trigger);
    }

    /// # Panics
    /// If `ppi` is not the INTID of a PPI, 16 to 31.
    fn disable_ppi(&self, cpu: CpuId, ppi: u32) {
        assert!(PPIS.contains(&ppi), "BUG: INTIDs of PPIs are 16 to 31");
        self.redistributor(cpu).bank().disable_ppi(ppi);
    }

    fn acknowledge(&self) -> Option<(IrqToken, Irq)> {
        let intid = cpu_interface::acknowledge()?;
        let raw = intid.raw_value();
        let irq = match u8::try_from(raw) {
            Ok(number) if intid.is_sgi() => Irq::from_sgi_number(number),
            _ if intid.is_private() => Irq::Ppi(raw),
            _ if raw >= FIRST_LPI => Irq::Lpi(raw),
            _ => Irq::Spi(raw),
        };
        Some((IrqToken(raw), irq))
    }

    fn end(&self, token: IrqToken) {
        cpu_interface::end(token.0);
    }

    fn set_priority_mask(&self, mask: u8) {
        INTERFACE.set_priority_mask(mask);
    }

    fn send_sgi(&self, number: u8, targets: &CpuMask) {
        let me = cpu_local::this_cpu().cpu();
        if self.fan_out.is_all_but_self(me, targets) {
            // A stop and a call to all other CPUs send to these targets. One write
            // reaches them, so the table isn't needed.
            cpu_interface::send_sgi(core::iter::once(SgiWrite::AllButSelf.register(number)));
            self.cpus[me.index()].sgi_writes.add(number, 1);
            return;
        }
        let mut count = 0;
        let writes = self.fan_out.writes(me, targets);
        cpu_interface::send_sgi(writes.map(|write| {
            count += 1;
            write.register(number)
        }));
        self.cpus[me.index()].sgi_writes.add(number, count);
    }

    fn send_sgi_to(&self, number: u8, me: CpuId, target: CpuId) {
        assert!(
            usize::from(number) < OUR_SGI_COUNT,
            "BUG: SGIs 8 to 15 are secure software's"
        );
        // A CPU without a redistributor can't be online.
        if let Some(target) = self.cpus[target.index()].sgi_target {
            cpu_interface::send_sgi(core::iter::once(target | u64::from(number) << 24));
            self.cpus[me.index()].sgi_writes.add(number, 1);
        }
    }

    fn sgi_writes(&self, number: u8) -> u64 {
        let of = |cpu: &CpuData| cpu.sgi_writes.get(number);
        self.cpus.iter().map(of).sum()
    }

    fn name(&self) -> &'static str {
        "GICv3"
    }
}

impl GicV3 {
    /// Returns the affinity of `cpu`.
    fn target(&self, cpu: CpuId) -> Mpidr {
        self.cpus[cpu.index()].mpidr
    }
}

impl LineChip for GicV3 {
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

    fn enable_private(&self, cpu: CpuId, ppi: u32, trigger: Trigger) {
        assert!(PPIS.contains(&ppi), "BUG: INTIDs of PPIs are 16 to 31");
        self.redistributor(cpu)
            .bank()
            .enable_device_ppi(ppi, trigger);
    }

    fn disable_private(&self, cpu: CpuId, ppi: u32) {
        assert!(PPIS.contains(&ppi), "BUG: INTIDs of PPIs are 16 to 31");
        self.redistributor(cpu).bank().disable_ppi(ppi);
    }

    fn set_pending(&self, irq: Irq) {
        self.distributor.set_pending(irq.intid());
    }
}
