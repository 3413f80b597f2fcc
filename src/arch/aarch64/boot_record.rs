//! The boot record: all that a CPU knows when it is started.
//!
//! The record is made when the CPU is first brought up, and belongs to that CPU for
//! ever, so even a CPU that arrives late finds its own. Its three parts never share a
//! cache line, because each is accessed in a different way:
//!
//! | Part | Written by | Read by | Kept coherent by |
//! |---|---|---|---|
//! | a: handover | control, cached | AP, MMU off | control cleans to the PoC before CPU_ON |
//! | b: failure | AP, MMU off | control, cached | control writes it back and drops it before CPU_ON, and drops it again before each look |
//! | c: handshake | both, cached | both, cached | hardware; the AP doesn't touch it before its MMU is on |
//!
//! [`crate::coherency::pen`] says in which order. Before its MMU is on, an AP reads
//! nothing but part a and the code. QEMU has no caches, so a test there can't show that
//! cache maintenance is missing.

use core::mem::offset_of;

use super::cache;
use super::failure::BootFailure;
use super::mmu::MmuRegisters;
use crate::coherency::life::Life;
use crate::coherency::pen;
use crate::coherency::words::{self, Clean, CleanInvalidate, Invalidate, Read, Write};
use crate::config::CACHE_LINE;
use crate::platform::Conduit;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// How a CPU that can't use the kernel's address map goes off again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum OffMethod {
    /// It sleeps for good, because there is no firmware to call and no pen.
    None = 0,
    /// It calls firmware by `HVC`.
    Hvc = 1,
    /// It calls firmware by `SMC`.
    Smc = 2,
    /// It goes to the parking pen, because there is no firmware to call.
    Pen = 3,
}

impl From<Conduit> for OffMethod {
    fn from(conduit: Conduit) -> OffMethod {
        match conduit {
            Conduit::Hvc => OffMethod::Hvc,
            Conduit::Smc => OffMethod::Smc,
        }
    }
}

/// PSCI's CPU_OFF in the SMC32 calling convention (DEN 0022, CPU_OFF).
pub const PSCI_CPU_OFF: u32 = 0x8400_0002;

/// The values that a CPU needs between its entry and Rust.
#[derive(Clone, Copy, Debug)]
pub struct Handover {
    /// The registers of the address map.
    pub registers: MmuRegisters,
    /// `VBAR_EL1`: see [`super::vectors::table`].
    pub vectors: usize,
    /// `TPIDR_EL1`: the CPU's [`super::cpu_local::CpuLocal`], its stack limit
    /// set for `thread`.
    pub cpu_local: usize,
    /// `SP_EL0`: the [`super::thread_head::ThreadHead`] of the CPU's idle thread, as which
    /// it starts.
    pub thread: usize,
    /// SP: the top of that thread's stack, a multiple of 16.
    pub stack_top: usize,
    /// How the CPU goes off if it can't use the address map.
    pub off_method: OffMethod,
    /// Firmware's number for CPU_OFF, usually [`PSCI_CPU_OFF`].
    pub cpu_off_function: u32,
    /// Address of the CPU's slot in the parking pen, for [`OffMethod::Pen`]: see
    /// [`super::pen`].
    pub pen_slot: usize,
}

/// Why a CPU refused itself before its MMU was on, as its record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryFailure {
    /// The number of the life in which it refused: see [`BootRecord::context`].
    pub life: u8,
    /// The reason, or the byte itself if it stands for no reason.
    pub reason: Result<BootFailure, u8>,
    /// `ESR_EL1`, for an exception.
    pub esr: u64,
    /// `ELR_EL1`, for an exception.
    pub elr: u64,
    /// `FAR_EL1`, for an exception.
    pub far: u64,
}

/// Part a, read by the AP with its MMU off.
#[derive(Debug)]
#[repr(C, align(128))]
struct HandoverLine {
    // The words are the fields of `Handover`, in an order that lets the entry load pairs.
    mair: AtomicU64,
    tcr: AtomicU64,
    ttbr0: AtomicU64,
    sctlr: AtomicU64,
    vectors: AtomicU64,
    cpu_local: AtomicU64,
    thread: AtomicU64,
    stack_top: AtomicU64,
    off_method: AtomicU64,
    cpu_off_function: AtomicU64,
    pen_slot: AtomicU64,
}

/// Part b, written by the AP with its MMU off.
#[derive(Debug)]
#[repr(C, align(128))]
struct FailureLine {
    /// The first byte is the reason, or 0 if there is none. The second is the life.
    reason: AtomicU64,
    esr: AtomicU64,
    elr: AtomicU64,
    far: AtomicU64,
}

