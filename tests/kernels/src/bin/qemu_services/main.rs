//! Services with a thread on each CPU: each call comes on its own CPU, whatever comes and goes
//! meanwhile; a service that refuses a CPU is undone; and all memory is free again.

//@ smp: 1 2 4 8 20
//@ timeout: 240

#![no_std]
#![no_main]

extern crate alloc;

#[path = "../../../../../examples/api/services.rs"]
mod example;
#[path = "../../../../../examples/api/residents.rs"]
mod resident;
mod residents;
mod storm;

stillpoint::entry!(main);

use alloc::sync::Arc;
use alloc::vec::Vec;

use stillpoint::api::Errno;
use stillpoint::api::cpu::{CpuId, current, online_racy, possible};
use stillpoint::api::hotplug::{
    CpuUpError, InstallError, Service, StepError, cpu_down, cpu_up, register_service,
};
use stillpoint::api::sync::Mutex;
use stillpoint::api::thread;

use kernel_support::ktap::Ktap;
use kernel_support::machine::{
    eventually, last_cpu, leave_and_return, masks_say, secondaries, states_say,
};
use kernel_support::memory::InUse;
use kernel_support::unharmed::same;

/// What a service was called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Setup,
    Unpark,
    Run,
    Park,
    Cleanup,
}

/// What services share with a test: their calls, and the CPU that they refuse.
struct Log {
    calls: Mutex<Vec<(usize, CpuId, Call)>>,
    refuses: Mutex<Option<CpuId>>,
    given: Mutex<Vec<CpuId>>,
}

impl Log {
    fn new() -> Arc<Log> {
        Arc::new(Log {
            calls: Mutex::new(Vec::new()),
            refuses: Mutex::new(None),
            given: Mutex::new(Vec::new()),
        })
    }
}

/// Service number `id`, which logs its calls.
struct Logs(usize, Arc<Log>);

impl Logs {
    fn call(&self, cpu: CpuId, call: Call) {
        // The end of a thread whose CPU is offline runs elsewhere.
        let is_there = current() == cpu;
        let may_be_elsewhere = call == Call::Cleanup && !online_racy().contains(cpu);
        assert!(is_there || may_be_elsewhere, "{call:?} for {cpu:?}");
        self.1.calls.lock().push((self.0, cpu, call));
    }
}

impl Service for Logs {
    fn setup(&self, cpu: CpuId) -> Result<(), Errno> {
        if *self.1.refuses.lock() == Some(cpu) {
            return Err(Errno::Busy);
        }
        self.call(cpu, Call::Setup);
        Ok(())
    }

    fn should_run(&self, cpu: CpuId) -> bool {
        self.1
            .given
            .try_lock()
            .is_some_and(|given| given.contains(&cpu))
    }

    fn run(&self, cpu: CpuId) {
        let mut given = self.1.given.lock();
        let at = given.iter().position(|it| *it == cpu);
        given.swap_remove(at.expect("it was asked"));
        drop(given);
        self.call(cpu, Call::Run);
    }

    fn park(&self, cpu: CpuId) {
        self.call(cpu, Call::Park);
    }

    fn unpark(&self, cpu: CpuId) {
        self.call(cpu, Call::Unpark);
    }

    fn cleanup(&self, cpu: CpuId) {
        self.call(cpu, Call::Cleanup);
    }
}

fn main() {
    let mut ktap = Ktap::new();
    // What is kept for ever, such as the threads of a CPU, is there after the first time.
    let cycled = leave_and_return(|| true);
    ktap.check(
        "the example of the documentation runs",
        cycled && example() && resident::count_seconds().is_ok(),
    );
    let before = InUse::settled();
    ktap.check("threads follow their CPUs, in order", follows());
    ktap.check("a service that refuses a CPU is undone", refuses());
    ktap.check("a CPU that a service refuses turns back", turns_back());
    ktap.check(
        "plain threads go on where they were",
        residents::they_go_on(),
    );
    ktap.check(
        "plain threads are called anew",
        residents::they_are_called_anew(),
    );
    ktap.check("services come and go in a storm", storm::storm());
    let all = possible();
    ktap.check("masks and counters", masks_say(&all) && states_say(&all));
    ktap.check("as much memory in use as before", before.is_back());
    ktap.finish()
}

fn example() -> bool {
    let Ok(worker) = example::start() else {
        return false;
    };
    example::give(&worker, current());
    let gave = leave_and_return(|| {
        for cpu in secondaries() {
            example::give(&worker, cpu);
        }
        true
    });
    let idle = || possible().iter().all(|cpu| !worker.should_run(cpu));
    gave && eventually(idle) && example::end(worker)
}

/// Returns the calls since the last time, once there are `count` of them.
fn take(log: &Log, count: usize) -> Vec<(usize, CpuId, Call)> {
    eventually(|| log.calls.lock().len() >= count);
    core::mem::take(&mut *log.calls.lock())
}

/// Returns `calls` of each of `services` for each of `cpus`.
fn each(cpus: &[CpuId], services: &[usize], calls: &[Call]) -> Vec<(usize, CpuId, Call)> {
    let mut all = Vec::new();
    for cpu in cpus {
        for service in services {
            all.extend(calls.iter().map(|call| (*service, *cpu, *call)));
        }
    }
    all
}

fn of_one(calls: &[(usize, CpuId, Call)], service: usize) -> Vec<(usize, CpuId, Call)> {
    let calls = calls.iter().filter(|call| call.0 == service);
    calls.copied().collect()
}

