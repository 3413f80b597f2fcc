//! Everything at once: CPUs come and go at random under threads, sleeps, timers, cross
//! calls, locks, RCU, stops and allocation; at the end the totals add up and all memory is
//! back.
//!
//! Among the boot arguments `seconds=` says how long (60 unless told; then only on 4
//! CPUs) and `seed=` what happens: the seed is printed. Each worker counts what it did,
//! the other side counts what it saw, and the two are compared.
//!
//! SMP: 1 2 4 20
//! TIMEOUT: 900
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
#[path = "support/ktap.rs"]
mod ktap;
#[cfg(target_os = "none")]
#[path = "support/machine.rs"]
mod machine;
#[cfg(target_os = "none")]
#[path = "qemu_soak/memory.rs"]
mod memory;
#[cfg(target_os = "none")]
#[path = "qemu_soak/moving.rs"]
mod moving;
#[cfg(target_os = "none")]
#[path = "qemu_soak/reading.rs"]
mod reading;
#[cfg(target_os = "none")]
#[path = "qemu_soak/waiting.rs"]
mod waiting;
#[cfg(target_os = "none")]
#[path = "qemu_soak/world.rs"]
mod world;
#[cfg(target_os = "none")]
#[path = "support/xorshift.rs"]
mod xorshift;

#[cfg(target_os = "none")]
stillpoint::entry!(kernel_test::main);

#[cfg(not(target_os = "none"))]
fn main() {}

#[cfg(target_os = "none")]
mod kernel_test {
    use alloc::format;
    use alloc::sync::Arc;
    use alloc::vec::Vec;
    use core::time::Duration;

    use stillpoint::api::thread::{Builder, JoinHandle};
    use stillpoint::cpu::CpuMask;
    use stillpoint::platform::Platform;
    use stillpoint::start::{Hw, kernel};
    use stillpoint::sync::atomic::Ordering;
    use stillpoint::{api, println};

    use crate::ktap::Ktap;
    use crate::machine::{eventually, masks_say, secondaries, states_say};
    use crate::world::World;
    use crate::xorshift::Random;
    use crate::{memory, moving, reading, waiting};

    /// What a worker does until the world stops, and how many of them there are: so
    /// many, and so many for each CPU.
    type Worker = (&'static str, fn(&World, Random), usize, usize);

    const WORKERS: [Worker; 11] = [
        ("hotplug", moving::hotplug, 1, 0),
        ("computes", moving::compute, 0, 1),
        ("sleeps", waiting::sleep, 2, 0),
        ("timers", waiting::timers, 2, 0),
        ("calls", moving::call, 2, 0),
        ("locks", waiting::lock, 4, 0),
        ("allocates", memory::allocate, 2, 0),
        ("spawns", memory::spawn, 1, 0),
        ("parks", waiting::park, 1, 0),
        ("replaces", reading::replace, 1, 0),
        ("reads", reading::read, 3, 0),
    ];

    pub(crate) fn main() {
        let cpus = kernel().masks.possible().count();
        let seconds = match told("seconds") {
            Some(seconds) => seconds,
            None if cpus == 4 => 60,
            None => Ktap::not_applicable("without seconds= the soak is for 4 CPUs"),
        };
        let seed = told("seed").unwrap_or(Hw::now().0);
        let mut ktap = Ktap::plan(10);
        println!("# seed={seed} seconds={seconds}");
        // What is made once and kept is made before the memory is counted.
        soak(1, seed);
        let before = (api::heap_in_use(), api::stacks_in_use());
        let world = soak(seconds, seed);
        println!("# {world}");
        ktap.check("every worker has had its turn", world.all_worked(cpus));
        ktap.check("nobody has seen anything wrong", world.is_sound());
        ktap.check(
            "calls that were made have run, once each",
            world.calls_add_up(),
        );
        ktap.check(
            "timers that were set have gone off or were cancelled",
            world.timers_add_up(),
        );
        ktap.check(
            "callbacks that were queued have run, once each",
            world.callbacks_add_up(),
        );
        ktap.check("what was done under locks adds up", world.locks_add_up());
        let all: CpuMask = *kernel().masks.possible();
        for cpu in secondaries() {
            if let Err(error) = api::cpu_up(cpu) {
                println!("# CPU{cpu} does not come back: {error}");
            }
        }
        ktap.check("all CPUs are back", masks_say(&all));
        ktap.check("every step is balanced", states_say(&all));
        ktap.check("a stop takes all of them", api::stop_machine(|| ()).is_ok());
        drop(world);
        let now = || (api::heap_in_use(), api::stacks_in_use());
        let back = eventually(|| now() == before);
        if !back {
            println!("# heap, stacks: {before:?} before, {:?} now", now());
        }
        ktap.check("heap and stacks in use are as before", back);
        ktap.finish()
    }

    fn told(word: &str) -> Option<u64> {
        let mut words = kernel().bootargs.split(' ');
        words.find_map(|found| found.strip_prefix(word)?.strip_prefix('=')?.parse().ok())
    }

    /// Lets all workers work for `seconds`.
    fn soak(seconds: u64, seed: u64) -> Arc<World> {
        let world = Arc::new(World::new());
        let cpus = kernel().masks.possible().count();
        let mut threads: Vec<JoinHandle<()>> = Vec::new();
        for (name, work_fn, some, for_each) in WORKERS {
            for number in 0..some + for_each * cpus {
                let world = Arc::clone(&world);
                let random = Random::new(seed ^ ((threads.len() as u64) << 32));
                let body = move || work_fn(&world, random);
                let thread = Builder::new().name(format!("{name}/{number}")).spawn(body);
                threads.push(thread.expect("a stack is free"));
            }
        }
        api::sleep(Duration::from_secs(seconds));
        world.stop.store(true, Ordering::Relaxed);
        threads.into_iter().for_each(JoinHandle::join);
        // A call that nobody waits for may still be on its way.
        let settled = eventually(|| world.calls_add_up());
        if !settled {
            println!("# calls do not settle");
        }
        world
    }
}