/// Part c: words that both sides use once the AP's MMU is on. The hotplug protocol defines
/// their values.
#[derive(Debug)]
#[repr(C, align(128))]
pub struct HandshakeLine {
    /// The handshake word.
    pub sync: AtomicU32,
    /// Why the AP refused itself after its MMU was on, and in which life.
    pub reason: AtomicU32,
    /// For tests: what the AP has to do at its entry instead of going on.
    pub hold: AtomicU32,
    /// The code that firmware's CPU_OFF returned, if it returned.
    pub off_code: AtomicU64,
}

/// The boot record of one CPU: see [`BootRecord::context`].
#[derive(Debug)]
#[repr(C, align(128))]
pub struct BootRecord {
    handover: HandoverLine,
    failure: FailureLine,
    /// The words used with caches on.
    pub handshake: HandshakeLine,
}

const _: () = assert!(size_of::<HandoverLine>() == CACHE_LINE);
const _: () = assert!(size_of::<FailureLine>() == CACHE_LINE);
const _: () = assert!(size_of::<HandshakeLine>() == CACHE_LINE);
const _: () = assert!(offset_of!(BootRecord, handover) == 0);
const _: () = assert!(offset_of!(BootRecord, failure) == CACHE_LINE);
const _: () = assert!(offset_of!(BootRecord, handshake) == 2 * CACHE_LINE);
const _: () = assert!(align_of::<BootRecord>() == CACHE_LINE);

/// The bits of [`BootRecord::context`] that hold the life.
pub(super) const LIFE_MASK: usize = align_of::<BootRecord>() - 1;

const _: () = assert!(Life::LAST as usize <= LIFE_MASK && Life::LAST <= u8::MAX as u32);

/// Offsets that [`super::secondary`] uses. Words that it loads as a pair are neighbours.
pub(super) mod offsets {
    use super::{BootRecord, FailureLine, HandoverLine, offset_of};

    pub(in super::super) const MAIR: usize = offset_of!(HandoverLine, mair);
    pub(in super::super) const TTBR0: usize = offset_of!(HandoverLine, ttbr0);
    pub(in super::super) const TCR: usize = offset_of!(HandoverLine, tcr);
    pub(in super::super) const VECTORS: usize = offset_of!(HandoverLine, vectors);
    pub(in super::super) const THREAD: usize = offset_of!(HandoverLine, thread);
    pub(in super::super) const OFF_METHOD: usize = offset_of!(HandoverLine, off_method);
    pub(in super::super) const CPU_OFF: usize = offset_of!(HandoverLine, cpu_off_function);
    pub(in super::super) const PEN_SLOT: usize = offset_of!(HandoverLine, pen_slot);
    pub(in super::super) const REASON: usize =
        offset_of!(BootRecord, failure) + offset_of!(FailureLine, reason);
    pub(in super::super) const ESR: usize =
        offset_of!(BootRecord, failure) + offset_of!(FailureLine, esr);
    pub(in super::super) const FAR: usize =
        offset_of!(BootRecord, failure) + offset_of!(FailureLine, far);

    const _: () = assert!(TCR == MAIR + 8);
    const _: () = assert!(offset_of!(HandoverLine, sctlr) == TTBR0 + 8);
    const _: () = assert!(offset_of!(HandoverLine, cpu_local) == VECTORS + 8);
    const _: () = assert!(offset_of!(HandoverLine, stack_top) == THREAD + 8);
    const _: () = assert!(offset_of!(FailureLine, elr) == offset_of!(FailureLine, esr) + 8);
}

impl HandoverLine {
    /// Writes `handover` to the line. Relaxed: the reader is another CPU with its caches
    /// off, for which the cleaning and the DSB after these stores order them.
    fn write(&self, handover: &Handover) {
        let set = |word: &AtomicU64, value: u64| word.store(value, Ordering::Relaxed);
        set(&self.mair, handover.registers.mair);
        set(&self.tcr, handover.registers.tcr);
        set(&self.ttbr0, handover.registers.ttbr0);
        set(&self.sctlr, handover.registers.sctlr);
        set(&self.vectors, handover.vectors as u64);
        set(&self.cpu_local, handover.cpu_local as u64);
        set(&self.thread, handover.thread as u64);
        set(&self.stack_top, handover.stack_top as u64);
        set(&self.off_method, u64::from(handover.off_method as u8));
        set(&self.cpu_off_function, u64::from(handover.cpu_off_function));
        set(&self.pen_slot, handover.pen_slot as u64);
    }
}

impl FailureLine {
    /// Clears the line. Relaxed: as in [`HandoverLine::write`].
    fn forget(&self) {
        for word in [&self.reason, &self.esr, &self.elr, &self.far] {
            word.store(0, Ordering::Relaxed);
        }
    }
}

