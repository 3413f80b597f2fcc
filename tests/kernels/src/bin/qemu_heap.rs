//! The heap, the CPUs' caches and the depots between them: blocks that are freed on another CPU,
//! in an interrupt handler, or on a CPU that then leaves; and a heap that is used up, also while
//! all CPUs allocate and free, and CPUs leave.

//@ smp: 1 2 4 20
//@ timeout: 240

#![no_std]
#![no_main]

extern crate alloc;

stillpoint::entry!(main);

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use stillpoint::api::{self, JoinHandle};
use stillpoint::cpu::CpuId;
use stillpoint::kernel::{Hw, TEST_SGI, kernel};
use stillpoint::memory::{DEPOT_BYTES, MAGAZINE_BYTES, SizeClass};
use stillpoint::println;
use stillpoint::sync::SpinLock;
use stillpoint::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use kernel_support::ktap::Ktap;
use kernel_support::machine::{eventually, last_cpu, leave_and_return, secondaries, send_sgi};
use kernel_support::memory::{InUse, WholeHeap};
use kernel_support::xorshift::Random;

/// A size above the largest class, so that some blocks bypass the per-CPU caches.
const LARGEST: usize = 1500;

/// The blocks that the CPUs exchange.
const PLACES: usize = 64;

/// Each byte of a block is the low byte of its length.
type Places = Vec<SpinLock<Vec<u8>, Hw>>;

fn main() {
    let mut ktap = Ktap::new();
    // The first cycle allocates memory that is kept for ever.
    let moved = cycles(1, &Arc::new(places()));
    ktap.check("CPUs leave and come back", moved);
    let before = InUse::settled();
    ktap.check("the sums fit", adds_up());

    handler(&mut ktap);
    churn(&mut ktap);
    ktap.check("as much in use as before", before.is_back());
    depots(&mut ktap);
    shortage(&mut ktap);
    ktap.check("as much in use as before still", before.is_back());

    ktap.check(
        "a heap that is used up gives nothing, and all again",
        use_up(),
    );
    ktap.check("as much in use as before that", before.is_back());
    ktap.check("the sums fit still", adds_up());
    ktap.finish()
}

fn places() -> Places {
    (0..PLACES).map(|_| SpinLock::new(Vec::new())).collect()
}

fn adds_up() -> bool {
    let stats = api::heap_stats();
    let fits = stats.in_use == api::heap_in_use()
        && stats.in_use + stats.cached + stats.in_depots + stats.free <= stats.total
        && stats.in_use > 0
        && stats.free > 0;
    if !fits {
        println!("# {stats:?}");
    }
    fits
}

fn mark(length: usize) -> u8 {
    length.to_le_bytes()[0]
}

/// Returns a block of `length` bytes; an empty one if there is no memory.
fn block(length: usize) -> Vec<u8> {
    let mut block = Vec::new();
    if block.try_reserve_exact(length).is_ok() {
        block.resize(length, mark(length));
    }
    block
}

/// Allocates blocks of random sizes and frees blocks that it finds, mostly those of other CPUs;
/// returns whether each was intact.
fn exchange(random: &mut Random, places: &Places, turns: usize) -> bool {
    (0..turns).all(|_| {
        let length = random.below(LARGEST);
        let block = block(length);
        let place = &places[random.below(PLACES)];
        let found = core::mem::replace(&mut *place.lock(), block);
        let mark = mark(found.len());
        found.iter().all(|byte| *byte == mark)
    })
}

/// Starts a thread on `cpu` that exchanges blocks until it is told to end, at least once.
fn exchanger(cpu: CpuId, places: &Arc<Places>, end: &Arc<AtomicBool>) -> JoinHandle<bool> {
    let (places, end) = (Arc::clone(places), Arc::clone(end));
    let thread = api::spawn_on(cpu, "exchanger", move || {
        let mut random = Random::new(cpu.index() as u64 + 1);
        loop {
            if !exchange(&mut random, &places, 200) {
                return false;
            }
            if end.load(Ordering::Relaxed) {
                return true;
            }
            api::yield_now();
        }
    });
    thread.expect("a thread is started")
}

