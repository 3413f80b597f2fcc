//! Modules that are loaded, used on all CPUs and unloaded, while CPUs come and go; and what
//! becomes of one whose references are counted with preemption on.

//@ smp: 1 2 4
//@ timeout: 240
//@ cases: modules get-of-none put-too-often
//@ case: get-of-none
//@ status: 101
//@ output: ^kernel panic on CPU [0-9]+, thread main: BUG: a reference is taken to a module that has none \(it is not loaded\)$
//@ case: put-too-often
//@ status: 101
//@ output: ^kernel panic on CPU [0-9]+, thread main: BUG: of a module's 1 references 2 were put$

#![no_std]
#![no_main]

extern crate alloc;

#[path = "../../../../../examples/api/module.rs"]
mod example;
mod preempted;

stillpoint::entry!(main);

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::api::hotplug::{cpu_down, cpu_up};
use stillpoint::api::module::{LoadError, Module, ModuleState, UnloadError};
use stillpoint::api::stop::StopError;
use stillpoint::api::thread::{self, JoinHandle};
use stillpoint::api::time;
use stillpoint::cpu::CpuId;
use stillpoint::module::{Plain, References};
use stillpoint::println;
use stillpoint::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use kernel_support::case::{case, told};
use kernel_support::ktap::Ktap;
use kernel_support::machine::{after, eventually, last_cpu, secondaries, stay_on_boot_cpu};
use kernel_support::xorshift::Random;

fn main() {
    match case() {
        "get-of-none" => References::<Plain>::new(1).get(CpuId::BOOT),
        "put-too-often" => put_too_often(),
        _ => modules(),
    }
}

fn put_too_often() {
    let references = References::<Plain>::new(1);
    let claimed = references.claim();
    references.come(CpuId::BOOT);
    references.put(CpuId::BOOT);
    references.put(CpuId::BOOT);
    println!("{claimed:?}, {} references", references.total());
}

fn modules() {
    let mut ktap = Ktap::new();
    from_one_thread(&mut ktap);
    the_example(&mut ktap);
    from_cpu_to_cpu(&mut ktap);
    a_put_wakes(&mut ktap);
    storm(&mut ktap);
    stay_on_boot_cpu();
    preempted::misses_a_reference(&mut ktap);
    preempted::sees_a_reference(&mut ktap);
    ktap.finish()
}

type Loaded = Result<(), LoadError<u32, &'static str>>;

fn from_one_thread(ktap: &mut Ktap) {
    static MODULE: Module<u32> = Module::new();
    let not_loaded = Err(UnloadError::NotLive(ModuleState::Unloaded));
    ktap.check("nothing is there", MODULE.try_get().is_none());
    ktap.equal(
        "what isn't there isn't unloaded",
        MODULE.unload(),
        not_loaded,
    );
    let loaded: Loaded = MODULE.load(7, |own| {
        let seen = (*own, MODULE.state_racy(), MODULE.references_racy());
        if seen == (7, ModuleState::Coming, 2) {
            Ok(())
        } else {
            Err("not as it should be")
        }
    });
    ktap.equal("the loader holds a reference", loaded, Ok(()));
    let twice: Loaded = MODULE.load(8, |_| Ok(()));
    let there = Err(LoadError::Loaded(ModuleState::Live, 8));
    ktap.equal("it is loaded once", twice, there);
    let held = MODULE.try_get();
    let in_use = Err(UnloadError::InUse { references: 1 });
    ktap.equal("it is in use", MODULE.try_unload(), in_use.clone());
    let late = MODULE.unload_before(after(Duration::from_millis(5)));
    // A slow host may not even stop the machine in time.
    let given_up = late == in_use || matches!(late, Err(UnloadError::Stop(_)));
    ktap.check("and stays so", given_up);
    let past = MODULE.unload_before(time::now());
    let no_stop = matches!(past, Err(UnloadError::Stop(_)));
    ktap.check("a limit that is past stops nothing", no_stop);
    ktap.equal("it is live again", MODULE.state_racy(), ModuleState::Live);
    drop(held);
    ktap.equal("the value comes back", MODULE.try_unload(), Ok(7));
    let failed: Loaded = MODULE.load(9, |_| Err("no"));
    ktap.equal("it can't be set up", failed, Err(LoadError::Init("no")));
    ktap.equal("and is gone", MODULE.state_racy(), ModuleState::Unloaded);
}

