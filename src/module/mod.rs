//! References to a module: code or data that may go away while CPUs run.
//!
//! A reference is taken by counting it on the CPU that takes it: two CPUs that use a module
//! write no common word. So there is no one number that says that the module is unused.
//! The unload brings the machine to a still point instead, where no thread is between its look
//! at the state and its count. It was `stop_machine`'s first user in Linux.
//!
//! ```text
//!              load: claims it          value is there          init has returned
//!   Unloaded ────────────────► Unformed ──────────────► Coming ─────────────────► Live
//!      ▲                                (loader counts 1)  │    (loader's is put)  │ ▲
//!      │                                                   │                       │ │ limit
//!      │                                      init failed, in a still point        │ │ is over
//!      │ the last reference is put;                        ▼      in a still point ▼ │
//!      └────────────────────────────────────────────────────────────────────────  Going
//!
//!   take, one section                    unload
//!   ─────────────────                    ──────
//!   state: Coming, Live?                 still point, in which no CPU is in a section:
//!     own count of gets + 1                Live? (and the sum is 0?) → Going
//!                                        the sum is not 0: waits
//!   put, one section                       sum: all puts (Acquire), then all gets
//!   ────────────────                     the value is taken out → Unloaded (Release)
//!     own count of puts + 1 (Release)
//!     state: Going? wakes the unload
//! ```
//!
//! # Two kinds of section
//! [`Plain`] masks IRQs, and so preemption, and adds by a load and a store: the classic still
//! point excludes that. [`Atomic`] adds by one atomic instruction with preemption on. A thread
//! may lose its CPU there between the look and the count, and the classic still point comes in
//! between: such a module may be unloaded only by a stop that lets preempted threads go on
//! first. What stops the machine is a parameter of the functions that unload.
//!
//! # Invariants
//! - **looked-and-counted**: at the still point each section is over or has not begun. So a
//!   take that has seen Coming or Live is in the sum, and one that comes later sees Going.
//! - **put-wakes**: a put that the still point's sum has not seen comes behind it, so it sees
//!   Going and wakes the unload. No fence is needed between the count and the look: on its CPU
//!   each of the two comes before the still point or behind it, and that is the fence.
//! - **puts-before-gets**: the sum is too large, or right, and never too small: each put that
//!   is in it has its get in it, because that came before, and the sum reads all puts before
//!   any get. With one count for both, a reference that is passed from a CPU to another while
//!   the sum is made could be missed.
//! - **none-from-none**: a thread that takes a reference without a look at the state has one. So a
//!   sum of 0 after Going stays 0.
//! - **value-while-referenced**: the value is written before Coming, and taken out after Going
//!   by the thread that has seen a sum of 0. All others reach it through a reference.
//! - **one-changes**: Unloaded → Unformed is one compare-exchange, and Live → Going is decided
//!   in the still point, of which there is one at a time. From there on the thread that made
//!   the change is alone to make the next.
//!
//! The sum is over all *possible* CPUs: a reference may be taken on one CPU and put on another,
//! and a CPU that has left keeps its counts.
//!
//! `tests/loom_module.rs` model-checks `references.rs`.

mod counting;
mod references;
mod slot;

pub use counting::Counting;
pub use references::{Atomic, Kind, ModuleState, Plain, References, Stays, Wanted};
pub use slot::{LoadError, Module, ModuleRef, UnloadError};
