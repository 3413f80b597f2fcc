//! Threads whose last allowed CPU goes: where they may run then, and what is logged.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::hotplug::HotplugHost;
use stillpoint::platform::Platform;
use stillpoint::sched::lock::Completion;
use stillpoint::sched::{Class, SchedHost, Thread, ThreadName};
use stillpoint::sync::LocalCpu;
use stillpoint::time::Instant;

use crate::sim::Sim;

/// Starts a thread on `cpu`.
pub(crate) fn spawn(
    name: &str,
    cpu: CpuId,
    body: impl FnOnce() + Send + 'static,
) -> Arc<Thread<Sim>> {
    let name = ThreadName::new(format_args!("{name}"));
    let spawned = Sim::sched().spawn(name, Class::Normal, &CpuMask::of(cpu), body);
    spawned.expect("the CPU is active")
}

/// Returns every line of the log.
static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Whether the thread `urgent` has run since it was woken.
static RAN: AtomicBool = AtomicBool::new(false);
/// The same when the line about it was out.
static RAN_MEANWHILE: AtomicBool = AtomicBool::new(false);

struct Lines;

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = record.args().to_string();
        if line.starts_with("thread ") {
            // With IRQs masked no other thread of the CPU would run as long as a slow console
            // takes.
            assert!(Sim::irqs_enabled(), "{line}: IRQs are masked");
        }
        if line.starts_with("thread urgent ") {
            // A slow console: the other CPUs act meanwhile.
            (0..1000).for_each(|_| Sim::relax());
            RAN_MEANWHILE.store(RAN.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        LINES.lock().expect("no panic under it").push(line);
    }

    fn flush(&self) {}
}

/// Has the log's lines kept, for [`log_lines`].
pub(crate) fn start_log() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        log::set_logger(&Lines).expect("the only one");
        log::set_max_level(log::LevelFilter::Warn);
    });
}

/// Returns the rest of the lines that begin with `prefix`, of all tests.
pub(crate) fn log_lines(prefix: &str) -> Vec<String> {
    let lines = LINES.lock().expect("no panic under it");
    lines
        .iter()
        .filter_map(|line| line.strip_prefix(prefix).map(String::from))
        .collect()
}

/// Returns the lines of the log about thread `name`.
pub(crate) fn said(name: &str) -> Vec<String> {
    log_lines(&format!("thread {name} "))
}

fn cpu(number: usize) -> CpuId {
    CpuId::new(number).expect("a CPU of the machine")
}

/// Waits until `check_fn` returns true. Time is virtual, so the machine finds an endless wait.
fn until(check_fn: impl Fn() -> bool) {
    while !check_fn() {
        Sim::sched().sleep_until(Sim::deadline(Duration::from_micros(100)));
    }
}

#[test]
fn a_thread_that_takes_its_only_cpu_down_may_run_anywhere() {
    start_log();
    Sim::run(3, || {
        let hotplug = Sim::hotplug();
        assert_eq!(hotplug.cpu_up(cpu(1)), Ok(()));
        let done = Arc::new(Completion::<Sim>::new());
        let told = Arc::clone(&done);
        let thread = spawn("itself", cpu(1), move || {
            assert_eq!(hotplug.cpu_down(cpu(1)), Ok(()));
            told.complete();
            Sim::sched().sleep_until(Sim::deadline(Duration::from_secs(1)));
        });
        done.wait();
        assert_eq!(thread.affinity(), CpuMask::first_n(3));
        assert_eq!(said("itself"), ["no longer affine to cpu1"]);
    });
}

#[test]
fn a_thread_that_takes_one_of_its_cpus_down_keeps_the_others() {
    start_log();
    Sim::run(3, || {
        let hotplug = Sim::hotplug();
        for number in 1..3 {
            assert_eq!(hotplug.cpu_up(cpu(number)), Ok(()));
        }
        let both: CpuMask = [1, 2].map(cpu).into_iter().collect();
        let done = Arc::new(Completion::<Sim>::new());
        let told = Arc::clone(&done);
        let thread = spawn("one of two", cpu(1), move || {
            let me = Sim::sched().current();
            assert_eq!(Sim::sched().set_affinity(&me, &both), Ok(()));
            assert_eq!(hotplug.cpu_down(Sim::this_cpu()), Ok(()));
            told.complete();
            Sim::sched().sleep_until(Sim::deadline(Duration::from_secs(1)));
        });
        done.wait();
        assert_eq!(thread.affinity(), both);
        assert_eq!(said("one of two"), [""; 0]);
    });
}

/// The thread last ran on CPU 0, and its affinity was set to CPU 1 while it slept.
#[test]
fn the_log_names_the_cpu_that_went() {
    start_log();
    Sim::run(2, || {
        let hotplug = Sim::hotplug();
        assert_eq!(hotplug.cpu_up(cpu(1)), Ok(()));
        let go_on = Arc::new(Completion::<Sim>::new());
        let waits = Arc::clone(&go_on);
        let thread = spawn("sleeper", cpu(0), move || waits.wait());
        until(|| thread.state_racy() == stillpoint::sched::ThreadState::Blocked);
        assert_eq!(
            Sim::sched().set_affinity(&thread, &CpuMask::of(cpu(1))),
            Ok(())
        );
        assert_eq!(hotplug.cpu_down(cpu(1)), Ok(()));
        go_on.complete();
        until(|| thread.affinity() == CpuMask::first_n(2) && !said("sleeper").is_empty());
        assert_eq!(said("sleeper"), ["no longer affine to cpu1"]);
    });
}

/// A line takes milliseconds on a slow console.
#[test]
fn a_thread_whose_cpu_went_does_not_wait_for_the_line_about_it() {
    start_log();
    Sim::run(3, || {
        let hotplug = Sim::hotplug();
        for number in 1..3 {
            assert_eq!(hotplug.cpu_up(cpu(number)), Ok(()));
        }
        let thread = spawn("urgent", cpu(1), || {
            Sim::sched().wait_permit(Instant::FOREVER);
            RAN.store(true, Ordering::Relaxed);
        });
        until(|| thread.state_racy() == stillpoint::sched::ThreadState::Blocked);
        assert_eq!(hotplug.cpu_down(cpu(1)), Ok(()));
        Sim::sched().give_permit(&thread);
        until(|| RAN.load(Ordering::Relaxed) && !said("urgent").is_empty());
        assert_eq!(said("urgent"), ["no longer affine to cpu1"]);
        assert!(RAN_MEANWHILE.load(Ordering::Relaxed), "it ran on CPU 2");
    });
}

#[test]
fn a_thread_whose_cpu_went_goes_to_an_idle_one() {
    start_log();
    Sim::run(3, || {
        let hotplug = Sim::hotplug();
        for number in 1..3 {
            assert_eq!(hotplug.cpu_up(cpu(number)), Ok(()));
        }
        let thread = spawn("guest", cpu(1), || {
            Sim::sched().wait_permit(Instant::FOREVER);
        });
        until(|| thread.state_racy() == stillpoint::sched::ThreadState::Blocked);
        assert_eq!(hotplug.cpu_down(cpu(1)), Ok(()));
        Sim::sched().give_permit(&thread);
        assert_eq!(thread.cpu(), cpu(2), "CPU 0 runs this");
    });
}

/// While the machine boots no CPU is active, and threads are woken all the same.
#[test]
fn no_thread_parts_from_its_cpus_at_boot() {
    start_log();
    Sim::run(2, || {
        // A CPU logs what it has noted when it is idle.
        Sim::sched().sleep_until(Sim::deadline(Duration::from_millis(1)));
        assert_eq!(said("main"), [""; 0]);
    });
}
