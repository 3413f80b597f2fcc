//! Each function that would wait for its own caller returns an error at once.

use alloc::sync::Arc;
use alloc::vec::Vec;

use stillpoint::api::cpu::{CpuId, CpuMask, possible};
use stillpoint::api::hotplug::{
    EnableStep, MultiPrepareStepBuilder, MultiStep, MultiStepBuilder, PrepareStep,
    RegisteredService, Service, cpu_down_before, cpu_set_target, cpus_down, cpus_read_lock,
    cpus_up, disable, freeze, post_dead, register_service, registration_lock,
};
use stillpoint::api::sync::Mutex;
use stillpoint::api::thread::{self, migrate_disable};
use stillpoint::api::{Errno, time};

use kernel_support::machine::{eventually, last_cpu, leave_and_return};
use kernel_support::unharmed::same;

/// A service that does nothing, or calls `each_fn` once on each CPU.
struct Calls {
    wanted: Mutex<CpuMask>,
    each_fn: fn() -> bool,
    sound: Mutex<Vec<bool>>,
}

impl Calls {
    fn new(each_fn: fn() -> bool, wanted: CpuMask) -> Calls {
        Calls {
            wanted: Mutex::new(wanted),
            each_fn,
            sound: Mutex::new(Vec::new()),
        }
    }
}

/// The service of these calls.
struct Tries(Arc<Calls>);

impl Tries {
    /// Returns a service that has nothing to do and tries nothing.
    fn idle() -> Tries {
        Tries(Arc::new(Calls::new(nothing, CpuMask::EMPTY)))
    }
}

/// What is to go well where nothing is to be tried, or done while a CPU is away.
pub(crate) fn nothing() -> bool {
    true
}

impl Service for Tries {
    fn setup(&self, cpu: CpuId) -> Result<(), Errno> {
        self.0.sound.lock().push((self.0.each_fn)());
        let _ = cpu;
        Ok(())
    }

    fn should_run(&self, cpu: CpuId) -> bool {
        // Only this CPU's thread removes its own bit.
        self.0
            .wanted
            .try_lock()
            .is_none_or(|wanted| wanted.contains(cpu))
    }

    fn run(&self, cpu: CpuId) {
        let sound = (self.0.each_fn)();
        self.0.sound.lock().push(sound);
        self.0.wanted.lock().remove(cpu);
    }

    fn park(&self, _: CpuId) {
        self.0.sound.lock().push((self.0.each_fn)());
    }

    fn unpark(&self, _: CpuId) {
        self.0.sound.lock().push((self.0.each_fn)());
    }

    fn cleanup(&self, _: CpuId) {
        self.0.sound.lock().push((self.0.each_fn)());
    }
}

/// Tries all that would wait for an operation to end.
fn all_deadlock() -> bool {
    let cpu = last_cpu();
    let all = possible();
    let later = time::deadline(core::time::Duration::from_secs(60));
    let errnos = [
        cpus_up(&all).err().map(|it| it.errno()),
        cpus_down(&CpuMask::of(cpu)).err().map(|it| it.errno()),
        cpu_down_before(cpu, later).err().map(|it| it.errno()),
        cpu_set_target(cpu, 0).err().map(|it| it.errno()),
        freeze(CpuId::BOOT).err().map(|it| it.errno()),
        disable().err().map(|_| Errno::Deadlock),
        registration_lock().err().map(|_| Errno::Deadlock),
        EnableStep::new("x").install().err().map(|it| it.errno()),
        PrepareStep::new("x")
            .install_nocalls()
            .err()
            .map(|it| it.errno()),
        post_dead("x", |_| ()).err().map(|it| it.errno()),
        MultiStepBuilder::<()>::new("x")
            .install()
            .err()
            .map(|it| it.errno()),
        register_service("x", Tries::idle())
            .err()
            .map(|it| it.errno()),
    ];
    same("errnos", errnos, [Some(Errno::Deadlock); 12])
}

/// What is added or removed from within.
struct Things {
    multi: MultiStep<u32>,
    instance: Mutex<Option<stillpoint::api::hotplug::Instance<u32>>>,
    service: Mutex<Option<RegisteredService<Tries>>>,
}

