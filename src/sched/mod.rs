//! Threads: which one runs on each CPU, and how a thread waits and is woken.
//!
//! Every thread belongs to the run queue of one CPU at a time. Per-CPU threads stay on
//! their CPU; other threads are placed where there is room. The run queue's lock guards
//! the state of every thread that belongs to it. So "is it going to sleep?" and "wake
//! it" are decided one after the other. A thread that waits belongs to the queue of the
//! CPU on which it ran last, even while that CPU is off: the waker takes that queue's
//! lock all the same, and places the thread on another CPU.
//!
//! # States of a thread
//! ```text
//!              spawn (1)          schedule: picked (2)
//!      Parked ───────► Runnable ───────────────────────► Running
//!        ▲  │             ▲ ▲                           │  │  │ │
//!        │  │   unpark (3)│ │ preempted, yields (4)     │  │  │ │
//!        │  └─────────────┘ └───────────────────────────┘  │  │ │
//!        │                ▲                                │  │ │
//!        │                │ wake (6)      about to wait (5)│  │ │
//!        │             Blocked ◄──── Blocking ◄────────────┘  │ │
//!        │                 schedule    │ wake: Running again  │ │
//!        │                                                    │ │
//!        └─────────── schedule ◄──── Parking ◄────────────────┘ │ exit
//!                                      │ unpark: Running again  ▼
//!                                                             Dead
//! ```
//! (1) [`Scheduler::spawn`] and [`Scheduler::unpark`], for a thread that has not run;
//! (2), (4) [`RunQueue::pick_next`]; (3) [`Scheduler::unpark`], for one that has parked;
//! (5) [`Scheduler::about_to_block`]; (6) [`Scheduler::wake`].
//!
//! A thread that is preempted while Blocking or Parking stays so, and is queued. A wake
//! or an unpark that comes then makes it Running while it is still queued. When it has
//! the CPU again it goes on with what it was about to do.
//!
//! # Park and permit
//! The `park` and `unpark` that programs call are those of `std`: an unpark gives a
//! permit ([`Scheduler::give_permit`]), for which the thread waits Blocked like any
//! other waiter. [`Scheduler::park`] and [`Scheduler::unpark`] are about the states
//! Parking and Parked: of per-CPU threads, whose CPU is offline then, and of a thread
//! that has not run yet.
//!
//! # Invariants
//! - **state-under-lock**: a thread's state changes under the run-queue lock of its CPU
//!   only.
//! - **queued-if-ready**: a thread is on its CPU's run queue if and only if it is
//!   Runnable, or was preempted while Blocking or Parking. A thread that moves from one
//!   queue to another is in neither for a moment: see `wake`.
//! - **unpark-only**: a parking or parked thread leaves by `unpark` only; a plain wake
//!   does nothing to it.
//! - **after-the-switch**: the work that follows a switch (waking the joiner of a dead
//!   thread, telling the thread that asked it to park) is done by the *next* thread,
//!   when the old thread's stack is no longer in use. The run queue stays locked across
//!   the switch.
//! - **urgent-first**: if a thread that is more urgent than the running one is queued
//!   on a CPU, it gets the CPU at the return from the interrupt that announced it, or
//!   where the last guard drops ([`Class`] gives the order of urgency). Over all CPUs
//!   the same holds for realtime threads: see `balance`. A CPU on which realtime threads
//!   have had all that they may have turns the order round: see `bandwidth`.
//! - **saved-registers**: the registers of a thread that is queued or waits are saved.
//!   A CPU that holds the lock of its run queue may switch to it.
//! - **told-by-sgi**: a CPU that changes another CPU's queue so that the thread running
//!   there must lose the CPU, or needs a slice, sends that CPU the Reschedule SGI
//!   afterwards. The same SGI calls an idle CPU to take a thread that waits elsewhere.
//!
//! The code that moves threads between CPUs keeps three more: see `migrate`.
//!
//! # Concurrency
//! The order of locks is in `docs/architecture.md`.
//! Run-queue locks are taken with IRQs masked. A CPU that holds one never waits for a
//! second.
//!
//! # Memory ordering
//! All of it comes from the run-queue locks (`holders-in-order` of `spin_word`). For a
//! wake that moves a thread from CPU L to CPU B, the waker being on CPU A:
//!
//! 1. CPU L saves the thread's registers and opens its queue's lock, after the switch.
//! 2. CPU A takes the lock of L's queue, so it sees the registers. It opens that lock,
//!    takes the lock of B's queue, queues the thread and opens the lock.
//! 3. CPU B takes the lock of its own queue and finds the thread. It sees all that CPU A
//!    has seen, the registers too, and all that the waker did before the wake.

mod accounts;
mod affinity;
mod balance;
mod bandwidth;
mod block_state;
mod call_count;
mod claim;
mod class;
mod cpu_map;
mod cpu_record;
mod due;
mod fair;
mod fair_queue;
mod flush;
mod flush_queue;
mod flush_word;
mod give_back;
mod heir;
mod held_back;
mod help;
mod holdouts;
mod in_app;
mod itself;
mod join;
mod kthread;
mod kthread_life;
mod links;
pub mod lock;
mod marks;
mod migrate;
mod parted;
mod patience;
mod permit;
mod ready;
mod report;
mod run_queue;
mod scheduler;
mod serving;
mod set_class;
mod share;
mod spawn;
mod thread;
mod thread_state;
mod throttle;
mod timer;
mod timers;
mod urgency;
mod usage;
mod waits;
mod wake;

pub use crate::platform::ThreadName;
#[cfg(feature = "internals")]
pub use class::kernel_class;
pub use class::{Class, Policy, Priority};
pub use fair::Nice;
pub use join::JoinHandle;
pub use migrate::{AffinityError, MigrateGuard};
pub(crate) use scheduler::Running;
pub use spawn::{Rank, SpawnError};
pub use thread_state::ThreadState;
pub use timer::Timer;
pub use usage::Usage;
pub use waits::CpuLoad;

internal!(affinity::{Affinity, Unpinned});
internal!(call_count::CallCount);
internal!(claim::Claim);
internal!(cpu_map::CpuMap);
internal!(kthread::{PerCpuThread, Service, Stays});
internal!(kthread_life::{Acts, KthreadLife, live, stay});
internal!(patience::{PATIENCE, Patience, patience});
internal!(flush::{FlushHolder, FlushHook});
internal!(flush_word::{Finish, FlushEnd, FlushId, FlushWord});
internal!(in_app::{InKernel, run_app});
internal!(permit::Permit);
internal!(block_state::{BlockState, Blocker, Wakeup, KthreadStep, next_step});
internal!(run_queue::{SwitchReason, RunQueue, Switch});
internal!(scheduler::{SchedHost, Scheduler});
internal!(serving::Serving);
internal!(set_class::LentUrgency);
internal!(thread::{Placement, Thread});
internal!(timers::Watch);
