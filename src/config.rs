//! Limits and other numbers that the kernel is built with.
//!
//! None of them is a fact about a machine: such facts come from the device tree.

#![forbid(unsafe_code)]

use core::time::Duration;

/// The most CPUs that one machine may have (`qemu-system-aarch64 -M virt` stops
/// at 512 too). Memory is spent on the CPUs that the device tree lists, not on
/// this number.
pub const MAX_CPUS: usize = 512;

/// The most CPUs that can be parked because firmware can't turn them off. Only small boards
/// have such firmware, and each CPU's slot takes 256 bytes.
pub const MAX_PEN_CPUS: usize = 64;

/// How many words of 64 bits a CPU mask has.
pub const MASK_WORDS: usize = MAX_CPUS / 64;

/// Size of a page and of a stack's guard, in bytes.
pub const PAGE_SIZE: usize = 4096;

/// Usable size of every stack of the pool, in bytes, without its guard page.
pub const STACK_SIZE: usize = 16 * 1024;

/// Stacks in the pool for each CPU: those of its idle thread (on which the CPU also enters),
/// of `cpuhp/N`, of `stopper/N`, of `rcuc/N`, for interrupts and for overflows.
pub const STACKS_PER_CPU: usize = 6;

/// The least number of stacks for ordinary threads: those of the threads `main` and `rcu`,
/// and of the first thread that the program makes.
pub const FIRST_STACKS: usize = 3;

/// Stacks in the pool for ordinary threads, unless memory is short: the ordinary threads that
/// can exist at the same time. 512 stacks with their guards take 10 MiB of addresses.
pub const ORDINARY_STACKS: usize = 512;

/// The same on a large machine, where they take one of [`STACKS_SHARE`] parts of memory.
pub const MOST_ORDINARY_STACKS: usize = 4096;

/// In how many parts of memory the stacks of ordinary threads take one, beyond the first
/// [`ORDINARY_STACKS`] (Linux's `threads-max` has a part of memory too: one of 8).
pub const STACKS_SHARE: u64 = 32;

/// Alignment, in bytes, that keeps the data of two CPUs out of each other's cache lines. 128
/// bytes are enough for Arm's cores that prefetch the adjacent line, too. No core of Arm's has
/// a cache write-back granule of this size.
pub const CACHE_LINE: usize = 128;

/// Events in the trace ring of one CPU's walks: those of a walk that passes every slot of the
/// state table, and more. A model has only two, so that it wraps around.
pub const WALK_EVENTS: usize = if cfg!(loom) { 2 } else { 256 };

/// Events in the trace ring of what one CPU does in still points, two in each.
pub const STOP_EVENTS: usize = if cfg!(loom) { 2 } else { 256 };

/// Events in the trace ring of what one CPU runs and of its interrupts: 48 bytes each, which are
/// allocated when such events are first recorded. A stop takes four of a CPU that sleeps, and a few
/// more of those that wake the others.
pub const SCHED_EVENTS: usize = if cfg!(loom) { 2 } else { 512 };

/// Events in the trace ring of the governor: 32 bytes each, which are allocated when it first has
/// something to record.
pub const GOVERNOR_EVENTS: usize = if cfg!(loom) { 2 } else { 512 };

/// How long an ordinary thread may run while another one waits for its CPU (the length of
/// Linux's tick at HZ=250).
pub const NORMAL_SLICE: Duration = Duration::from_millis(4);

/// How long a round-robin thread may run while another thread of its priority waits for its
/// CPU (Linux's default, `RR_TIMESLICE`).
pub const ROUND_ROBIN_SLICE: Duration = Duration::from_millis(100);

/// Above how many callbacks of RCU that wait on one CPU a caller that queues another one
/// has to wait, if it may (Linux's default, `qhimark`). The boot argument
/// `rcutree.qhimark=` changes it.
pub const CALLBACK_MARK: u64 = 10_000;

/// The period in which realtime threads may have a CPU for [`REALTIME_RUNTIME`] (Linux's
/// default, `sched_rt_period_us`).
pub const REALTIME_PERIOD: Duration = Duration::from_secs(1);

/// For how long of each [`REALTIME_PERIOD`] realtime threads may have a CPU that an ordinary
/// thread waits for, unless the boot argument `sched_rt_runtime_us=` says otherwise (Linux's
/// default, 95 %).
pub const REALTIME_RUNTIME: Duration = Duration::from_millis(950);

/// The most seconds that `watchdog_thresh` takes (Linux, `kernel.watchdog_thresh`).
pub const WATCHDOG_MAX: u8 = 60;

/// Interrupt priority of wake, panic and the timer. This number and the three below work in
/// both security views of a GIC.
pub const PRIORITY_WAKE: u8 = 0x40;
/// Interrupt priority of all other interrupts.
pub const PRIORITY_NORMAL: u8 = 0xc0;
/// Priority mask that lets every interrupt through.
pub const PMR_OPEN: u8 = 0xf0;
/// Priority mask that lets only wake, panic and the timer through.
pub const PMR_CLOSED: u8 = 0xb0;

const _: () = assert!(MAX_CPUS.is_multiple_of(64));
const _: () = assert!(STACK_SIZE.is_multiple_of(PAGE_SIZE));
