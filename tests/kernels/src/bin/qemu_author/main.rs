//! What the documentation of `stillpoint::api::hotplug` says of steps of all kinds that are mixed:
//! their order, their failures, and where each function is refused. And most of the examples of
//! the documentation, which do what they say.

//@ smp: 2 4 8
//@ timeout: 240

#![no_std]
#![no_main]

extern crate alloc;

#[path = "../../../../../examples/api"]
#[allow(dead_code, reason = "some functions are for programs that never end")]
mod examples {
    pub(crate) mod accounts;
    pub(crate) mod bring_up;
    pub(crate) mod budgets;
    pub(crate) mod builder;
    pub(crate) mod callees;
    pub(crate) mod calls;
    pub(crate) mod cancel;
    pub(crate) mod channel;
    pub(crate) mod classes;
    pub(crate) mod device;
    pub(crate) mod freeze;
    pub(crate) mod grace_periods;
    pub(crate) mod host_name;
    pub(crate) mod in_time;
    pub(crate) mod instants;
    pub(crate) mod irq;
    pub(crate) mod items;
    pub(crate) mod jobs;
    pub(crate) mod key_users;
    pub(crate) mod late;
    pub(crate) mod load;
    pub(crate) mod loops;
    pub(crate) mod memory;
    pub(crate) mod module_kinds;
    pub(crate) mod parking;
    pub(crate) mod per_cpu;
    pub(crate) mod permits;
    pub(crate) mod pinned;
    pub(crate) mod prepared;
    pub(crate) mod rcu_box;
    pub(crate) mod removal;
    pub(crate) mod rest;
    pub(crate) mod ring;
    pub(crate) mod scoped;
    pub(crate) mod still_times;
    pub(crate) mod take_down;
    pub(crate) mod timeouts;
    pub(crate) mod timers;
    pub(crate) mod turns;
    pub(crate) mod usage;
}
mod refused;
mod shown;

stillpoint::entry!(main);

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::api::cpu::{CpuId, CpuMask, online_racy, possible};
use stillpoint::api::hotplug::{
    CpuDownError, CpuUpError, EnableStep, InstallError, MultiPrepareStepBuilder, MultiStepBuilder,
    PrepareStep, StepError, TargetError, cpu_down, cpu_down_before, cpu_set_target, cpu_state_racy,
    cpu_up, cpus_down, cpus_down_before, cpus_up, disable, freeze, on_cpus, post_dead,
    resting_places, set_down_limit,
};
use stillpoint::api::sync::Mutex;
use stillpoint::api::{Errno, time};

use kernel_support::ktap::Ktap;
use kernel_support::machine::{last_cpu, leave_and_return, masks_say, secondaries, states_say};
use kernel_support::memory::InUse;
use kernel_support::unharmed::same;

