//! Tracing off and on: while it is off each trace point is one NOP and no event comes, from the
//! boot on if the boot argument says so. A switch waits for walks, so that the rings have whole
//! ones.

//@ smp: 1 2 4
//@ timeout: 240
//@ cases: switch off-at-boot
//@ case: off-at-boot
//@ append: tracing_on=0

#![no_std]
#![no_main]

extern crate alloc;

stillpoint::entry!(main);

use alloc::sync::Arc;
use alloc::vec::Vec;

use stillpoint::api::hotplug::{cpu_down, cpu_up, cpus_read_lock};
use stillpoint::api::static_key::KeyError;
use stillpoint::api::thread::{self, JoinHandle};
use stillpoint::arch::aarch64::{image, text};
use stillpoint::cpu::CpuId;
use stillpoint::kernel::{Hw, is_tracing, kernel, set_tracing};
use stillpoint::patch::NOP;
use stillpoint::platform::Platform;
use stillpoint::sync::atomic::{AtomicBool, Ordering};
use stillpoint::time::Instant;
use stillpoint::trace::{Event, Record};
use stillpoint::{api, println};

use kernel_support::case::case;
use kernel_support::ktap::Ktap;
use kernel_support::machine::secondaries;

/// How often tracing is switched while CPUs come and go.
const SWITCHES: usize = 40;

fn main() {
    let mut ktap = Ktap::new();
    let began_on = case() == "switch";
    ktap.equal(
        "tracing is as the boot argument says",
        is_tracing(),
        began_on,
    );
    points(&mut ktap, began_on);
    ktap.check(
        "there are events of the boot, or none",
        records(Instant(0)).is_empty() != began_on,
    );
    nothing_comes(&mut ktap);
    it_comes(&mut ktap);
    refused(&mut ktap);
    whole_walks(&mut ktap);
    ktap.finish()
}

/// Returns the events of all rings from `since` on.
fn records(since: Instant) -> Vec<Record> {
    kernel().trace.collect(|record| record.at >= since)
}

/// Returns how many trace points have a NOP, and how many a branch. All sites of this kernel
/// are trace points: neither the program nor the rest of the kernel has a key.
fn words() -> (usize, usize) {
    let word = |at| {
        // SAFETY: the table has addresses of instructions.
        unsafe { text::read(at) }
    };
    let sites = image::static_keys().iter().map(|entry| entry.site());
    let all = sites.clone().count();
    let nops = sites.filter(|site| word(site.at) == NOP).count();
    (nops, all - nops)
}

fn points(ktap: &mut Ktap, on: bool) {
    let (nops, branches) = words();
    println!("# {} trace points", nops + branches);
    let (right, wrong) = if on {
        (branches, nops)
    } else {
        (nops, branches)
    };
    ktap.check("there are trace points", right >= 10);
    let name = if on {
        "on, each trace point is a branch"
    } else {
        "off, each trace point is a NOP"
    };
    ktap.equal(name, wrong, 0);
}

/// Has CPUs come and go, and the machine stop.
fn work() {
    for cpu in secondaries() {
        assert_eq!((cpu_down(cpu), cpu_up(cpu)), (Ok(()), Ok(())));
    }
    assert_eq!(api::stop_machine(|| ()), Ok(()));
}

fn nothing_comes(ktap: &mut Ktap) {
    ktap.equal("tracing is switched off", set_tracing(false), Ok(()));
    ktap.equal(
        "once more",
        (set_tracing(false), is_tracing()),
        (Ok(()), false),
    );
    points(ktap, false);
    let since = Hw::now();
    work();
    ktap.equal("off, no event comes", records(since), Vec::new());
}

fn it_comes(ktap: &mut Ktap) {
    ktap.equal("tracing is switched on", set_tracing(true), Ok(()));
    ktap.check("it is on", is_tracing());
    points(ktap, true);
    let since = Hw::now();
    work();
    let records = records(since);
    let walks = records
        .iter()
        .filter(|record| matches!(record.event, Event::WalkEnd { .. }));
    ktap.equal(
        "on, each walk is recorded",
        walks.count(),
        2 * secondaries().len(),
    );
    let is_stop = |record: &Record| matches!(record.event, Event::Stop { .. });
    ktap.check("on, stops are recorded", records.iter().any(is_stop));
}

fn refused(ktap: &mut Ktap) {
    let held = cpus_read_lock();
    let refused = set_tracing(false);
    drop(held);
    ktap.equal(
        "under the hotplug lock a switch is refused",
        (refused, is_tracing()),
        (Err(KeyError::WouldDeadlock), true),
    );
}

fn mover(over: &Arc<AtomicBool>, cpu: CpuId) -> JoinHandle<()> {
    let over = Arc::clone(over);
    thread::spawn(move || {
        while !over.load(Ordering::Relaxed) {
            assert_eq!((cpu_down(cpu), cpu_up(cpu)), (Ok(()), Ok(())));
        }
    })
}

/// Returns whether each event of a walk in the ring of `cpu` lies between a beginning and an end.
fn are_whole(cpu: CpuId) -> bool {
    // The oldest walk may have lost its beginning.
    let records = kernel().trace.walks_of(cpu, Instant(0));
    let is_begin = |record: &Record| matches!(record.event, Event::WalkBegin { .. });
    let mut inside = false;
    records
        .iter()
        .skip_while(|record| !is_begin(record))
        .all(|record| {
            let was_inside = inside;
            match record.event {
                Event::WalkBegin { .. } => inside = true,
                Event::WalkEnd { .. } => inside = false,
                _ => {}
            }
            was_inside != is_begin(record)
        })
        && !inside
}

fn whole_walks(ktap: &mut Ktap) {
    let name = "switched while CPUs come and go, the rings have whole walks";
    let cpus = secondaries();
    if cpus.is_empty() {
        ktap.inapplicable(name, "one CPU");
        return;
    }
    let over = Arc::new(AtomicBool::new(false));
    let movers: Vec<_> = cpus.iter().map(|cpu| mover(&over, *cpu)).collect();
    let mut switched = true;
    let mut on = true;
    for _ in 0..SWITCHES {
        on = !on;
        switched &= set_tracing(on) == Ok(()) && is_tracing() == on;
    }
    over.store(true, Ordering::Relaxed);
    movers.into_iter().for_each(JoinHandle::join);
    ktap.check(name, switched && cpus.into_iter().all(are_whole));
}