/// Accepts packets that begin with zeros.
struct Zeros(usize);

impl example::Filter for Zeros {
    fn accepts(&self, packet: &[u8]) -> bool {
        packet.iter().take(self.0).all(|byte| *byte == 0)
    }
}

fn the_example(ktap: &mut Ktap) {
    let accepts = || (example::accepts(&[0, 1]), example::accepts(&[1, 0]));
    ktap.equal("without a plugin", accepts(), (true, true));
    ktap.check(
        "a plugin is loaded",
        example::load(Box::new(Zeros(1))).is_ok(),
    );
    ktap.equal("with a plugin", accepts(), (true, false));
    ktap.check("and is unloaded", example::unload().is_ok());
    ktap.equal("without it again", accepts(), (true, true));
    ktap.equal("it is gone", example::state(), ModuleState::Unloaded);
}

/// A reference is taken on a CPU that leaves then, and dropped on another one.
fn from_cpu_to_cpu(ktap: &mut Ktap) {
    static MODULE: Module<u32> = Module::new();
    const NAME: &str = "a CPU that has left is in the sum";
    let last = last_cpu();
    if last == CpuId::BOOT {
        ktap.inapplicable(NAME, "one CPU");
        return;
    }
    let loaded: Loaded = MODULE.load(1, |_| Ok(()));
    let taken = thread::spawn_on(last, "taker", || MODULE.try_get());
    let held = taken.ok().and_then(JoinHandle::join);
    let down = cpu_down(last);
    let in_use = MODULE.try_unload() == Err(UnloadError::InUse { references: 1 });
    let had = held.is_some();
    drop(held);
    let went = MODULE.try_unload();
    let up = cpu_up(last);
    let moved = loaded.is_ok() && down.is_ok() && up.is_ok();
    ktap.check(NAME, moved && had && in_use && went == Ok(1));
}

/// A thread on another CPU drops the last reference while this one waits for it.
fn a_put_wakes(ktap: &mut Ktap) {
    static MODULE: Module<u32> = Module::new();
    static HAS_IT: AtomicBool = AtomicBool::new(false);
    static WAS_LIVE: AtomicBool = AtomicBool::new(true);
    let loaded: Loaded = MODULE.load(2, |_| Ok(()));
    let user = thread::spawn(|| {
        let held = MODULE.try_get();
        HAS_IT.store(true, Ordering::Relaxed);
        let going = eventually(|| MODULE.state_racy() == ModuleState::Going);
        let more = held.clone();
        drop(held);
        WAS_LIVE.store(MODULE.try_get().is_some(), Ordering::Relaxed);
        thread::sleep(Duration::from_millis(5));
        drop(more);
        going
    });
    let has_it = eventually(|| HAS_IT.load(Ordering::Relaxed));
    let went = MODULE.unload();
    let saw_it_go = user.join();
    ktap.equal("the last put wakes the unload", went, Ok(2));
    let refused = !WAS_LIVE.load(Ordering::Relaxed);
    let right = loaded.is_ok() && has_it && saw_it_go && refused;
    ktap.check("no thread gets a reference to what goes", right);
}

/// A value that knows when it is gone.
struct Value {
    inside: AtomicU32,
    gone: Arc<AtomicBool>,
}

static STORM: Module<Value> = Module::new();

/// How often it went wrong.
static WRONG: AtomicU32 = AtomicU32::new(0);

fn value() -> Value {
    Value {
        inside: AtomicU32::new(0),
        gone: Arc::new(AtomicBool::new(false)),
    }
}

fn wrong(what: &str) {
    println!("# {what}");
    WRONG.fetch_add(1, Ordering::Relaxed);
}

