//! Several CPUs that go in one operation: one grace period and one still point for all; which
//! may go, which fail and what the others do then; calls between CPUs that go together.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::errno::Errno;
use stillpoint::hotplug::{
    Callbacks, CpuDownError, CpuHealth, Hotplug, HotplugHost, NewStep, Passing, Place, StepError,
    StepHandle,
};
use stillpoint::platform::{Platform, PsciError};
use stillpoint::rcu::GraceHost;
use stillpoint::sched::lock::Completion;
use stillpoint::smp::call::{CallError, CallHost};
use stillpoint::stop_machine::StopHost;
use stillpoint::sync::LocalCpu;
use stillpoint::trace::Direction;

use crate::affinity::spawn;
use crate::deadlines::{Flag, sleep};
use crate::failures::set_limits;
use crate::sim::{NEVER, Off, Sim};

const CPUS: usize = 8;

pub(crate) fn hotplug() -> &'static Hotplug<Sim> {
    Sim::hotplug()
}

pub(crate) fn cpu(number: usize) -> CpuId {
    CpuId::from_index(number)
}

pub(crate) fn mask(numbers: &[usize]) -> CpuMask {
    numbers.iter().map(|number| cpu(*number)).collect()
}

/// Installs a step.
pub(crate) fn installed(
    name: &'static str,
    place: Place,
    callbacks: Callbacks,
    how: Passing,
) -> StepHandle<Sim> {
    let callbacks = Some(callbacks);
    let new = NewStep {
        name,
        place,
        callbacks,
    };
    hotplug().install(new, how).expect("a slot is free")
}

pub(crate) fn all_up(cpus: usize) {
    for number in 1..cpus {
        assert_eq!(hotplug().cpu_up(cpu(number)), Ok(()));
    }
}

/// Checks that the CPUs of `online` are online, and all others off.
pub(crate) fn check_online(cpus: usize, online: &[usize]) {
    for number in 0..cpus {
        let wanted = if online.contains(&number) {
            CpuHealth::Online
        } else {
            CpuHealth::Off
        };
        assert_eq!(hotplug().health(cpu(number)), wanted, "CPU{number}");
        assert!(hotplug().is_balanced(cpu(number)), "CPU{number}");
    }
}

/// Returns how many still points and how many grace periods there have been.
pub(crate) fn counters() -> (u64, u64) {
    let stats = Sim::grace_periods().stats();
    (Sim::stop_machine().stops(), stats.grace_periods)
}

/// A thread that takes the hotplug lock for reading again and again, and checks that no CPU comes
/// or goes meanwhile.
pub(crate) struct Watch {
    is_over: Flag,
    done: Flag,
}

impl Watch {
    /// Starts it on `cpu`, which stays online.
    pub(crate) fn start(cpu: CpuId) -> Watch {
        let watch = Watch {
            is_over: Flag::default(),
            done: Flag::default(),
        };
        let (is_over, done) = (watch.is_over.clone(), watch.done.clone());
        spawn("watches", cpu, move || {
            while !is_over.is_set() {
                if let Some(reader) = hotplug().try_cpus_read_lock() {
                    let before = Sim::masks().online();
                    sleep(Duration::from_micros(500));
                    assert_eq!(Sim::masks().online(), before, "under a reader");
                    drop(reader);
                }
                sleep(Duration::from_micros(20));
            }
            done.set();
        });
        sleep(Duration::from_micros(100));
        watch
    }

    /// Ends it.
    pub(crate) fn end(self) {
        self.is_over.set();
        self.done.sleep_until_set();
    }
}

#[test]
fn seven_go_with_one_still_point_and_one_grace_period() {
    Sim::run(CPUS, || {
        all_up(CPUS);
        for _ in 0..2 {
            let (stops, graces) = counters();
            let others = CpuMask::first_n(CPUS).without(&mask(&[0]));
            assert_eq!(hotplug().cpus_down(&others), Ok(()));
            assert_eq!(counters(), (stops + 1, graces + 1));
            check_online(CPUS, &[0]);
            // They are down: nothing is left to do.
            assert_eq!(hotplug().cpus_down(&others), Ok(()));
            assert_eq!(counters(), (stops + 1, graces + 1));
            all_up(CPUS);
        }
        check_online(CPUS, &[0, 1, 2, 3, 4, 5, 6, 7]);
    });
}

