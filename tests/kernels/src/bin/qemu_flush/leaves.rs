//! A reader of the online mask that has preemption on, doesn't sleep, and is interrupted between
//! its read and its use: a CPU leaves in between if it leaves by the classic stop, and none if
//! it leaves by a stop that flushes preempted threads (`cpu_down_stop=flush`).
//!
//! The reader's handler wakes two threads of its CPU: one takes the other CPU down, and one, of an
//! application, keeps the CPU from the reader for as long as that takes.

use alloc::sync::Arc;

use stillpoint::api::hotplug::{cpu_down, cpu_up};
use stillpoint::api::sync::Completion;
use stillpoint::api::thread::Builder;
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::kernel::{Hw, kernel};
use stillpoint::sched::{Class, Priority};
use stillpoint::stop_machine::StopMode;
use stillpoint::sync::LocalCpu;
use stillpoint::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use kernel_support::ktap::Ktap;
use kernel_support::machine::last_cpu;

use crate::race::{GO, KEEP, read_and_use, sgi_to_self, spawn_kernel, urgent};

/// How often a CPU leaves in each mode.
const TRIES: u32 = 10;

/// The reader has used what it has read.
static USED: Completion = Completion::new();
/// The CPU has left, and has come back.
static BACK: Completion = Completion::new();
/// The CPU has left: the thread that keeps the reader's CPU lets it go.
static LEFT: AtomicBool = AtomicBool::new(false);

pub(crate) fn check(ktap: &mut Ktap) {
    if last_cpu() == CpuId::BOOT {
        return; // No other CPU could leave.
    }
    ktap.equal(
        "by a classic stop a CPU leaves in the midst of a reader with preemption on",
        stale_reads(StopMode::Classic),
        TRIES,
    );
    ktap.equal(
        "by one that flushes preempted threads it doesn't",
        stale_reads(StopMode::FlushPreempted),
        0,
    );
    kernel().hotplug.set_down_stop(StopMode::Classic);
}

/// Returns in how many of the tries the reader found that the boot CPU, which was online when it
/// read, was not online any more when it used that; all tries and one more, if a try was none.
fn stale_reads(mode: StopMode) -> u32 {
    kernel().hotplug.set_down_stop(mode);
    KEEP.reset();
    let cpu = last_cpu();
    let writer = spawn_kernel("writer", urgent(), cpu, || {
        for _ in 0..TRIES {
            GO.wait();
            let left = cpu_down(CpuId::BOOT);
            LEFT.store(true, Ordering::Relaxed);
            USED.wait();
            let back = cpu_up(CpuId::BOOT);
            if left.is_err() || back.is_err() {
                stillpoint::println!("# {left:?} {back:?}");
            }
            BACK.complete();
        }
    });
    let less_urgent = Class::fifo(Priority::new(40).expect("1 to 99"));
    let builder = Builder::new().name("keeper").class(less_urgent);
    let keeper = builder.affinity(CpuMask::of(cpu)).spawn(|| {
        for _ in 0..TRIES {
            KEEP.wait();
            while !LEFT.swap(false, Ordering::Relaxed) {
                Hw::relax();
            }
        }
    });
    let keeper = keeper.expect("a stack is left");
    let stale = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&stale);
    let reader = spawn_kernel("reader", Class::Normal, cpu, move || {
        let sgi = sgi_to_self();
        let is_online = || u64::from(kernel().masks.online().contains(CpuId::BOOT));
        for _ in 0..TRIES {
            let (read, used, there) = read_and_use(sgi, is_online);
            USED.complete();
            let count = if read == 0 || !there {
                TRIES + 1
            } else {
                u32::from(used != read)
            };
            counted.fetch_add(count, Ordering::Relaxed);
            BACK.wait();
        }
    });
    reader.wait_until_dead();
    keeper.join();
    writer.wait_until_dead();
    stale.load(Ordering::Relaxed)
}
