//! Operations with every answer of CPUs and firmware, late answers and none. `failures.rs` has
//! the checks that are made after each.

use std::ops::Range;
use std::process::Command;

use stillpoint::hotplug::{ALL_UP, ApRefusal, HotplugHost, UP_TO_ALIVE, UP_TO_ONLINE};
use stillpoint::platform::{PowerState, PsciError};
use stillpoint::trace::Direction;

use crate::failures::{ERRORS, MS, down, recover, set_limits, step, up};
use crate::sim::{NEVER, Off, On, Script, Sim};

fn scripts() -> Vec<Script> {
    use Direction::{Down, Up};
    let good = Script::good();
    let mut scripts = Vec::new();
    let starts = 2_000;
    // CPU_ON: each answer, once or every time; no start; a start that comes too late; an
    // error although the CPU starts.
    let answers = ERRORS
        .iter()
        .flat_map(|error| {
            let refused = On {
                answer: Err(*error),
                starts: NEVER,
            };
            let lie = On { starts, ..refused };
            [
                vec![refused],
                vec![refused, good.on[0]],
                vec![lie],
                vec![lie, refused],
            ]
        })
        .chain([NEVER, 20 * MS, 40 * MS].map(|starts| {
            vec![On {
                answer: Ok(()),
                starts,
            }]
        }))
        .map(|on| Script {
            on: on.into(),
            ..good.clone()
        });
    scripts.extend(answers);

    let offs = [
        Off::After(0),
        Off::After(2 * MS),
        Off::After(20 * MS),
        Off::After(NEVER),
        Off::Parks(PsciError::Denied),
        Off::Halts(PsciError::InternalFailure),
    ];
    // The steps that control does while the CPU comes up.
    let meanwhile = step("prep:hardware") + 1..step("prep:threads") + 1;
    assert_eq!(step("prep:slot"), meanwhile.end);
    assert_eq!(step("sync:timers"), step("sync:alive") + 1);
    assert_eq!(step("sync:timers") + 1, UP_TO_ALIVE);
    let refusals = [None, Some(ApRefusal::WrongMpidr)];
    // The CPU is late or doesn't answer, at each wait of control.
    for off in offs {
        for refuses in refusals {
            for arrives_after in [0, 20 * MS, 40 * MS, NEVER] {
                for dies_after in [0, 10 * MS, 20 * MS, NEVER] {
                    let (first, last) = (meanwhile.start, meanwhile.end - 1);
                    for fails in [vec![], vec![(first, Up)], vec![(last, Up)]] {
                        scripts.push(Script {
                            off,
                            refuses,
                            arrives_after,
                            dies_after,
                            fails,
                            ..good.clone()
                        });
                    }
                }
            }
        }
    }
    // Each step in thread context fails, in both directions, and another one on the way back.
    let mut failures: Vec<Vec<(usize, Direction)>> =
        meanwhile.map(|step| vec![(step, Up)]).collect();
    let table = Sim::steps();
    let fixed = |rows: Range<usize>| rows.filter(|row| !table[*row].is_slot());
    for step in fixed(UP_TO_ONLINE..ALL_UP) {
        failures.extend([Up, Down].map(|direction| vec![(step, direction)]));
        failures.extend(fixed(UP_TO_ONLINE..step).map(|second| vec![(step, Up), (second, Down)]));
        failures.extend(fixed(step + 1..ALL_UP).map(|second| vec![(step, Down), (second, Up)]));
    }
    for fails in failures {
        for dies_after in [0, 20 * MS, NEVER] {
            for off in [offs[0], offs[3], offs[4]] {
                scripts.push(Script {
                    off,
                    dies_after,
                    fails: fails.clone(),
                    ..good.clone()
                });
            }
        }
    }
    // AFFINITY_INFO: each answer.
    let answers = [PowerState::On, PowerState::Off, PowerState::OnPending]
        .map(Ok)
        .into_iter()
        .chain(ERRORS.map(Err));
    for affinity in answers {
        for refuses in refusals {
            scripts.push(Script {
                affinity: Some(affinity),
                refuses,
                ..good.clone()
            });
        }
    }
    scripts
}

/// The environment variable that has this process run the scripts itself.
const ITSELF: &str = "SWEEP_ITSELF";

/// Runs every script, on the way up and on the way down. It does so in a process of its own: 6,600
/// host threads are left behind, and a process of Linux may have 16,000 (`vm.max_map_count`, with
/// four mappings for each).
#[test]
fn every_answer_and_every_silence() {
    if std::env::var_os(ITSELF).is_some() {
        return run(&scripts());
    }
    let test = concat!(module_path!(), "::every_answer_and_every_silence");
    let test = test
        .split_once("::")
        .expect("the program's name is in front");
    let child = Command::new(std::env::current_exe().expect("a path"))
        .args(["--exact", test.1, "--nocapture"])
        .env(ITSELF, "1")
        .output()
        .expect("the child runs");
    let said = String::from_utf8_lossy(&child.stdout);
    let complained = String::from_utf8_lossy(&child.stderr);
    assert!(
        child.status.success() && said.contains("1 passed"),
        "{said}{complained}"
    );
}

fn run(scripts: &[Script]) {
    println!("{} scripts", scripts.len());
    // A machine runs at most a hundred scripts, because its host threads are never freed.
    for some in scripts.chunks(100).map(<[Script]>::to_vec) {
        Sim::run(2, move || {
            set_limits();
            for script in some {
                println!("up, {script:?}");
                Sim::script(|now| now.clone_from(&script));
                let first = up();
                let _ = down();
                let second = up();
                let _ = (down(), up(), up());
                println!("  {first:?}, {second:?}");
                recover();

                println!("down, {script:?}");
                assert_eq!(up(), Ok(()));
                Sim::script(|now| now.clone_from(&script));
                let first = down();
                let second = down();
                let _ = (up(), down());
                println!("  {first:?}, {second:?}");
                recover();
            }
        });
    }
}
