//! Exceptions that are not interrupts: the saved frame, and the report of one.
//!
//! A kernel without EL0 expects no FIQ, no SError, and no synchronous exception except
//! those of [`super::probe`] and [`super::semihosting`], over which the handler steps. It
//! reports any other exception with everything that is known about it ([`report`]), and
//! the machine ends. The report relies on as little as it can. A count of reports on each
//! CPU detects a fault inside a report, which stops the CPU at once, with the reason in
//! memory.

use core::fmt;
use core::mem::offset_of;

use super::boot::halt_with_reason;
use super::cpu_local::{CpuLocal, this_cpu};
use super::failure::BootFailure;
use super::thread_head::{self, ThreadHead};
use super::{backtrace, image};
use crate::config::PAGE_SIZE;
use crate::fault::Syndrome;
use crate::memory::StackLayout;

/// The state of the interrupted code, as [`super::vectors`] saves it. When the exception
/// returns, the code goes on with the values that are here then.
#[derive(Debug)]
#[repr(C)]
pub struct ExceptionFrame {
    /// x0 to x30.
    pub x: [u64; 31],
    /// SP at the exception; not written by an interrupt.
    pub sp: u64,
    /// The address of the interrupted or faulting instruction, to which the exception
    /// returns.
    pub elr: u64,
    /// The processor state to return to.
    pub spsr: u64,
    /// The syndrome; not written by an interrupt.
    pub esr: u64,
    /// The faulting address, if the syndrome says so; not written by an
    /// interrupt.
    pub far: u64,
    /// A frame record for backtraces: x29 and ELR. It links the handler's chain of records
    /// to that of the interrupted code.
    pub record: [u64; 2],
    /// The floating-point status register.
    pub fpsr: u64,
    /// The floating-point control register.
    pub fpcr: u64,
    /// The stack limit in force at the exception; not written by an interrupt.
    pub(super) stack_limit: u64,
    _pad: u64,
    /// The vector registers.
    pub q: [u128; 32],
}

/// Size of an exception frame in bytes: the stack that an exception takes before any Rust
/// runs.
pub const FRAME_SIZE: usize = size_of::<ExceptionFrame>();

// `stp` stores these pairs.
const _: () = assert!(offset_of!(ExceptionFrame, spsr) == offset_of!(ExceptionFrame, elr) + 8);
const _: () = assert!(offset_of!(ExceptionFrame, far) == offset_of!(ExceptionFrame, esr) + 8);
const _: () = assert!(offset_of!(ExceptionFrame, fpcr) == offset_of!(ExceptionFrame, fpsr) + 8);
const _: () = assert!(offset_of!(ExceptionFrame, x) + 31 * 8 == offset_of!(ExceptionFrame, sp));

impl ExceptionFrame {
    /// Returns why the exception was taken.
    pub const fn syndrome(&self) -> Syndrome {
        Syndrome(self.esr)
    }

    /// Returns whether there was no room for a frame between SP and the bottom of the
    /// stack: the stack has overflowed, or was about to.
    const fn has_overflowed(&self) -> bool {
        self.sp < self.stack_limit
    }
}

/// What kind of exception it was, and where it was taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// The cause of the exception.
    pub cause: Cause,
    /// The state of the CPU from which it was taken.
    pub source: Source,
}

/// The cause of an exception.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Caused by an instruction: see the syndrome.
    Synchronous,
    /// An interrupt that found no room on the stack, or was taken from a state in which
    /// the kernel never runs.
    Irq,
    /// A fast interrupt; the kernel uses none.
    Fiq,
    /// A system error: an earlier access failed.
    SError,
}

/// Where an exception was taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// EL1 on `SP_EL0`, which the kernel doesn't use as a stack pointer.
    El1OnSpEl0,
    /// EL1 on `SP_EL1`, where the kernel runs.
    El1,
    /// EL0, where the kernel runs nothing.
    El0,
    /// EL0 in AArch32 state, where the kernel runs nothing either.
    El0Aarch32,
}

impl Kind {
    /// Returns the exception of vector `number`, 0 to 15, in the order of the table (Arm
    /// ARM, "Exception vectors"); a greater number counts as its low bits.
    pub const fn from_vector(number: u64) -> Kind {
        Kind {
            cause: match number & 3 {
                0 => Cause::Synchronous,
                1 => Cause::Irq,
                2 => Cause::Fiq,
                _ => Cause::SError,
            },
            source: match number >> 2 & 3 {
                0 => Source::El1OnSpEl0,
                1 => Source::El1,
                2 => Source::El0,
                _ => Source::El0Aarch32,
            },
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.cause {
            Cause::Synchronous => "synchronous exception",
            Cause::Irq => "IRQ",
            Cause::Fiq => "FIQ",
            Cause::SError => "SError",
        })?;
        f.write_str(match self.source {
            Source::El1 => "",
            Source::El1OnSpEl0 => " at EL1 on SP_EL0",
            Source::El0 => " from EL0",
            Source::El0Aarch32 => " from EL0 in AArch32",
        })
    }
}