impl Things {
    fn deadlock(&self) -> bool {
        let added = self.multi.add(5).err().map(|it| it.errno());
        let instance = self.instance.lock().take().expect("it was put back");
        let failed = instance.remove().expect_err("not here");
        let mut sound = same("add", added, Some(Errno::Deadlock)) & (*failed.handle == 7);
        *self.instance.lock() = Some(failed.handle);
        let service = self.service.lock().take().expect("it was put back");
        let failed = service.remove().expect_err("not here");
        sound &= same("errno", failed.errno(), Errno::Deadlock);
        *self.service.lock() = Some(failed.handle);
        sound & all_deadlock()
    }
}

pub(crate) fn everywhere() -> bool {
    let multi = MultiStepBuilder::<u32>::new("things").install();
    let Ok(multi) = multi else { return false };
    let Ok(instance) = multi.add(7) else {
        return false;
    };
    let Ok(service) = register_service("idle", Tries::idle()) else {
        return false;
    };
    let things = Arc::new(Things {
        multi,
        instance: Mutex::new(Some(instance)),
        service: Mutex::new(Some(service)),
    });
    let sound = guards(&things) & callbacks(&things) & services();
    let Ok(things) = Arc::try_unwrap(things).map_err(|_| ()) else {
        return same("things", 1, 0);
    };
    let service = things.service.lock().take();
    let removed = service.is_some_and(|it| it.remove().is_ok());
    // The step goes first, the instance after it.
    let stepped = things.multi.remove().is_ok();
    let instance = things.instance.lock().take();
    sound & removed & stepped & instance.is_some_and(|it| it.remove().is_ok())
}

fn guards(things: &Things) -> bool {
    let pinned = migrate_disable();
    let mut sound = same("pinned", things.deadlock(), true);
    drop(pinned);
    let read = cpus_read_lock();
    sound &= same("read", things.deadlock(), true);
    sound &= same("each", read.each_online().count(), read.online().count());
    drop(read);
    let by_hand = registration_lock().expect("no lock is held");
    sound &= same("by hand", things.deadlock(), true);
    drop(cpus_read_lock());
    // Another thread may read too.
    let online = thread::spawn(|| cpus_read_lock().online());
    sound &= same("online", online.join(), by_hand.online());
    let step = PrepareStep::new("under").install_nocalls_under(&by_hand);
    sound &= step.is_ok();
    drop(by_hand);
    sound & step.is_ok_and(|it| it.remove().is_ok())
}

fn callbacks(things: &Arc<Things>) -> bool {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let tries = || {
        let (its, things) = (Arc::clone(&seen), Arc::clone(things));
        move || {
            let sound = things.deadlock();
            its.lock().push(sound);
        }
    };
    let (up, down) = (tries(), tries());
    let multi = MultiStepBuilder::new("inside")
        .startup(move |_, (): &()| {
            up();
            Ok(())
        })
        .teardown(move |_, (): &()| {
            down();
            Ok(())
        })
        .install();
    let (up, down) = (tries(), tries());
    let early = MultiPrepareStepBuilder::new("inside")
        .startup(move |_, (): &()| {
            up();
            Ok(())
        })
        .teardown(move |_, (): &()| down())
        .install();
    let dead = tries();
    let dead = post_dead("inside", move |_| dead());
    let (Ok(multi), Ok(early)) = (multi, early) else {
        return false;
    };
    let instances = (multi.add(()), early.add(()));
    let mut sound = instances.0.is_ok() & instances.1.is_ok();
    sound &= leave_and_return(nothing);
    drop((multi, early, instances, dead));
    let calls = seen.lock().clone();
    sound &= same("some", calls.len() >= 9, true);
    sound & calls.into_iter().all(|it| it)
}

fn services() -> bool {
    let calls = Arc::new(Calls::new(all_deadlock, possible()));
    let Ok(service) = register_service("tries", Tries(Arc::clone(&calls))) else {
        return false;
    };
    for cpu in possible().iter() {
        service.wake(cpu);
    }
    let mut sound = eventually(|| calls.wanted.lock().is_empty());
    sound &= leave_and_return(nothing) & service.remove().is_ok();
    let seen = calls.sound.lock().clone();
    sound & same("some", seen.len() >= 8, true) & seen.into_iter().all(|it| it)
}
