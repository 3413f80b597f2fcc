//! The numbers that the rest of the kernel is built on.
//!
//! Everything here is a limit or a choice of ours, never a fact about a
//! machine: those are read from the device tree.

#![forbid(unsafe_code)]

use core::time::Duration;

/// The most CPUs that one machine may have (`qemu-system-aarch64 -M virt` stops
/// at 512 too). Memory is spent on the CPUs that the device tree lists, not on
/// this number.
pub const MAX_CPUS: usize = 512;

/// The most CPUs that are parked because firmware can't turn them off. Such firmware
/// is found on small boards; their words take 256 bytes each.
pub const MAX_PEN_CPUS: usize = 64;

/// Words of 64 bits in a CPU mask.
pub const MASK_WORDS: usize = MAX_CPUS / 64;

/// Size of a page and of a stack's guard, in bytes.
pub const PAGE_SIZE: usize = 4096;

/// Usable size of every stack of the pool, in bytes, its guard page not counted.
pub const STACK_SIZE: usize = 16 * 1024;

/// Stacks in the pool for each CPU: idle (which is also its entry stack),
/// `cpuhp/N`, `stopper/N`, interrupts, overflow.
pub const STACKS_PER_CPU: usize = 5;

/// Stacks without which no boot ends: of the threads `main` and `rcu`, and of the first
/// one that the program makes.
pub const FIRST_STACKS: usize = 3;

/// Stacks in the pool for ordinary threads, where memory is not short: as many as can have
/// been started and not yet have ended. Half a thousand are 10 MiB.
pub const ORDINARY_STACKS: usize = 512;

/// Cache line that two CPUs never share: 128 bytes covers the adjacent-line
/// prefetch of Arm's cores, and is the write-back granule of none of them.
pub const CACHE_LINE: usize = 128;

/// Events in one CPU's trace ring. In a model two, so that it comes round.
pub const TRACE_EVENTS: usize = if cfg!(loom) { 2 } else { 512 };

/// How long an ordinary thread may have a CPU that another one wants (Linux at
/// HZ=250 looks as often).
pub const NORMAL_SLICE: Duration = Duration::from_millis(4);

/// How long a realtime thread that takes turns may have a CPU that another one of its
/// priority wants (Linux's default, `RR_TIMESLICE`).
pub const ROUND_ROBIN_SLICE: Duration = Duration::from_millis(100);

/// Interrupt priorities that work in every GIC view: wake, panic and the timer.
pub const PRIORITY_WAKE: u8 = 0x40;
/// Interrupt priority of everything else.
pub const PRIORITY_NORMAL: u8 = 0xc0;
/// Priority mask that lets everything in.
pub const PMR_OPEN: u8 = 0xf0;
/// Priority mask that lets only wake, panic and the timer in.
pub const PMR_CLOSED: u8 = 0xb0;

const _: () = assert!(MAX_CPUS.is_multiple_of(64));
const _: () = assert!(STACK_SIZE.is_multiple_of(PAGE_SIZE));