/// Writes all that is known about an exception: CPU, thread, cause, registers,
/// backtrace.
///
/// * `pool` — the layout of the stack pool, once there is a pool, so that the report can
///   name the stack of an address in a guard page
///
/// # Context
/// `stillpoint_exception`, everything masked. Reads the frame, the
/// stacks and this CPU's [`CpuLocal`]; takes no lock.
///
/// # Errors
/// What `out` returned.
pub fn report(
    out: &mut dyn fmt::Write,
    frame: &ExceptionFrame,
    kind: Kind,
    pool: Option<&StackLayout>,
) -> fmt::Result {
    let cpu = this_cpu();
    if cpu.begin_report() > 0 {
        halt_with_reason(BootFailure::NestedFault);
    }
    let thread = thread_head::current();
    writeln!(out, "CPU {}, thread {}: {kind}", cpu.cpu(), thread.name())?;
    write_cause(out, frame, kind, pool)?;
    write_stack(out, frame, cpu, thread)?;
    write_registers(out, frame)?;
    backtrace::write(out, frame)
}

/// Writes the syndrome in words, and what is at the faulting address.
fn write_cause(
    out: &mut dyn fmt::Write,
    frame: &ExceptionFrame,
    kind: Kind,
    pool: Option<&StackLayout>,
) -> fmt::Result {
    if !matches!(kind.cause, Cause::Synchronous | Cause::SError) {
        return Ok(());
    }
    let syndrome = frame.syndrome();
    write!(out, "  {syndrome}")?;
    if syndrome.has_address() {
        write!(out, ", address {:#x}", frame.far)?;
        #[allow(clippy::cast_possible_truncation)] // Addresses are 64 bits here.
        let address = frame.far as usize;
        write_address(out, address, pool)?;
    }
    writeln!(
        out,
        "\n  ESR {:#018x}  FAR {:#018x}  SPSR {:#x}",
        frame.esr, frame.far, frame.spsr
    )
}

/// Writes what is at `address`, if it is in a stack or in the Image.
fn write_address(
    out: &mut dyn fmt::Write,
    address: usize,
    pool: Option<&StackLayout>,
) -> fmt::Result {
    let offset = || address - image::image().start;
    if let Some(place) = pool.and_then(|pool| pool.locate(address)) {
        write!(out, " ({place}")?;
        let cpu = this_cpu();
        // The guard page below a stack counts as part of the stack.
        for (name, stack) in [
            ("the running thread", thread_head::current().stack()),
            ("this CPU's interrupts", cpu.irq_stack()),
            ("this CPU's fault reports", cpu.overflow_stack()),
        ] {
            if (stack.start.saturating_sub(PAGE_SIZE)..stack.end).contains(&address) {
                write!(out, ", that of {name}")?;
            }
        }
        out.write_str(")")
    } else if image::boot_stack_guard().contains(&address) {
        out.write_str(" (the guard page of the boot stack)")
    } else if image::text().contains(&address) {
        write!(out, " (code +{:#x})", offset())
    } else if image::rodata().contains(&address) {
        write!(out, " (read-only data +{:#x})", offset())
    } else if image::data().contains(&address) {
        write!(out, " (data +{:#x})", offset())
    } else {
        Ok(())
    }
}

/// Writes which stack was in use, and whether it has overflowed.
fn write_stack(
    out: &mut dyn fmt::Write,
    frame: &ExceptionFrame,
    cpu: &CpuLocal,
    thread: &ThreadHead,
) -> fmt::Result {
    #[allow(clippy::cast_possible_truncation)] // Addresses are 64 bits here.
    let limit = frame.stack_limit as usize;
    let in_use = [
        ("the stack of the thread", thread.stack()),
        ("the IRQ stack", cpu.irq_stack()),
        ("the overflow stack", cpu.overflow_stack()),
    ]
    .into_iter()
    .find(|(_, stack)| stack.start + FRAME_SIZE == limit);
    let Some((name, stack)) = in_use else {
        return writeln!(out, "  SP {:#x}, on no known stack", frame.sp);
    };
    write!(
        out,
        "  SP {:#x}, {name} is {:#x}-{:#x}",
        frame.sp, stack.start, stack.end
    )?;
    if frame.has_overflowed() {
        write!(out, ": STACK OVERFLOW in thread {}", thread.name())?;
    } else if frame.sp > stack.end as u64 {
        write!(out, ": SP IS NOT IN IT")?;
    }
    writeln!(out)
}

/// Writes the general registers, four to a line, and the program counter.
fn write_registers(out: &mut dyn fmt::Write, frame: &ExceptionFrame) -> fmt::Result {
    for (index, value) in frame.x.iter().enumerate() {
        let separator = if index % 4 == 3 { '\n' } else { ' ' };
        write!(out, "  x{index:<2} {value:016x}{separator}")?;
    }
    writeln!(out, "  pc  {:016x}", frame.elr)
}
