//! Keith Owens' race of 2006: a thread reads a global, is preempted, the global changes while
//! the machine stands still, and the thread goes on with what it has read.
//!
//! The reader sends itself an SGI between the read and the use, and executes ISB there: the
//! interrupt is taken at that place and no other. Its handler wakes a more urgent thread of
//! the same CPU, the writer, which preempts the reader there and changes the global.
//!
//! The writer changes it in the still point of a stop, which is classic or flushes preempted
//! threads.

use alloc::sync::Arc;
use core::arch::asm;

use stillpoint::api;
use stillpoint::api::stop::{Stop, StopMode};
use stillpoint::api::sync::{Completion, PreemptGuard};
use stillpoint::api::{thread, time};
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::kernel::{Hw, TEST_SGI, kernel};
use stillpoint::platform::ThreadName;
use stillpoint::sched::{Class, Priority, Thread};
use stillpoint::sync::SpinLock;
use stillpoint::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::flush::LIMIT;

/// How the reader reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// As a thread of the kernel, preemption on.
    Kernel,
    /// The same, preemption off.
    Guarded,
    /// As code of an application.
    App,
    /// As a section of an application that a flush waits for.
    NoFlush,
}

/// What the reader reads.
static GLOBAL: AtomicU64 = AtomicU64::new(0);
/// Where the reader was interrupted last.
static INTERRUPTED_AT: AtomicU64 = AtomicU64::new(0);
/// The handler wakes the writer by this.
pub(crate) static GO: Completion = Completion::new();
/// And by this a thread that keeps the reader's CPU, where the race has one.
pub(crate) static KEEP: Completion = Completion::new();
/// The writer has changed the global.
static CHANGED: Completion = Completion::new();
static READER: SpinLock<Option<Arc<Thread<Hw>>>, Hw> = SpinLock::new(None);
/// In how many tries the writer found the reader marked.
static MARKED: AtomicU32 = AtomicU32::new(0);

/// What was seen in a number of tries.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The value had changed between the read and the use.
    pub(crate) stale: u32,
    /// The writer found the reader marked.
    pub(crate) marked: u32,
    /// The interrupt came between the read and the use.
    pub(crate) there: u32,
    /// The global was changed.
    pub(crate) changed: u64,
}

/// The handler of the SGI.
pub(crate) fn interrupted() {
    let at: u64;
    // SAFETY: reads a register, which says where this handler returns to.
    unsafe { asm!("mrs {}, elr_el1", out(reg) at, options(nomem, nostack)) };
    INTERRUPTED_AT.store(at, Ordering::Relaxed);
    KEEP.complete();
    GO.complete();
}

/// Returns the value for ICC_SGI1R_EL1 that sends [`TEST_SGI`] to this CPU.
pub(crate) fn sgi_to_self() -> u64 {
    let mpidr: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mrs {}, mpidr_el1", out(reg) mpidr, options(nomem, nostack)) };
    let aff = |level: u32| mpidr >> level & 0xff;
    let (aff0, aff1, aff2, aff3) = (aff(0), aff(8), aff(16), aff(32));
    let list = 1 << (aff0 % 16) | (aff0 / 16) << 44;
    list | aff1 << 16 | aff2 << 32 | aff3 << 48 | u64::from(TEST_SGI) << 24
}

/// Reads by `read_fn`, is interrupted, and reads again where it would use what it has read.
/// Returns both values, and whether the interrupt came in between.
#[inline(never)]
pub(crate) fn read_and_use(sgi: u64, read_fn: impl Fn() -> u64) -> (u64, u64, bool) {
    let (first, last): (u64, u64);
    let read = read_fn();
    // SAFETY: sends an SGI that has a handler.
    unsafe {
        asm!(
            "adr {first}, 2f",
            "adr {last}, 3f",
            "msr S3_0_C12_C11_5, {sgi}",
            "2: isb",
            "3:",
            first = out(reg) first,
            last = out(reg) last,
            sgi = in(reg) sgi,
            options(nostack, preserves_flags)
        );
    }
    let used = read_fn();
    let at = INTERRUPTED_AT.swap(0, Ordering::Relaxed);
    (read, used, (first..=last).contains(&at))
}

