//! Steps that a program installs: each CPU is told of exactly once, whatever comes and goes
//! meanwhile; failures are undone; a callback that would wait for its own operation gets an
//! error; and all memory is free again. The examples of the documentation run too.

//@ smp: 1 2 4 20
//@ timeout: 240

#![no_std]
#![no_main]

extern crate alloc;

#[path = "../../../../../examples/api"]
mod examples {
    pub(crate) mod by_hand;
    pub(crate) mod enable;
    pub(crate) mod guard;
    pub(crate) mod multi;
    pub(crate) mod multi_prepare;
    pub(crate) mod on_cpus;
    pub(crate) mod post_dead;
    pub(crate) mod prepare;
    pub(crate) mod together;
}
mod inside;
mod storm;

stillpoint::entry!(main);

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::api::cpu::{CpuId, possible};
use stillpoint::api::hotplug::{
    EnableStep, InstallError, MultiStepBuilder, PrepareStep, StepError, cpu_down, cpu_up,
    cpus_read_lock, on_cpus, post_dead, registration_lock,
};
use stillpoint::api::sync::{Completion, Mutex};
use stillpoint::api::{Errno, thread};
use stillpoint::kernel::{Hw, kernel};
use stillpoint::platform::Platform;
use stillpoint::trace::Direction;

use kernel_support::ktap::Ktap;
use kernel_support::machine::{last_cpu, leave_and_return, masks_say, secondaries, states_say};
use kernel_support::memory::InUse;
use kernel_support::unharmed::same;
use kernel_support::walks::calls_since;

/// What callbacks were called for.
pub(crate) type Calls = Arc<Mutex<Vec<CpuId>>>;

/// Returns no calls yet.
fn none() -> Calls {
    Calls::new(Mutex::new(Vec::new()))
}

fn main() {
    let mut ktap = Ktap::new();
    // What is kept for ever, such as the threads of a CPU, is there after the first time.
    let cycled = leave_and_return(|| true) && examples();
    ktap.check("the examples of the documentation run", cycled);
    let before = InUse::settled();
    ktap.check("CPUs are called in order, and followed", follows());
    ktap.check("a failed installation is undone", fails());
    ktap.check("the trace has the calls", calls_are_recorded());
    ktap.check("all slots can be in use, and are reused", all_slots());
    ktap.check("instances come and go", instances());
    ktap.check("instances are prepared before their CPU runs", prepares());
    ktap.check("a step is installed by hand without a race", by_hand());
    ktap.check(
        "after a CPU's end a callback waits for a reader of the CPUs",
        waits_for_a_reader(),
    );
    ktap.check(
        "an installation waits for a callback after a CPU's end",
        installs_after_the_callback(),
    );
    ktap.check("no callback can wait for itself", inside::all());
    ktap.check("each CPU is seen once in a storm", storm::storm());
    let all = possible();
    ktap.check("masks and counters", masks_say(&all) && states_say(&all));
    ktap.check("as much memory in use as before", before.is_back());
    ktap.finish()
}

fn examples() -> bool {
    let counted = examples::on_cpus::count_cpus();
    examples::guard::print_cpus();
    examples::enable::measure(|| ());
    let steps = (
        examples::prepare::buffers(),
        examples::enable::hold_while_measuring(),
        examples::post_dead::tell(),
        examples::by_hand::greet(),
    );
    let device = examples::multi::device();
    let cycled = leave_and_return(examples::together::all_up);
    let (buffers, hold, tell, greet) = steps;
    let installed = buffers.is_ok() & hold.is_ok() & tell.is_ok() & greet.is_ok();
    cycled & installed & counted.is_ok() & device.is_ok()
}

fn in_order() -> Vec<CpuId> {
    possible().iter().collect()
}

/// `on_cpus`, and the order of its calls.
fn follows() -> bool {
    let (came, went) = (none(), none());
    let (add, take) = (Arc::clone(&came), Arc::clone(&went));
    let step = on_cpus(
        move |cpu| {
            assert_eq!(stillpoint::api::cpu::current(), cpu, "it runs elsewhere");
            add.lock().push(cpu);
        },
        move |cpu| take.lock().push(cpu),
    );
    let mut sound = step.is_ok();
    sound &= same("came", core::mem::take(&mut *came.lock()), in_order());
    sound &= leave_and_return(|| same("went", went.lock().clone(), secondaries()));
    sound &= same(
        "came back",
        core::mem::take(&mut *came.lock()),
        secondaries(),
    );
    went.lock().clear();
    drop(step);
    let mut back = in_order();
    back.reverse();
    let gone = went.lock().clone();
    sound & same("gone", gone, back) & came.lock().is_empty()
}

