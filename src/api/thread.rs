//! Threads, as a Rust programmer knows them.
//!
//! ```ignore
//! let sum = thread::Builder::new()
//!     .name("adder")
//!     .affinity(CpuMask::of(cpu))
//!     .spawn(|| 1 + 1)?
//!     .join();
//! ```
//! A thread runs on any CPU, one after the other, and goes on when CPUs come and go. A
//! panic in a thread stops the machine, so `JoinHandle::join` returns the value
//! itself.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;
use core::time::Duration;

use crate::cpu::{CpuId, CpuMask};
use crate::kernel::{Hw, kernel};
use crate::platform::Platform;
use crate::sched;
use crate::sched::lock::Mutex;
use crate::sync::{LockMap, might_sleep};
use crate::time::Instant;

pub use crate::api::handle::{JoinHandle, MigrateGuard, Thread, ThreadId};
pub use crate::sched::{AffinityError, Class, Policy, Priority, SpawnError, ThreadName};

/// What becomes of a thread when the last CPU that it may run on goes offline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnOffline {
    /// It runs elsewhere, with a line in the log (as Linux has it).
    #[default]
    BreakAffinity,
    /// No CPU that it may run on can go, as long as it lives: `cpu_down` is refused.
    Refuse,
}

/// How a thread is to be.
#[derive(Clone, Debug)]
pub struct Builder {
    name: ThreadName,
    class: Class,
    affinity: Option<CpuMask>,
    on_offline: OnOffline,
}

impl Builder {
    /// An ordinary thread without a name, for any CPU.
    pub fn new() -> Builder {
        Builder {
            name: ThreadName::new(format_args!("thread")),
            class: Class::Normal,
            affinity: None,
            on_offline: OnOffline::default(),
        }
    }

    /// Its name, cut to [`ThreadName::MAX`] bytes: what a panic shows.
    #[must_use]
    pub fn name(mut self, name: impl fmt::Display) -> Builder {
        self.name = ThreadName::new(format_args!("{name}"));
        self
    }

    /// Where it may run.
    #[must_use]
    pub fn affinity(mut self, cpus: CpuMask) -> Builder {
        self.affinity = Some(cpus);
        self
    }

    /// Its class; [`Class::Normal`] unless told.
    #[must_use]
    pub fn class(mut self, class: Class) -> Builder {
        self.class = class;
        self
    }

    /// What becomes of it when it may run nowhere any more.
    #[must_use]
    pub fn on_offline(mut self, on_offline: OnOffline) -> Builder {
        self.on_offline = on_offline;
        self
    }

    /// Starts a thread that runs `body`.
    ///
    /// # Context
    /// Thread, preemption on. With [`OnOffline::Refuse`] it takes `cpus_read_lock`.
    ///
    /// # Errors
    /// [`SpawnError`]; nothing has happened then.
    ///
    /// # Panics
    /// If its class is [`Class::Stop`] or [`Class::Idle`], which are the kernel's.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn spawn<T: Send + 'static>(
        self,
        body: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<T>, SpawnError> {
        sched::JoinHandle::start(body, |body| self.start(body)).map(JoinHandle)
    }

    /// Starts a thread of `scope` that runs `body`.
    ///
    /// # Context
    /// As [`Builder::spawn`].
    ///
    /// # Errors
    /// [`SpawnError`]; nothing has happened then.
    ///
    /// # Panics
    /// As [`Builder::spawn`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn spawn_scoped<'scope, T: Send + 'scope>(
        self,
        scope: &'scope Scope<'scope, '_>,
        body: impl FnOnce() -> T + Send + 'scope,
    ) -> Result<ScopedJoinHandle<'scope, T>, SpawnError> {
        let handle = sched::JoinHandle::start(body, |work: Box<dyn FnOnce() + Send + 'scope>| {
            // SAFETY: only the lifetime changes. `scope` doesn't return, and so nothing
            // that `work` borrows ends, before the thread has ended; it has run and
            // dropped `work` by then, and its value with it if no thread joins.
            let work: Box<dyn FnOnce() + Send + 'static> = unsafe { core::mem::transmute(work) };
            self.start(work)
        })?;
        let mut threads = scope.threads.lock();
        // There may be any number, one after the other. What one that has ended did is
        // seen by this look (Acquire), and so by the scope's caller.
        threads.retain(|member| !member.thread.has_ended());
        threads.push(Member {
            thread: Arc::clone(handle.thread()),
            work: handle.work(),
        });
        Ok(ScopedJoinHandle {
            handle,
            threads: &scope.threads,
        })
    }

    #[cfg_attr(debug_assertions, track_caller)]
    fn start(self, body: Box<dyn FnOnce() + Send>) -> Result<Arc<sched::Thread<Hw>>, SpawnError> {
        might_sleep::<Hw>();
        assert!(
            !matches!(self.class, Class::Stop | Class::Idle),
            "BUG: a program's thread of class {:?}",
            self.class
        );
        let kernel = kernel();
        let cpus = self.affinity.unwrap_or(*kernel.masks.possible());
        match self.on_offline {
            OnOffline::BreakAffinity => kernel.sched.spawn(self.name, self.class, &cpus, body),
            OnOffline::Refuse => {
                let _held = kernel.hotplug.cpus_read_lock();
                kernel.sched.spawn_bound(self.name, self.class, &cpus, body)
            }
        }
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

/// Starts an ordinary thread.
///
/// # Context
/// Thread, preemption on.
///
/// # Panics
/// If there is no stack left: [`Builder::spawn`] returns that.
#[cfg_attr(debug_assertions, track_caller)]
pub fn spawn<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    started(Builder::new().spawn(body))
}

