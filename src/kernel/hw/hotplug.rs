//! `Hw` for hotplug: implements [`HotplugHost`] with firmware, the GIC and the timer.

use crate::arch::aarch64::boot::halt;
use crate::arch::aarch64::failure::BootFailure;
use crate::arch::aarch64::{cpu, hint, secondary, timer};
use crate::config::PMR_CLOSED;
use crate::cpu::{CpuId, CpuMask};
use crate::hotplug::{ApRefusal, Hotplug, HotplugHost, Life, Parked, decode_refusal};
use crate::kernel::areas::HwThread;
use crate::kernel::kernel;
use crate::kernel::{Hw, governor, heap, test_hooks};
use crate::platform::{CpuOps, OutOfStacks, PowerState, PsciError, Sgi};
use crate::sync::LocalCpu;
use crate::sync::atomic::{AtomicU32, Ordering};

impl Hw {
    /// Ends this CPU, which is `cpu`, after firmware has refused its CPU_OFF with `error`:
    /// records the error in its boot record and parks it, or halts it if the pen is full.
    /// Tests call this, too, as if firmware had refused.
    ///
    /// # Context
    /// IRQs masked, after the CPU has said DEAD or refused to come up; nothing left to run.
    pub fn cpu_off_returned(cpu: CpuId, error: PsciError) -> ! {
        let record = kernel().areas.record(cpu);
        // Pairs with the Acquire in `off_refused`. Nothing overwrites the answer later: from
        // now on this CPU uses the pen, and doesn't ask firmware again.
        record
            .handshake
            .off_code
            .store(encode_off(error), Ordering::Release);
        kernel().cpu_ops.park_for_good();
        halt()
    }
}

/// Returns what firmware answered to CPU_OFF, as one word that is not 0.
fn encode_off(error: PsciError) -> u64 {
    // The return value has 32 bits (DEN 0022: CPU_OFF is an SMC32 call).
    let code = i32::try_from(error.code()).unwrap_or(i32::MIN);
    1 << 32 | u64::from(code.cast_unsigned())
}

/// Returns firmware's answer from the word that [`encode_off`] made; `None` for 0.
fn decode_off(word: u64) -> Option<PsciError> {
    let [a, b, c, d, ..] = word.to_le_bytes();
    let code = i32::from_le_bytes([a, b, c, d]);
    (word != 0).then(|| PsciError::from_code(i64::from(code)))
}

impl HotplugHost for Hw {
    fn operation_over() {
        governor::operation_over();
    }

