//! The parking pen: where a CPU stays that firmware can't turn off, or doesn't.
//!
//! The protocol, and which side may write what, is [`crate::coherency::pen`]: the code of the
//! CPU's side below is assembled from its lists, and control's side runs its functions.
//! What is here is the page of code and the words.
//!
//! * From the firmware's own pen (a spin-table) every CPU comes here at boot, by
//!   its release word: that pen may lie in memory that is ours from then on, and
//!   can't be gone back to.
//! * Where there is firmware (PSCI), a CPU comes here by itself when its CPU_OFF has
//!   returned, and takes a slot then ([`Pen::admit`]). From there on it is the pen's.
//! * A parked CPU sleeps: in WFI until the wake SGI, which (with panic's, which the
//!   pen drops) alone gets through its priority mask. It takes that before it looks
//!   at its command; a GICv2's interface is read without an MMU as well as with one.
//!   Where there is none, the first time and after a refusal, it sleeps in WFE.
//! * A parked CPU still answers its neighbours' cache look-ups, as any core with
//!   its caches off does: what it left dirty isn't lost, and isn't cleaned.
//!
//! # Sources
//! Linux, Documentation/arch/arm64/booting.rst (spin-table). IHI 0048 (GICv2),
//! GICC_IAR and GICC_EOIR. Arm ARM: SCTLR_EL1, WFE, WFI.

use core::arch::{asm, global_asm};
use core::fmt;
use core::mem::offset_of;
use core::time::Duration;

use super::cache;
use super::mmu::caches_off;
use crate::coherency::pen::{self, arrive, park};
use crate::coherency::words::{Clean, Command, Invalidate, Read, Signal, Status, Write};
use crate::config::{CACHE_LINE, MAX_PEN_CPUS};
use crate::cpu::Mpidr;
use crate::platform::{CpuOps, PowerState, PsciError};
use crate::sync::atomic::{AtomicU64, Ordering};

/// The bit that makes a slot's affinity one: 0 is an empty slot.
const TAKEN: u64 = 1 << 63;

/// The bit that says that its CPU came by itself, and not from firmware's pen.
const ADMITTED: u64 = 1 << 62;

/// How long the CPUs may take from firmware's pen to ours.
const ARRIVAL: Duration = Duration::from_millis(200);

/// The status of a CPU that is in the pen.
const PARKED: u64 = 1;

/// [`Command`] (`separate-lines` of [`coherency::pen`](crate::coherency::pen)). The
/// CPU forgets the first word before it parks; control writes the first two while it is
/// parked (`one-command-one-release` of [`coherency::pen`](crate::coherency::pen)).
#[repr(C, align(128))]
struct CommandLine {
    /// Where a released CPU goes; 0: it stays.
    entry: AtomicU64,
    /// What it finds in x0 there; 0 until control has released it for the first time,
    /// which is control's to remember.
    context: AtomicU64,
    /// The affinity of the CPU that owns the slot; 0: free. Set once: with the MMU off at
    /// boot, or by the CPU itself before its first parking. The parked CPU doesn't read it.
    mpidr: AtomicU64,
}

/// [`Status`]. Written past the caches, by the CPU alone.
#[repr(C, align(128))]
struct StatusLine {
    status: AtomicU64,
}

/// One CPU's words.
#[repr(C, align(128))]
struct Slot {
    command: CommandLine,
    status: StatusLine,
}

const _: () = assert!(size_of::<CommandLine>() == CACHE_LINE);
const _: () = assert!(size_of::<StatusLine>() == CACHE_LINE);
const _: () = assert!(offset_of!(CommandLine, context) == offset_of!(CommandLine, entry) + 8);

/// All slots. No static of the pure layers, because the CPUs find them with no
/// more than their own affinity. What orders these accesses for CPUs without
/// caches is cache maintenance and DSB: all of them are Relaxed, but those of `mpidr`
/// ([`Pen::admit`]).
static SLOTS: [Slot; MAX_PEN_CPUS] = [const {
    Slot {
        command: CommandLine {
            entry: AtomicU64::new(0),
            context: AtomicU64::new(0),
            mpidr: AtomicU64::new(0),
        },
        status: StatusLine {
            status: AtomicU64::new(0),
        },
    }
}; MAX_PEN_CPUS];

unsafe extern "C" {
    /// Where a spin-table's release word sends a CPU: EL2 or EL1, MMU off.
    fn pen_from_firmware() -> !;
    /// Parks this CPU, MMU on or off: x0 is its slot, x1 its GICv2 CPU interface, or
    /// 0 to sleep in WFE.
    fn pen_park() -> !;
}

/// The pen is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PenIsFull;