/// The last CPU refuses: those before it are undone.
fn fails() -> bool {
    let refuses = last_cpu();
    let undone = none();
    let (enable, prepare) = (Arc::clone(&undone), Arc::clone(&undone));
    let start = move |cpu| match cpu == refuses {
        true => Err(Errno::Busy),
        false => Ok(()),
    };
    let mut wanted: Vec<CpuId> = possible().iter().filter(|cpu| *cpu != refuses).collect();
    wanted.reverse();
    let failed = |installed: Option<InstallError>| {
        let Some(InstallError::Step { cpu, error, .. }) = installed else {
            return same("failed", installed, None);
        };
        same("on", cpu, refuses)
            & same("error", error, StepError::Refused(Errno::Busy))
            & same(
                "undone",
                core::mem::take(&mut *undone.lock()),
                wanted.clone(),
            )
            & (kernel().hotplug.slots().iter().count() == 0)
    };
    let step = EnableStep::new("fails")
        .startup(start)
        .teardown(move |cpu| {
            enable.lock().push(cpu);
            Ok(())
        });
    let on_them = failed(step.install().err());
    let step = PrepareStep::new("fails")
        .startup(start)
        .teardown(move |cpu| prepare.lock().push(cpu));
    on_them & failed(step.install().err())
}

/// Each CPU has its two calls, on itself.
fn calls_are_recorded() -> bool {
    let since = Hw::now();
    let step = EnableStep::new("traced")
        .startup(|_| Ok(()))
        .teardown(|_| Ok(()));
    let removed = step.install().is_ok_and(|step| step.remove().is_ok());
    let sound = possible().iter().all(|cpu| {
        let calls = calls_since(cpu, since);
        let name = |step| kernel().hotplug.last_step_name(step).to_string();
        let said = calls
            .iter()
            .map(|call| (call.on, call.direction, name(call.step), call.done));
        let wanted = [Direction::Up, Direction::Down]
            .map(|direction| (cpu, direction, "enable:traced".to_string(), Some(true)));
        let said: Vec<(CpuId, Direction, String, Option<bool>)> = said.collect();
        same("calls", said, Vec::from(wanted))
    });
    removed & sound
}

fn all_slots() -> bool {
    let mut steps: Vec<_> = (0..40).map(|_| EnableStep::new("many").install()).collect();
    let mut sound = steps.iter().all(Result::is_ok);
    let one_more = EnableStep::new("many").install();
    sound &= same("one more", one_more.err(), Some(InstallError::NoFreeSlot));
    // One in the middle goes: those behind it move up, and the new one is the last.
    drop(steps.remove(20));
    steps.push(EnableStep::new("last").install());
    sound &= steps.iter().all(Result::is_ok);
    let last = kernel().hotplug.slots().iter().last();
    sound &= same(
        "last",
        last.map(|(_, step)| step.name().name()),
        Some("last"),
    );
    sound & leave_and_return(|| true)
}

fn instances() -> bool {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let (up, down) = (Arc::clone(&calls), Arc::clone(&calls));
    let step = MultiStepBuilder::new("multi")
        .startup(move |cpu, of: &u32| {
            up.lock().push((cpu, *of, true));
            Ok(())
        })
        .teardown(move |cpu, of: &u32| {
            down.lock().push((cpu, *of, false));
            Ok(())
        })
        .install();
    let Ok(step) = step else {
        return false;
    };
    let (first, second) = (step.add(1), step.add(2));
    let mut sound = first.is_ok() && second.is_ok();
    calls.lock().clear();
    for cpu in secondaries() {
        sound &= cpu_down(cpu).is_ok() & cpu_up(cpu).is_ok();
        let wanted = [(2, false), (1, false), (1, true), (2, true)];
        let wanted: Vec<_> = wanted.map(|(of, up)| (cpu, of, up)).into();
        sound &= same("calls", core::mem::take(&mut *calls.lock()), wanted);
    }
    drop(first);
    let gone: Vec<_> = in_order()
        .into_iter()
        .rev()
        .map(|cpu| (cpu, 1, false))
        .collect();
    sound &= same("one is gone", core::mem::take(&mut *calls.lock()), gone);
    sound &= step.remove().is_ok();
    // The other went with the step.
    let gone: Vec<_> = in_order()
        .into_iter()
        .rev()
        .map(|cpu| (cpu, 2, false))
        .collect();
    sound & same("both are gone", calls.lock().clone(), gone) & second.is_ok()
}