impl BootRecord {
    /// Returns a record that no CPU can start from yet: see [`BootRecord::prepare`].
    pub const fn new() -> BootRecord {
        BootRecord {
            handover: HandoverLine {
                mair: AtomicU64::new(0),
                tcr: AtomicU64::new(0),
                ttbr0: AtomicU64::new(0),
                sctlr: AtomicU64::new(0),
                vectors: AtomicU64::new(0),
                cpu_local: AtomicU64::new(0),
                thread: AtomicU64::new(0),
                stack_top: AtomicU64::new(0),
                off_method: AtomicU64::new(0),
                cpu_off_function: AtomicU64::new(0),
                pen_slot: AtomicU64::new(0),
            },
            failure: FailureLine {
                reason: AtomicU64::new(0),
                esr: AtomicU64::new(0),
                elr: AtomicU64::new(0),
                far: AtomicU64::new(0),
            },
            handshake: HandshakeLine {
                sync: AtomicU32::new(0),
                reason: AtomicU32::new(0),
                hold: AtomicU32::new(0),
                off_code: AtomicU64::new(0),
            },
        }
    }

    /// Writes the failure line back and drops it from the caches, so that a later look at
    /// it, which drops it again, loses nothing.
    ///
    /// # Context
    /// Once, when the record is at its final address.
    pub fn settle(&self) {
        pen::make(&mut Make {
            line: &self.failure,
        });
    }

    /// Returns the value that CPU_ON hands over in x0: the record's address (VA = PA), with
    /// the life for which the CPU is started in the low bits, which are 0 in an address.
    pub fn context(&self, life: Life) -> u64 {
        (&raw const *self).addr() as u64 | u64::from(life.number())
    }

    /// Prepares the record for a CPU_ON: writes the handover and clears an old failure.
    /// Both are at the point of coherency on return. Leaves the handshake line alone.
    ///
    /// # Context
    /// The control CPU. The CPU of the record was never started, or firmware has confirmed
    /// since that it is off. A CPU that may still run reads its record and may write its
    /// failure, so its record must not be prepared.
    pub fn prepare(&self, handover: &Handover) {
        pen::prepare(&mut Prepare {
            record: self,
            handover,
        });
    }

    /// Returns why the CPU refused itself before its MMU was on; `None` if it didn't.
    pub fn failure(&self) -> Option<EntryFailure> {
        pen::look_why(&mut LookWhy {
            line: &self.failure,
        })
    }
}

/// The failure line that [`pen::make`] drops.
struct Make<'a> {
    line: &'a FailureLine,
}

impl CleanInvalidate<words::Failure> for Make<'_> {
    fn clean_invalidate(&mut self, _: words::Failure) {
        cache::clean_invalidate_to_poc(cache::range_of(self.line));
    }
}

/// The record that [`pen::prepare`] readies.
struct Prepare<'a> {
    record: &'a BootRecord,
    handover: &'a Handover,
}

impl Write<words::Handover> for Prepare<'_> {
    type Outcome = ();

    fn write(&mut self, _: words::Handover) {
        self.record.handover.write(self.handover);
    }
}

impl Clean<words::Handover> for Prepare<'_> {
    fn clean(&mut self, _: words::Handover) {
        cache::clean_to_poc(cache::range_of(&self.record.handover));
    }
}

impl Write<words::Failure> for Prepare<'_> {
    type Outcome = ();

    fn write(&mut self, _: words::Failure) {
        self.record.failure.forget();
    }
}

impl CleanInvalidate<words::Failure> for Prepare<'_> {
    fn clean_invalidate(&mut self, _: words::Failure) {
        cache::clean_invalidate_to_poc(cache::range_of(&self.record.failure));
    }
}

/// The failure that [`pen::look_why`] reads.
struct LookWhy<'a> {
    line: &'a FailureLine,
}

impl Invalidate<words::Failure> for LookWhy<'_> {
    fn invalidate(&mut self, _: words::Failure) {
        // SAFETY: `settle` or `prepare` has written back the last cached write to this line.
        // Since then no CPU has written it through a cache.
        unsafe { cache::invalidate_to_poc(cache::range_of(self.line)) };
    }
}

impl Read<words::Failure> for LookWhy<'_> {
    type Value = Option<EntryFailure>;

    fn read(&mut self, _: words::Failure) -> Option<EntryFailure> {
        let get = |word: &AtomicU64| word.load(Ordering::Relaxed);
        let [code, life, ..] = get(&self.line.reason).to_le_bytes();
        (code != 0).then(|| EntryFailure {
            life,
            reason: BootFailure::from_code(code).ok_or(code),
            esr: get(&self.line.esr),
            elr: get(&self.line.elr),
            far: get(&self.line.far),
        })
    }
}

impl Default for BootRecord {
    fn default() -> Self {
        Self::new()
    }
}
