//! Operations with a failure. Each ends in a typed error, the CPU's health agrees with the
//! error, the counters are balanced, and the next operation has a defined result. When CPUs
//! and firmware work again, the CPU comes up and goes down. This file has single failures;
//! `sweep.rs` tries all of them.

use std::time::Duration;

use stillpoint::cpu::CpuId;
use stillpoint::hotplug::{
    ALL_UP, ApRefusal, CpuDownError, CpuHealth, CpuUpError, Handshake, Hotplug, HotplugHost, Left,
    Parked, Quarantine, StepError, SyncState, UP_TO_ONLINE,
};
use stillpoint::platform::{Platform, PsciError};
use stillpoint::sched::SchedHost;
use stillpoint::trace::Direction;

use crate::affinity::spawn;
use crate::sim::{NEVER, Off, Sim};

/// The time limits. They are short, because firmware is asked every 100 µs.
const ARRIVE: Duration = Duration::from_millis(25);
pub(crate) const DIE: Duration = Duration::from_millis(15);
pub(crate) const OFF: Duration = Duration::from_millis(5);

pub(crate) const MS: u64 = 1_000_000;

pub(crate) const ERRORS: [PsciError; 10] = [
    PsciError::NotSupported,
    PsciError::InvalidParameters,
    PsciError::Denied,
    PsciError::AlreadyOn,
    PsciError::OnPending,
    PsciError::InternalFailure,
    PsciError::NotPresent,
    PsciError::Disabled,
    PsciError::InvalidAddress,
    PsciError::Unknown(-77),
];

fn victim() -> CpuId {
    CpuId::new(1).expect("a CPU of the machine")
}

/// Returns the index of the step `name`, which is also how many steps are up below it.
pub(crate) fn step(name: &str) -> usize {
    let mut names = Sim::steps().iter().map(|step| step.name);
    names
        .position(|one| one == name)
        .expect("a step of the table")
}

fn hotplug() -> &'static Hotplug<Sim> {
    Sim::hotplug()
}

fn word() -> SyncState {
    Handshake(Sim::handshake_word(victim())).state()
}

fn health() -> CpuHealth {
    hotplug().health(victim())
}

pub(crate) fn set_limits() {
    hotplug().set_arrival_limit(ARRIVE);
    hotplug().set_die_limit(DIE);
    hotplug().set_off_limit(OFF);
}

fn sleep(time: Duration) {
    Sim::sched().sleep_until(Sim::deadline(time));
}

/// Checks what must hold between any two operations.
fn check_rest() {
    let state = hotplug().state(victim());
    assert!(
        hotplug().is_balanced(victim()),
        "counters at {}",
        state.state()
    );
    let up = state.state();
    assert!(up == 0 || up >= UP_TO_ONLINE, "it rests at step {up}");
    assert_eq!(Sim::masks().is_online(victim()), up >= UP_TO_ONLINE);
    assert_eq!(Sim::masks().is_active(victim()), up == ALL_UP);
    match health() {
        CpuHealth::Online => assert_eq!(up, ALL_UP),
        CpuHealth::HalfWay(steps) => assert!(steps == up && up < ALL_UP && up > 0),
        _ => assert_eq!(up, 0),
    }
    let is_lost = match health() {
        CpuHealth::Unknown(_) => true,
        CpuHealth::Refused(error) => {
            matches!(error, PsciError::InvalidParameters | PsciError::NotPresent)
        }
        _ => false,
    };
    assert_eq!(hotplug().present().contains(victim()), !is_lost);
    assert!(hotplug().present().contains(CpuId::BOOT));
}

fn check_left(left: Left) {
    match left {
        Left::HalfWay(step) => {
            let CpuHealth::HalfWay(up) = health() else {
                panic!("{:?} after {left:?}", health());
            };
            assert_eq!(hotplug().last_up(up), Some(step));
        }
        Left::Quarantined(why) => assert_eq!(health(), CpuHealth::Unknown(why)),
    }
}

/// Brings the victim up, and checks that its health agrees with the result.
pub(crate) fn up() -> Result<(), CpuUpError> {
    let before = health();
    let began = Sim::time();
    let result = hotplug().cpu_up(victim());
    check_rest();
    let after = health();
    match result {
        Ok(()) => assert_eq!(after, CpuHealth::Online),
        Err(CpuUpError::NoSuchCpu(_) | CpuUpError::WouldDeadlock(_) | CpuUpError::Disabled(_)) => {
            panic!("{result:?}")
        }
        Err(CpuUpError::NotUndone { left, .. }) => check_left(left),
        Err(CpuUpError::Step { error, .. }) => match error {
            StepError::NeverArrived => {
                assert_eq!(after, CpuHealth::Unknown(Quarantine::NeverArrived));
            }
            StepError::RefusedItself(reason) => assert_eq!(after, CpuHealth::Failed(reason)),
            // The health is as before, or it is also known that the CPU refused itself.
            _ => assert!(
                after == before
                    || matches!(
                        after,
                        CpuHealth::Off
                            | CpuHealth::Failed(_)
                            | CpuHealth::Parked(_)
                            | CpuHealth::Refused(_)
                    )
                    || matches!(
                        (before, after),
                        (CpuHealth::Unknown(_), CpuHealth::Unknown(_))
                    ),
                "{before:?} became {after:?} by {error:?}"
            ),
        },
    }
    // Each limit counts once: to arrive, to store DEAD, and to be OFF, both for CPU_ON and at
    // the end.
    let most = ARRIVE + DIE + 3 * OFF + Duration::from_millis(2);
    let took = Duration::from_nanos(Sim::time() - began);
    assert!(took < most, "it took {took:?}");
    result
}

