//! Random registrations and removals of services, CPUs that come and go, refusals and lack of
//! stacks. After each operation its result, the calls and the threads are those of a small model.
//!
//! A failure names its seed: `SERVICES_SEED=seed` runs that one alone, and `SERVICES=number` sets
//! how many operations there are altogether.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex};

use stillpoint::cpu::CpuId;
use stillpoint::errno::Errno;
use stillpoint::hotplug::{
    CpuDownError, CpuUpError, Hotplug, HotplugHost, InstallError, ServiceHandle, StepError,
};
use stillpoint::platform::Platform;
use stillpoint::trace::Direction::{Down, Up};

use crate::failures::step;
use crate::services::{Call, SharedLog, register, take, threads};
use crate::sim::Sim;
use crate::xorshift::Random;

/// How many operations there are in `make test-host`.
const OPERATIONS: u64 = 2_000;
/// How many operations one machine sees: its host threads are never freed.
const LIFE: u64 = 50;
const CPUS: usize = 3;

/// A thread of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seat {
    exists: bool,
    is_set_up: bool,
    works: bool,
    /// How many works wait.
    waiting: usize,
}

struct ModelService {
    id: usize,
    handle: ServiceHandle<Sim>,
    seats: [Seat; CPUS],
}

/// Why an operation fails: the CPU, the step, the error.
type Failed = Result<(), (usize, &'static str, StepError)>;

const BUSY: StepError = StepError::Refused(Errno::Busy);

struct World {
    random: Random,
    log: SharedLog,
    services: Vec<ModelService>,
    online: [bool; CPUS],
    /// Whether the CPU has ever been called.
    came: [bool; CPUS],
    next: usize,
    /// Where each thread is, as its calls say.
    seen: Vec<[Seat; CPUS]>,
    failed: usize,
}

/// Has the services of `seats` start on `cpu`, in their order, of which those in `refuse` don't.
fn start(seats: &mut [&mut Seat], refuse: Option<usize>) -> Result<(), ()> {
    for number in 0..seats.len() {
        if !seats[number].is_set_up && refuse == Some(number) {
            seats[..number]
                .iter_mut()
                .for_each(|seat| seat.works = false);
            return Err(());
        }
        seats[number].is_set_up = true;
        seats[number].works = true;
    }
    Ok(())
}

impl World {
    fn new(seed: u64) -> World {
        World {
            random: Random::new(seed),
            log: SharedLog::default(),
            services: Vec::new(),
            online: [true, false, false],
            came: [true, false, false],
            next: 0,
            seen: Vec::new(),
            failed: 0,
        }
    }

    fn maybe(&mut self, one_in: usize) -> bool {
        self.random.below(one_in) == 0
    }

    fn refuse(&self, id: usize, cpu: usize) {
        let mut log = self.log.lock().expect("no panic under it");
        log.refuse.push((id, cpu));
    }

    fn operate(&mut self) {
        match self.random.below(8) {
            0 | 1 if self.services.len() < 4 => self.register(),
            0..=2 => self.remove(),
            3 | 4 => self.up(),
            5 | 6 => self.down(),
            _ => self.give(),
        }
        self.check();
    }

    fn register(&mut self) {
        let id = self.next;
        self.next += 1;
        self.seen.push([Seat::default(); CPUS]);
        let past: Vec<usize> = (0..CPUS).filter(|cpu| self.online[*cpu]).collect();
        let wanted = match self.random.below(4) {
            0 => {
                let stacks = self.random.below(past.len());
                Sim::script(|script| script.stacks = u32::try_from(stacks).ok());
                Err((past[stacks], "prep:threads", StepError::OutOfStacks))
            }
            1 => {
                let refuses = past[self.random.below(past.len())];
                self.refuse(id, refuses);
                Err((refuses, "sched:threads", BUSY))
            }
            _ => Ok(()),
        };
        let seen = register(&self.log, id);
        Sim::heal();
        if let Err((number, of, wrong)) = wanted {
            self.failed += 1;
            let (cpu, step) = (CpuId::from_index(number), of.into());
            let wanted = InstallError::Step {
                cpu,
                step,
                error: wrong,
            };
            assert_eq!(seen.err(), Some(wanted));
            return;
        }
        let mut seats = [Seat::default(); CPUS];
        for cpu in past {
            seats[cpu] = Seat {
                exists: true,
                is_set_up: true,
                works: true,
                waiting: 0,
            };
        }
        let handle = seen.expect("the model says so");
        self.services.push(ModelService { id, handle, seats });
    }

    fn remove(&mut self) {
        if self.services.is_empty() {
            return;
        }
        let at = self.random.below(self.services.len());
        let old = self.services.remove(at);
        match self.maybe(2) {
            true => drop(old.handle),
            false => assert!(old.handle.remove().is_ok()),
        }
        let mut log = self.log.lock().expect("no panic under it");
        log.works.retain(|work| work.0 != old.id);
    }

    fn up(&mut self) {
        let cpu = 1 + self.random.below(CPUS - 1);
        let was_online = self.online[cpu];
        let mut wanted: Failed = Ok(());
        let mut refuses = None;
        let mut stacks = usize::MAX;
        match self.random.below(4) {
            _ if was_online || self.services.is_empty() => {}
            0 => refuses = Some(self.random.below(self.services.len())),
            1 => {
                let missing = self.services.iter().filter(|it| !it.seats[cpu].exists);
                let missing = missing.count();
                if missing > 0 {
                    stacks = self.random.below(missing);
                    // The first time the kernel's own two threads are made before.
                    let own = usize::from(!self.came[cpu]) * 2;
                    Sim::script(|script| script.stacks = u32::try_from(stacks + own).ok());
                }
            }
            2 => {
                Sim::script(|script| script.fails = vec![(step("sched:active"), Up)]);
                wanted = Err((cpu, "sched:active", StepError::Injected));
            }
            _ => {}
        }
        if let Some(number) = refuses {
            let service = &self.services[number];
            if !service.seats[cpu].is_set_up {
                self.refuse(service.id, cpu);
            }
        }
        let seen = hotplug().cpu_up(CpuId::from_index(cpu));
        Sim::heal();
        let seats = self.services.iter_mut().map(|it| &mut it.seats[cpu]);
        let mut seats: Vec<&mut Seat> = seats.collect();
        if !was_online {
            let mut made = 0;
            for seat in &mut seats {
                if !seat.exists && made == stacks {
                    wanted = Err((cpu, "prep:threads", StepError::OutOfStacks));
                    break;
                }
                made += usize::from(!seat.exists);
                seat.exists = true;
            }
            if !matches!(wanted, Err((_, "prep:threads", _))) {
                if start(&mut seats, refuses).is_err() {
                    wanted = Err((cpu, "sched:threads", BUSY));
                } else if wanted.is_err() {
                    seats.iter_mut().for_each(|seat| seat.works = false);
                }
            }
        }
        self.came[cpu] = true;
        self.online[cpu] = was_online || wanted.is_ok();
        self.failed += usize::from(wanted.is_err());
        let wanted = wanted.map_err(|(number, of, wrong)| CpuUpError::Step {
            cpu: CpuId::from_index(number),
            step: of.into(),
            error: wrong,
        });
        assert_eq!(seen, wanted);
    }

    fn down(&mut self) {
        let cpu = 1 + self.random.below(CPUS - 1);
        let was_online = self.online[cpu];
        let mut wanted = Ok(());
        // Before the services park, or after.
        let fails = ["sched:threads", "sched:drain"][self.random.below(2)];
        if was_online && self.maybe(4) {
            Sim::script(|script| script.fails = vec![(step(fails), Down)]);
            wanted = Err(CpuDownError::Step {
                cpu: CpuId::from_index(cpu),
                step: fails.into(),
                error: StepError::Injected,
            });
            self.failed += 1;
        } else {
            self.online[cpu] = false;
            let services = self.services.iter_mut();
            services.for_each(|it| it.seats[cpu].works = false);
        }
        let seen = hotplug().cpu_down(CpuId::from_index(cpu));
        Sim::heal();
        assert_eq!(seen, wanted);
    }

    /// Gives a service work on a CPU, which may be offline.
    fn give(&mut self) {
        if self.services.is_empty() {
            return;
        }
        let cpu = self.random.below(CPUS);
        let at = self.random.below(self.services.len());
        let service = &mut self.services[at];
        let mut log = self.log.lock().expect("no panic under it");
        log.works.push((service.id, cpu));
        drop(log);
        service.handle.wake(CpuId::from_index(cpu));
        service.seats[cpu].waiting += 1;
    }

    /// Follows the calls, of which each must be possible where its thread is.
    fn follow(&mut self) {
        for (id, cpu, call) in take(&self.log) {
            let seat = &mut self.seen[id][cpu];
            let was = *seat;
            let fine = match call {
                Call::Setup | Call::Refuse => !was.is_set_up && !was.works,
                Call::Unpark => was.is_set_up && !was.works,
                Call::Run | Call::Park => was.works,
                Call::Cleanup => was.is_set_up && !was.works,
            };
            assert!(fine, "service {id} on CPU{cpu}: {call:?} at {was:?}");
            match call {
                Call::Setup => seat.is_set_up = true,
                Call::Cleanup => seat.is_set_up = false,
                Call::Unpark => seat.works = true,
                Call::Park => seat.works = false,
                Call::Run => {
                    // One that parks at once may have run, or not.
                    let service = self.services.iter_mut().find(|it| it.id == id);
                    service.expect("it is registered").seats[cpu].waiting -= 1;
                }
                Call::Refuse => {}
            }
        }
    }

    fn check(&mut self) {
        self.follow();
        let mut exist = 0;
        for (id, seen) in self.seen.iter().enumerate() {
            let service = self.services.iter_mut().find(|it| it.id == id);
            let wanted = service.map(|service| {
                let idle = |seat: &Seat| !seat.works || seat.waiting == 0;
                assert!(service.seats.iter().all(idle), "service {id} doesn't work");
                service.seats
            });
            let wanted = wanted.unwrap_or_default();
            for (seen, wanted) in seen.iter().zip(wanted) {
                let seen = (seen.is_set_up, seen.works);
                assert_eq!(seen, (wanted.is_set_up, wanted.works), "service {id}");
                exist += usize::from(wanted.exists);
            }
        }
        assert_eq!(threads(), exist);
        let waiting: usize = self
            .services
            .iter()
            .flat_map(|it| it.seats.iter().map(|seat| seat.waiting))
            .sum();
        let mut log = self.log.lock().expect("no panic under it");
        assert_eq!(log.works.len(), waiting, "works that wait");
        assert!(log.refuse.is_empty(), "{:?}", log.refuse);
        log.refuse.clear();
        drop(log);
        for number in 0..CPUS {
            let cpu = CpuId::from_index(number);
            assert!(hotplug().is_balanced(cpu), "CPU{number}");
            assert_eq!(
                Sim::masks().is_online(cpu),
                self.online[number],
                "CPU{number}"
            );
        }
    }

    /// Removes all: nothing is kept.
    fn end(mut self) -> usize {
        while !self.services.is_empty() {
            self.remove();
            self.check();
        }
        assert_eq!(Arc::strong_count(&self.log), 1, "a service is left");
        self.failed
    }
}

fn hotplug() -> &'static Hotplug<Sim> {
    Sim::hotplug()
}

fn live(seed: u64) -> usize {
    let result = Arc::new(Mutex::new(0));
    let theirs = Arc::clone(&result);
    Sim::run(CPUS, move || {
        let mut world = World::new(seed);
        for _ in 0..LIFE {
            world.operate();
        }
        *theirs.lock().expect("no panic under it") = world.end();
    });
    *result.lock().expect("no panic under it")
}

fn number_from(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("a number"))
}

#[test]
fn random_services_are_where_the_model_says() {
    if let Some(seed) = number_from("SERVICES_SEED") {
        live(seed);
        return;
    }
    let operations = number_from("SERVICES").unwrap_or(OPERATIONS);
    let mut failed = 0;
    for seed in 1..=(operations / LIFE).max(1) {
        match catch_unwind(AssertUnwindSafe(|| live(seed))) {
            Ok(fails) => failed += fails,
            Err(panic) => {
                println!("SERVICES_SEED={seed}");
                resume_unwind(panic);
            }
        }
    }
    println!("{failed} operations failed");
    assert!(failed > 0);
}