/// What callbacks were called for, in their order.
#[derive(Clone)]
struct Calls(Arc<Mutex<Vec<(&'static str, CpuId)>>>);

impl Calls {
    fn none() -> Calls {
        Calls(Arc::new(Mutex::new(Vec::new())))
    }

    fn add(&self, what: &'static str, cpu: CpuId) {
        self.0.lock().push((what, cpu));
    }

    /// Returns a callback that is noted as `what`.
    fn noted(&self, what: &'static str) -> impl Fn(CpuId) + Send + Sync + use<> {
        let its = self.clone();
        move |cpu| its.add(what, cpu)
    }

    fn noted_ok(
        &self,
        what: &'static str,
    ) -> impl Fn(CpuId) -> Result<(), Errno> + Send + Sync + use<> {
        let call_fn = self.noted(what);
        move |cpu| {
            call_fn(cpu);
            Ok(())
        }
    }

    /// Returns what was called since the last time, all of it for `cpu`.
    fn of(&self, cpu: CpuId) -> Vec<&'static str> {
        let calls = core::mem::take(&mut *self.0.lock());
        assert!(calls.iter().all(|call| call.1 == cpu), "{calls:?}");
        calls.into_iter().map(|call| call.0).collect()
    }

    fn clear(&self) {
        self.0.lock().clear();
    }
}

fn main() {
    let mut ktap = Ktap::new();
    ktap.check("the examples of hotplug", shown::hotplug());
    ktap.check("the examples of steps and guards", shown::steps());
    ktap.check("the examples of interrupts", shown::interrupts());
    ktap.check("the examples of stops", shown::stops());
    ktap.check("the examples of CPUs and RCU", shown::cpus());
    ktap.check("the examples of locks", shown::locks());
    ktap.check("the examples of threads and time", shown::threads());
    let warm = leave_and_return(refused::nothing) & refused::everywhere() & batches();
    ktap.check("a first time, for memory that is kept", warm);
    let before = InUse::settled();
    ktap.check("steps of all kinds are passed in order", in_order());
    ktap.check("a step that refuses turns a CPU back", turns_back());
    ktap.check("instances outlive handles as is said", outlive());
    ktap.check("steps are installed where a CPU rests", while_one_rests());
    ktap.check("batches and their errors", batches());
    ktap.check("deadlines that are past", past_deadlines());
    ktap.check("disabled, frozen, thawed", frozen());
    ktap.check("wrong numbers", wrong_numbers());
    ktap.check(
        "refused in callbacks and under guards",
        refused::everywhere(),
    );
    let all = possible();
    ktap.check("masks and counters", masks_say(&all) && states_say(&all));
    ktap.check("as much memory in use as before", before.is_back());
    ktap.finish()
}

/// The order is that of installation within a kind, whatever was installed between.
fn in_order() -> bool {
    let calls = Calls::none();
    let dead = post_dead("a", calls.noted("dead"));
    let late = EnableStep::new("one")
        .startup(calls.noted_ok("+one"))
        .teardown(calls.noted_ok("-one"))
        .install();
    let (up, down) = (calls.clone(), calls.clone());
    let multi = MultiPrepareStepBuilder::new("multi")
        .startup(move |cpu, what: &(&'static str, &'static str)| {
            up.add(what.0, cpu);
            Ok(())
        })
        .teardown(move |cpu, what| down.add(what.1, cpu))
        .install();
    let follows = on_cpus(calls.noted("+on"), calls.noted("-on"));
    let early = PrepareStep::new("one")
        .startup(calls.noted_ok("+prep"))
        .teardown(calls.noted("-prep"))
        .install_nocalls();
    let Ok(multi) = multi else { return false };
    let first = multi.add(("+first", "-first"));
    let second = multi.add_nocalls(("+second", "-second"));
    calls.clear();
    let cpu = last_cpu();
    let mut sound = same("down", cpu_down(cpu), Ok(()));
    let wanted = ["-on", "-one", "-prep", "-second", "-first", "dead"];
    sound &= same("down", calls.of(cpu), wanted.into());
    sound &= same("up", cpu_up(cpu), Ok(()));
    let wanted = ["+first", "+second", "+prep", "+one", "+on"];
    sound &= same("up", calls.of(cpu), wanted.into());
    sound &= first.is_ok_and(|it| it.remove_nocalls().is_ok());
    sound &= late.is_ok_and(|it| it.remove_nocalls().is_ok());
    calls.clear();
    sound &= same("together", cpus_down(&CpuMask::of(cpu)), Ok(()));
    let wanted = ["-on", "-prep", "-second", "dead"];
    sound &= same("down again", calls.of(cpu), wanted.into());
    // The offline CPU isn't called.
    drop((dead, follows, early));
    sound &= calls.0.lock().iter().all(|call| call.1 != cpu);
    drop((multi, second));
    sound & same("up", cpu_up(cpu), Ok(()))
}

fn turns_back() -> bool {
    let calls = Calls::none();
    let cpu = last_cpu();
    let refuses = Arc::new(Mutex::new(None));
    let (up, down) = (Arc::clone(&refuses), Arc::clone(&refuses));
    let says = |it: &Mutex<Option<&str>>, way, on| match *it.lock() == Some(way) && on == last_cpu()
    {
        true => Err(Errno::NoMemory),
        false => Ok(()),
    };
    let before = PrepareStep::new("before")
        .startup(calls.noted_ok("+prep"))
        .teardown(calls.noted("-prep"))
        .install();
    let step = EnableStep::new("refuses")
        .startup(move |on| says(&up, "up", on))
        .teardown(move |on| says(&down, "down", on))
        .install();
    let behind = on_cpus(calls.noted("+on"), calls.noted("-on"));
    calls.clear();
    *refuses.lock() = Some("down");
    let error = cpu_down(cpu).expect_err("it refuses");
    let CpuDownError::Step {
        step: name,
        error: why,
        ..
    } = error
    else {
        return same("error", Some(error), None);
    };
    let mut sound = same("name", name.to_string(), String::from("enable:refuses"))
        & same("why", why, StepError::Refused(Errno::NoMemory))
        & same("errno", error.errno(), Errno::NoMemory)
        & same("taken back", calls.of(cpu), ["-on", "+on"].into());
    *refuses.lock() = Some("up");
    sound &= same("down", cpu_down(cpu), Ok(()));
    calls.clear();
    let error = cpu_up(cpu).expect_err("it refuses");
    sound &= matches!(
        error,
        CpuUpError::Step {
            error: StepError::Refused(Errno::NoMemory),
            ..
        }
    ) & same("taken back", calls.of(cpu), ["+prep", "-prep"].into())
        & same("state", cpu_state_racy(cpu), 0)
        & !online_racy().contains(cpu);
    // The others come all the same.
    sound &= same("down", cpus_down(&others()), Ok(()));
    let error = cpus_up(&possible()).expect_err("one refuses");
    sound &=
        same("one", error.cpus(), CpuMask::of(cpu)) & same("errno", error.errno(), Errno::NoMemory);
    *refuses.lock() = None;
    sound &= same("up", cpus_up(&possible()), Ok(()));
    // Removed in the order of installation, which is not the reverse.
    sound
        & [before, step, behind]
            .into_iter()
            .all(|it| it.is_ok_and(|it| it.remove().is_ok()))
}

/// Returns the secondaries.
fn others() -> CpuMask {
    secondaries().into_iter().collect()
}

fn outlive() -> bool {
    let calls = Calls::none();
    let (up, down) = (calls.clone(), calls.clone());
    let multi = MultiStepBuilder::new("multi")
        .startup(move |cpu, it: &u32| {
            up.add("+", cpu);
            if *it == 9 { Err(Errno::Io) } else { Ok(()) }
        })
        .teardown(move |cpu, _| {
            down.add("-", cpu);
            Ok(())
        })
        .install();
    let Ok(multi) = multi else { return false };
    let cpus = possible().count();
    // The first CPU refuses: nothing is undone, and nothing is left.
    let failed = multi.add(9).err();
    let mut sound = matches!(
        failed,
        Some(InstallError::Step {
            cpu: CpuId::BOOT,
            error: StepError::Refused(Errno::Io),
            ..
        })
    ) & same("calls", calls.0.lock().len(), 1);
    let (kept, first) = (multi.add(1), multi.add(2));
    sound &= kept.is_ok_and(|it| {
        it.keep();
        true
    });
    calls.clear();
    sound &= multi.remove().is_ok() & same("calls", calls.0.lock().len(), 2 * cpus);
    let Ok(first) = first else { return false };
    calls.clear();
    sound &= same("value", *first, 2) & first.remove().is_ok();
    sound & calls.0.lock().is_empty()
}

/// A step is called for a CPU exactly where that has passed its place.
fn while_one_rests() -> bool {
    let cpu = last_cpu();
    let marker = on_cpus(|_| (), |_| ());
    let places = resting_places();
    let mut sound = places.len() > 3 && marker.is_ok();
    for place in &places {
        let calls = Calls::none();
        sound &= same("rest", cpu_set_target(cpu, place.state), Ok(()));
        sound &= same("state", cpu_state_racy(cpu), place.state);
        let prep = PrepareStep::new("rested")
            .startup(calls.noted_ok("+prep"))
            .teardown(calls.noted("-prep"))
            .install();
        let on = on_cpus(calls.noted("+on"), calls.noted("-on"));
        let seen: Vec<_> = calls
            .0
            .lock()
            .iter()
            .filter(|call| call.1 == cpu)
            .map(|call| call.0)
            .collect();
        calls.clear();
        sound &= same("up", cpu_up(cpu), Ok(()));
        let all: Vec<_> = seen.iter().copied().chain(calls.of(cpu)).collect();
        let mut sorted = all.clone();
        sorted.sort_unstable();
        sound &= same(&place.name.to_string(), sorted, ["+on", "+prep"].into());
        sound &= same("rest", cpu_set_target(cpu, place.state), Ok(()));
        let gone = calls.0.lock().len();
        drop((prep, on));
        let all = calls.0.lock().iter().filter(|call| call.1 == cpu).count();
        sound &= same("gone", (all, gone <= 2), (2, true));
    }
    sound & same("up", cpu_up(cpu), Ok(()))
}

fn batches() -> bool {
    let none = CpuMask::EMPTY;
    let mut sound = same("none", cpus_down(&none), Ok(())) & same("none", cpus_up(&none), Ok(()));
    let calls = Calls::none();
    let dead = post_dead("dead", calls.noted("dead"));
    let error = cpus_down(&possible()).expect_err("the last one stays");
    let (cpu, why) = error.failed()[0];
    sound &= same("one", error.failed().len(), 1) & same("last", cpu, last_cpu());
    sound &=
        same("why", why, CpuDownError::LastOnline(cpu)) & same("errno", error.errno(), Errno::Busy);
    sound &= same("dead", calls.0.lock().len(), secondaries().len());
    sound &= same(
        "again",
        cpus_down(&possible().without(&CpuMask::of(cpu))),
        Ok(()),
    );
    let early = PrepareStep::new("early")
        .startup(calls.noted_ok("+"))
        .install();
    calls.clear();
    sound &= same("up", cpus_up(&possible()), Ok(()));
    sound &= same("calls", calls.0.lock().len(), secondaries().len());
    sound & same("again", cpus_up(&possible()), Ok(())) & dead.is_ok() & early.is_ok()
}

fn past_deadlines() -> bool {
    let cpu = last_cpu();
    let calls = Calls::none();
    let follows = on_cpus(calls.noted("+"), calls.noted("-"));
    calls.clear();
    let past = time::now();
    let error = cpu_down_before(cpu, past).expect_err("it is too late");
    let mut sound = same("errno", error.errno(), Errno::TimedOut);
    let error = cpus_down_before(&others(), past).expect_err("it is too late");
    sound &= same("errno", error.errno(), Errno::TimedOut) & same("all", error.cpus(), others());
    set_down_limit(Some(Duration::ZERO));
    let error = cpu_down(cpu).expect_err("it is too late");
    sound &= same("errno", error.errno(), Errno::TimedOut);
    let error = freeze(CpuId::BOOT).err().map(|error| error.errno());
    sound &= same("freeze", error, Some(Errno::TimedOut));
    set_down_limit(None);
    let later = time::deadline(Duration::from_secs(60));
    sound &= same("all", online_racy(), possible());
    let ups = calls.0.lock().iter().filter(|call| call.0 == "+").count();
    sound &= same("taken back", 2 * ups, calls.0.lock().len());
    sound &= same("down", cpu_down_before(cpu, later), Ok(()));
    sound & same("up", cpu_up(cpu), Ok(())) & follows.is_ok()
}

fn frozen() -> bool {
    let cpu = last_cpu();
    let (Ok(one), Ok(two)) = (disable(), disable()) else {
        return false;
    };
    drop(one);
    let busy = |errno| same("errno", errno, Some(Errno::Busy));
    let refused = || {
        busy(cpu_down(cpu).err().map(|it| it.errno()))
            & busy(cpu_up(cpu).err().map(|it| it.errno()))
            & busy(cpus_down(&others()).err().map(|it| it.errno()))
            & busy(cpu_set_target(cpu, 0).err().map(|it| it.errno()))
            & busy(freeze(cpu).err().map(|it| it.errno()))
    };
    let mut sound = refused();
    drop(two);
    let Ok(mut frozen) = freeze(cpu) else {
        return false;
    };
    sound &= same("frozen", online_racy(), CpuMask::of(cpu));
    sound &= same("gone", frozen.cpus(), possible().without(&CpuMask::of(cpu)));
    let calls = Calls::none();
    let follows = on_cpus(calls.noted("+"), calls.noted("-"));
    sound &= same("only here", calls.of(cpu), ["+"].into()) & refused();
    sound &= same("thaw", frozen.thaw(), Ok(())) & same("thaw", frozen.thaw(), Ok(()));
    sound &= same("back", calls.0.lock().len(), secondaries().len());
    drop(frozen);
    sound & same("all", online_racy(), possible()) & follows.is_ok()
}

fn wrong_numbers() -> bool {
    let none = CpuId::from_index(possible().count());
    let mut sound = same("up", cpu_up(none), Err(CpuUpError::NoSuchCpu(none.index())));
    sound &= same(
        "down",
        cpu_down(none),
        Err(CpuDownError::NoSuchCpu(none.index())),
    );
    let target = cpu_set_target(none, 0);
    sound &= same("target", target, Err(TargetError::NoSuchCpu(none.index())));
    let batch = cpus_up(&CpuMask::of(none)).err().map(|error| error.errno());
    sound &= same("batch", batch, Some(Errno::Invalid));
    let batch = cpus_down(&CpuMask::of(none))
        .err()
        .map(|error| error.errno());
    sound &= same("batch", batch, Some(Errno::Invalid));
    let places = resting_places();
    let is_place = |state| places.iter().any(|place| place.state == state);
    // `online` has the number of the last step too.
    let last = places[places.len() - 1].state - 1;
    let wrong = (0..400)
        .chain([usize::MAX])
        .filter(|it| !is_place(*it) && *it != last);
    for state in wrong {
        let target = cpu_set_target(last_cpu(), state);
        sound &= same("target", target, Err(TargetError::NoRestingPlace(state)));
    }
    sound
        & same(
            "freeze",
            freeze(none).err().map(|error| error.errno()),
            Some(Errno::Invalid),
        )
}
