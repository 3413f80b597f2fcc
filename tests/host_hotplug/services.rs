//! Per-CPU services on a simulated machine: the order of their calls, what a failure undoes, and
//! where it all runs. `services_random.rs` has them come and go at random.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use stillpoint::cpu::CpuId;
use stillpoint::errno::Errno;
use stillpoint::hotplug::{
    CpuUpError, Hotplug, HotplugHost, InstallError, NewService, ServiceHandle, StepError,
};
use stillpoint::platform::Platform;
use stillpoint::sched::lock::WouldDeadlock;
use stillpoint::sched::{Class, SchedHost, Service, ThreadState};

use crate::sim::Sim;

/// What a service was called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Setup,
    /// The setup that has failed.
    Refuse,
    Unpark,
    Run,
    Park,
    Cleanup,
}

/// A call, with the number of the service and of the CPU.
pub(crate) type Entry = (usize, usize, Call);

/// What services share with a test.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) calls: Vec<Entry>,
    /// The services that refuse a CPU, once.
    pub(crate) refuse: Vec<(usize, usize)>,
    /// The works that wait, by service and CPU.
    pub(crate) works: Vec<(usize, usize)>,
}

pub(crate) type SharedLog = Arc<Mutex<Log>>;

/// A service that logs its calls.
pub(crate) struct Logs {
    pub(crate) id: usize,
    pub(crate) log: SharedLog,
}

impl Logs {
    fn call(&self, cpu: CpuId, call: Call) {
        // Only the end of a thread whose CPU is offline runs elsewhere.
        let here = Sim::this_cpu() == cpu;
        let online = Sim::masks().is_online(cpu);
        assert!(here || (call == Call::Cleanup && !online), "{call:?}");
        let mut log = self.log.lock().expect("no panic under it");
        log.calls.push((self.id, cpu.index(), call));
    }
}

impl Service<Sim> for Logs {
    fn setup(&self, cpu: CpuId) -> Result<(), Errno> {
        let refused = {
            let mut log = self.log.lock().expect("no panic under it");
            let me = (self.id, cpu.index());
            let at = log.refuse.iter().position(|refuse| *refuse == me);
            at.map(|at| log.refuse.remove(at)).is_some()
        };
        if refused {
            self.call(cpu, Call::Refuse);
            return Err(Errno::Busy);
        }
        self.call(cpu, Call::Setup);
        Ok(())
    }

    fn should_run(&self, cpu: CpuId) -> bool {
        let log = self.log.lock().expect("no panic under it");
        log.works.contains(&(self.id, cpu.index()))
    }

