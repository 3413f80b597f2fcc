//! Threads: which one runs on each CPU, and how a thread waits and is woken.
//!
//! Every thread belongs to the run queue of one CPU at a time. Per-CPU threads stay on
//! their CPU; other threads are placed where there is room. The run queue's lock guards
//! the state of every thread that belongs to it. So "is it going to sleep?" and "wake
//! it" are decided one after the other.
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
//! (1) [`Scheduler::spawn`] and [`Scheduler::unpark`], for a thread that has not run;
//! (2), (4) [`RunQueue::pick_next`]; (3) [`Scheduler::unpark`], for one that has parked;
//! (5) [`Scheduler::about_to_block`]; (6) [`Scheduler::wake`].
//!
//! # Invariants
//! - **state-under-lock**: a thread's state changes under the run-queue lock of its CPU
//!   only.
//! - **queued-if-ready**: a thread is on its CPU's run queue if and only if it is
//!   Runnable, or was preempted while Blocking or Parking.
//! - **unpark-only**: a parking or parked thread leaves by `unpark` only; a plain wake
//!   does nothing to it.
//! - **after-the-switch**: the work that follows a switch (waking the joiner of a dead
//!   thread, telling the thread that asked it to park) is done by the *next* thread,
//!   when the old thread's stack is no longer in use. The run queue stays locked across
//!   the switch.
//! - **urgent-first**: if a thread that is more urgent than the running one is queued
//!   on a CPU, it gets the CPU at the return from the interrupt that announced it, or
//!   where the last guard drops ([`Class`] gives the order of urgency).
//! - **saved-registers**: the registers of a thread that is queued or waits are saved.
//!   A CPU that holds the lock of its run queue may switch to it.
//! - **told-by-sgi**: a CPU that changes another CPU's queue so that the thread running
//!   there must lose the CPU, or needs a slice, sends that CPU the Reschedule SGI
//!   afterwards.
//!
//! The code that moves threads between CPUs keeps three more: see `migrate`.
//!
//! # Concurrency
//! The order of locks is in `docs/architecture.md`.
//! Run-queue locks are taken with IRQs masked. A CPU never holds two of them.

mod affinity;
mod block_state;
mod call_count;
mod claim;
mod class;
mod due;
mod holdouts;
mod join;
mod kthread;
mod links;
pub mod lock;
mod migrate;
mod patience;
mod permit;
mod ready;
mod run_queue;
mod scheduler;
mod spawn;
mod thread;
mod thread_state;
mod timer;
mod timers;
mod wake;

pub use crate::platform::ThreadName;
pub use class::{Class, Policy, Priority};
pub use join::JoinHandle;
pub use migrate::{AffinityError, MigrateGuard};
pub(crate) use scheduler::Running;
pub use spawn::SpawnError;
pub use thread_state::ThreadState;
pub use timer::Timer;

internal!(affinity::{Affinity, Unpinned});
internal!(call_count::CallCount);
internal!(claim::Claim);
internal!(kthread::{PerCpuThread, Service});
internal!(patience::{PATIENCE, late_at, patience});
internal!(permit::Permit);
internal!(block_state::{BlockState, Blocker, Wakeup, KthreadStep, next_step});
internal!(run_queue::{SwitchReason, RunQueue, Switch});
internal!(scheduler::{SchedHost, Scheduler});
internal!(thread::{Placement, Thread});
internal!(timers::Watch);