/// Takes the upper half of the CPUs down and up, `rounds` times. Each CPU exchanges blocks before
/// it leaves. Returns whether its cache was empty after that, and all blocks were intact.
fn cycles(rounds: usize, places: &Arc<Places>) -> bool {
    let half = kernel().masks.possible().count() / 2;
    let leaving: Vec<CpuId> = secondaries()
        .into_iter()
        .filter(|cpu| cpu.index() >= half)
        .collect();
    let once = Arc::new(AtomicBool::new(true));
    (0..rounds).all(|_| {
        leaving.iter().all(|&cpu| {
            let whole = exchanger(cpu, places, &once).join();
            let kept = api::heap_cached(cpu);
            let left = api::cpu_down(cpu).is_ok();
            let emptied = api::heap_cached(cpu);
            let back = api::cpu_up(cpu).is_ok();
            let good = whole && kept > 0 && left && emptied == 0 && back;
            if !good {
                println!("# CPU{cpu}: {whole} {kept} {left} {emptied} {back}");
            }
            good
        })
    })
}

fn churn(ktap: &mut Ktap) {
    let places = Arc::new(places());
    let end = Arc::new(AtomicBool::new(false));
    let half = kernel().masks.possible().count().div_ceil(2);
    let staying = (0..half).filter_map(CpuId::new);
    let threads: Vec<_> = staying.map(|cpu| exchanger(cpu, &places, &end)).collect();
    let rounds = if half > 4 { 3 } else { 20 };
    let emptied = cycles(rounds, &places);
    let mut random = Random::new(99);
    let whole_here = exchange(&mut random, &places, 5000);
    end.store(true, Ordering::Relaxed);
    let whole = threads.into_iter().all(JoinHandle::join) && whole_here;
    ktap.check("blocks that are freed elsewhere are whole", whole);
    ktap.check("a CPU that leaves leaves nothing in its cache", emptied);
    let bounded = kernel()
        .masks
        .possible()
        .iter()
        .all(|cpu| api::heap_cached(cpu) <= SizeClass::all().count() * MAGAZINE_BYTES);
    ktap.check("no cache holds more than it may", bounded);
}

static HANDLED: AtomicU32 = AtomicU32::new(0);

