//! Code that is changed while it runs: a branch that costs one NOP while it isn't taken, and calls
//! and returns that cost nothing more than any.
//!
//! A *key* is on or off, and has any number of *sites*: places in the code where a thread does
//! one thing if the key is on and another if it is off. A site reads no variable. It is one
//! instruction, and a change of the key rewrites it at every site.
//!
//! ```text
//!                             key off               key on
//!   static_branch_unlikely!   NOP                   B to the code in question
//!   static_branch_likely!     B around the code     NOP
//!   a call                    BL to one function    BL to another
//!   a return                  RET                   B to what returns
//!
//!   count of a key      0 ── enable ──► 1 ── enable ──► 2 …      only 0 ↔ 1 rewrites sites
//!                         ◄── disable ──   ◄── disable ──
//!
//!   a change      judge   every change of the batch, then every site of its keys, or nothing
//!                 write   in the still point: alias on, one store for each site, alias off
//!                         clean each word, drop the old instruction from all caches
//!                 count   in the still point
//!                 fetch   every CPU synchronizes its context, then the call returns
//! ```
//!
//! The sites of all keys are in one table, which the linker collects ([`Entry`]). [`Keys`]
//! judges and writes; where text is and how it is written is behind [`Text`].
//!
//! # Invariants
//! - **one-of-two**: a site holds one of the two instructions of its entry: a NOP or a branch, one of
//!   two calls, or a RET or a branch. NOP, B and BL are among the few that may be replaced while
//!   other CPUs execute them: these execute the old one or the new one (Arm ARM, "Concurrent
//!   modification and execution of instructions"). RET isn't: no CPU may come to such a site while
//!   the others are in a still point. The only one ends a switch of threads.
//! - **word-is-count**: outside a still point the words at all sites of a key are those of its
//!   count. A change checks that before it writes anything.
//! - **one-change-at-a-time**: changes exclude each other, by the stop mutex. So what a change
//!   has judged is still so when it writes.
//! - **never-writable-where-it-runs**: text is written at another address, the *alias*, which is
//!   never executable. The map of text itself never changes.
//! - **alias-only-to-write**: the alias is mapped in the still point alone, and no CPU keeps its
//!   translation afterwards.
//! - **fetched-anew**: when a change returns, no CPU executes the old instruction any more.
//!
//! `tests/host_patch.rs` model-checks the last two over caches and translations that QEMU
//! doesn't have.
//!
//! # Sources
//! Linux `Documentation/staging/static-keys.rst` for the names and the counts.

#![forbid(unsafe_code)]

mod change;
mod insn;
mod sequence;
mod table;

pub use change::{Change, Key, KeyError, Keys};
pub use insn::{BranchError, NOP, RET, branch, call};
pub use sequence::{Text, write};
pub use table::{Entry, Flaw, Site};
