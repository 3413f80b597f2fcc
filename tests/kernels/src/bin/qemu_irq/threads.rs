//! Handlers that leave the rest to a thread, and lines that come without a reason.

use alloc::sync::Arc;
use core::time::Duration;

use stillpoint::api::cpu::{CpuId, CpuMask, possible};
use stillpoint::api::irq::{Builder, IrqLine, IrqReturn, Trigger};
use stillpoint::api::thread::{self, Class, Priority};
use stillpoint::api::{self, sync::Completion};
use stillpoint::platform::Irq;
use stillpoint::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use kernel_support::machine::{eventually, last_cpu};
use kernel_support::unharmed::same;

use crate::lines::{drain, intid, line, raise, raise_intid};

/// A handler and its thread: how often each has run. The thread waits until it may go on.
#[derive(Default)]
struct Two {
    handled: AtomicU64,
    begun: AtomicU64,
    done: AtomicU64,
    go_on: Completion,
}

impl Two {
    fn counts(&self) -> (u64, u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.handled), read(&self.begun), read(&self.done))
    }

    fn wishes(self: &Arc<Self>, name: &str) -> Builder {
        let its = Arc::clone(self);
        Builder::new(name).threaded(move || {
            its.begun.fetch_add(1, Ordering::Relaxed);
            its.go_on.wait();
            its.done.fetch_add(1, Ordering::Relaxed);
        })
    }

    fn handler(self: &Arc<Self>) -> impl FnMut() -> IrqReturn + Send + 'static {
        let its = Arc::clone(self);
        move || {
            its.handled.fetch_add(1, Ordering::Relaxed);
            IrqReturn::WakeThread
        }
    }
}

/// A thread that sleeps in the middle of its work. An edge comes meanwhile, a level doesn't.
pub(crate) fn threaded() -> bool {
    let mut sound = true;
    for (trigger, meanwhile) in [(Trigger::Edge, 2), (Trigger::Level, 1)] {
        let two = Arc::new(Two::default());
        let own = IrqLine::from_intid(intid(2), trigger).expect("a shared interrupt");
        let irq = two.wishes("thr").request(own, two.handler());
        let irq = irq.expect("the line is free");
        raise(2);
        sound &= eventually(|| two.counts() == (1, 1, 0));
        raise(2);
        sound &= eventually(|| two.counts().0 == meanwhile);
        api::sleep(Duration::from_millis(2));
        sound &= same("meanwhile", two.counts(), (meanwhile, 1, 0));
        two.go_on.complete();
        sound &= eventually(|| two.counts() == (2, 2, 1));
        // The line is given back when the thread has done its work.
        two.go_on.complete();
        irq.disable();
        sound &= same("disabled", two.counts(), (2, 2, 2));
        irq.enable();
        raise(2);
        sound &= eventually(|| two.counts() == (3, 3, 2));
        two.go_on.complete();
        drop(irq);
        sound &= same(
            "dropped",
            (two.counts(), Arc::strong_count(&two)),
            ((3, 3, 3), 1),
        );
    }
    sound
}

/// The thread is of the realtime class, may run where its line may go, and survives its CPU.
pub(crate) fn follows() -> bool {
    let seen = Arc::new(AtomicU32::new(0));
    let its = Arc::clone(&seen);
    let last = last_cpu();
    let class = Class::fifo(Priority::new(50).expect("a priority"));
    let wishes = Builder::new("follows").affinity(CpuMask::of(last));
    let wishes = wishes.threaded(move || {
        let me = thread::current();
        let is_there = CpuMask::of(thread::current_cpu_racy()).is_subset_of(&me.affinity());
        let good = me.class() == class && is_there && me.name().starts_with("irq/");
        its.fetch_add(if good { 1 } else { 1000 }, Ordering::Relaxed);
    });
    let irq = wishes.request(line(2), || IrqReturn::WakeThread);
    let irq = irq.expect("the line is free");
    let comes = |times| {
        raise(2);
        eventually(|| seen.load(Ordering::Relaxed) >= times)
            && seen.load(Ordering::Relaxed) == times
    };
    let mut sound = comes(1);
    if last != CpuId::BOOT {
        sound &= api::cpu_down(last).is_ok() && comes(2) && api::cpu_up(last).is_ok();
        sound &= irq.set_affinity(&CpuMask::of(last)).is_ok() && comes(3);
        sound &= irq.set_affinity(&possible()).is_ok() && comes(4);
    }
    sound
}

/// A line that comes all the time without a reason is given up; a new user has it back.
pub(crate) fn spurious() -> bool {
    let intid = intid(3);
    let irq = Builder::new("mad").request(line(3), move || {
        raise_intid(intid);
        IrqReturn::None
    });
    let irq = irq.expect("the line is free");
    let before = irq.count();
    raise(3);
    let given_up = eventually(|| irq.count() - before >= 100_000);
    api::sleep(Duration::from_millis(5));
    let count = irq.count() - before;
    drop(irq);
    let served = Arc::new(AtomicU64::new(0));
    let its = Arc::clone(&served);
    let irq = Builder::new("sane").request(line(3), move || {
        its.fetch_add(1, Ordering::Relaxed);
        IrqReturn::Handled
    });
    // What it has raised last comes now.
    let again = eventually(|| served.load(Ordering::Relaxed) > 0);
    given_up & again & irq.is_ok() & same("given up after", count, 100_000)
}

/// An interrupt without a user is masked, and told of once.
pub(crate) fn unexpected() -> bool {
    let own = Irq::from(line(3));
    let before = stillpoint::kernel::kernel()
        .irqs
        .line(own)
        .map(|line| line.counts().sum());
    let chip = stillpoint::kernel::kernel().irq_chip();
    {
        let _masked = stillpoint::sync::IrqGuard::<stillpoint::kernel::Hw>::new();
        chip.unmask(own);
    }
    for _ in 0..3 {
        raise(3);
        api::sleep(Duration::from_millis(1));
    }
    let after = stillpoint::kernel::kernel()
        .irqs
        .line(own)
        .map(|line| line.counts().sum());
    drain(3);
    same("counts", after, before)
}