/// How many grace periods there were before the CPUs of
/// `the_grace_period_begins_when_none_is_active` began to go.
static BEFORE: AtomicU64 = AtomicU64::new(0);

#[test]
fn the_grace_period_begins_when_none_is_active() {
    fn look(step: usize, direction: Direction) {
        let began = counters().1 - BEFORE.load(Ordering::Relaxed);
        match (hotplug().steps()[step].name, direction) {
            ("sched:active", Direction::Down) => assert_eq!(began, 0),
            ("sync:active", Direction::Down) => {
                assert_eq!(began, 1);
                assert_eq!(Sim::masks().active(), mask(&[0]));
            }
            _ => {}
        }
    }
    Sim::run(4, || {
        all_up(4);
        BEFORE.store(counters().1, Ordering::Relaxed);
        Sim::script(|script| script.before_step = Some(look));
        assert_eq!(hotplug().cpus_down(&mask(&[1, 2, 3])), Ok(()));
        check_online(4, &[0]);
    });
}

/// Installs a step that refuses to be taken back on CPU `number`.
fn refuses_on(number: usize) -> StepHandle<Sim> {
    let stop_fn = move |on: CpuId| {
        if on.index() == number {
            return Err(Errno::Busy);
        }
        Ok(())
    };
    let callbacks = Callbacks::enable(None, Some(Box::new(stop_fn)));
    installed("refuses", Place::Enable, callbacks, Passing::Called)
}

#[test]
fn those_that_may_not_go_or_fail_leave_the_set() {
    Sim::run(5, || {
        all_up(5);
        let step = refuses_on(3);
        let (stops, _) = counters();
        let failed = hotplug().cpus_down(&mask(&[1, 2, 3, 4, 7]));
        let failed = failed.expect_err("two of them can't");
        assert_eq!(counters().0, stops + 1);
        assert_eq!(failed.cpus(), mask(&[3, 7]));
        assert_eq!(failed.of(cpu(1)), None);
        assert_eq!(failed.of(cpu(7)), Some(&CpuDownError::NoSuchCpu(7)));
        let Some(CpuDownError::Step {
            cpu: on,
            step: at,
            error,
        }) = failed.of(cpu(3))
        else {
            panic!("{failed:?}");
        };
        assert_eq!((*on, at.name()), (cpu(3), "refuses"));
        assert_eq!(*error, StepError::Refused(Errno::Busy));
        assert_eq!(failed.errno(), Errno::Busy);
        check_online(5, &[0, 3]);
        // Nobody is left in the set: there is no still point.
        let (stops, _) = counters();
        assert!(hotplug().cpus_down(&mask(&[3])).is_err());
        assert_eq!(counters().0, stops);
        assert!(step.remove(Passing::Called).is_ok());
        assert_eq!(hotplug().cpus_down(&mask(&[3])), Ok(()));
        check_online(5, &[0]);
    });
}

#[test]
fn a_batch_is_refused_while_hotplug_is_disabled() {
    Sim::run(3, || {
        all_up(3);
        let guard = hotplug().disable().expect("no operation is under way");
        let down = hotplug().cpus_down(&mask(&[1, 2]));
        let down = down.expect_err("hotplug is disabled");
        assert_eq!((down.cpus(), down.errno()), (mask(&[1, 2]), Errno::Busy));
        drop(guard);
        check_online(3, &[0, 1, 2]);
    });
}