/// Takes the victim down, and checks that its health agrees with the result.
pub(crate) fn down() -> Result<(), CpuDownError> {
    let before = health();
    let result = hotplug().cpu_down(victim());
    check_rest();
    let after = health();
    match result {
        Ok(()) => assert!(
            matches!(
                after,
                CpuHealth::Off
                    | CpuHealth::Parked(_)
                    | CpuHealth::Failed(_)
                    | CpuHealth::Refused(_)
            ),
            "{after:?}"
        ),
        Err(CpuDownError::NotUndone { left, .. }) => check_left(left),
        Err(CpuDownError::NotDead { state, .. }) => {
            assert_eq!(after, CpuHealth::Unknown(Quarantine::NotDead(state)));
        }
        Err(CpuDownError::NotOff { refused, .. }) => {
            assert_eq!(after, CpuHealth::Unknown(Quarantine::NotOff(refused)));
        }
        Err(CpuDownError::Quarantined { quarantine, .. }) => {
            assert_eq!(after, CpuHealth::Unknown(quarantine));
            assert!(matches!(before, CpuHealth::Unknown(_)), "{before:?}");
        }
        Err(_) => assert_eq!(after, before),
    }
    result
}

/// Has CPUs and firmware work again, and checks that the victim can be taken down, whatever
/// its state is, and comes up and goes down again.
pub(crate) fn recover() {
    Sim::heal();
    sleep(Duration::from_millis(50));
    assert_eq!(down(), Ok(()));
    for _ in 0..2 {
        assert_eq!(up(), Ok(()));
        assert_eq!(down(), Ok(()));
    }
    assert_eq!(health(), CpuHealth::Off);
}

/// Runs a test on a machine whose victim is online.
fn with_victim(test: impl FnOnce() + Send + 'static) {
    Sim::run(2, move || {
        set_limits();
        assert_eq!(up(), Ok(()));
        test();
    });
}

#[test]
fn a_cpu_that_does_not_say_dead_is_quarantined_and_comes_back() {
    with_victim(|| {
        let cpu = victim();
        let state = SyncState::Online;
        Sim::script(|script| script.dies_after = NEVER);
        let error = CpuDownError::NotDead { cpu, state };
        assert_eq!(down(), Err(error));
        assert_eq!(error.errno().name(), "EIO");
        // The CPU may still run, so control neither starts it again nor dismisses it.
        let error = CpuUpError::Step {
            cpu,
            step: "prep:hardware".into(),
            error: StepError::NotDead(state),
        };
        assert_eq!(up(), Err(error));
        assert_eq!(error.errno().name(), "EAGAIN");
        let error = CpuDownError::Quarantined {
            cpu,
            quarantine: Quarantine::NotDead(state),
        };
        assert_eq!(down(), Err(error));
        assert_eq!(error.errno().name(), "EBUSY");
        // The CPU runs again, stores DEAD and goes off. Control sees that without an operation.
        Sim::heal();
        sleep(Duration::from_millis(1));
        assert_eq!(health(), CpuHealth::Off);
        assert_eq!(up(), Ok(()));
        assert_eq!(down(), Ok(()));
    });
}

#[test]
fn a_cpu_that_is_not_off_stays_quarantined() {
    with_victim(|| {
        let cpu = victim();
        Sim::script(|script| script.off = Off::After(NEVER));
        let refused = None;
        assert_eq!(down(), Err(CpuDownError::NotOff { cpu, refused }));
        let quarantine = Quarantine::NotOff(None);
        for _ in 0..2 {
            assert_eq!(down(), Err(CpuDownError::Quarantined { cpu, quarantine }));
            let error = StepError::Psci(PsciError::AlreadyOn);
            let step = "prep:hardware";
            assert_eq!(
                up(),
                Err(CpuUpError::Step {
                    cpu,
                    step: step.into(),
                    error
                })
            );
            assert_eq!(health(), CpuHealth::Unknown(quarantine));
        }
        recover();
    });
}

/// Firmware refuses CPU_ON: the CPU's state says so until firmware starts it.
#[test]
fn a_cpu_that_firmware_does_not_start_is_refused() {
    Sim::run(2, || {
        set_limits();
        assert_eq!(health(), CpuHealth::Off);
        for error in ERRORS {
            Sim::script(|script| {
                script.on[0].answer = Err(error);
                script.on[0].starts = NEVER;
            });
            let step = "prep:hardware".into();
            let failed = StepError::Psci(error);
            let cpu = victim();
            assert_eq!(
                up(),
                Err(CpuUpError::Step {
                    cpu,
                    step,
                    error: failed
                })
            );
            assert_eq!(health(), CpuHealth::Refused(error));
            assert_eq!(down(), Ok(()), "it is off");
            assert_eq!(health(), CpuHealth::Refused(error));
            // The next answer counts.
            recover();
        }
    });
}