/// Starts an ordinary thread on `cpu`, which can't go as long as the thread lives.
///
/// # Context
/// Thread, preemption on; takes `cpus_read_lock`.
///
/// # Errors
/// [`SpawnError`]; nothing has happened then.
#[cfg_attr(debug_assertions, track_caller)]
pub fn spawn_on<T: Send + 'static>(
    cpu: CpuId,
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, SpawnError> {
    Builder::new()
        .name(name)
        .affinity(CpuMask::of(cpu))
        .on_offline(OnOffline::Refuse)
        .spawn(body)
}

/// For a caller that can't go on without the thread.
#[cfg_attr(debug_assertions, track_caller)]
fn started<H>(started: Result<H, SpawnError>) -> H {
    match started {
        Ok(handle) => handle,
        Err(error) => panic!("a thread could not be started: {error}"),
    }
}

/// The running thread.
pub fn current() -> Thread {
    Thread::new(kernel().sched.current())
}

/// Waits for an [`Thread::unpark`] of this thread, or for one that came since the last.
///
/// # Context
/// Thread, preemption on.
pub fn park() {
    kernel().sched.wait_permit(Instant::FOREVER);
}

/// As [`park`], for `time` at most; returns whether it was unparked.
///
/// # Context
/// Thread, preemption on.
pub fn park_timeout(time: Duration) -> bool {
    kernel().sched.wait_permit(Hw::deadline(time))
}

/// Sleeps for `time`, and not less.
///
/// # Context
/// Thread, preemption on.
pub fn sleep(time: Duration) {
    sleep_until(Hw::deadline(time));
}

/// Sleeps until `at`, and not less.
///
/// # Context
/// Thread, preemption on.
pub fn sleep_until(at: Instant) {
    kernel().sched.sleep_until(at);
}

/// Lets the other threads of this CPU that are as urgent run first.
///
/// # Context
/// Thread, preemption on.
pub fn yield_now() {
    kernel().sched.yield_now();
}

/// Keeps the running thread on its CPU until the guard is dropped. It may sleep
/// meanwhile; the CPU can't be taken offline.
///
/// # Context
/// Thread, IRQs on. What takes `cpus_read_lock` or the hotplug lock panics inside: hotplug
/// may be waiting for this guard.
///
/// # Panics
/// With IRQs masked, as in the function of a timer or of a call: the guard would pin the
/// interrupted thread.
///
/// The end of a thread that has forgotten the guard ([`core::mem::forget`]): its CPU could
/// never go any more.
pub fn migrate_disable() -> MigrateGuard {
    MigrateGuard::new(kernel().sched.migrate_disable())
}

/// The CPU that the thread runs on: unless it is kept there, another one a moment later.
pub fn current_cpu_racy() -> CpuId {
    Hw::this_cpu()
}

/// Threads that may borrow from the frame of [`scope`].
pub struct Scope<'scope, 'env: 'scope> {
    /// The threads that it waits for; each is added before the thread that started it can
    /// end.
    threads: Members,
    _scope: PhantomData<&'scope mut &'scope ()>,
    _env: PhantomData<&'env mut &'env ()>,
}

type Members = Mutex<Vec<Member>, Hw>;

/// A thread of a scope.
struct Member {
    thread: Arc<sched::Thread<Hw>>,
    /// What it does, for the validator.
    work: LockMap,
}

/// The right to the value of a scope's thread.
#[must_use]
pub struct ScopedJoinHandle<'scope, T> {
    handle: sched::JoinHandle<T, Hw>,
    threads: &'scope Members,
}

impl<T> ScopedJoinHandle<'_, T> {
    /// Waits until the thread has ended, and returns what it returned.
    ///
    /// # Context
    /// Thread, preemption on.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn join(self) -> T {
        let thread = Arc::clone(self.handle.thread());
        let value = self.handle.join();
        // The scope doesn't wait for it any more, whatever its caller holds then.
        let mut threads = self.threads.lock();
        threads.retain(|member| !Arc::ptr_eq(&member.thread, &thread));
        value
    }

    /// Returns the thread.
    ///
    /// # Context
    /// Any.
    pub fn thread(&self) -> Thread {
        Thread::new(Arc::clone(self.handle.thread()))
    }

    /// As [`JoinHandle::is_finished`].
    ///
    /// # Context
    /// Any.
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }
}

/// Calls `body` with a scope, in which threads may be started that borrow what lives
/// longer than the call; returns when they have all ended.
///
/// # Context
/// Thread, preemption on.
///
/// # Panics
/// In a debug build, if the caller holds a lock that one of the threads that are waited
/// for takes.
#[cfg_attr(debug_assertions, track_caller)]
pub fn scope<'env, R>(body: impl for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> R) -> R {
    let scope = Scope {
        threads: Mutex::new(Vec::new()),
        _scope: PhantomData,
        _env: PhantomData,
    };
    let result = body(&scope);
    // One may start another before it ends.
    let next = || scope.threads.lock().pop();
    while let Some(member) = next() {
        member.work.wait::<Hw>();
        member.thread.wait_until_dead();
    }
    result
}

impl<'scope> Scope<'scope, '_> {
    /// Starts an ordinary thread of the scope.
    ///
    /// # Context
    /// Thread, preemption on.
    ///
    /// # Panics
    /// If there is no stack left: [`Builder::spawn_scoped`] returns that.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn spawn<T: Send + 'scope>(
        &'scope self,
        body: impl FnOnce() -> T + Send + 'scope,
    ) -> ScopedJoinHandle<'scope, T> {
        started(Builder::new().spawn_scoped(self, body))
    }
}
