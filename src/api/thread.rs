//! Threads, with the interface of Rust's std.
//!
//! ```no_run
//! # use stillpoint::api::{cpu::{CpuId, CpuMask}, thread};
//! # let cpu = CpuId::from_index(1);
//! let sum = thread::Builder::new()
//!     .name("adder")
//!     .affinity(CpuMask::of(cpu))
//!     .spawn(|| 1 + 1)?
//!     .join();
//! ```
//! A thread may move from CPU to CPU, and continues when CPUs come and go. A panic in a thread
//! ends the machine, so `JoinHandle::join` returns the value and no `Result`.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;
use core::time::Duration;

use crate::api::handle::assert_is_for_programs;
use crate::cpu::{CpuId, CpuMask};
use crate::kernel::entry::enter;
use crate::kernel::{Hw, kernel};
use crate::platform::Platform;
use crate::sched::lock::Mutex;
use crate::sched::{self, Rank};
use crate::sync::{LockMap, might_sleep_in};
use crate::time::Instant;

pub use crate::api::handle::{JoinHandle, MigrateGuard, Thread, ThreadId, Usage};
pub use crate::sched::{AffinityError, Class, Nice, Policy, Priority, SpawnError, ThreadName};

/// What becomes of a thread when the last CPU that it may run on goes offline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnOffline {
    /// The thread may run on any CPU from then on, and the log says so (as in Linux).
    #[default]
    BreakAffinity,
    /// That can't happen: as long as the thread lives, none of the CPUs that it may run on can
    /// be taken offline (`cpu_down` returns an error).
    Refuse,
}

/// The properties of a thread that is to be started.
///
/// ```no_run
#[doc = include_str!("../../examples/api/builder.rs")]
/// ```
#[derive(Clone, Debug)]
pub struct Builder {
    name: ThreadName,
    class: Class,
    nice: Nice,
    affinity: Option<CpuMask>,
    on_offline: OnOffline,
}

impl Builder {
    /// Returns the properties of an ordinary thread named `thread`, which may run on any CPU.
    pub fn new() -> Builder {
        Builder {
            name: ThreadName::new(format_args!("thread")),
            class: Class::Normal,
            nice: Nice::default(),
            affinity: None,
            on_offline: OnOffline::default(),
        }
    }

    /// Sets the thread's name, which a panic shows. It is cut to [`ThreadName::MAX`] bytes.
    #[must_use]
    pub fn name(mut self, name: impl fmt::Display) -> Builder {
        self.name = ThreadName::new(format_args!("{name}"));
        self
    }

    /// Sets the CPUs on which the thread may run.
    #[must_use]
    pub fn affinity(mut self, cpus: CpuMask) -> Builder {
        self.affinity = Some(cpus);
        self
    }

    /// Sets the thread's class. Without this it is [`Class::Normal`].
    #[must_use]
    pub fn class(mut self, class: Class) -> Builder {
        self.class = class;
        self
    }

    /// Sets how nice the thread is to other ordinary threads. Without this it is 0.
    /// [`Thread::set_nice`] tells what that means.
    #[must_use]
    pub fn nice(mut self, nice: Nice) -> Builder {
        self.nice = nice;
        self
    }

