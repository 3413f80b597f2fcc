//! Interrupts of devices: which handlers serve a line, on which CPU, and what becomes of the
//! line when that CPU leaves.
//!
//! ```text
//!                request                    disable                       last CPU of a
//!                                  ┌─────────────────────▶ disabled       managed line
//!   free ─────────────────▶ open ──┤◀───────────────────── (depth > 0)    goes, or hasn't come
//!    ▲                       │     │       enable                              │
//!    │                       │     └──────────────────────────────────▶ resting │
//!    │ drop of the handle:   │             one of its CPUs comes ◀─────────────┘
//!    │ shut, masked, a grace ▼
//!    └── period, dropped ── changing
//! ```
//! A level-triggered line is also shut from the moment at which a handler wakes the thread of its
//! user until that thread has done its part.
//!
//! A line is *open* if an interrupt may run its handlers. Otherwise it is *shut*, and masked at the
//! controller: each reason for that has an end of its own, and the line opens when the last
//! has gone. What a device signals meanwhile isn't lost: the controller keeps it, or the line's
//! word, if it was taken before the mask had effect ([`LineWord`]).
//!
//! # The way of an interrupt
//! The CPU acknowledges it, and looks the line up by its number: two loads. The word of the line
//! lets it in by one compare-exchange and out by another. No lock is taken. The handlers run on
//! the CPU's IRQ stack with IRQs masked, so they are in a read-side section: a thread that has shut
//! the line waits for a grace period, and then none of them runs.
//!
//! # Where an interrupt goes
//! To one CPU, as a GIC's do. An *affinity* says which CPUs are wanted, the *effective affinity* is
//! the one CPU among them. When that CPU leaves, `enable:irq-affinity` moves the line to another
//! one of its affinity; if none is left, its affinity is broken: it may go to any CPU from then on,
//! and the log says so, as Linux has it. It doesn't come back with the CPU: nothing is gained by
//! a second move. A *managed* line is one of several, each for its own CPUs: it rests when the last
//! of them leaves, and comes back with the first.
//!
//! # Invariants
//! - **one-runs**: from [`LineWord::begin`] to [`LineWord::end`] one CPU has the handlers of a line
//!   for itself.
//! - **changed-at-rest**: the list of handlers is changed while the word is shut and nothing runs,
//!   under the line's lock.
//! - **one-changes-a-line**: the controller's part of a line is changed under the line's lock.
//! - **open-is-unmasked**: under the line's lock, the word is open if and only if the controller
//!   has the line open.
//! - **routed-to-serving**: each line in use that isn't resting goes to a CPU that is past
//!   `enable:irq-affinity`, or that boots the machine.
//! - **serving-under-the-lock**: the mask of CPUs that serve interrupts is read under the lock of the
//!   line for which a CPU is chosen. A CPU that leaves is first cleared there, and then looks at each
//!   line, under its lock. So a choice of that CPU was made before, and is found; or it isn't made.
//!   A CPU that comes is first set there, and then looks at each line: so a line that rests has
//!   either been found, or its user has found the CPU.
//! - **listed-before-used**: a line is in the list of lines that CPUs look through before it has a
//!   user.
//! - **never-freed**: a line's record lives as long as the kernel. There is one for each line that
//!   was ever asked for, with its counts.
//!
//! # Memory ordering
//! [`LineWord`] says what pairs; `tests/loom_irq.rs` model-checks it with the list of handlers, and
//! the choice of a CPU against one that leaves.

mod affinity;
mod error;
mod handle;
mod handlers;
mod line;
mod percpu;
mod route;
mod spurious;
mod table;
mod thread;
mod word;

use crate::platform::LineChip;
use crate::rcu::GraceHost;
use crate::smp::call::CallHost;

pub use affinity::{Candidates, Leave, NowhereToGo, Owner, Route, Serving};
pub use error::{IrqAffinityError, RequestIrqError};
pub use handle::IrqHandle;
pub use handlers::{HandlerFn, IrqReturn};
pub use line::{Line, LineReport};
pub use percpu::{PerCpuHandlerFn, PerCpuIrqHandle, PerCpuIrqs};
pub use spurious::Spurious;
pub use table::{IrqRequest, IrqTable};
pub use thread::ThreadFn;
pub use word::{Begin, End, LineWord};

/// What interrupts need from the layers above.
pub trait IrqHost: GraceHost + CallHost {
    /// Returns the one table.
    fn irqs() -> &'static IrqTable<Self>;

    /// Returns the interrupt controller's lines.
    fn line_chip() -> &'static dyn LineChip;
}