impl fmt::Display for PenIsFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the parking pen has room for {MAX_PEN_CPUS} CPUs")
    }
}

/// Gives `mpidr` a slot.
///
/// # Context
/// Boot CPU, MMU off, before any CPU is sent here.
///
/// # Errors
/// [`PenIsFull`].
pub fn claim(mpidr: Mpidr) -> Result<(), PenIsFull> {
    let free = SLOTS
        .iter()
        .find(|slot| slot.command.mpidr.load(Ordering::Relaxed) == 0);
    let slot = free.ok_or(PenIsFull)?;
    let value = mpidr.raw() | TAKEN;
    slot.command.mpidr.store(value, Ordering::Relaxed);
    Ok(())
}

/// Sends the CPUs that wait at the spin-table word `release` here.
///
/// # Context
/// Boot CPU, MMU off, all slots claimed.
///
/// # Safety
/// `release` is the physical address of a spin-table's release word, a multiple
/// of 8.
pub unsafe fn take_from_firmware(release: u64) {
    let entry = (pen_from_firmware as *const ()).addr();
    // SAFETY: the caller's promise; the MMU is off, so this goes past the caches. A
    // line that firmware left in one is written back first and dropped: it can
    // neither hide the word nor undo it.
    unsafe {
        asm!(
            "dc civac, {release}",
            "dsb sy",
            "str {entry}, [{release}]",
            "dmb sy",
            "dc civac, {release}",
            "dsb sy",
            "sev",
            release = in(reg) release,
            entry = in(reg) entry,
            options(nostack, preserves_flags)
        );
    }
}

/// Waits until all CPUs that have a slot are here; returns whether they are, within a
/// moment. A CPU that is not may come later, or never.
///
/// # Context
/// Boot CPU, MMU off.
pub fn all_are_here() -> bool {
    super::timer::poll(ARRIVAL, || {
        SLOTS.iter().all(|slot| {
            slot.command.mpidr.load(Ordering::Relaxed) == 0
                || slot.status.status.load(Ordering::Relaxed) == PARKED
        })
    })
}

/// CPUs that are parked and released.
#[derive(Clone, Copy, Debug)]
pub struct Pen {
    /// The GICv2 CPU interface as each CPU addresses its own; 0 if there is none.
    interface: usize,
}

impl Pen {
    /// Returns the pen of this machine; `interface` is where its GICv2 has the CPU
    /// interface.
    pub const fn new(interface: Option<usize>) -> Pen {
        let interface = match interface {
            Some(interface) => interface,
            None => 0,
        };
        Pen { interface }
    }

    /// Returns whether `mpidr` has a slot.
    pub fn has(&self, mpidr: Mpidr) -> bool {
        self.slot(mpidr).is_some()
    }

    /// Returns whether a CPU in this pen is woken by an SGI once its interface is up: on a
    /// GICv2. Else an event wakes it.
    pub const fn wakes_by_sgi(&self) -> bool {
        self.interface != 0
    }

    /// Returns whether any CPU has a slot. Relaxed: it orders nothing.
    pub fn is_used(&self) -> bool {
        let is_taken = |slot: &Slot| slot.command.mpidr.load(Ordering::Relaxed) != 0;
        SLOTS.iter().any(is_taken)
    }

    /// Gives this CPU, which is `mpidr`, a slot if it has none, so that it can park.
    ///
    /// # Context
    /// The CPU itself, its caches on; nothing left to run here.
    ///
    /// # Errors
    /// [`PenIsFull`].
    pub fn admit(&self, mpidr: Mpidr) -> Result<(), PenIsFull> {
        if self.has(mpidr) {
            return Ok(());
        }
        let value = mpidr.raw() | TAKEN | ADMITTED;
        // Release: pairs with the Acquire in `slot`. What the slot says else is the CPU's to
        // write when it parks, and 0 until then: not parked, never released.
        let took = |slot: &Slot| {
            let word = &slot.command.mpidr;
            word.compare_exchange(0, value, Ordering::Release, Ordering::Relaxed)
                .is_ok()
        };
        if SLOTS.iter().any(took) {
            Ok(())
        } else {
            Err(PenIsFull)
        }
    }

    /// Returns where `mpidr`'s slot is, for its boot record; 0 if it has none.
    pub fn slot_address(&self, mpidr: Mpidr) -> usize {
        self.slot(mpidr).map_or(0, |slot| (&raw const *slot).addr())
    }

    /// Returns where this CPU, which is `mpidr`, goes to park, and what it has in x0 and
    /// x1 then.
    pub fn way_in(&self, mpidr: Mpidr) -> (u64, u64, u64) {
        let entry = (pen_park as *const ()).addr() as u64;
        let interface = self.own_interface() as u64;
        (entry, self.slot_address(mpidr) as u64, interface)
    }