/// The example's devices: each has a buffer for exactly the CPUs that are there.
fn prepares() -> bool {
    let Ok(devices) = examples::multi_prepare::devices() else {
        return false;
    };
    let device = || examples::multi_prepare::Device {
        buffers: Mutex::new(Vec::new()),
    };
    let (Ok(first), Ok(second)) = (devices.add(device()), devices.add(device())) else {
        return false;
    };
    let of = |it: &examples::multi_prepare::Device| -> Vec<CpuId> {
        let mut cpus: Vec<_> = it.buffers.lock().iter().map(|(cpu, _)| *cpu).collect();
        cpus.sort();
        cpus
    };
    let mut sound = same("first", of(&first), in_order()) & same("second", of(&second), in_order());
    let alone = Vec::from([CpuId::BOOT]);
    sound &= leave_and_return(|| same("alone", (of(&first), of(&second)), (alone.clone(), alone)));
    sound &= same("back", of(&first), in_order()) & first.remove().is_ok();
    sound & devices.remove().is_ok() & same("gone", of(&second), Vec::new())
}

fn by_hand() -> bool {
    let came = none();
    let add = Arc::clone(&came);
    let guard = registration_lock().expect("no lock is held");
    came.lock().extend(guard.online().iter());
    let refused = cpu_down(last_cpu()).is_err() & registration_lock().is_err();
    let step = EnableStep::new("by_hand").startup(move |cpu| {
        add.lock().push(cpu);
        Ok(())
    });
    let step = step.install_nocalls_under(&guard);
    drop(guard);
    let cycled = leave_and_return(|| true);
    let mut wanted = in_order();
    wanted.extend(secondaries());
    refused & cycled & step.is_ok() & same("seen", came.lock().clone(), wanted)
}

/// An installation that begins while a callback runs after a CPU's end waits for that.
fn installs_after_the_callback() -> bool {
    let order = Arc::new(Mutex::new(Vec::new()));
    let installer = Arc::new(Mutex::new(None));
    let (its, starts) = (Arc::clone(&order), Arc::clone(&installer));
    let step = post_dead("slow", move |_| {
        let theirs = Arc::clone(&its);
        *starts.lock() = Some(thread::spawn(move || {
            let step = on_cpus(|_| (), |_| ());
            theirs.lock().push("installed");
            step.is_ok()
        }));
        // Long enough for the installer to begin.
        thread::sleep(Duration::from_millis(20));
        its.lock().push("the callback ends");
    });
    let Some(cpu) = secondaries().first().copied() else {
        return step.is_ok();
    };
    let mut sound = step.is_ok() & same("down", cpu_down(cpu), Ok(()));
    let thread = installer.lock().take();
    sound &= thread.is_some_and(thread::JoinHandle::join);
    let seen = order.lock().clone();
    sound &= same("order", seen, Vec::from(["the callback ends", "installed"]));
    sound & same("up", cpu_up(cpu), Ok(()))
}

/// A thread sits in `cpus_read_lock` until the callback, which runs at the end of a CPU, has
/// been told of it. Under the hotplug lock neither would go on.
fn waits_for_a_reader() -> bool {
    struct Meeting {
        began: Completion,
        read: Completion,
    }
    let meeting = Arc::new(Meeting {
        began: Completion::new(),
        read: Completion::new(),
    });
    let theirs = Arc::clone(&meeting);
    let reader = thread::spawn(move || {
        for _ in secondaries() {
            theirs.began.wait();
            let _held = cpus_read_lock();
            theirs.read.complete();
        }
    });
    let step = post_dead("waits", move |_| {
        meeting.began.complete();
        meeting.read.wait();
        // Here too: no operation holds the lock.
        drop(cpus_read_lock());
    });
    let cycled = leave_and_return(|| true);
    reader.join();
    cycled & step.is_ok()
}