#[test]
fn a_cpu_whose_cpu_off_returns_is_parked_and_comes_back() {
    with_victim(|| {
        for error in ERRORS {
            Sim::script(|script| script.off = Off::Parks(error));
            assert_eq!(down(), Ok(()));
            assert_eq!(health(), CpuHealth::Parked(Parked::Refused(error)));
            assert_eq!(down(), Ok(()));
            assert_eq!(up(), Ok(()));
        }
    });
}

#[test]
fn what_firmware_answered_is_told_where_the_pen_is_full() {
    with_victim(|| {
        let cpu = victim();
        for error in ERRORS {
            Sim::script(|script| script.off = Off::Halts(error));
            let refused = Some(error);
            let failed = CpuDownError::NotOff { cpu, refused };
            assert_eq!(down(), Err(failed));
            assert!(failed.to_string().contains(&error.to_string()), "{failed}");
            recover();
            assert_eq!(up(), Ok(()));
        }
    });
}

/// The limit to store DEAD counts once when control gives up a CPU that it has started and
/// dismissed.
#[test]
fn giving_up_takes_one_limit() {
    Sim::run(2, || {
        set_limits();
        Sim::script(|script| {
            script.arrives_after = NEVER;
            script.fails = vec![(step("prep:percpu"), Direction::Up)];
        });
        let began = Sim::time();
        let left = Left::Quarantined(Quarantine::NeverArrived);
        assert_eq!(
            up(),
            Err(CpuUpError::NotUndone {
                cpu: victim(),
                step: "prep:percpu".into(),
                error: StepError::Injected,
                left,
            })
        );
        let took = Duration::from_nanos(Sim::time() - began);
        assert!(
            took >= DIE && took < DIE + Duration::from_millis(2),
            "{took:?}"
        );
        recover();
    });
}

/// A reason that an earlier life stores after control has cleared the record doesn't count for
/// this life, although firmware returns OFF for a while after CPU_ON.
#[test]
fn a_reason_of_an_earlier_life_is_none() {
    Sim::run(2, || {
        set_limits();
        assert_eq!(up(), Ok(()));
        assert_eq!(down(), Ok(()));
        let earlier = Sim::life(victim());
        // The CPU comes to its entry after control has looked for a reason.
        Sim::script(|script| {
            script.on[0].starts = 15 * MS;
            script.early_off = true;
        });
        let writer = move || {
            while word() != SyncState::Kicked {
                Sim::sched().sleep_until(Sim::deadline(Duration::from_micros(10)));
            }
            Sim::leave_reason(victim(), earlier, ApRefusal::WrongMpidr);
        };
        spawn("writer", CpuId::BOOT, writer);
        assert_eq!(up(), Ok(()));
    });
}

/// Firmware is asked once more when the limit has passed while control did not run.
#[test]
fn a_cpu_that_is_off_is_found_so_however_late() {
    with_victim(|| {
        Sim::script(|script| {
            script.off = Off::After(MS);
            script.held_after_asking = 20 * MS;
        });
        assert_eq!(down(), Ok(()));
    });
}

#[test]
fn a_cpu_left_half_way_goes_on_up_or_down() {
    use Direction::{Down, Up};
    with_victim(|| {
        let cpu = victim();
        let error = StepError::Injected;
        let (threads, active) = (step("sched:threads"), step("sched:active"));
        for onward in [Up, Down] {
            // sched:threads fails on the way down, and sched:active on the way back.
            Sim::script(|script| script.fails = vec![(threads, Down), (active, Up)]);
            let step = "sched:threads";
            let left = Left::HalfWay("sync:active".into());
            assert_eq!(
                down(),
                Err(CpuDownError::NotUndone {
                    cpu,
                    step: step.into(),
                    error,
                    left,
                })
            );
            assert_eq!(health(), CpuHealth::HalfWay(active));
            if onward == Up {
                assert_eq!(up(), Ok(()));
            } else {
                assert_eq!(down(), Ok(()));
                assert_eq!(up(), Ok(()));
            }
        }
        // On the way up: sched:active fails, and sched:threads on the way back.
        assert_eq!(down(), Ok(()));
        for onward in [Up, Down] {
            Sim::script(|script| script.fails = vec![(active, Up), (threads, Down)]);
            let step = "sched:active";
            let left = Left::HalfWay("sched:threads".into());
            assert_eq!(
                up(),
                Err(CpuUpError::NotUndone {
                    cpu,
                    step: step.into(),
                    error,
                    left,
                })
            );
            if onward == Up {
                // It fails again, and the CPU's state stays as it is.
                Sim::script(|script| script.fails = vec![(active, Up)]);
                assert_eq!(
                    up(),
                    Err(CpuUpError::Step {
                        cpu,
                        step: step.into(),
                        error
                    })
                );
                assert_eq!(up(), Ok(()));
            }
            assert_eq!(down(), Ok(()));
        }
    });
}