/// Checks that `found` is `wanted`, but that a thread is told that it may go on when its CPU
/// comes to it: in the order of its own calls, and in none among those of other CPUs.
fn same_order(
    what: &str,
    found: Vec<(usize, CpuId, Call)>,
    wanted: Vec<(usize, CpuId, Call)>,
) -> bool {
    let rest = |calls: &[(usize, CpuId, Call)]| {
        let rest = calls.iter().filter(|call| call.2 != Call::Unpark);
        rest.copied().collect::<Vec<_>>()
    };
    let by_cpu = |mut calls: Vec<(usize, CpuId, Call)>| {
        calls.sort_by_key(|call| call.1.index());
        calls
    };
    same(what, rest(&found), rest(&wanted)) && same(what, by_cpu(found), by_cpu(wanted))
}

/// Two services, of which the first has threads on CPUs that are offline when it goes.
fn follows() -> bool {
    use Call::{Cleanup, Park, Setup, Unpark};
    let log = Log::new();
    let all: Vec<CpuId> = possible().iter().collect();
    let others = secondaries();
    let first = register_service("first", Logs(1, Arc::clone(&log)));
    let calls = take(&log, 2 * all.len());
    let mut sound = first.is_ok() & same_order("came", calls, each(&all, &[1], &[Setup, Unpark]));
    let second = register_service("second", Logs(2, Arc::clone(&log)));
    let calls = take(&log, 2 * all.len());
    sound &= second.is_ok() & same_order("came", calls, each(&all, &[2], &[Setup, Unpark]));
    for cpu in &others {
        sound &= same("down", cpu_down(*cpu), Ok(()));
        // Each has parked on return.
        sound &= same("parked", take(&log, 0), each(&[*cpu], &[2, 1], &[Park]));
    }
    // The work of a CPU waits until it is back.
    if let (Ok(first), Some(cpu)) = (&first, others.first()) {
        log.given.lock().push(*cpu);
        first.wake(*cpu);
    }
    drop(first);
    let here = CpuId::BOOT;
    let gone = [vec_of((1, here, Park)), each(&all, &[1], &[Cleanup])].concat();
    sound &= same("gone", take(&log, gone.len()), gone);
    for cpu in &others {
        sound &= same("up", cpu_up(*cpu), Ok(()));
    }
    let runs = usize::from(!others.is_empty());
    let back = take(&log, others.len() + runs);
    let unparked = back
        .iter()
        .filter(|call| call.2 == Unpark)
        .copied()
        .collect();
    sound &= same_order("back", unparked, each(&others, &[2], &[Unpark]));
    sound &= same("runs", back.len() - others.len(), runs);
    sound &= second.is_ok_and(|second| second.remove().is_ok());
    let calls = take(&log, 2 * all.len());
    let cleaned = calls.iter().filter(|call| call.2 == Cleanup).count();
    sound & same("cleaned up", cleaned, all.len()) & (Arc::strong_count(&log) == 1)
}

fn vec_of<T>(one: T) -> Vec<T> {
    core::iter::once(one).collect()
}

/// The last CPU refuses a registration: exactly those before it are undone.
fn refuses() -> bool {
    use Call::{Cleanup, Park, Setup, Unpark};
    let log = Log::new();
    let cpu = last_cpu();
    *log.refuses.lock() = Some(cpu);
    let failed = register_service("refuses", Logs(1, Arc::clone(&log))).err();
    let error = StepError::Refused(Errno::Busy);
    let step = "sched:threads".into();
    let wanted = InstallError::Step { cpu, step, error };
    let mut sound = same("failed", failed, Some(wanted));
    let mut before: Vec<CpuId> = possible().iter().filter(|it| *it != cpu).collect();
    let mut wanted = each(&before, &[1], &[Setup, Unpark]);
    before.reverse();
    wanted.extend(each(&before, &[1], &[Park]));
    before.reverse();
    wanted.extend(each(&before, &[1], &[Cleanup]));
    sound &= same_order("undone", take(&log, wanted.len()), wanted);
    sound & (Arc::strong_count(&log) == 1)
}

/// The second of two services refuses a CPU that comes.
fn turns_back() -> bool {
    use Call::{Park, Setup, Unpark};
    let Some(cpu) = secondaries().last().copied() else {
        return true;
    };
    let log = Log::new();
    let mut sound = same("down", cpu_down(cpu), Ok(()));
    let services = [1, 2].map(|id| register_service("logs", Logs(id, Arc::clone(&log))));
    sound &= services.iter().all(Result::is_ok);
    take(&log, 4 * (possible().count() - 1));
    let error = StepError::Refused(Errno::Busy);
    let step = "sched:threads".into();
    *log.refuses.lock() = Some(cpu);
    // The first one refuses too, so it is never set up.
    let wanted = CpuUpError::Step { cpu, step, error };
    sound &= same("up", cpu_up(cpu), Err(wanted));
    sound &= same("refused", take(&log, 0), Vec::new());
    *log.refuses.lock() = None;
    sound &= same("up", cpu_up(cpu), Ok(()));
    let calls = take(&log, 4);
    for id in [1, 2] {
        sound &= same(
            "came",
            of_one(&calls, id),
            each(&[cpu], &[id], &[Setup, Unpark]),
        );
    }
    sound &= same("down", cpu_down(cpu), Ok(()));
    sound &= same("parked", take(&log, 0), each(&[cpu], &[2, 1], &[Park]));
    drop(services);
    thread::yield_now();
    sound & same("up", cpu_up(cpu), Ok(())) & (Arc::strong_count(&log) == 1)
}
