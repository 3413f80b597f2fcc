//! Jobs that are done by the workers of the CPUs that are there.
//!
//! A job is a function, or a *task*: a future, which is in a queue each time that it was woken.
//!
//! Each CPU has a worker and a queue of jobs. While the CPU is there, its worker *serves*: it
//! takes jobs, wherever they wait. When the CPU goes, what waits in its queue is handed over to a
//! queue that belongs to no CPU, and its worker takes no job any more.
//!
//! ```text
//!   a job is given                        a worker
//!   ──────────────                        ────────
//!   queue of this CPU, if it is open,     takes: this CPU's queue, the shared one, the others';
//!     else the shared queue                 now and then this CPU's is the last
//!                                         none: it says that it rests, and looks again
//!   a worker that rests?                    one: it rests no more. Had it been chosen to be
//!     it rests no more, and is woken          woken, it wakes another one
//!                                           none: it sleeps
//!   the CPU goes
//!   ────────────
//!   its queue closes, and is emptied into the shared one
//!   its worker serves no more; all that rest are woken
//! ```
//!
//! A worker is a thread that isn't bound: one whose CPU goes in the middle of a job finishes it
//! elsewhere. So nothing waits for a job when a CPU goes.
//!
//! # Invariants
//! - **run-once**: what a job does is taken out of it under its lock, by a worker or by a thread
//!   that waits for the job. So it is done once, whatever queue the job is in.
//! - **closed-is-empty**: a queue is closed before it is emptied, and accepts nothing while it is
//!   closed. So a job waits in a queue of a CPU that serves, in the shared one, or in the hands of
//!   the thread that moves it there and wakes those that rest afterwards.
//! - **no-done-entry**: a thread that begins a job for which it waits takes the job out of its
//!   queue. A thread that moves a job to another queue looks afterwards whether the job has been
//!   begun meanwhile, and takes it out itself then. Both go through the job's lock: if the first
//!   comes too early to see where the job is, the second sees that it has been begun. So the
//!   queues hold what is to be done, and nothing else.
//! - **serves-before-open**: a CPU is among those that serve before its queue opens. So a worker
//!   that looks at the queues of those that serve has looked at every queue that was open.
//! - **rests-then-looks**: a worker says that it rests before it looks for the last time. A thread
//!   that gives a job looks for a worker that rests after the job is in its queue. Both are under
//!   the lock of the roster: the worker finds the job, or the thread finds the worker.
//! - **wake-passed-on**: a worker that was chosen to be woken and takes a job that it found before
//!   has perhaps not taken the job for which it was chosen, so it wakes another one. A worker that
//!   leaves has all that rest woken. So a job doesn't wait while a worker rests.
//! - **others-first**: of 32 looks that begin at the queue of a CPU, one is at the shared queue
//!   first, then at those of the other CPUs, of which another one has its turn each time. So a job
//!   that waits behind `n` others in the shared queue is begun after at most `32 * (n + 1)` jobs
//!   that a worker begins on one CPU, and, while the shared queue is empty, a job of another queue
//!   after `32 * (n + 1)` for each CPU that is there: although jobs that bring new ones, such as a
//!   task that wakes itself, keep that CPU's queue from ever being empty.
//! - **woken-once**: a task is put into a queue by the thread that has made it Queued, under its
//!   lock. A wake before it is taken out again changes nothing, and one while it is polled has the
//!   thread that polls it queue it. So it is in one queue at most, and no wake is lost.
//!
//! # Memory ordering
//! The locks order everything. A lock of a queue is never held with another one, nor with the
//! roster's.
//!
//! `tests/loom_pool.rs` model-checks [`Board`] and [`Job`].

mod board;
mod job;
mod job_link;
mod line;

internal!(board::{Board, Next});
internal!(job::{CallApp, Home, Job, JobFn, Runner, Started, TaskFuture});