    /// Returns the interface that wakes this CPU by an SGI; 0 if it is off, as that of a
    /// CPU that has refused itself, or that firmware was to turn off.
    fn own_interface(&self) -> usize {
        if self.is_interface_on() {
            self.interface
        } else {
            0
        }
    }

    /// Returns whether this CPU's interface signals interrupts (IHI 0048, GICC_CTLR: bit 0
    /// in every view).
    fn is_interface_on(&self) -> bool {
        let control = core::ptr::with_exposed_provenance::<u32>(self.interface);
        // SAFETY: a register of this CPU's own, mapped for ever; reading it changes
        // nothing.
        self.interface != 0 && unsafe { control.read_volatile() } & 1 != 0
    }

    /// Returns the slot of `mpidr`. Slots are taken from the front and never given back, so
    /// the first free one ends the search: at once on a machine whose CPUs don't park.
    fn slot(&self, mpidr: Mpidr) -> Option<&'static Slot> {
        let value = mpidr.raw() | TAKEN;
        // Acquire: pairs with the Release in `admit`.
        let holder = |slot: &Slot| slot.command.mpidr.load(Ordering::Acquire) & !ADMITTED;
        SLOTS
            .iter()
            .map(|slot| (slot, holder(slot)))
            .take_while(|(_, holder)| *holder != 0)
            .find_map(|(slot, holder)| (holder == value).then_some(slot))
    }
}

/// The command that [`pen::release`] gives.
struct Release<'a> {
    line: &'a CommandLine,
    entry: u64,
    context: u64,
}

impl Write<Command> for Release<'_> {
    type Outcome = ();

    fn write(&mut self, _: Command) {
        self.line.context.store(self.context, Ordering::Relaxed);
        // Release, which pairs with the CPU's loads in `park!`, Device accesses that stay
        // in order: should the line go to memory between the two, it finds no entry
        // without its context.
        self.line.entry.store(self.entry, Ordering::Release);
    }
}

impl Clean<Command> for Release<'_> {
    fn clean(&mut self, _: Command) {
        cache::clean_to_poc(cache::range_of(self.line));
    }
}

impl Signal for Release<'_> {
    /// The cleaning has ended with a DSB.
    fn signal(&mut self) {
        super::hint::send_event();
    }
}

/// The status that [`pen::look`] reads.
struct Look<'a> {
    line: &'a StatusLine,
}

impl Invalidate<Status> for Look<'_> {
    fn invalidate(&mut self, _: Status) {
        // SAFETY: this line is never written through a cache (cpu-writes-status).
        unsafe { cache::invalidate_to_poc(cache::range_of(self.line)) };
    }
}

impl Read<Status> for Look<'_> {
    type Value = u64;

    fn read(&mut self, _: Status) -> u64 {
        self.line.status.load(Ordering::Relaxed)
    }
}

impl CpuOps for Pen {
    unsafe fn cpu_on(&self, target: Mpidr, entry: u64, context: u64) -> Result<(), PsciError> {
        let slot = self.slot(target).ok_or(PsciError::InvalidParameters)?;
        let command = &slot.command;
        // (one-command-one-release) One that has never been released may still be on its way from
        // firmware: it finds the command when it comes. One that came by itself forgets
        // its command first, as each time that it parks.
        let parks_itself = command.context.load(Ordering::Relaxed) != 0
            || command.mpidr.load(Ordering::Relaxed) & ADMITTED != 0;
        if parks_itself && self.affinity_info(target)? != PowerState::Off {
            return Err(PsciError::AlreadyOn);
        }
        pen::release(&mut Release {
            line: command,
            entry,
            context,
        });
        Ok(())
    }

    fn cpu_off(&self) -> PsciError {
        let slot = match self.slot(super::cpu::mpidr()) {
            Some(slot) => &raw const *slot,
            None => return PsciError::InvalidParameters,
        };
        let interface = self.own_interface();
        // SAFETY: the slot is this CPU's, and VA = PA; nothing is left to run here,
        // by this function's contract.
        unsafe {
            asm!(
                "b {park}",
                park = sym pen_park,
                in("x0") slot,
                in("x1") interface,
                options(noreturn)
            );
        }
    }

    fn can_turn_off(&self, target: Mpidr) -> Result<(), PsciError> {
        match self.slot(target) {
            Some(_) => Ok(()),
            None => Err(PsciError::NotSupported),
        }
    }