fn allocate_in_handler() {
    let number = HANDLED.load(Ordering::Relaxed);
    let (small, large) = (Box::new(number), alloc::vec![number; 100]);
    let whole = *small == number && large.iter().all(|each| *each == number);
    assert!(whole, "a handler's block was changed");
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

/// Handlers that allocate, on a CPU that is allocating.
fn handler(ktap: &mut Ktap) {
    kernel().test_handler.call_once(|| allocate_in_handler);
    let places = Arc::new(places());
    let end = Arc::new(AtomicBool::new(false));
    let thread = exchanger(last_cpu(), &places, &end);
    let handled = (0..200).all(|_| {
        let before = HANDLED.load(Ordering::Relaxed);
        send_sgi(TEST_SGI, last_cpu());
        eventually(|| HANDLED.load(Ordering::Relaxed) > before)
    });
    end.store(true, Ordering::Relaxed);
    let whole = thread.join();
    ktap.check("a handler allocates while its CPU does", handled && whole);
}

/// How many blocks of each size class a CPU allocates for its neighbour to free.
const BURST: usize = 4;

/// The blocks that a CPU has allocated and no CPU has freed yet.
type Burst = SpinLock<Vec<Vec<u8>>, Hw>;

fn bursts() -> Vec<Burst> {
    let of_all = BURST * SizeClass::all().count();
    let cpus = 0..kernel().masks.possible().count();
    cpus.map(|_| SpinLock::new(Vec::with_capacity(of_all)))
        .collect()
}

/// Has each CPU allocate a burst; returns whether there was memory for all.
fn allocate_bursts(bursts: &[Burst]) -> bool {
    api::on_each_cpu(|cpu| {
        let mut burst = bursts[cpu.index()].lock_irqsave();
        for class in SizeClass::all() {
            burst.extend((0..BURST).map(|_| block(class.size())));
        }
    });
    let is_whole = |burst: &Burst| burst.lock_irqsave().iter().all(|block| !block.is_empty());
    bursts.iter().all(is_whole)
}

/// Has each CPU free the burst of its neighbour; returns whether the blocks were intact.
fn free_bursts(bursts: &[Burst]) -> bool {
    let whole = AtomicBool::new(true);
    api::on_each_cpu(|cpu| {
        let mut burst = bursts[(cpu.index() + 1) % bursts.len()].lock_irqsave();
        let intact = |block: &Vec<u8>| block.iter().all(|byte| *byte == mark(block.len()));
        if !burst.iter().all(intact) {
            whole.store(false, Ordering::Relaxed);
        }
        burst.clear();
    });
    whole.into_inner()
}

fn depots(ktap: &mut Ktap) {
    let bursts = bursts();
    let exchange = || allocate_bursts(&bursts) && free_bursts(&bursts);
    let whole = (0..20).all(|_| exchange());
    let begun = api::heap_stats();
    let whole = whole && (0..20).all(|_| exchange());
    let ended = api::heap_stats();
    ktap.check("blocks of neighbours are whole", whole);
    let pairs = 20 * bursts.len() * BURST * SizeClass::all().count();
    let takings = ended.shared_lock_takings - begun.shared_lock_takings;
    println!("# {takings} takings of the shared lock for {pairs} pairs");
    let of_each = SizeClass::all().count() * DEPOT_BYTES;
    println!("# {} bytes in depots", ended.in_depots);
    ktap.check(
        "they come back without the shared lock",
        takings * 100 < pairs as u64,
    );
    ktap.check(
        "depots hold no more than they may",
        ended.in_depots > 0 && ended.in_depots <= bursts.len() * of_each,
    );
    let emptied = leave_and_return(|| api::heap_stats().in_depots <= of_each);
    ktap.check("depots keep nothing for CPUs that are off", emptied);

    let more = self::bursts();
    let filled = allocate_bursts(&bursts) && allocate_bursts(&more) && free_bursts(&more);
    let kept = api::heap_stats().in_depots;
    let all = WholeHeap::take();
    let left = api::heap_stats().in_depots;
    println!("# {kept} bytes in depots before, {left} bytes behind");
    ktap.check(
        "no request fails while depots hold memory",
        filled && kept > 0 && left == 0,
    );
    // All is in use: a free has nothing but the block itself.
    let whole = free_bursts(&bursts);
    let again = allocate_bursts(&bursts) && free_bursts(&bursts);
    let whole = whole && all.bytes() == all.give_back();
    ktap.check("memory is freed without memory", whole && again);
}

/// Uses the heap up while all CPUs exchange blocks, and one CPU after the other is off.
fn shortage(ktap: &mut Ktap) {
    let places = Arc::new(places());
    let end = Arc::new(AtomicBool::new(false));
    let half = kernel().masks.possible().count().div_ceil(2);
    let staying = (0..half).filter_map(CpuId::new);
    let threads: Vec<_> = staying.map(|cpu| exchanger(cpu, &places, &end)).collect();
    let use_up = || {
        let all = WholeHeap::take();
        all.bytes() == all.give_back()
    };
    let leaving = secondaries().into_iter().filter(|cpu| cpu.index() >= half);
    let used_up = use_up()
        && leaving.take(3).all(|cpu| {
            let left = api::cpu_down(cpu).is_ok();
            let used_up = use_up();
            left && used_up && api::cpu_up(cpu).is_ok()
        });
    end.store(true, Ordering::Relaxed);
    let whole = threads.into_iter().all(JoinHandle::join);
    ktap.check("all CPUs go on without memory", used_up && whole);
}

/// Allocates all of the heap in smaller and smaller blocks, and frees it; returns whether the
/// heap was used up, and no two blocks overlapped.
fn use_up() -> bool {
    let free_before = api::heap_stats().free;
    let all = WholeHeap::take();
    let taken = all.bytes();
    let left = api::heap_stats().free;
    let returned = all.give_back();
    println!("# {free_before} bytes free, {taken} taken, {left} left");
    let again = api::heap_stats().free + (1 << 16) >= free_before;
    taken == returned && taken > free_before / 2 && left < 1 << 16 && again
}
