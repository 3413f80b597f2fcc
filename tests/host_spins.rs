//! How long waits spin, and when an idle CPU polls: on a machine that is made up, where a turn takes
//! 20 ns at boot and a sleep costs 10 us.

use std::cell::Cell;
use std::num::NonZeroUsize;

use stillpoint::config::MASK_WORDS;
use stillpoint::sync::{
    IrqFlags, LocalCpu, Posted, SleepCost, SpinBudget, SpinLooks, Spins, Wait, Woken,
};

/// To which CPUs the next SGI is sent.
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
    /// How long a turn takes.
    turn: Cell<u64>,
    /// For how long the host doesn't run the CPU in its next turn.
    stolen: Cell<u64>,
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
            turn: Cell::new(20),
            stolen: Cell::new(0),
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

/// What ends a sleep, and when.
#[derive(Clone, Copy)]
enum Wake {
    /// An SGI that is sent when that comes which is waited for, and wakes the CPU so much later.
    Sgi(u64),
    /// Anything else, so much later.
    Other(u64),
}

impl Machine {
    /// Has a CPU wait by `budget` for what comes after `event`; returns whether it slept.
    fn wait(&self, budget: &SpinBudget, event: u64, wake: Wake) -> bool {
        let at = self.now.get() + event;
        let spins = Spins::Learnt(budget);
        let came = || (self.now.get() >= at).then_some(());
        if spins.spin::<Idle, ()>(came).is_some() {
            return false;
        }
        spins.sleep::<Idle, ()>(|| {
            self.now.set(at.max(self.now.get() + 1));
            let (Wake::Sgi(late) | Wake::Other(late)) = wake;
            if let Wake::Sgi(_) = wake {
                self.cost.note_sent(self.now.get());
            }
            self.now.set(self.now.get() + late);
        });
        true
    }

    /// Returns how many of as many waits slept.
    fn waits(&self, count: u32, budget: &SpinBudget, event: u64, wake: Wake) -> u32 {
        let slept = (0..count).map(|_| u32::from(self.wait(budget, event, wake)));
        slept.sum()
    }

    /// Has a CPU wait for one that needs its core, until `count` waits have spun in vain for more
    /// than a few turns.
    fn waits_in_vain(&self, count: u32, budget: &SpinBudget) {
        let few = SpinBudget::new().turns();
        let mut in_vain = 0;
        while in_vain < count {
            in_vain += u32::from(budget.turns() > few);
            // It comes when this CPU sleeps, whenever that is.
            let spun = u64::from(budget.turns()) * self.turn.get();
            self.wait(budget, spun + 1000, Wake::Sgi(10_000));
        }
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
        let takes = machine().turn.get() + machine().stolen.take();
        machine().pass(machine().now.get() + takes);
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
    fn spins_long(_: &mut Option<SpinLooks>, _: NonZeroUsize, _: &str) {}
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

/// What it was called for alone before it was idle says nothing about its sleep.
#[test]
fn nor_does_one_that_was_called_alone_while_it_was_busy() {
    let machine = a_machine();
    for _ in 0..100 {
        machine.posted.note_called_alone();
        machine.idle(Call::ToSeveral, 5000);
    }
    assert_eq!(machine.turns.get(), 0);
}

/// Nothing is learnt from an interrupt that came before the CPU was idle.
#[test]
fn a_cpu_that_polls_goes_on_with_it_though_it_finds_an_interrupt_at_once() {
    let machine = a_machine();
    sleeps(machine, 200, Call::Alone, 5000);
    for _ in 0..20 {
        machine.pending.set(true);
        assert_eq!(machine.posted.sleep::<Idle>(), 0);
        machine.pending.set(false);
    }
    assert_eq!(sleeps(machine, 100, Call::Alone, 5000), 0);
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

#[test]
fn what_counts_is_when_the_sgi_was_sent_not_when_it_woke_the_cpu() {
    let machine = a_machine();
    let budget = SpinBudget::of_pair();
    assert!(machine.waits(100, &budget, 5000, Wake::Sgi(1_000_000)) < 20);
    assert!(!machine.wait(&budget, 5000, Wake::Sgi(1_000_000)));
}

#[test]
fn a_sleep_that_no_sgi_ended_counts_without_its_own_cost() {
    let machine = a_machine();
    let budget = SpinBudget::of_pair();
    assert!(machine.waits(100, &budget, 15_000, Wake::Other(10_000)) < 20);
    assert!(!machine.wait(&budget, 15_000, Wake::Other(10_000)));
}

#[test]
fn sleeps_teach_what_a_wake_up_costs() {
    let machine = a_machine();
    machine.waits(100, &SpinBudget::new(), 1_000_000, Wake::Sgi(30_000));
    assert!((25_000..=30_000).contains(&machine.cost.ticks()));
}

/// Else no wait would spin on that machine for more than a few turns, and so none would learn that
/// a turn takes less.
#[test]
fn a_host_that_stops_the_boot_cpu_while_it_measures_is_not_believed() {
    let machine = machine();
    machine.stolen.set(10_000_000);
    let machine = a_machine();
    let budget = SpinBudget::of_pair();
    assert!(machine.waits(100, &budget, 5000, Wake::Sgi(10_000)) < 20);
}

/// No SGI ends such a wait, but its limit.
#[test]
fn waits_that_are_given_up_are_not_taken_for_short_ones() {
    let machine = a_machine();
    let budget = SpinBudget::of_thread();
    let few = budget.turns();
    let limit = budget.least_limit::<Idle>();
    for more in [1, 1000, 100_000] {
        // What the sleep itself takes is within the limit.
        machine.waits(20, &budget, limit + more, Wake::Other(0));
        assert_eq!(budget.turns(), few, "{more}");
    }
}

#[test]
fn turns_that_take_less_than_at_boot_are_more() {
    let machine = a_machine();
    machine.turn.set(2);
    let budget = SpinBudget::of_pair();
    machine.waits(100, &budget, 15_000, Wake::Sgi(10_000));
    assert!(!machine.wait(&budget, 15_000, Wake::Sgi(10_000)));
    assert!(budget.turns() > 7000, "{}", budget.turns());
}

#[test]
fn waits_that_spins_end_make_up_for_others_in_vain() {
    let machine = a_machine();
    let budget = SpinBudget::of_pair();
    machine.waits_in_vain(300, &budget);
    machine.waits(20, &budget, 2000, Wake::Sgi(10_000));
    assert_eq!(machine.waits(100, &budget, 2000, Wake::Sgi(10_000)), 0);
    let before = machine.now.get();
    machine.waits_in_vain(180, &budget);
    let took = machine.now.get() - before;
    assert!(took < 50_000_000, "it held back: {took}");
}

#[test]
fn waits_for_what_is_there_do_not() {
    waits_do_not_make_up_for_others_in_vain(0);
}

/// Every wait may spin for so long: they say nothing for those that spin for longer.
#[test]
fn waits_of_a_few_turns_do_not() {
    waits_do_not_make_up_for_others_in_vain(80);
}

fn waits_do_not_make_up_for_others_in_vain(event: u64) {
    let machine = a_machine();
    let budget = SpinBudget::of_pair();
    machine.waits_in_vain(300, &budget);
    assert_eq!(machine.waits(100, &budget, event, Wake::Sgi(10_000)), 0);
    machine.waits_in_vain(101, &budget);
    machine.waits(20, &budget, 2000, Wake::Sgi(10_000));
    assert!(
        machine.wait(&budget, 2000, Wake::Sgi(10_000)),
        "it holds back"
    );
}
