//! Each line that may be told of a stop that takes long, on the simulated machine: what the stop
//! waits for, how far each CPU has come, and what is in its way.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use stillpoint::cpu::CpuId;
use stillpoint::platform::{Platform, PreemptWork};
use stillpoint::sched::{SchedHost, ThreadState, Timer};
use stillpoint::smp::call::CallHost;
use stillpoint::stop_machine::{StopError, StopMode, StopRequest, StopWork};
use stillpoint::sync::{LocalCpu, PreemptGuard};

use crate::affinity::spawn;
use crate::batches::{cpu, hotplug, mask};
use crate::deadlines::{Flag, sleep};
use crate::inactive::{remove, stopping};
use crate::sim::Sim;
use crate::stops::{late_stop, stop, with_all_up};
use crate::stops_flush::computes_until_flush;

const CPUS: usize = 4;
/// Longer than what is called late, and not twice as long, in nanoseconds.
const LONG: u64 = 15_000_000_000;
/// When a CPU is held up, and when another one comes or a stop is given up, from the call for the stop.
const SOON: Duration = Duration::from_millis(2);
const LATER_NS: u64 = 4_000_000;
const LATER: Duration = Duration::from_nanos(LATER_NS);
/// A deadline that no stop here misses.
const PATIENT: Duration = Duration::from_secs(60);

/// What was told since it was taken last. One test at a time has it.
static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn take_told() -> Vec<String> {
    let mut told = std::mem::take(&mut *TOLD.lock().expect("no panic under it"));
    for line in &mut told {
        *line = line.replace("host_hotplug::stops_lines::", "");
    }
    told
}

/// Has `cpu`, which is this CPU, not run for long.
fn hold_here() {
    Sim::hold_cpu(Sim::this_cpu(), LONG);
}

/// Has a timer of `cpu` hold that up from [`SOON`] on.
fn hold_up_in_timer(cpu: CpuId) -> Arc<Timer<Sim>> {
    let timer = Arc::new(Timer::<Sim>::new(hold_here));
    let set = Flag::default();
    let theirs = (Arc::clone(&timer), set.clone());
    spawn("sets", cpu, move || {
        theirs.0.start(Sim::deadline(SOON));
        theirs.1.set();
    });
    set.sleep_until_set();
    timer
}

fn hold_two() {
    Sim::hold_cpu(cpu(3), LONG);
    hold_here();
}

/// Starts a thread on CPU 0 that computes for long, and takes interrupts.
fn computes_here() {
    computes_until_flush("holder", cpu(0), || {
        for _ in 0..100 {
            Sim::hold_cpu(cpu(0), LONG / 100);
            Sim::relax();
        }
    });
}

/// Starts a thread on CPU 1 that goes on, with or without preemption, until `is_asked_fn` returns true,
/// and is held up then.
fn holds_on(preemption: bool, is_asked_fn: impl Fn() -> bool + Send + 'static) {
    let runs = Flag::default();
    let theirs = runs.clone();
    spawn("holder", cpu(1), move || {
        let off = (!preemption).then(PreemptGuard::<Sim>::new);
        theirs.set();
        while !is_asked_fn() {
            Sim::relax();
        }
        hold_here();
        drop(off);
    });
    runs.sleep_until_set();
}

/// Returns whether the stopper of CPU 1 has been woken.
fn is_asked() -> bool {
    let stopper = stop().stopper(cpu(1)).thread().expect("it was made");
    stopper.state_racy() == ThreadState::Runnable
}

fn stop_on(on: usize, call_fn: impl FnOnce() + Send) {
    let still = stop().lock();
    assert!(stop().stop_on(&still, cpu(on), call_fn).is_ok());
}

fn stop_here() {
    stop_on(0, || ());
}

