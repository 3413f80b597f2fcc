//! The still point: every online CPU is inside its stopper with IRQs off, and
//! one of them runs a function while nothing else in the machine moves.
//!
//! ```text
//!   caller                     every online CPU's stopper
//!   ──────                     ──────────────────────────
//!   queue a work on each
//!   stopper, one SGI to all ─► runnable ⇒ runs
//!                              PREPARE      arrive; wait with IRQs on
//!                              DISABLE_IRQ  mask IRQs; acknowledge; wait (`disable_irq`)
//!                              RUN          the chosen CPUs run fn; the rest wait
//!                              EXIT         IRQs back on; done
//!                              ABORT        instead of all after PREPARE: leave (`give_up`)
//!   waits for all ◄─────────── the last one wakes the caller's CPU, if it sleeps
//! ```
//!
//! As long as no CPU has masked IRQs a deadline or a cancel can give the stop up (`early_end` arms
//! them, [`MultiStop::abort`] decides, `give_up` does the rest): the works that have not begun are
//! taken back, all others leave, and `fn` doesn't run.
//!
//! A stop can begin with a flush of preempted threads (`flushed`): then all code that doesn't
//! sleep is excluded, with preemption on too.
//!
//! Beside the stop of all there are those of one CPU and of several without a still point
//! (`single`), and the still point of two (`pair`). Before there are threads all of them are direct
//! calls (`alone`). A CPU that comes up can stop the machine before it is online (`inactive`).
//!
//! The last to acknowledge a state publishes the next, but for ABORT. See
//! [`MultiStop`] for the state machine and [`crate::sync::WaitPoint`] for the
//! waiting.
//!
//! # What it excludes, and what it doesn't
//! `fn` excludes every region with preemption off, every region with IRQs
//! masked, and every holder of a [`crate::sync::SpinLock`]: a stopper is a
//! thread, so it gets the CPU only where those have ended. It does *not* exclude
//! holders of sleeping locks or threads that were merely preempted; so `fn`
//! takes no sleeping lock, and waits for no thread and no other CPU. A call that
//! may wait panics there, whether it would have to wait or not; a function that takes long
//! is named in the log (`late.rs`).
//!
//! # Invariants
//! - **all-arrive-first**: no CPU masks IRQs before every participant's stopper runs,
//!   so whatever other CPUs need from an interrupt is still served in PREPARE.
//! - **fn-before-exit**: no participant leaves before every chosen CPU has returned
//!   from `fn`.
//! - **participants-are-fixed**: the participants are a snapshot taken under the stop mutex,
//!   which also keeps a CPU that comes up from joining in the middle.
//! - **queued-unpreempted**: works are queued on all stoppers in one preemption-off
//!   section, so the caller can't be preempted by its own stopper with half of them
//!   queued.
//! - **frame-outlives-stop**: the caller's frame lives until every participant has
//!   finished: the count of participants that have not is the last thing that each of
//!   them touches.
//!
//! # Sources
//! The threads of 2006 and 2025 in `docs/references.md`; Linux `stop_machine` for the
//! names.

mod alone;
mod call_cell;
mod cancel;
mod current;
mod disable_irq;
mod early_end;
mod flushed;
mod give_up;
mod inactive;
mod job;
mod late;
mod late_stop;
mod loan;
mod machine;
mod multi_stop;
mod not_come;
mod pair;
mod queueing;
mod report;
mod request;
mod single;
mod spins;
mod stop;
mod stopper;
mod work_link;
mod work_queue;

pub use alone::Alone;
pub use cancel::CancelToken;
pub use disable_irq::publish_disable_irq;
pub use late_stop::{LateCpu, LateStop, Seen};
pub use loan::{Lent, Loan};
pub use machine::{StopHost, StopMachine, StopMutexGuard};
pub use multi_stop::{Acked, MultiStop, MultiStopState};
pub use not_come::{HeldBy, HeldUp, NotCome};
pub use report::{CpuStopTimes, StopReport};
pub use request::{FLUSH_LIMIT, StopError, StopMode, StopRequest};
pub use single::{NowaitError, StopWork};
pub use stopper::{Stopper, Work};
pub use work_queue::{Behind, WorkNode, WorkQueue, push_everywhere, push_together};