fn use_it(random: &mut Random) -> bool {
    let Some(first) = STORM.try_get() else {
        thread::yield_now();
        return false;
    };
    first.inside.fetch_add(1, Ordering::Relaxed);
    let gone = Arc::clone(&first.gone);
    if random.below(16) == 0 {
        thread::yield_now();
    }
    let second = first.clone();
    drop(first);
    if random.below(64) == 0 {
        thread::sleep(Duration::from_micros(50));
    }
    if gone.load(Ordering::Relaxed) {
        wrong("a value is gone while it has a reference");
    }
    second.inside.fetch_sub(1, Ordering::Relaxed);
    true
}

fn load_it(random: &mut Random) -> bool {
    let fails = random.below(8) == 0;
    let loaded = STORM.load(value(), |_| if fails { Err(()) } else { Ok(()) });
    thread::sleep(Duration::from_micros(random.below(500) as u64));
    loaded.is_ok()
}

fn unload_it(random: &mut Random) -> bool {
    let went = match random.below(3) {
        0 => STORM.try_unload(),
        1 => STORM.unload_before(after(Duration::from_micros(random.below(200) as u64))),
        _ => STORM.unload(),
    };
    let is_out = went.is_ok();
    match went {
        Ok(value) => {
            value.gone.store(true, Ordering::Relaxed);
            if value.inside.load(Ordering::Relaxed) > 0 {
                wrong("a value came back with a thread in it");
            }
        }
        Err(UnloadError::Stop(StopError::NotOnline(_) | StopError::Cancelled(_))) => {
            wrong("the machine was not stopped");
        }
        Err(_) => thread::yield_now(),
    }
    is_out
}

fn move_cpus(random: &mut Random) -> bool {
    let others = secondaries();
    if others.is_empty() {
        thread::sleep(Duration::from_millis(1));
        return true;
    }
    let cpu = others[random.below(others.len())];
    let moved = if random.below(2) == 0 {
        cpu_down(cpu).is_ok()
    } else {
        cpu_up(cpu).is_ok()
    };
    thread::sleep(Duration::from_millis(1));
    moved
}

/// Does `turn_fn` until the storm is over; returns how often it returned true.
fn worker(seed: u64, over: &Arc<AtomicBool>, turn_fn: fn(&mut Random) -> bool) -> JoinHandle<u32> {
    let over = Arc::clone(over);
    thread::spawn(move || {
        let mut random = Random::new(seed);
        let mut done = 0;
        while !over.load(Ordering::Relaxed) {
            done += u32::from(turn_fn(&mut random));
        }
        done
    })
}

fn storm(ktap: &mut Ktap) {
    let over = Arc::new(AtomicBool::new(false));
    let users: Vec<_> = (1..=4).map(|seed| worker(seed, &over, use_it)).collect();
    let loader = worker(5, &over, load_it);
    let unloaders: Vec<_> = (6..8).map(|seed| worker(seed, &over, unload_it)).collect();
    let mover = worker(8, &over, move_cpus);
    let seconds = told("seconds").unwrap_or(3);
    thread::sleep_until(time::now() + Duration::from_secs(seconds));
    over.store(true, Ordering::Relaxed);
    let used: u32 = users.into_iter().map(JoinHandle::join).sum();
    let (loaded, moved) = (loader.join(), mover.join());
    let unloaded: u32 = unloaders.into_iter().map(JoinHandle::join).sum();
    println!("# {used} uses, {loaded} loads, {unloaded} unloads, {moved} operations");
    let busy = used > 0 && loaded > 10 && unloaded > 10 && moved > 0;
    ktap.check("a module is used, loaded and unloaded", busy);
    ktap.equal(
        "no value goes under a reference",
        WRONG.load(Ordering::Relaxed),
        0,
    );
    let left = STORM.references_racy();
    let last = STORM.unload();
    let out = loaded == unloaded + u32::from(last.is_ok());
    ktap.check("each that was loaded came back once", left == 0 && out);
    let back = secondaries().into_iter().all(|cpu| cpu_up(cpu).is_ok());
    drop(last);
    ktap.check("all CPUs are back", back);
}