/// How a stop is held up, and what is told then: the first line, that of each CPU, and that of the
/// one that is waited for.
type Scene = (fn(), &'static str, &'static str, (usize, &'static str));

const SCENES: [Scene; 12] = [
    (
        || {
            Sim::hold_cpu(cpu(1), LONG);
            stop_here();
        },
        "CPUs 1 have not come yet to the stop that main has asked for",
        "is in PREPARE",
        (
            1,
            "has not come: idle/1 (IRQs are masked, or it is not run)",
        ),
    ),
    (
        || {
            holds_on(false, is_asked);
            stop_here();
        },
        "CPUs 1 have not come yet to the stop that main has asked for",
        "is in PREPARE",
        (1, "has not come: holder (preemption is off)"),
    ),
    (
        || {
            assert_eq!(Sim::calls().call_on_nowait(cpu(1), hold_here), Ok(()));
            stop_here();
        },
        "CPUs 1 have not come yet to the stop that main has asked for",
        "is in PREPARE",
        (1, "has not come: stopper/1 (runs the call hold_here)"),
    ),
    (
        || {
            let _timer = hold_up_in_timer(cpu(1));
            sleep(LATER);
            stop_here();
        },
        "CPUs 1 have not come yet to the stop that main has asked for",
        "is in PREPARE",
        (
            1,
            "has not come: idle/1 (runs the function of the timer hold_here)",
        ),
    ),
    (
        || {
            let work = StopWork::<Sim>::leak(|_| hold_here());
            assert_eq!(stop().stop_one_cpu_nowait(cpu(1), work), Ok(()));
            stop_here();
        },
        "CPUs 1 have not come yet to the stop that main has asked for",
        "is in PREPARE",
        (
            1,
            "has not come: stopper/1 (does another work of its stopper)",
        ),
    ),
    // It has come, and the last one comes later.
    (
        || {
            let _timer = hold_up_in_timer(cpu(1));
            Sim::hold_cpu(cpu(3), LATER_NS);
            stop_here();
        },
        "CPUs 1 have not come to a stop for 10 s, which main has asked for, and the machine waits",
        "is in DISABLE_IRQ",
        (
            1,
            "is in PREPARE: stopper/1 (runs the function of the timer hold_here)",
        ),
    ),
    (
        || stop_on(2, hold_here),
        "CPUs 2 have run hold_here for 10 s, as main has asked, and the machine waits",
        "is in DISABLE_IRQ",
        (2, "is in RUN: stopper/2"),
    ),
    // CPU 3 doesn't sleep, and the function doesn't run there.
    (
        || {
            stop().set_spins(Some(1000));
            stop_on(2, hold_two);
            stop().set_spins(None);
        },
        "CPUs 2 have run hold_two for 10 s, as main has asked, and the machine waits",
        "is in DISABLE_IRQ",
        (2, "is in RUN: stopper/2"),
    ),
    (
        || {
            let timer = Timer::<Sim>::new(hold_here);
            stop_on(1, || timer.start(Sim::now()));
        },
        "CPUs 1 have not left the stop yet that main has asked for",
        "has left",
        (
            1,
            "is in EXIT: stopper/1 (runs the function of the timer hold_here)",
        ),
    ),
    // CPU 1 doesn't come, and CPU 2 doesn't see that the stop is given up.
    (
        || {
            let _timer = hold_up_in_timer(cpu(2));
            holds_on(false, is_asked);
            let stopped = late_stop(&StopRequest::new().before(Sim::deadline(LATER)));
            assert!(matches!(stopped, Err(StopError::Late(_))), "{stopped:?}");
        },
        "CPUs 2 have not left the stop yet that main has asked for",
        "has left",
        (
            2,
            "is in ABORT: stopper/2 (runs the function of the timer hold_here)",
        ),
    ),
    (
        || {
            holds_on(true, || Sim::has_preempt_work(PreemptWork::Flush));
            let request = StopRequest::new().mode(StopMode::FlushPreempted);
            assert_eq!(late_stop(&request.before(Sim::deadline(PATIENT))), Ok(1));
        },
        "CPUs 1 have not given preempted threads their time yet, for the stop that main has asked \
         for",
        "is in FLUSH",
        (1, "is in FLUSH: holder (does not give its CPU away)"),
    ),
    // The CPU that tells is the one.
    (
        || {
            computes_here();
            let request = StopRequest::new().mode(StopMode::FlushPreempted);
            assert_eq!(late_stop(&request.before(Sim::deadline(PATIENT))), Ok(1));
        },
        "CPUs 0 have not given preempted threads their time yet, for the stop that main has asked \
         for",
        "is in FLUSH",
        (0, "is in FLUSH: holder (does not give its CPU away)"),
    ),
];

/// The sources of what is told.
const SOURCES: [&str; 3] = [
    include_str!("../../src/stop_machine/late_stop.rs"),
    include_str!("../../src/stop_machine/not_come.rs"),
    include_str!("../../src/stop_machine/multi_stop.rs"),
];

/// Returns the texts that `source` has for what is displayed.
fn texts(source: &str) -> impl Iterator<Item = String> {
    let displays = source.split("impl fmt::Display for").skip(1);
    let bodies = displays.filter_map(|part| part.split("\n}\n").next());
    let quoted = bodies.flat_map(|body| body.split('"').skip(1).step_by(2));
    // Some go on in the next line.
    quoted.map(|text| text.split("\\\n").map(str::trim_start).collect())
}

/// Returns whether `line` has the parts of `text` that stand beside its `{}`, in their order.
fn has(line: &str, text: &str) -> bool {
    let mut rest = line;
    text.split('{').enumerate().all(|(nth, part)| {
        let part = if nth == 0 {
            part
        } else {
            part.split_once('}').expect("it is closed").1
        };
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
        true
    })
}

#[test]
fn each_line_is_told_and_no_other() {
    with_all_up(|| {
        let me = Sim::sched().current();
        assert_eq!(Sim::sched().set_affinity(&me, &mask(&[0])), Ok(()));
        let read = |line| TOLD.lock().expect("no panic under it").push(line);
        Sim::script(|script| script.reads_line = Some(read));
        let mut all = Vec::new();
        for (scene_fn, heading, each, (late, of_late)) in SCENES {
            scene_fn();
            let mut expected = vec![heading.to_owned()];
            let line = |cpu| if cpu == late { of_late } else { each };
            expected.extend((0..CPUS).map(|cpu| format!("CPU{cpu} {}", line(cpu))));
            assert_eq!(take_told(), expected);
            all.extend(expected);
        }
        // Once in each state.
        Sim::hold_cpu(cpu(1), 3 * LONG);
        stop_on(2, hold_here);
        let mut headings = take_told();
        headings.retain(|line| line.starts_with("CPUs"));
        assert_eq!(headings, [SCENES[0].1, SCENES[6].1]);
        Sim::script(|script| script.reads_line = None);
        // An error has words of its own for a CPU.
        holds_on(false, is_asked);
        let stopped = late_stop(&StopRequest::new().before(Sim::deadline(SOON)));
        all.push(stopped.expect_err("CPU 1 doesn't come").to_string());
        for text in SOURCES.into_iter().flat_map(texts) {
            let is_told = all.iter().any(|line| has(line, &text));
            assert!(is_told, "no scene has this told: {text}");
        }
    });
}

#[test]
fn of_a_cpu_that_does_not_leave_the_caller_tells_once() {
    with_all_up(|| {
        Sim::take_notes();
        let timer = Timer::<Sim>::new(|| Sim::hold_cpu(Sim::this_cpu(), 3 * LONG));
        stop_on(1, || timer.start(Sim::now()));
        assert_eq!(Sim::take_notes(), ["CPU0 waits for CPUs 1 in Exit"]);
    });
}

/// Calls wait for two of the CPUs, so they are woken when the last one has come: long after it was
/// told of.
#[test]
fn a_cpu_that_is_woken_to_go_on_tells_nothing_more() {
    with_all_up(|| {
        let me = Sim::sched().current();
        assert_eq!(Sim::sched().set_affinity(&me, &mask(&[0])), Ok(()));
        Sim::take_notes();
        Sim::script(|script| script.calls_on_their_way = true);
        for number in [2, 3] {
            assert_eq!(Sim::calls().call_on_nowait(cpu(number), || ()), Ok(()));
        }
        Sim::hold_cpu(cpu(1), LONG);
        stop_here();
        Sim::script(|script| script.calls_on_their_way = false);
        assert_eq!(Sim::take_notes(), ["CPU0 waits for CPUs 1 in Prepare"]);
    });
}

/// Returns what is told of works that take long while `works_fn` runs.
fn told_of_works(works_fn: impl FnOnce()) -> Vec<String> {
    Sim::take_notes();
    works_fn();
    let mut notes = Sim::take_notes();
    notes.retain(|note| note.contains("waits for works"));
    notes
}

#[test]
fn works_that_take_long_are_told_of() {
    with_all_up(|| {
        let told = told_of_works(|| {
            Sim::hold_cpu(cpu(1), LONG);
            assert_eq!(stop().stop_one_cpu(cpu(1), || ()), Ok(()));
        });
        assert_eq!(told, ["CPU0 waits for works of CPUs 1: [NotCome]"]);
        let told = told_of_works(|| assert_eq!(stop().stop_one_cpu(cpu(1), hold_here), Ok(())));
        assert_eq!(told, ["CPU0 waits for works of CPUs 1: [In(Run)]"]);
        // One has ended, one has begun, and one has not.
        let told = told_of_works(|| {
            Sim::hold_cpu(cpu(3), LONG);
            let still = stop().lock();
            let ran_on = stop().stop_cpus(&still, &mask(&[1, 2, 3]), &|on| {
                if on == cpu(2) {
                    hold_here();
                }
            });
            assert_eq!(ran_on, mask(&[1, 2, 3]));
        });
        let wanted = "CPU0 waits for works of CPUs 2-3: [In(Run), NotCome]";
        assert_eq!(told, [wanted]);
    });
}

/// In a later stop a CPU is seen where it is in that, whatever it did as it came.
#[test]
fn a_cpu_that_has_stopped_the_machine_as_it_came_is_named_later() {
    with_all_up(|| {
        let me = Sim::sched().current();
        assert_eq!(Sim::sched().set_affinity(&me, &mask(&[0])), Ok(()));
        let step = stopping(|_| {
            let stopped = stop().stop_from_inactive(&StopRequest::new(), || ());
            assert!(stopped.is_ok());
        });
        assert_eq!(hotplug().cpu_down(cpu(1)), Ok(()));
        assert_eq!(hotplug().cpu_up(cpu(1)), Ok(()));
        let _timer = hold_up_in_timer(cpu(1));
        Sim::hold_cpu(cpu(3), LATER_NS);
        Sim::take_notes();
        stop_here();
        assert_eq!(Sim::take_notes(), ["CPU0 late in DisableIrq: 1, for main"]);
        remove(step);
    });
}
