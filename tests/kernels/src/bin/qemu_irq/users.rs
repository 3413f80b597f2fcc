//! What one user of a line sees.

use alloc::sync::Arc;
use core::time::Duration;

use stillpoint::api;
use stillpoint::api::cpu::{CpuId, CpuMask, on_each_cpu, possible};
use stillpoint::api::irq::{
    Builder, IrqAffinityError, IrqLine, IrqReturn, RequestIrqError, Trigger, request,
};
use stillpoint::platform::FIRST_SPI;
use stillpoint::sync::atomic::{AtomicU64, Ordering};

use kernel_support::machine::{eventually, last_cpu};
use kernel_support::unharmed::same;

use crate::lines::{Counted, drain, intid, line, raise};

/// How long nothing comes that isn't to come.
const QUIET: Duration = Duration::from_millis(2);

/// Each raise is one call of the handler, and one in the counts.
pub(crate) fn raised() -> bool {
    let counted = Counted::request(0, Builder::new("raised"));
    let sound = (1..=100).all(|times| {
        raise(0);
        eventually(|| counted.taken() == times)
    });
    api::sleep(QUIET);
    let on_each: u64 = possible().iter().map(|cpu| counted.on(cpu)).sum();
    sound
        & same("taken", counted.taken(), 100)
        & same("counted", (counted.counted(), on_each), (100, 100))
}

/// A line has one user, and what is no line has none.
pub(crate) fn refused() -> bool {
    let handler = || IrqReturn::Handled;
    let first = request(line(0), "first", handler);
    let name = |error: RequestIrqError| alloc::format!("{error} ({})", error.errno().name());
    let second = request(line(0), "second", handler).map_err(name);
    let busy = alloc::format!("interrupt {} is in use by first (EBUSY)", intid(0));
    let far = IrqLine::from_intid(1019, Trigger::Level).expect("a number of a shared interrupt");
    let none = request(far, "none", handler).map_err(name);
    let private = IrqLine::from_intid(FIRST_SPI - 1, Trigger::Level).expect("a private one");
    let private = request(private, "private", handler).map_err(name);
    let nowhere = Builder::new("nowhere").affinity(CpuMask::EMPTY);
    let nowhere = nowhere.request(line(1), handler).map_err(name);
    first.is_ok()
        & same("second", second.err(), Some(busy))
        & same(
            "none",
            none.err().as_deref(),
            Some("there is no interrupt 1019 (EINVAL)"),
        )
        & same(
            "private",
            private.err().as_deref(),
            Some("each CPU has interrupt 31 for itself (EINVAL)"),
        )
        & same(
            "nowhere",
            nowhere.err().as_deref(),
            Some("none of CPUs  is active (EINVAL)"),
        )
        & same("bad", IrqLine::from_intid(1020, Trigger::Edge), None)
}

/// While a line is disabled its handler doesn't run; one call makes up for all that has come.
pub(crate) fn disabled() -> bool {
    let counted = Counted::request(0, Builder::new("disabled").no_autoenable());
    let stays = |wanted| {
        raise(0);
        api::sleep(QUIET);
        same("disabled", counted.taken(), wanted)
    };
    let mut sound = stays(0);
    counted.irq.enable();
    sound &= eventually(|| counted.taken() == 1);
    counted.irq.disable();
    counted.irq.disable_nosync();
    sound &= stays(1);
    counted.irq.enable();
    sound &= stays(1);
    counted.irq.enable();
    sound &= eventually(|| counted.taken() == 2);
    // It is enabled, so this only says so in the log.
    counted.irq.enable();
    raise(0);
    sound & eventually(|| counted.taken() == 3)
}