    fn affinity_info(&self, target: Mpidr) -> Result<PowerState, PsciError> {
        let slot = self.slot(target).ok_or(PsciError::InvalidParameters)?;
        Ok(match pen::look(&mut Look { line: &slot.status }) {
            PARKED => PowerState::Off,
            _ => PowerState::On,
        })
    }

    fn system_off(&self) {}

    fn system_reset(&self) {}

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("spin-table with a parking pen")
    }
}

/// A step of [`pen::PARK`] in assembly. x0: the slot; x1: the CPU interface.
macro_rules! park_step {
    (Write(Command)) => {
        "str xzr, [x0, #{ENTRY}]\n"
    };
    (Clean(Command)) => {
        "dc cvac, x0\n dsb sy\n"
    };
    (CachesOff) => {
        // No translation and no instruction of this life is left for the next.
        concat!(
            caches_off!("x2"),
            "tlbi vmalle1
             ic iallu
             dsb nsh
             isb\n"
        )
    };
    (Write(Status)) => {
        "pen_say_parked:
         mov x2, #{PARKED}
         str x2, [x0, #{STATUS}]
         dsb sy\n"
    };
}

/// A step of [`pen::ARRIVE`] in assembly. x0: the slot; x1: the CPU interface.
macro_rules! arrive_step {
    (Await) => {
        // The SGI is taken, then the command is looked at: a stale one and a new
        // one share a pending bit.
        "1:
         ldr x2, [x0, #{ENTRY}]
         cbnz x2, 3f
         cbz x1, 2f
         dsb sy
         wfi
         ldr w3, [x1, #{GICC_IAR}]
         and w4, w3, #0x3ff
         cmp w4, #1020
         b.hs 1b
         str w3, [x1, #{GICC_EOIR}]
         dsb sy
         b 1b
2:       wfe
         b 1b
3:\n"
    };
    (Write(Status)) => {
        "str xzr, [x0, #{STATUS}]\n dsb sy\n"
    };
}

/// The assembly of [`pen::PARK`].
macro_rules! assemble_park {
    ($($step:ident $(($line:ident))?),* $(,)?) => {
        concat!($(park_step!($step $(($line))?)),*)
    };
}

/// The assembly of [`pen::ARRIVE`].
macro_rules! assemble_arrive {
    ($($step:ident $(($line:ident))?),* $(,)?) => {
        concat!($(arrive_step!($step $(($line))?)),*)
    };
}

global_asm!(
    // Whole pages: nothing else is fetched with the caches off.
    r#"
    .section .text.pen, "ax"
    .balign 4096
    .global pen_start
pen_start:
    .global pen_from_firmware
    .type pen_from_firmware, %function
pen_from_firmware:
        // Firmware hands over nothing but this address.
        msr     daifset, #0xf
        bl      entry_to_el1
        cbnz    x0, 5f
        msr     tpidr_el1, xzr
        bl      entry_reset_el1
        cbnz    x0, 5f
        mrs     x1, mpidr_el1
        mov     x2, #0xff00000000
        orr     x2, x2, #0xffffff
        and     x1, x1, x2
        orr     x1, x1, #{TAKEN}
        adrp    x0, {SLOTS}
        add     x0, x0, :lo12:{SLOTS}
        mov     x3, #{COUNT}
4:      ldr     x4, [x0, #{MPIDR}]
        cmp     x4, x1
        b.eq    6f
        add     x0, x0, #{SLOT_SIZE}
        subs    x3, x3, #1
        b.ne    4b
        b       5f
6:      mov     x1, xzr                     // Its interrupt interface is not up.
        b       pen_say_parked
        // No CPU's slot, or of no use: the CPU stays, and is late if it is wanted.
5:      wfe
        b       5b
    .size pen_from_firmware, . - pen_from_firmware

    .global pen_park
    .type pen_park, %function
pen_park:
        msr     daifset, #0xf
    "#,
    park!(assemble_park),
    arrive!(assemble_arrive),
    r#"
        ldr     x0, [x0, #{CONTEXT}]
        br      x2
    .size pen_park, . - pen_park
    .balign 4096
    .global pen_end
pen_end:
    "#,
    SCTLR_OFF = const super::mmu::SCTLR_RES1,
    TAKEN = const TAKEN,
    PARKED = const PARKED,
    COUNT = const MAX_PEN_CPUS,
    SLOTS = sym SLOTS,
    SLOT_SIZE = const size_of::<Slot>(),
    ENTRY = const offset_of!(CommandLine, entry),
    CONTEXT = const offset_of!(CommandLine, context),
    MPIDR = const offset_of!(CommandLine, mpidr),
    STATUS = const offset_of!(Slot, status),
    GICC_IAR = const 0xc,
    GICC_EOIR = const 0x10,
);
