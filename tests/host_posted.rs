//! When an idle CPU polls: on a machine that is made up, where a turn takes 20 ns and a sleep costs
//! 10 us.

use std::cell::Cell;
use std::num::NonZeroUsize;

use stillpoint::config::MASK_WORDS;
use stillpoint::sync::{IrqFlags, LocalCpu, Posted, SleepCost, Wait, Woken};

/// Who sends the SGI that comes next.
#[derive(Clone, Copy)]
enum Call {
    Alone,
    ToSeveral,
}

struct Machine {
    posted: Posted,
    cost: SleepCost,
    now: Cell<u64>,
    call: Cell<Call>,
    /// When the next SGI is sent.
    at: Cell<u64>,
    pending: Cell<bool>,
    sleeps: Cell<u32>,
    turns: Cell<u32>,
}

thread_local! {
    static MACHINE: &'static Machine = {
        let machine = Machine {
            posted: Posted::new(),
            cost: SleepCost::new(),
            now: Cell::new(0),
            call: Cell::new(Call::Alone),
            at: Cell::new(0),
            pending: Cell::new(false),
            sleeps: Cell::new(0),
            turns: Cell::new(0),
        };
        Box::leak(Box::new(machine))
    };
}

/// Returns the machine of this test, which knows what a sleep costs.
fn a_machine() -> &'static Machine {
    let machine = machine();
    machine.at.set(u64::MAX);
    let sleep = || machine.now.set(machine.now.get() + 10_000);
    machine.cost.learn::<Idle>(4_000_000, sleep);
    machine.turns.set(0);
    machine
}

fn machine() -> &'static Machine {
    MACHINE.with(|machine| *machine)
}

impl Machine {
    fn pass(&self, until: u64) {
        self.now.set(until);
        if self.at.get() <= until {
            self.at.set(u64::MAX);
            let posted = match self.call.get() {
                Call::Alone => self.posted.post(1),
                Call::ToSeveral => false,
            };
            if !posted {
                self.cost.note_sent(until);
                self.pending.set(true);
            }
        }
    }

    /// Has the CPU be idle until an SGI comes, after `after`; returns whether it slept.
    fn idle(&self, call: Call, after: u64) -> bool {
        self.call.set(call);
        self.at.set(self.now.get() + after);
        self.sleeps.set(0);
        let posted = self.posted.sleep::<Idle>();
        assert!(posted != 0 || self.pending.replace(false), "it came");
        self.sleeps.get() > 0
    }
}

/// The CPU.
struct Idle;

impl LocalCpu for Idle {
    fn irq_save() -> IrqFlags {
        IrqFlags(0)
    }
    unsafe fn irq_restore(_: IrqFlags) {}
    unsafe fn irq_enable() {}
    fn irqs_enabled() -> bool {
        false
    }
    fn preempt_disable() {}
    unsafe fn preempt_enable_no_resched() {}
    fn preempt_count() -> u32 {
        1
    }
    fn preempt_point() {}
    fn relax() {
        machine().turns.set(machine().turns.get() + 1);
        machine().pass(machine().now.get() + 20);
    }
    fn ticks() -> u64 {
        machine().now.get()
    }
    fn sleep_cost() -> Option<&'static SleepCost> {
        Some(&machine().cost)
    }
    fn cpu_mark() -> NonZeroUsize {
        NonZeroUsize::MIN
    }
    fn spins_long(_: &mut Option<u64>, _: NonZeroUsize, _: &str) {}
}

impl Wait for Idle {
    fn sleep() {
        machine().sleeps.set(machine().sleeps.get() + 1);
        machine().pass(machine().at.get());
        machine().now.set(machine().now.get() + 10_000);
    }
    fn take_wake() -> Woken {
        Woken::Other
    }
    fn serve_interrupts() {}
    fn send_wake(_: &[u64; MASK_WORDS]) {}
    fn interrupt_is_pending() -> bool {
        machine().pending.get()
    }
}

fn sleeps(machine: &Machine, count: u32, call: Call, after: u64) -> u32 {
    let sleeps = (0..count).map(|_| u32::from(machine.idle(call, after)));
    sleeps.sum()
}

#[test]
fn a_cpu_that_is_called_alone_and_soon_learns_to_poll() {
    let machine = a_machine();
    let first = sleeps(machine, 100, Call::Alone, 5000);
    assert!((1..20).contains(&first), "{first}");
    assert_eq!(sleeps(machine, 100, Call::Alone, 5000), 0);
}

#[test]
fn a_cpu_that_is_called_with_others_does_not_poll() {
    let machine = a_machine();
    assert_eq!(sleeps(machine, 100, Call::ToSeveral, 5000), 100);
    assert_eq!(machine.turns.get(), 0);
}

#[test]
fn a_cpu_that_polls_stops_when_it_is_called_with_others() {
    let machine = a_machine();
    sleeps(machine, 200, Call::Alone, 5000);
    sleeps(machine, 20, Call::ToSeveral, 5000);
    machine.turns.set(0);
    assert_eq!(sleeps(machine, 100, Call::ToSeveral, 5000), 100);
    assert_eq!(machine.turns.get(), 0);
}

#[test]
fn a_cpu_that_is_called_rarely_stops_to_poll() {
    let machine = a_machine();
    sleeps(machine, 200, Call::Alone, 5000);
    sleeps(machine, 20, Call::Alone, 1_000_000);
    machine.turns.set(0);
    assert_eq!(sleeps(machine, 100, Call::Alone, 1_000_000), 100);
    assert_eq!(machine.turns.get(), 0);
}