    /// Sets what becomes of the thread when the last CPU that it may run on goes offline.
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
    /// If its class is the kernel's: [`Class::Stop`], [`Class::Idle`], or realtime above
    /// [`Priority::MAX`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn spawn<T: Send + 'static>(
        self,
        body: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<T>, SpawnError> {
        let _in_kernel = enter();
        might_sleep_in::<Hw>("spawn"); // Before it allocates.
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
        let _in_kernel = enter();
        might_sleep_in::<Hw>("spawn"); // As `spawn`.
        let handle = sched::JoinHandle::start(body, |work: Box<dyn FnOnce() + Send + 'scope>| {
            // SAFETY: only the lifetime changes. `scope` doesn't return before the thread has
            // ended, so everything that `work` borrows lives until then. By then the thread
            // has run and dropped `work`, and also its value if no thread joins.
            let work: Box<dyn FnOnce() + Send + 'static> = unsafe { core::mem::transmute(work) };
            self.start(work)
        })?;
        let mut threads = scope.threads.lock();
        // Ended threads are removed, because a scope may start any number, one after the other.
        // `has_ended` loads with Acquire, so the scope's caller sees what those threads did.
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
    pub(super) fn start(
        self,
        body: Box<dyn FnOnce() + Send>,
    ) -> Result<Arc<sched::Thread<Hw>>, SpawnError> {
        assert_is_for_programs(self.class);
        let kernel = kernel();
        let cpus = self.affinity.unwrap_or(*kernel.masks.possible());
        let rank = Rank {
            class: self.class,
            nice: self.nice,
        };
        match self.on_offline {
            OnOffline::BreakAffinity => kernel.sched.spawn(self.name, rank, &cpus, body),
            OnOffline::Refuse => {
                let _held = kernel.hotplug.cpus_read_lock();
                kernel.sched.spawn_bound(self.name, rank, &cpus, body)
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
/// If no stack is left. [`Builder::spawn`] returns an error instead.
#[cfg_attr(debug_assertions, track_caller)]
pub fn spawn<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    started(Builder::new().spawn(body))
}

/// Starts an ordinary thread on `cpu`, which can't be taken offline as long as the thread
/// lives.
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

/// Returns the handle of a started thread.
///
/// # Panics
/// If the thread could not be started.
#[cfg_attr(debug_assertions, track_caller)]
fn started<H>(started: Result<H, SpawnError>) -> H {
    match started {
        Ok(handle) => handle,
        Err(error) => panic!("a thread could not be started: {error}"),
    }
}

/// Returns the running thread.
///
/// # Context
/// Any.
pub fn current() -> Thread {
    Thread::new(kernel().sched.current())
}

/// Waits until this thread is unparked ([`Thread::unpark`]). Returns at once if it has been
/// unparked since it last returned from here.
///
/// # Context
/// Thread, preemption on.
pub fn park() {
    let _in_kernel = enter();
    kernel().sched.wait_permit(Instant::FOREVER);
}

/// As [`park`], for `time` at most; returns whether it was unparked.
///
/// # Context
/// Thread, preemption on.
pub fn park_timeout(time: Duration) -> bool {
    let _in_kernel = enter();
    kernel().sched.wait_permit(Hw::deadline(time))
}

/// Sleeps for `time` or longer.
///
/// # Context
/// Thread, preemption on.
pub fn sleep(time: Duration) {
    sleep_until(Hw::deadline(time));
}

/// Sleeps until `at` or longer.
///
/// # Context
/// Thread, preemption on.
pub fn sleep_until(at: Instant) {
    let _in_kernel = enter();
    kernel().sched.sleep_until(at);
}

/// Lets the other threads of this CPU that are as urgent run first: of ordinary ones those
/// that are due within the caller's next slice, and at least one of them.
///
/// ```no_run
/// # let blocks = [[1_u64; 1000]; 1000];
/// use stillpoint::api::thread::yield_now;
///
/// // In a thread of the class FIFO: others of its priority run only where it lets them.
/// let mut sum = 0;
/// for block in &blocks {
///     sum += block.iter().sum::<u64>();
///     yield_now();
/// }
/// ```
///
/// # Context
/// Thread, preemption on.
pub fn yield_now() {
    let _in_kernel = enter();
    kernel().sched.yield_now();
}

/// Calls `read_fn`, a section in which the program uses what is only changed when preempted
/// threads have been flushed: a flush waits until the section has ended, or the thread sleeps in
/// it.
///
/// Elsewhere in the program's own code a thread is not waited for, so that a loop doesn't hold
/// a flush up. In the functions of this crate it is. Nests.
///
/// # Context
/// Thread. For sections that end soon: while a flush waits, nothing else runs on this CPU.
#[inline]
pub fn no_flush<R>(read_fn: impl FnOnce() -> R) -> R {
    let _in_kernel = enter();
    read_fn()
}

/// Says that the running thread has no reference now to anything that may be removed when no
/// thread uses it any more: neither a flush of preempted threads nor
/// [`rcu::synchronize_tasks`](crate::api::rcu::synchronize_tasks) waits for this thread because
/// of what it did before. For a long section of [`no_flush`], and for a loop that neither sleeps
/// nor yields.
///
/// ```no_run
#[doc = include_str!("../../examples/api/loops.rs")]
/// ```
///
/// # Context
/// Thread, preemption on: if a flush is under way the thread gives its CPU away.
///
/// # Panics
/// With preemption off or IRQs masked.
pub fn quiescent() {
    let _in_kernel = enter();
    kernel().sched.quiescent();
}

/// Lets realtime threads have each CPU for `runtime` of each second, while ordinary threads
/// want that CPU; `None`: without a bound. An ordinary thread that waits for the CPU has the
/// rest. Where no ordinary thread wants it, realtime threads may run all the time. More than a
/// second is taken for a second.
///
/// At boot it is 950 ms, or what `sched_rt_runtime_us=` says. A change holds for the next
/// second of each CPU. The log says it once when threads are held back for the first time.
///
/// A realtime thread that is held back goes on when the second is over, whatever it holds: a
/// thread that waits for its mutex waits for as long.
///
/// # Context
/// Any.
pub fn set_realtime_runtime(runtime: Option<Duration>) {
    let _in_kernel = enter();
    kernel().sched.set_realtime_runtime(runtime);
}

/// Returns what [`set_realtime_runtime`] has set last, to a tick of the counter.
///
/// # Context
/// Any.
pub fn realtime_runtime() -> Option<Duration> {
    kernel().sched.realtime_runtime()
}

/// Keeps the running thread on its CPU until the guard is dropped. The thread may sleep
/// meanwhile; the CPU can't be taken offline.
///
/// # Context
/// Thread, IRQs on. While the guard exists, a function that takes `cpus_read_lock` or the
/// hotplug lock panics, because hotplug may be waiting for the guard.
///
/// # Panics
/// With IRQs masked, as in the function of a timer or of a call: the guard would pin the
/// interrupted thread.
///
/// A thread that has forgotten the guard ([`core::mem::forget`]) panics at its end: its CPU
/// could never be taken offline any more.
pub fn migrate_disable() -> MigrateGuard {
    let _in_kernel = enter();
    MigrateGuard::new(kernel().sched.migrate_disable())
}

/// Returns the CPU that the thread runs on. Unless something keeps the thread there, it may
/// move to another CPU at any time.
///
/// # Context
/// Any.
pub fn current_cpu_racy() -> CpuId {
    Hw::this_cpu()
}

/// Threads that may borrow from the frame of [`scope`].
pub struct Scope<'scope, 'env: 'scope> {
    /// The threads that the scope waits for. A thread is added before the thread that has
    /// started it can end.
    threads: Members,
    _scope: PhantomData<&'scope mut &'scope ()>,
    _env: PhantomData<&'env mut &'env ()>,
}

/// The threads of a scope, under a lock.
type Members = Mutex<Vec<Member>, Hw>;

/// A thread of a scope.
struct Member {
    thread: Arc<sched::Thread<Hw>>,
    /// Stands for the thread's work in the lock validator.
    work: LockMap,
}

/// A handle that returns the value of a scope's thread.
pub struct ScopedJoinHandle<'scope, T> {
    handle: sched::JoinHandle<T, Hw>,
    threads: &'scope Members,
}

impl<T> ScopedJoinHandle<'_, T> {
    /// Waits until the thread has ended, and returns the value that its body returned.
    ///
    /// # Context
    /// Thread, preemption on.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn join(self) -> T {
        let _in_kernel = enter();
        let thread = Arc::clone(self.handle.thread());
        let value = self.handle.join();
        // The thread leaves the list, so that the scope doesn't wait for it: in the validator
        // such a wait would count, and the scope's caller may hold a lock by then.
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

/// Calls `body` with a scope. Threads of the scope may borrow data that lives longer than the
/// call. Returns when all of them have ended.
///
/// ```no_run
#[doc = include_str!("../../examples/api/scoped.rs")]
/// ```
///
/// # Context
/// Thread, preemption on.
///
/// # Panics
/// In a debug build, if the caller holds a lock that one of those threads takes.
#[cfg_attr(debug_assertions, track_caller)]
pub fn scope<'env, R>(body: impl for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> R) -> R {
    let in_kernel = enter();
    might_sleep_in::<Hw>("scope");
    let scope = Scope {
        threads: Mutex::new(Vec::new()),
        _scope: PhantomData,
        _env: PhantomData,
    };
    let result = in_kernel.call_app(|| body(&scope));
    // A thread of the scope may start another one, so the list is read until it is empty.
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
    /// If no stack is left. [`Builder::spawn_scoped`] returns an error instead.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn spawn<T: Send + 'scope>(
        &'scope self,
        body: impl FnOnce() -> T + Send + 'scope,
    ) -> ScopedJoinHandle<'scope, T> {
        started(Builder::new().spawn_scoped(self, body))
    }
}
