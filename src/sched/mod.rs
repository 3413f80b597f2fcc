//! Threads: who runs on each CPU, and how a thread waits and is woken.
//!
//! Every thread belongs to one CPU and never runs on another. A CPU has a run
//! queue; the run queue's lock guards the state of every thread of that CPU, so
//! "is it going to sleep?" and "wake it" are decided one after the other.
//!
//! # States of a thread
//! ```text
//!              spawn (1)          schedule: picked (2)
//!      Parked ───────► Runnable ───────────────────────► Running
//!        ▲  ▲             ▲ ▲                           │  │  │ │
//!        │  │   unpark (3)│ │ preempted, yields (4)     │  │  │ │
//!        │  └─────────────┘ └───────────────────────────┘  │  │ │
//!        │                ▲                                │  │ │
//!        │                │ wake (6)      about to wait (5)│  │ │
//!        │             Blocked ◄──── Blocking ◄────────────┘  │ │
//!        │                 schedule    │ wake: Running again  │ │
//!        │                                                    │ │
//!        └─────────── schedule ◄──── Parking ◄────────────────┘ │ exit
//!                                                             Dead
//! ```
//! (1) [`Scheduler::spawn`], [`Scheduler::unpark`]; (2), (4)
//! `Scheduler::schedule`; (5) [`Scheduler::about_to_block`]; (6)
//! [`Scheduler::wake`].
//!
//! # Invariants
//! - S1: a thread's state changes under the run-queue lock of its CPU only.
//! - S2: a thread is on its CPU's run queue if and only if it neither runs nor
//!   waits: Runnable, or preempted while Blocking or Parking.
//! - S3: a parking or parked thread leaves by `unpark` only; a plain wake does
//!   nothing to it (C-2).
//! - S4: what follows a switch (waking the joiner of a dead thread, telling the
//!   parker) is done by the *next* thread, when the old one's stack is no longer
//!   in use.
//! - S5: a CPU's stopper, when runnable, runs: at the return from an interrupt,
//!   and where the last guard drops. Other classes don't preempt each other yet.
//!
//! # Concurrency
//! Lock order: a lock of `sched::lock` → run queue → nothing. Run-queue locks
//! are taken with IRQs masked; two are never held at once.

mod kthread;
mod links;
pub mod lock;
mod rest;
mod run_queue;
mod scheduler;
mod thread;
mod timers;

pub use kthread::{PerCpuThread, Service};
pub use rest::{Rest, Resting, Rouse, Turn, turn};
pub use run_queue::RunQueue;
pub use scheduler::{Host, Scheduler};
pub use thread::{Class, SpawnError, Thread, ThreadName, ThreadState};
