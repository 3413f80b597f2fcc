//! An interrupt that each CPU has for itself, with a real level: that of the physical timer, which the
//! kernel doesn't use.

use core::arch::asm;

use stillpoint::api;
use stillpoint::api::cpu::{CpuId, call_on, current, possible};
use stillpoint::api::irq::{
    IrqLine, IrqReturn, PerCpuIrq, RequestIrqError, Trigger, request_percpu,
};
use stillpoint::kernel::kernel;
use stillpoint::sync::atomic::{AtomicU64, Ordering};

use kernel_support::machine::{eventually, last_cpu};
use kernel_support::unharmed::same;

/// INTID of the physical timer at EL1 (Arm BSA, PPI assignments).
const PHYSICAL_TIMER: u32 = 30;

/// Interrupts that were taken, by the handler.
static TAKEN: AtomicU64 = AtomicU64::new(0);
/// Those that another CPU has taken than the one whose timer it is, or that had no reason.
static WRONG: AtomicU64 = AtomicU64::new(0);

fn line() -> IrqLine {
    IrqLine::from_intid(PHYSICAL_TIMER, Trigger::Level).expect("a private interrupt")
}

/// Has this CPU's timer hold its line from now on.
fn hold() {
    // SAFETY: the kernel uses the virtual timer only. Enabled and not masked, with a time in the
    // past.
    unsafe { asm!("msr cntp_tval_el0, xzr", "msr cntp_ctl_el0, {}", "isb", in(reg) 1_u64) };
}

/// Has this CPU's timer let its line go; returns whether it held it.
fn release() -> bool {
    let control: u64;
    // SAFETY: as `hold`.
    unsafe { asm!("mrs {}, cntp_ctl_el0", "msr cntp_ctl_el0, xzr", "isb", out(reg) control) };
    control & 0b101 == 0b101
}

fn request() -> Result<PerCpuIrq, RequestIrqError> {
    request_percpu(line(), "timer", || {
        let count = if release() { &TAKEN } else { &WRONG };
        count.fetch_add(1, Ordering::Relaxed);
        IrqReturn::Handled
    })
}

/// Makes the interrupt's record.
pub(crate) fn touch() {
    drop(request());
}

fn taken() -> u64 {
    TAKEN.load(Ordering::Relaxed)
}

/// Each CPU takes its own, once for each time that its line was held; a CPU that comes back too.
pub(crate) fn each_cpu() -> bool {
    let irq = request().expect("it is free");
    let busy = request().map_err(|error| alloc::format!("{error}"));
    let mut sound = same(
        "second",
        busy.err().as_deref(),
        Some("interrupt 30 is in use by timer"),
    );
    let timer = IrqLine::from_intid(kernel().timer_ppi(), Trigger::Level).expect("private");
    sound &= request_percpu(timer, "own", || IrqReturn::Handled).is_err();
    let comes = |cpu: CpuId| {
        let before = (taken(), irq.count_on(cpu));
        let held = call_on(cpu, hold).is_ok();
        let came = eventually(|| (taken(), irq.count_on(cpu)) == (before.0 + 1, before.1 + 1));
        if !came {
            stillpoint::println!("# CPU{cpu}: {} taken, {} there", taken(), irq.count_on(cpu));
        }
        held && came
    };
    sound &= possible().iter().all(comes);
    let last = last_cpu();
    if last != CpuId::BOOT {
        for _ in 0..5 {
            sound &= api::cpu_down(last).is_ok() && api::cpu_up(last).is_ok() && comes(last);
        }
        // One that is away when it is requested has it when it comes.
        drop(irq);
        sound &= api::cpu_down(last).is_ok();
        let irq = request().expect("it is free again");
        let before = irq.count_on(last);
        sound &= api::cpu_up(last).is_ok() && call_on(last, hold).is_ok();
        sound &= eventually(|| irq.count_on(last) == before + 1);
        drop(irq);
    } else {
        drop(irq);
    }
    // Without a user it is off.
    let before = taken();
    let held = call_on(current(), hold).is_ok();
    api::sleep(core::time::Duration::from_millis(2));
    sound &= same("off", taken(), before);
    held & call_on(current(), release).is_ok()
        & sound
        & same("wrong", WRONG.load(Ordering::Relaxed), 0)
}
