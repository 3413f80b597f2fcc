//! Whether a thread runs the application's own code, which a flush doesn't wait for.
//!
//! A kernel without user mode doesn't see where an application's code ends and its own
//! begins: both run at the same level, in one thread. So each public function of the kernel
//! says it.
//!
//! ```text
//!   the application          a public function             what it calls back
//!   ───────────────          ─────────────────             ──────────────────
//!   in_app ── InKernel::enter ──► not in_app ── call_app ──► in_app, if it was
//!     ▲                              │  ▲                       │
//!     └────────── drop ──────────────┘  └───────── returns ─────┘
//! ```
//! A thread that is preempted in the application's code is not *marked*: it holds no
//! reference to anything of the kernel's. [`flush`](crate::sched::flush) waits for marked
//! threads only, so a loop of an application doesn't hold it up.
//!
//! # Invariants
//! - **only-owner-enters**: only the running thread itself, or a handler that interrupts it
//!   on its CPU, changes `in_app`. A handler restores what it found, so a change need not be
//!   one access.
//! - **kernel-threads-never**: a thread that the kernel starts for itself never carries
//!   `in_app`. [`run_app`] alone sets it where it was not set before, around the body of a
//!   program's thread.
//! - **back-then-look**: a thread that goes to the application's code, for the first time or
//!   again, sets `in_app` first, and looks then whether its CPU flushes. An interrupt that comes before that sees
//!   it inside the kernel and leaves work for the look; one that comes after it sees it in
//!   the application, and takes the CPU.

#![forbid(unsafe_code)]

use crate::platform::PreemptWork;
use crate::sched::SchedHost;
use crate::sched::itself::Itself;

/// The running thread is inside the kernel while this exists. Nests.
///
/// Not `Send`: it is about the thread that made it.
#[must_use]
#[derive(Debug)]
pub struct InKernel<P: SchedHost> {
    /// The thread, if it was in the application's code. So only the way in has to find it.
    back_in_app: Option<Itself<P>>,
}

impl<P: SchedHost> InKernel<P> {
    /// Says that the running thread has entered a public function of the kernel, or, for
    /// `no_flush`, a section of the application that a flush waits for.
    ///
    /// # Context
    /// Any. In an interrupt handler it is about the interrupted thread, which is inside the
    /// kernel then already. Before there are threads it is about none.
    #[inline]
    pub fn enter() -> Self {
        let me = Itself::try_running();
        let back_in_app = me.filter(|me| me.is_in_app());
        if let Some(me) = &back_in_app {
            me.set_in_app(false);
        }
        InKernel { back_in_app }
    }

    /// Calls `app_fn`, which is the application's, as if it were called from where the
    /// kernel was entered.
    #[inline]
    pub fn call_app<R>(&self, app_fn: impl FnOnce() -> R) -> R {
        if self.back_in_app.is_some() {
            run_app::<P, R>(app_fn)
        } else {
            app_fn()
        }
    }
}

impl<P: SchedHost> Drop for InKernel<P> {
    #[inline]
    fn drop(&mut self) {
        if let Some(me) = &self.back_in_app {
            go_to_app(me);
        }
    }
}

/// Says that `me`, the running thread, is in the application's code from now on.
#[inline]
fn go_to_app<P: SchedHost>(me: &Itself<P>) {
    me.set_in_app(true);
    if P::has_preempt_work(PreemptWork::Flush) {
        P::sched().look_back_in_app(); // (back-then-look)
    }
}

/// Calls `app_fn`, code of an application, with `in_app` set (kernel-threads-never).
///
/// # Context
/// Thread.
#[inline]
pub fn run_app<P: SchedHost, R>(app_fn: impl FnOnce() -> R) -> R {
    let me = Itself::<P>::running();
    go_to_app(&me);
    let result = app_fn();
    me.set_in_app(false);
    result
}
