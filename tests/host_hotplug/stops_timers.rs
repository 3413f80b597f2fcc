//! Timers that come due while their CPU is in a still point that takes long: the CPU takes the
//! interrupt to look at the time, and the timers' functions are called when the stop is over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use stillpoint::cpu::CpuId;
use stillpoint::platform::Platform;
use stillpoint::sched::{SchedHost, Timer};
use stillpoint::stop_machine::StopRequest;

use crate::affinity::spawn;
use crate::batches::{all_up, cpu, hotplug, mask};
use crate::deadlines::{Flag, sleep};
use crate::inactive::{remove, stopping};
use crate::sim::Sim;
use crate::stops::{stop, with_all_up};

const CPUS: usize = 4;
/// Longer than a still point may take before it is called late, in nanoseconds.
const LONG: u64 = 12_000_000_000;
/// For how long a CPU doesn't come to a stop, and how long the function of that takes. The one alone
/// ends before [`MIDST`], both together behind it.
const WAIT: u64 = 1_000_000_000;
const FUNCTION: u64 = 5_000_000_000;
/// In the midst of that.
const MIDST: Duration = Duration::from_secs(3);
/// Soon after the stop, and long before the next look at the time.
const SOON: Duration = Duration::from_secs(1);

/// Sets a timer on `cpu` that counts in `calls`, [`MIDST`] from now. Returns it when it is set.
fn set_timer(cpu: CpuId, calls: &Arc<AtomicU32>) -> Arc<Timer<Sim>> {
    let theirs = Arc::clone(calls);
    let timer = Arc::new(Timer::<Sim>::new(move || {
        theirs.fetch_add(1, Ordering::Relaxed);
    }));
    let set = Flag::default();
    let theirs = (Arc::clone(&timer), set.clone());
    spawn("sets", cpu, move || {
        theirs.0.start(Sim::deadline(MIDST));
        theirs.1.set();
    });
    set.sleep_until_set();
    timer
}

#[test]
fn each_is_called_when_the_stop_is_over() {
    with_all_up(|| {
        let me = Sim::sched().current();
        for runner in 0..CPUS {
            // This thread's sleep would arm the timer of the CPU that it looks after.
            let here = cpu((runner + 1) % CPUS);
            assert_eq!(
                Sim::sched().set_affinity(&me, &mask(&[here.index()])),
                Ok(())
            );
            let calls = Arc::new(AtomicU32::new(0));
            let timers = [0, 1, 2, 3].map(|number| set_timer(cpu(number), &calls));
            let still = stop().lock();
            let stopped = stop().stop_on(&still, cpu(runner), || {
                Sim::hold_cpu(cpu(runner), LONG);
            });
            assert!(stopped.is_ok());
            drop(still);
            sleep(SOON);
            assert_eq!(calls.load(Ordering::Relaxed) as usize, CPUS);
            assert!(timers.iter().all(|timer| !timer.is_set()));
        }
    });
}

/// The CPU comes up, and takes the interrupt while it waits for the others to leave.
#[test]
fn so_is_one_of_the_cpu_that_stops_the_machine_as_it_comes() {
    Sim::run(CPUS, || {
        all_up(CPUS);
        let me = Sim::sched().current();
        let ran = Arc::new(AtomicU32::new(0));
        let theirs = Arc::clone(&ran);
        let timer = Timer::<Sim>::new(move || {
            theirs.fetch_add(1, Ordering::Relaxed);
        });
        // CPU 1 takes a long interrupt as it leaves.
        let long = Timer::<Sim>::new(|| Sim::hold_cpu(Sim::this_cpu(), LONG / 10));
        let step = stopping(move |_| {
            Sim::hold_cpu(cpu(1), LONG);
            let request = StopRequest::new().on(cpu(1));
            let stopped = stop().stop_from_inactive(&request, || long.start(Sim::now()));
            assert!(stopped.is_ok());
        });
        for turn in 1..=2 {
            assert_eq!(Sim::sched().set_affinity(&me, &mask(&[3])), Ok(()));
            timer.start(Sim::deadline(MIDST)); // Adopted, and adopted back.
            assert_eq!(Sim::sched().set_affinity(&me, &mask(&[0])), Ok(()));
            assert_eq!(hotplug().cpu_down(cpu(3)), Ok(()));
            stop().set_spins((turn == 2).then_some(0));
            assert_eq!(hotplug().cpu_up(cpu(3)), Ok(()));
            stop().set_spins(None);
            sleep(SOON);
            assert_eq!(ran.load(Ordering::Relaxed), turn);
            let awake = Flag::default();
            let theirs = awake.clone();
            spawn("sleeper", cpu(3), move || {
                sleep(Duration::from_millis(1));
                theirs.set();
            });
            sleep(SOON);
            assert!(awake.is_set());
        }
        remove(step);
    });
}

/// The stoppers sleep until CPU 1 has come. Timers that fall due meanwhile run; those that do while
/// the function runs don't, though their interrupts end the sleep. All that time counts as time with
/// interrupts off.
#[test]
fn a_cpu_that_sleeps_until_all_have_come_takes_no_interrupt_after_that() {
    with_all_up(|| {
        let inside = Arc::new(AtomicBool::new(false));
        let ran = Arc::new(AtomicU32::new(0));
        let timers: Vec<_> = (0..CPUS)
            .map(|number| {
                let (inside, ran) = (Arc::clone(&inside), Arc::clone(&ran));
                let timer = Arc::new(Timer::<Sim>::new(move || {
                    assert!(!inside.load(Ordering::Relaxed), "in the still point");
                    ran.fetch_add(1, Ordering::Relaxed);
                }));
                let starts = Arc::clone(&timer);
                spawn("sets", cpu(number), move || {
                    starts.start(Sim::deadline(MIDST))
                });
                timer
            })
            .collect();
        sleep(Duration::from_millis(1));
        stop().set_spins(Some(0));
        Sim::hold_cpu(cpu(1), WAIT);
        let still = stop().lock();
        let here = Sim::this_cpu();
        stop().stop_once(&still, || {
            inside.store(true, Ordering::Relaxed);
            Sim::hold_cpu(here, FUNCTION);
            inside.store(false, Ordering::Relaxed);
        });
        for on in (0..CPUS).map(cpu) {
            let off = stop().times().irqs_off_ticks(on);
            assert!((FUNCTION..FUNCTION + WAIT).contains(&off), "{on:?}: {off}");
        }
        drop(still);
        stop().set_spins(None);
        sleep(SOON);
        assert_eq!(ran.load(Ordering::Relaxed) as usize, CPUS);
        drop(timers);
    });
}