/// Firmware doesn't turn the CPUs off, and one doesn't say DEAD.
#[test]
fn each_that_is_not_seen_off_is_quarantined() {
    Sim::run(3, || {
        set_limits();
        all_up(3);
        Sim::script(|script| script.off = Off::After(NEVER));
        let failed = hotplug().cpus_down(&mask(&[1, 2]));
        let failed = failed.expect_err("they are not off");
        for number in [1, 2] {
            let wanted = CpuDownError::NotOff {
                cpu: cpu(number),
                refused: None,
            };
            assert_eq!(failed.of(cpu(number)), Some(&wanted));
        }
        Sim::heal();
        assert_eq!(hotplug().cpus_down(&mask(&[1, 2])), Ok(()));
        check_online(3, &[0]);
        Sim::script(|script| script.off = Off::Parks(PsciError::Denied));
        all_up(3);
        assert_eq!(hotplug().cpus_down(&mask(&[1, 2])), Ok(()));
        for number in [1, 2] {
            let health = hotplug().health(cpu(number));
            assert!(matches!(health, CpuHealth::Parked(_)), "{health:?}");
        }
    });
}

/// The thread that takes CPUs down runs on one of them.
#[test]
fn the_caller_moves_away_from_the_cpus_that_go() {
    Sim::run(4, || {
        all_up(4);
        let done = Arc::new(Completion::<Sim>::new());
        let theirs = Arc::clone(&done);
        let thread = spawn("goes", cpu(2), move || {
            assert_eq!(Sim::this_cpu(), cpu(2));
            assert_eq!(hotplug().cpus_down(&mask(&[1, 2])), Ok(()));
            theirs.complete();
        });
        done.wait();
        drop(thread);
        check_online(4, &[0, 3]);
    });
}

/// Throws a ball from CPU to CPU, until one goes that is not to be called any more.
fn throw(lost: &Arc<AtomicU32>, over: &Arc<AtomicBool>, to: usize) {
    let (their_lost, their_over) = (Arc::clone(lost), Arc::clone(over));
    let called = Sim::calls().call_on_nowait(cpu(to), move || {
        let me = Sim::this_cpu().index();
        if !their_over.load(Ordering::Relaxed) {
            throw(&their_lost, &their_over, 3 - me);
        }
        if Sim::is_closed() {
            // In a stop the other CPU gets the turn before this function returns.
            Sim::relax();
        }
    });
    if called == Err(CallError::Offline(cpu(to))) {
        lost.fetch_add(1, Ordering::Relaxed);
    }
}

/// Two CPUs that call each other go in one still point. Each call runs, or is refused.
#[test]
fn calls_between_cpus_that_go_together_run_or_are_refused() {
    const BALLS: u32 = 4;
    Sim::run(3, || {
        for _ in 0..20 {
            all_up(3);
            let lost = Arc::new(AtomicU32::new(0));
            let over = Arc::new(AtomicBool::new(false));
            for ball in 0..BALLS {
                throw(&lost, &over, 1 + ball as usize % 2);
            }
            assert_eq!(hotplug().cpus_down(&mask(&[1, 2])), Ok(()));
            over.store(true, Ordering::Relaxed);
            assert_eq!(
                lost.load(Ordering::Relaxed),
                BALLS,
                "calls that were refused"
            );
            assert_eq!(Arc::strong_count(&lost), 1, "a call is left in a queue");
        }
    });
}

/// A callback would wait for itself: nothing happens, for any of the CPUs.
#[test]
fn a_batch_inside_a_callback_is_refused() {
    Sim::run(3, || {
        all_up(3);
        let refused = Arc::new(AtomicUsize::new(0));
        let theirs = Arc::clone(&refused);
        let start_fn = move |_: CpuId| {
            let down = hotplug().cpus_down(&mask(&[1, 2]));
            let down = down.expect_err("it would wait for itself");
            let all = down.failed().iter();
            let mut errors = all.map(|(_, error)| error);
            assert!(errors.all(|error| matches!(error, CpuDownError::WouldDeadlock(_))));
            theirs.fetch_add(down.failed().len(), Ordering::Relaxed);
            Ok(())
        };
        let callbacks = Callbacks::enable(Some(Box::new(start_fn)), None);
        let step = installed("inside", Place::Enable, callbacks, Passing::Called);
        assert_eq!(refused.load(Ordering::Relaxed), 2 * 3);
        check_online(3, &[0, 1, 2]);
        step.keep();
    });
}