/// Two users of one line are called for each interrupt, until they go.
pub(crate) fn shared() -> bool {
    let first = Counted::request(0, Builder::new("first").shared());
    let alone = request(line(0), "alone", || IrqReturn::Handled).is_err();
    let second = Counted::request(0, Builder::new("second").shared());
    raise(0);
    let both = eventually(|| (first.taken(), second.taken()) == (1, 1));
    first.irq.disable();
    raise(0);
    api::sleep(QUIET);
    let none = same("disabled by one", (first.taken(), second.taken()), (1, 1));
    // Its disable goes with it.
    let Counted { irq, taken, .. } = first;
    drop(irq);
    let one = eventually(|| second.taken() == 2);
    alone & both & none & one & same("gone", taken.load(Ordering::Relaxed), 1)
}

/// What a handler owns is dropped with the handle, and no handler runs any more then, although its
/// line is raised all the time.
pub(crate) fn dropped() -> bool {
    let sound = (0..50).all(|_| {
        let owned = Arc::new(AtomicU64::new(0));
        let its = Arc::clone(&owned);
        let handler = move || {
            its.fetch_add(1, Ordering::Relaxed);
            IrqReturn::Handled
        };
        let irq = request(line(0), "dropped", handler).expect("the line is free");
        on_each_cpu(|_| raise(0));
        let ran = eventually(|| owned.load(Ordering::Relaxed) > 0);
        raise(0);
        drop(irq);
        let only = Arc::strong_count(&owned) == 1;
        let last = owned.load(Ordering::Relaxed);
        raise(0);
        ran & only & same("after the drop", owned.load(Ordering::Relaxed), last)
    });
    drain(0);
    sound
}

/// A line comes where its affinity lets it, and follows it when a CPU goes.
pub(crate) fn affine() -> bool {
    let counted = Counted::request(0, Builder::new("affine"));
    let irq = &counted.irq;
    let mut sound = possible().iter().all(|cpu| {
        let set = irq.set_affinity(&CpuMask::of(cpu));
        let before = counted.on(cpu);
        raise(0);
        (set == Ok(()))
            & same("goes to", irq.effective_affinity(), Some(cpu))
            & eventually(|| counted.on(cpu) == before + 1)
    });
    let last = last_cpu();
    sound &= same("affinity", irq.affinity(), CpuMask::of(last));
    sound &= api::cpu_down(last).is_ok();
    // It may go anywhere now, and stays there.
    sound &= same("broken", irq.affinity(), possible());
    sound &= same("moved", irq.effective_affinity(), Some(CpuId::BOOT));
    let offline = CpuMask::of(last);
    let refused = Err(IrqAffinityError::NoActiveCpu(offline));
    sound &= same("offline", irq.set_affinity(&offline), refused);
    sound &= api::cpu_up(last).is_ok();
    sound & same("stays", irq.effective_affinity(), Some(CpuId::BOOT))
}

/// A managed line rests while its only CPU is away. What comes meanwhile is kept.
pub(crate) fn managed() -> bool {
    let last = last_cpu();
    let counted = Counted::request(0, Builder::new("managed").managed(CpuMask::of(last)));
    let irq = &counted.irq;
    raise(0);
    let mut sound = eventually(|| counted.on(last) == 1);
    let refused = irq
        .set_affinity(&possible())
        .map_err(|error| error.errno().name());
    sound &= same("set", refused, Err("EIO"));
    for round in 1..=10 {
        sound &= api::cpu_down(last).is_ok();
        sound &= same("rests", irq.effective_affinity(), None);
        raise(0);
        api::sleep(QUIET);
        sound &= same("at rest", counted.taken(), round);
        sound &= api::cpu_up(last).is_ok();
        sound &= same("is back", irq.effective_affinity(), Some(last));
        sound &= eventually(|| counted.on(last) == round + 1);
    }
    // One that is requested while its CPU is away rests from the beginning.
    sound &= api::cpu_down(last).is_ok();
    let late = Counted::request(1, Builder::new("late").managed(CpuMask::of(last)));
    raise(1);
    sound &= same("late", late.irq.effective_affinity(), None);
    sound &= api::cpu_up(last).is_ok();
    sound & eventually(|| late.on(last) == 1)
}