    fn run(&self, cpu: CpuId) {
        {
            let mut log = self.log.lock().expect("no panic under it");
            let me = (self.id, cpu.index());
            let at = log.works.iter().position(|work| *work == me);
            log.works.remove(at.expect("it was asked"));
        }
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

fn hotplug() -> &'static Hotplug<Sim> {
    Sim::hotplug()
}

pub(crate) fn register(log: &SharedLog, id: usize) -> Result<ServiceHandle<Sim>, InstallError> {
    let log = Arc::clone(log);
    hotplug().register_service(NewService {
        name: "logs",
        class: Class::Normal,
        service: Arc::new(Logs { id, log }),
    })
}

/// Has what was unparked run, and returns the calls since the last time.
pub(crate) fn take(log: &SharedLog) -> Vec<Entry> {
    Sim::sched().sleep_until(Sim::deadline(Duration::from_millis(1)));
    std::mem::take(&mut log.lock().expect("no panic under it").calls)
}

fn cpu(number: usize) -> CpuId {
    CpuId::from_index(number)
}

/// Returns how many threads of services there are.
pub(crate) fn threads() -> usize {
    let mut threads = 0;
    Sim::sched().for_each_thread(|thread| {
        threads += usize::from(thread.name().as_str().starts_with("logs/"));
    });
    threads
}

use Call::{Cleanup, Park, Refuse, Run, Setup, Unpark};

#[test]
fn threads_come_with_each_cpu_and_park_in_reverse() {
    Sim::run(3, || {
        let log = SharedLog::default();
        assert_eq!(hotplug().cpu_up(cpu(1)), Ok(()));
        let first = register(&log, 1).expect("a service");
        let both = [(1, 0, Setup), (1, 0, Unpark), (1, 1, Setup), (1, 1, Unpark)];
        assert_eq!(take(&log), both);
        let second = register(&log, 2).expect("a service");
        let both = [(2, 0, Setup), (2, 0, Unpark), (2, 1, Setup), (2, 1, Unpark)];
        assert_eq!(take(&log), both);
        // A CPU that has never been up.
        assert_eq!(threads(), 4);
        assert_eq!(hotplug().cpu_up(cpu(2)), Ok(()));
        let came = take(&log);
        let of = |id| {
            let calls = came.iter().filter(move |call| call.0 == id);
            calls.copied().collect::<Vec<_>>()
        };
        assert_eq!(of(1), [(1, 2, Setup), (1, 2, Unpark)]);
        assert_eq!(of(2), [(2, 2, Setup), (2, 2, Unpark)]);
        assert_eq!(threads(), 6);
        // It stays set up.
        assert_eq!(hotplug().cpu_down(cpu(2)), Ok(()));
        assert_eq!(take(&log), [(2, 2, Park), (1, 2, Park)]);
        assert_eq!(hotplug().cpu_up(cpu(2)), Ok(()));
        assert_eq!(take(&log), [(1, 2, Unpark), (2, 2, Unpark)]);
        assert_eq!(hotplug().cpu_down(cpu(2)), Ok(()));
        take(&log);
        // A service goes: it parks on the CPUs that are up, and cleans up on all.
        drop(first);
        let parked = [(1, 1, Park), (1, 0, Park)];
        let cleaned = [(1, 0, Cleanup), (1, 1, Cleanup), (1, 2, Cleanup)];
        assert_eq!(take(&log), [&parked[..], &cleaned].concat());
        assert_eq!(threads(), 3);
        assert_eq!(hotplug().cpu_up(cpu(2)), Ok(()));
        assert_eq!(take(&log), [(2, 2, Unpark)]);
        assert!(second.remove().is_ok());
        assert_eq!(threads(), 0);
        assert_eq!(Arc::strong_count(&log), 1, "a service is left");
    });
}

#[test]
fn a_wake_has_the_thread_of_a_cpu_run() {
    Sim::run(2, || {
        let log = SharedLog::default();
        let service = register(&log, 1).expect("a service");
        take(&log);
        let give = |number| {
            let mut shared = log.lock().expect("no panic under it");
            shared.works.push((1, number));
            drop(shared);
            service.wake(cpu(number));
        };
        give(0);
        assert_eq!(take(&log), [(1, 0, Run)]);
        // The CPU isn't there yet: the work waits for it.
        give(1);
        assert_eq!(take(&log), []);
        assert_eq!(hotplug().cpu_up(cpu(1)), Ok(()));
        assert_eq!(take(&log), [(1, 1, Setup), (1, 1, Unpark), (1, 1, Run)]);
        assert_eq!(hotplug().cpu_down(cpu(1)), Ok(()));
        give(1);
        assert_eq!(take(&log), [(1, 1, Park)]);
        assert_eq!(hotplug().cpu_up(cpu(1)), Ok(()));
        assert_eq!(take(&log), [(1, 1, Unpark), (1, 1, Run)]);
    });
}

/// The last CPU refuses, or has no stack for its thread: exactly those before it are undone.
#[test]
fn a_failed_registration_is_undone() {
    Sim::run(3, || {
        let log = SharedLog::default();
        for number in 1..3 {
            assert_eq!(hotplug().cpu_up(cpu(number)), Ok(()));
        }
        log.lock().expect("no panic under it").refuse = vec![(1, 1)];
        let failed = register(&log, 1).err();
        let error = |number, step: &'static str, error| {
            let (cpu, step) = (cpu(number), step.into());
            Some(InstallError::Step { cpu, step, error })
        };
        let busy = StepError::Refused(Errno::Busy);
        assert_eq!(failed, error(1, "sched:threads", busy));
        let calls = take(&log);
        let order = [
            (1, 0, Setup),
            (1, 0, Unpark),
            (1, 1, Refuse),
            (1, 0, Park),
            (1, 0, Cleanup),
        ];
        assert_eq!(calls, order);
        Sim::script(|script| script.stacks = Some(2));
        let failed = register(&log, 1).err();
        assert_eq!(failed, error(2, "prep:threads", StepError::OutOfStacks));
        Sim::heal();
        assert_eq!((take(&log), threads()), (vec![], 0));
        assert_eq!(Arc::strong_count(&log), 1, "a service is left");
        for number in 0..3 {
            assert!(hotplug().is_balanced(cpu(number)), "CPU{number}");
        }
        register(&log, 1).expect("none refuses now").keep();
        assert_eq!(threads(), 3);
    });
}