fn read_global() -> u64 {
    GLOBAL.load(Ordering::Relaxed)
}

/// Does one try.
fn read_as(reader: Reader, sgi: u64) -> (u64, u64, bool) {
    match reader {
        Reader::Kernel | Reader::App => read_and_use(sgi, read_global),
        Reader::Guarded => {
            let _guard = PreemptGuard::new();
            read_and_use(sgi, read_global)
        }
        Reader::NoFlush => thread::no_flush(|| read_and_use(sgi, read_global)),
    }
}

/// Has `reader` read `tries` times, on `cpu`.
fn read(reader: Reader, tries: u32) -> Seen {
    let me = api::thread::current();
    *READER.lock_irqsave() = Some(Arc::clone(me.inner()));
    MARKED.store(0, Ordering::Relaxed);
    let before = GLOBAL.load(Ordering::Relaxed);
    let sgi = sgi_to_self();
    let mut seen = Seen::default();
    for _ in 0..tries {
        let (read, used, there) = read_as(reader, sgi);
        seen.stale += u32::from(read != used);
        seen.there += u32::from(there);
        CHANGED.wait();
    }
    seen.marked = MARKED.load(Ordering::Relaxed);
    seen.changed = GLOBAL.load(Ordering::Relaxed) - before;
    seen
}

fn change() {
    GLOBAL.fetch_add(1, Ordering::Relaxed);
}

/// Changes the global `tries` times, each time when the handler says so.
fn write(mode: StopMode, tries: u32) {
    for _ in 0..tries {
        GO.wait();
        let reader = READER.lock_irqsave().clone();
        let marked = reader.is_some_and(|reader| reader.is_marked_racy());
        MARKED.fetch_add(u32::from(marked), Ordering::Relaxed);
        let stop = Stop::new().mode(mode).before(time::deadline(LIMIT));
        if let Err(error) = stop.run(change) {
            stillpoint::println!("# {error}");
        }
        CHANGED.complete();
    }
}

/// Starts a thread of the kernel on `cpu`, which never carries `in_app`.
pub(crate) fn spawn_kernel(
    name: &str,
    class: Class,
    cpu: CpuId,
    body: impl FnOnce() + Send + 'static,
) -> Arc<Thread<Hw>> {
    let name = ThreadName::new(format_args!("{name}"));
    let spawned = kernel().sched.spawn(name, class, &CpuMask::of(cpu), body);
    spawned.expect("a stack is left")
}

/// Returns a class that is more urgent than the readers'.
pub(crate) fn urgent() -> Class {
    Class::fifo(Priority::new(50).expect("1 to 99"))
}

/// Has `reader` read and a writer change in `mode`, `tries` times on `cpu`. Returns what was
/// seen.
pub(crate) fn race(reader: Reader, mode: StopMode, cpu: CpuId, tries: u32) -> Seen {
    KEEP.reset();
    let writer = spawn_kernel("writer", urgent(), cpu, move || write(mode, tries));
    let result: Arc<SpinLock<Seen, Hw>> = Arc::new(SpinLock::new(Seen::default()));
    let slot = Arc::clone(&result);
    let body = move || *slot.lock() = read(reader, tries);
    match reader {
        Reader::Kernel | Reader::Guarded => {
            spawn_kernel("reader", Class::Normal, cpu, body).wait_until_dead();
        }
        Reader::App | Reader::NoFlush => {
            let builder = thread::Builder::new().affinity(CpuMask::of(cpu));
            builder.spawn(body).expect("a stack is left").join();
        }
    }
    writer.wait_until_dead();
    core::mem::take(&mut *result.lock())
}
