//! Timers against a model. Timers are set, set again, cancelled and called in random order, on
//! a fake CPU whose time stands still until the test moves it.
//!
//! The model is a map from (instant, order of setting) to the timer. After each move of time
//! the calls must be those of the model, in its order, and the hardware timer must be armed
//! for the first timer's instant or earlier.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use fake::{Baton, Fake};
use stillpoint::cpu::CpuId;
use stillpoint::platform::Platform;
use stillpoint::sched::{SchedHost, Timer};
use stillpoint::sync::IrqGuard;
use stillpoint::time::Instant;
use xorshift::Random;

#[path = "support/fake.rs"]
mod fake;
#[path = "support/xorshift.rs"]
mod xorshift;

const TIMERS: usize = 24;
const STEPS: usize = 3000;

/// A call: which timer, and when.
type Call = (usize, u64);

/// The state of the model.
#[derive(Default)]
struct Model {
    now: u64,
    serial: u64,
    /// The timers that are set, each with its period, which is 0 for none.
    due: BTreeMap<(u64, u64), (usize, u64)>,
}

impl Model {
    fn cancel(&mut self, timer: usize) -> bool {
        let before = self.due.len();
        self.due.retain(|_, (other, _)| *other != timer);
        self.due.len() < before
    }

    fn set(&mut self, timer: usize, at: u64, period: u64) {
        self.cancel(timer);
        self.insert(timer, at, period);
    }

    fn insert(&mut self, timer: usize, at: u64, period: u64) {
        self.serial += 1;
        self.due.insert((at, self.serial), (timer, period));
    }

    /// Returns the calls of one interrupt, in their order.
    fn calls(&mut self) -> Vec<Call> {
        let mut calls = Vec::new();
        while let Some(first) = self.due.first_entry() {
            let at = first.key().0;
            if at > self.now {
                break;
            }
            let (timer, period) = first.remove();
            calls.push((timer, self.now));
            // The next of its instants that is not over.
            if let Some(missed) = (self.now - at).checked_div(period) {
                self.insert(timer, at + (missed + 1) * period, period);
            }
        }
        calls
    }

    fn first(&self) -> Option<u64> {
        self.due.keys().next().map(|(at, _)| *at)
    }

    fn is_set(&self, timer: usize) -> bool {
        self.due.values().any(|(other, _)| *other == timer)
    }
}

/// Runs the timer interrupt as long as the hardware timer is armed for an instant that is over.
fn serve_interrupts(now: u64) {
    for _ in 0..100 {
        if Fake::armed().is_none_or(|armed| armed > now) {
            return;
        }
        let _masked = IrqGuard::<Fake>::new();
        Fake::sched().timer_interrupt();
    }
    panic!(
        "the timer stays armed for {:?}, and it is {now}",
        Fake::armed()
    );
}

fn run(seed: u64) {
    Fake::new_machine();
    let idle = Fake::sched().new_idle(CpuId::BOOT, Baton::default());
    Fake::sched().start_cpu(&idle);
    let mut random = Random::new(seed);
    let calls = Arc::new(Mutex::new(Vec::<Call>::new()));
    let timers: Vec<Timer<Fake>> = (0..TIMERS)
        .map(|number| {
            let calls = Arc::clone(&calls);
            Timer::new(move || {
                let call = (number, Fake::now().0);
                calls.lock().expect("no panic under it").push(call);
            })
        })
        .collect();
    let mut model = Model::default();
    for step in 0..STEPS {
        let timer = random.below(TIMERS);
        // There are few instants, so that many timers share one; some are over already.
        let at = (model.now + random.below(40) as u64).saturating_sub(4);
        match random.below(10) {
            0..4 => {
                timers[timer].start(Instant(at));
                model.set(timer, at, 0);
            }
            4 => {
                let period = 1 + random.below(30) as u64;
                timers[timer].start_periodic(Instant(at), Duration::from_nanos(period));
                model.set(timer, at, period);
            }
            5 | 6 => {
                let was_set = if random.below(2) == 0 {
                    timers[timer].cancel()
                } else {
                    timers[timer].try_cancel()
                };
                assert_eq!(was_set, model.cancel(timer), "seed {seed}, step {step}");
            }
            _ => {
                model.now += random.below(25) as u64;
                Fake::set_now(model.now);
            }
        }
        serve_interrupts(model.now);
        let made = core::mem::take(&mut *calls.lock().expect("no panic under it"));
        assert_eq!(made, model.calls(), "seed {seed}, step {step}");
        for (number, timer) in timers.iter().enumerate() {
            assert_eq!(
                timer.is_set(),
                model.is_set(number),
                "seed {seed}, step {step}: timer {number}"
            );
        }
        if let Some(first) = model.first() {
            let armed = Fake::armed();
            assert!(
                armed.is_some_and(|armed| armed <= first),
                "seed {seed}, step {step}: armed for {armed:?}, due at {first}"
            );
        }
    }
    // No timer is due any more: there is at most one more interrupt.
    for timer in &timers {
        timer.cancel();
    }
    Fake::set_now(u64::MAX / 2);
    serve_interrupts(u64::MAX / 2);
    assert_eq!(Fake::armed(), None);
    assert!(calls.lock().expect("no panic under it").is_empty());
}

#[test]
fn timers_are_called_as_the_model_says() {
    for seed in 1..=40 {
        run(seed);
    }
}

#[test]
fn a_timer_that_sets_itself_to_what_is_over_leaves_the_handler() {
    /// More calls than this count as an endless loop.
    const MANY: usize = 100;
    Fake::new_machine();
    let idle = Fake::sched().new_idle(CpuId::BOOT, Baton::default());
    Fake::sched().start_cpu(&idle);
    Fake::set_now(10);
    let calls = Arc::new(AtomicUsize::new(0));
    let timer = Arc::new_cyclic(|own: &Weak<Timer<Fake>>| {
        let (own, calls) = (own.clone(), Arc::clone(&calls));
        Timer::new(move || {
            if calls.fetch_add(1, Ordering::Relaxed) < MANY {
                own.upgrade().expect("the test has it").start(Instant(3));
            }
        })
    });
    timer.start(Instant(3));
    for (now, times) in [(10, 1), (11, 2), (12, 3)] {
        Fake::set_now(now);
        serve_interrupts(now);
        assert_eq!(calls.load(Ordering::Relaxed), times);
        assert_eq!(Fake::armed(), Some(now + 1));
    }
    timer.cancel();
}
