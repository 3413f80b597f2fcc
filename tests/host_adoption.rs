//! Timers on CPUs that go and come back. Timers are set and cancelled on CPUs that are up, and
//! CPUs adopt the queues of those that go, in random order. After each move of time all timers
//! that are due have been called once, and some CPU that is up is armed for the next one.

use std::sync::{Arc, Mutex};

use fake::{Baton, Fake};
use stillpoint::cpu::CpuId;
use stillpoint::sched::{SchedHost, Timer};
use stillpoint::sync::IrqGuard;
use stillpoint::time::Instant;
use xorshift::Random;

#[path = "support/fake.rs"]
mod fake;
#[path = "support/xorshift.rs"]
mod xorshift;

const CPUS: usize = 4;
const TIMERS: usize = 16;
const STEPS: usize = 2000;

fn cpu(index: usize) -> CpuId {
    CpuId::new(index).expect("a small number")
}

/// Runs the timer interrupt of each CPU that is up, as long as its timer is due.
fn serve_interrupts(up: &[bool], now: u64) {
    for index in (0..CPUS).filter(|index| up[*index]) {
        Fake::move_to(cpu(index));
        for turn in 0.. {
            assert!(turn < 100, "the timer of CPU {index} stays armed at {now}");
            if Fake::armed().is_none_or(|armed| armed > now) {
                break;
            }
            let _masked = IrqGuard::<Fake>::new();
            Fake::sched().timer_interrupt();
        }
    }
}

/// Returns the number of a CPU that is up, but not `not`.
fn one_that_is_up(random: &mut Random, up: &[bool], not: usize) -> Option<usize> {
    let fit: Vec<usize> = (0..CPUS).filter(|cpu| up[*cpu] && *cpu != not).collect();
    (!fit.is_empty()).then(|| fit[random.below(fit.len())])
}

fn run(seed: u64) {
    Fake::new_machine_of(CPUS);
    for index in 0..CPUS {
        Fake::move_to(cpu(index));
        let idle = Fake::sched().new_idle(cpu(index), Baton::default());
        Fake::sched().start_cpu(&idle);
    }
    let mut random = Random::new(seed);
    let calls = Arc::new(Mutex::new(Vec::<usize>::new()));
    let timers: Vec<Timer<Fake>> = (0..TIMERS)
        .map(|number| {
            let calls = Arc::clone(&calls);
            Timer::new(move || calls.lock().expect("no panic under it").push(number))
        })
        .collect();
    let mut due = [None; TIMERS];
    let mut up = [true; CPUS];
    let mut now = 0;
    for step in 0..STEPS {
        let place = format!("seed {seed}, step {step}");
        let here = one_that_is_up(&mut random, &up, CPUS).expect("one is up");
        Fake::move_to(cpu(here));
        let timer = random.below(TIMERS);
        match random.below(10) {
            0..4 => {
                let at = now + random.below(60) as u64;
                timers[timer].start(Instant(at));
                due[timer] = Some(at);
            }
            4 => {
                assert_eq!(timers[timer].try_cancel(), due[timer].is_some(), "{place}");
                due[timer] = None;
            }
            5 => {
                let goes = random.below(CPUS);
                if up[goes]
                    && let Some(adopts) = one_that_is_up(&mut random, &up, goes)
                {
                    up[goes] = false;
                    Fake::move_to(cpu(adopts));
                    Fake::sched().adopt_timers(cpu(goes));
                }
            }
            6 => {
                let comes = random.below(CPUS);
                if !up[comes] {
                    up[comes] = true;
                    Fake::move_to(cpu(comes));
                    let _masked = IrqGuard::<Fake>::new();
                    Fake::sched().serve_timers(cpu(comes));
                }
            }
            _ => {
                now += random.below(20) as u64;
                Fake::set_now(now);
            }
        }
        serve_interrupts(&up, now);
        let mut made = core::mem::take(&mut *calls.lock().expect("no panic under it"));
        made.sort_unstable();
        let wanted: Vec<usize> = (0..TIMERS)
            .filter(|timer| due[*timer].is_some_and(|at| at <= now))
            .collect();
        assert_eq!(made, wanted, "{place}");
        for timer in wanted {
            due[timer] = None;
        }
        let first = due.iter().flatten().min();
        let armed = (0..CPUS).filter(|index| up[*index]).filter_map(|index| {
            Fake::move_to(cpu(index));
            Fake::armed()
        });
        let armed = armed.min();
        assert!(
            first.is_none_or(|first| armed.is_some_and(|armed| armed <= *first)),
            "{place}: armed for {armed:?}, due at {first:?}"
        );
    }
    Fake::move_to(CpuId::BOOT);
    for timer in &timers {
        timer.try_cancel();
    }
}

#[test]
fn every_timer_is_called_once_and_in_time_wherever_its_cpu_is() {
    for seed in 1..=40 {
        run(seed);
    }
}