/// A service refuses a CPU that comes, or no stack is left: the CPU turns back, and comes later.
#[test]
fn a_cpu_that_a_service_refuses_turns_back() {
    Sim::run(2, || {
        let log = SharedLog::default();
        let services = [1, 2].map(|id| register(&log, id).expect("a service"));
        take(&log);
        let error = |step: &'static str, error| {
            let (cpu, step) = (cpu(1), step.into());
            Err(CpuUpError::Step { cpu, step, error })
        };
        Sim::script(|script| script.stacks = Some(3));
        let failed = hotplug().cpu_up(cpu(1));
        assert_eq!(failed, error("prep:threads", StepError::OutOfStacks));
        Sim::heal();
        assert_eq!((take(&log), threads()), (vec![], 3));
        log.lock().expect("no panic under it").refuse = vec![(2, 1)];
        let failed = hotplug().cpu_up(cpu(1));
        let busy = StepError::Refused(Errno::Busy);
        assert_eq!(failed, error("sched:threads", busy));
        let calls = take(&log);
        let (first, second): (Vec<_>, Vec<_>) = calls.into_iter().partition(|call| call.0 == 1);
        assert_eq!(first, [(1, 1, Setup), (1, 1, Unpark), (1, 1, Park)]);
        assert_eq!(second, [(2, 1, Refuse)]);
        assert!(!Sim::masks().is_online(cpu(1)) && hotplug().is_balanced(cpu(1)));
        let parked = |threads: &mut usize| {
            Sim::sched().for_each_thread(|thread| {
                let is_parked = thread.state_racy() == ThreadState::Parked;
                *threads += usize::from(thread.name().as_str() == "logs/1" && is_parked);
            });
        };
        let mut count = 0;
        parked(&mut count);
        assert_eq!(count, 2);
        assert_eq!(hotplug().cpu_up(cpu(1)), Ok(()));
        let calls = take(&log);
        let (first, second): (Vec<_>, Vec<_>) = calls.into_iter().partition(|call| call.0 == 1);
        assert_eq!(first, [(1, 1, Unpark)]);
        assert_eq!(second, [(2, 1, Setup), (2, 1, Unpark)]);
        drop(services);
    });
}

/// Registration and removal in a service, and under the locks that they take.
#[test]
fn no_service_waits_for_itself() {
    struct Tries(Arc<Mutex<Vec<Option<InstallError>>>>, SharedLog);
    impl Service<Sim> for Tries {
        fn setup(&self, _: CpuId) -> Result<(), Errno> {
            let tried = register(&self.1, 9).err();
            self.0.lock().expect("no panic under it").push(tried);
            Ok(())
        }
        fn should_run(&self, _: CpuId) -> bool {
            false
        }
        fn run(&self, _: CpuId) {}
        fn park(&self, cpu: CpuId) {
            assert_eq!(self.setup(cpu), Ok(()));
        }
        fn cleanup(&self, cpu: CpuId) {
            assert_eq!(self.setup(cpu), Ok(()));
        }
    }
    Sim::run(1, || {
        let (tried, log) = (Arc::default(), SharedLog::default());
        let service = hotplug().register_service(NewService {
            name: "tries",
            class: Class::Normal,
            service: Arc::new(Tries(Arc::clone(&tried), Arc::clone(&log))),
        });
        let service = service.expect("a service");
        let held = hotplug().cpus_read_lock();
        let error = register(&log, 9).err();
        let holds = InstallError::WouldDeadlock(WouldDeadlock::HoldsIt);
        assert_eq!(error, Some(holds));
        let not_removed = service.remove().expect_err("the lock is held");
        assert_eq!(not_removed.why, WouldDeadlock::HoldsIt);
        drop(held);
        drop(not_removed.handle);
        let per_cpu = Some(InstallError::WouldDeadlock(WouldDeadlock::PerCpu));
        let seen = tried.lock().expect("no panic under it").clone();
        assert_eq!(seen, [per_cpu; 3]);
    });
}