    fn hotplug() -> &'static Hotplug<Self> {
        &kernel().hotplug
    }

    fn prepare_boot_record(cpu: CpuId) -> Result<(), OutOfStacks> {
        let areas = &kernel().areas;
        areas.prepare_record(cpu)?;
        // Relaxed: CPU_ON orders the store before everything that the CPU does.
        let reason = &areas.record(cpu).handshake.reason;
        reason.store(0, Ordering::Relaxed);
        Ok(())
    }

    fn prepare_area(cpu: CpuId) -> Result<(), OutOfStacks> {
        kernel().areas.prepare_stacks(cpu)
    }

    fn empty_heap_cache(cpu: CpuId) {
        // SAFETY: hotplug calls this for no quarantined CPU. So either the CPU has said DEAD,
        // which the control CPU has loaded with Acquire, and firmware has reported OFF. Or the
        // CPU has come no further than its boot record since then, where it allocates nothing,
        // and has been seen to go off again. It allocates nothing until it is started again,
        // and only the holder of the hotplug lock starts it.
        unsafe { heap::empty_cache_of(cpu) };
    }

    fn idle_context(cpu: CpuId) -> HwThread {
        kernel().areas.idle_context(cpu)
    }

    fn handshake_word(cpu: CpuId) -> &'static AtomicU32 {
        &kernel().areas.record(cpu).handshake.sync
    }

    fn refusal(cpu: CpuId) -> Option<(Life, ApRefusal)> {
        let record = kernel().areas.record(cpu);
        if let Some(failure) = record.failure() {
            let refusal = match failure.reason {
                Ok(BootFailure::NoSmallPages) => ApRefusal::Granule,
                Ok(BootFailure::PhysicalRange) => ApRefusal::PhysicalRange,
                Ok(BootFailure::EnteredAtEl3) => ApRefusal::ExceptionLevel(3),
                Ok(other) => ApRefusal::Unknown(u32::from(other.code())),
                Err(code) => ApRefusal::Unknown(u32::from(code)),
            };
            return Some((Life::from_number(u32::from(failure.life)), refusal));
        }
        // Pairs with the Release in `stillpoint_secondary`.
        let word = record.handshake.reason.load(Ordering::Acquire);
        (word != 0).then(|| decode_refusal(kernel().mpidrs[cpu.index()], word))
    }

    fn off_refused(cpu: CpuId) -> Option<PsciError> {
        let record = kernel().areas.record(cpu);
        // Pairs with the Release in `cpu_off_returned`.
        decode_off(record.handshake.off_code.load(Ordering::Acquire))
    }

    fn parked(cpu: CpuId) -> Option<Parked> {
        let kernel = kernel();
        let refused = Self::off_refused(cpu);
        kernel.cpu_ops.parked(kernel.mpidrs[cpu.index()], refused)
    }

    fn is_held(cpu: CpuId) -> bool {
        test_hooks::is_held(cpu)
    }

    fn set_held(cpu: CpuId, held: bool) {
        test_hooks::set_held(cpu, held);
    }

    fn cpu_on(cpu: CpuId, life: Life) -> Result<(), PsciError> {
        let kernel = kernel();
        let target = kernel.mpidrs[cpu.index()];
        let context = kernel.areas.record(cpu).context(life);
        let entry = secondary::entry_address();
        // SAFETY: the entry is assembly that runs with the MMU off. It reads only code, which
        // the loader cleaned to memory, and the record, which `BootRecord::prepare` cleaned.
        unsafe { kernel.cpu_ops.cpu_on(target, entry, context) }?;
        if kernel.cpu_ops.wakes_by_sgi(target) {
            // A parked CPU sleeps until this SGI, the only interrupt that its priority mask
            // lets through. A CPU that was never online sleeps in WFE instead; it loses the
            // SGI when it resets its interrupt interface, which does no harm.
            kernel
                .irq_chip
                .send_sgi(Sgi::Wake.number(), &CpuMask::of(cpu));
        }
        Ok(())
    }

    fn can_turn_off(cpu: CpuId) -> Result<(), PsciError> {
        kernel().cpu_ops.can_turn_off(kernel().mpidrs[cpu.index()])
    }

    fn power_state(cpu: CpuId) -> Result<PowerState, PsciError> {
        kernel().cpu_ops.affinity_info(kernel().mpidrs[cpu.index()])
    }

    fn cpu_off(cpu: CpuId) -> ! {
        if let Some(last_act) = kernel().test_last_act.get() {
            let mpidr = kernel().mpidrs[cpu.index()];
            last_act(&kernel().cpu_ops.last_call(mpidr));
        }
        let error = kernel().cpu_ops.cpu_off();
        Self::cpu_off_returned(cpu, error)
    }

    fn disable_cpu_interface(cpu: CpuId) {
        let kernel = kernel();
        if kernel.cpu_ops.wakes_by_sgi(kernel.mpidrs[cpu.index()]) {
            // The wake SGI must still get through, so the interface stays on with a closed mask.
            kernel.irq_chip.set_priority_mask(PMR_CLOSED);
        } else {
            kernel.irq_chip.disable_cpu_interface();
        }
    }

    fn synchronize_context() {
        hint::synchronize();
    }

    fn init_cpu(cpu: CpuId) {
        while test_hooks::is_held_when_released(cpu) {
            Self::relax();
        }
        // The assembly of the entry has set every system register, so only the number of the
        // core's model is left to record. Relaxed: it never changes.
        kernel()
            .midrs
            .get(cpu)
            .store(cpu::midr(), Ordering::Relaxed);
    }

    fn irqchip_startup(cpu: CpuId) {
        kernel().irq_chip.startup_cpu(cpu);
        kernel().irqs.percpu.come(cpu);
    }

    fn irqchip_teardown(cpu: CpuId) {
        kernel().irq_chip.teardown_cpu(cpu);
    }

    fn move_interrupts(cpu: CpuId) {
        kernel().irqs.move_away(cpu);
    }

    fn restore_interrupts(cpu: CpuId) {
        kernel().irqs.come_back(cpu);
    }

    fn timer_startup(cpu: CpuId) {
        let kernel = kernel();
        timer::init_cpu();
        kernel.sched.serve_timers(cpu);
        kernel
            .irq_chip
            .enable_ppi(cpu, kernel.timer_ppi, kernel.timer_trigger);
    }

    fn timer_teardown(cpu: CpuId) {
        let kernel = kernel();
        timer::teardown_cpu();
        kernel.irq_chip.disable_ppi(cpu, kernel.timer_ppi);
    }
}
