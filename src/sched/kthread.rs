//! Per-CPU threads: made once, parked while their CPU is offline.
//!
//! A service describes the work of such a thread. The life of the thread around it, with its
//! order of checks, is the same for `cpuhp/N`, `stopper/N` and every service: `kthread_life`.
//!
//! # Invariants
//! - **born-parked**: a per-CPU thread is made parked and bound to its CPU, and runs
//!   for the first time when its CPU is online.
//! - **works-on-own-cpu**: a per-CPU thread does all its work on its own CPU. Only the end of a
//!   thread whose CPU is offline, and with it `cleanup`, runs elsewhere.
//!
//! A per-CPU thread misses neither work nor a request to park: `blocking-before-check` of
//! [`BlockState`](crate::sched::BlockState).

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::cell::Cell;

use crate::cpu::CpuId;
use crate::errno::Errno;
use crate::sched::lock::Completion;
use crate::sched::{
    Acts, Class, KthreadLife, Placement, Running, SchedHost, Scheduler, SpawnError, Thread,
    ThreadName, live, patience, stay,
};
use crate::sync::{LockMap, LockMapGuard, might_sleep_in};
use crate::time::Instant;

/// The work of a per-CPU thread.
///
/// # Context
/// All calls but [`Service::made`] come from the thread itself, on its CPU, with IRQs and
/// preemption on. They may sleep.
///
/// No call may take the lock of the CPUs, stop the machine, or bring up or take down a
/// CPU. When the thread's CPU goes down, hotplug holds that lock and waits until the
/// thread has parked, so such a call would never end. A hotplug operation is refused
/// with an error; everything else panics.
pub trait Service<P: SchedHost>: Send + Sync {
    /// Is called when `cpu`'s thread has been made. It is parked, or dead if it is not
    /// wanted after all.
    ///
    /// # Context
    /// The control CPU.
    fn made(&self, _cpu: CpuId, _thread: &Arc<Thread<P>>) {}

    /// Is called before everything else on `cpu`, once. It stays set up while the CPU is
    /// offline.
    ///
    /// # Errors
    /// Why the service can't work there. Then nothing may be left that
    /// [`Service::cleanup`] would have to undo.
    fn setup(&self, _cpu: CpuId) -> Result<(), Errno> {
        Ok(())
    }

    /// Returns whether there is work to do.
    ///
    /// # Context
    /// It may be asked while the thread is about to block, so it doesn't sleep.
    fn should_run(&self, cpu: CpuId) -> bool;

    /// Does the work, or a part of it.
    fn run(&self, cpu: CpuId);

    /// Is called in place of [`Service::run`], for work that goes on while its CPU is away and
    /// comes back: `stays` parks the thread inside of it.
    fn run_and_stay(&self, cpu: CpuId, _stays: &dyn Stays) {
        self.run(cpu);
    }

    /// Is called before the thread parks, because its CPU goes down.
    fn park(&self, _cpu: CpuId) {}

    /// Is called after the thread was unparked: its CPU is up again, or for the first
    /// time.
    fn unpark(&self, _cpu: CpuId) {}

    /// Undoes [`Service::setup`], as the last call for `cpu`.
    ///
    /// # Context
    /// As for all. It runs on another CPU if `cpu` is offline.
    fn cleanup(&self, _cpu: CpuId) {}
}

/// What the work of a per-CPU thread asks of its life. The thread itself calls it.
pub trait Stays {
    /// Returns whether the thread has been asked to park, or is to end.
    fn is_leaving(&self) -> bool;

    /// Parks if the thread has been asked to, until its CPU is back. Returns whether it goes on;
    /// if not, the work is to return, because the thread ends. Its CPU may be offline then, and the
    /// thread on another one.
    fn stay(&self) -> bool;

    /// Waits for a permit until `at`, or until the thread is asked to park. Returns whether it got
    /// one.
    fn wait_permit(&self, at: Instant) -> bool;
}

/// A per-CPU thread of a service.
pub struct PerCpuThread<P: SchedHost> {
    cpu: CpuId,
    thread: Arc<Thread<P>>,
    seat: Arc<Seat<P>>,
}

/// What a per-CPU thread shares with those that have it work.
struct Seat<P: SchedHost> {
    life: KthreadLife<P>,
    /// Completed when `setup` has returned.
    told: Completion<P>,
}

impl<P: SchedHost> PerCpuThread<P> {
    /// Makes `cpu`'s thread of `service`, named `name/N`. It is parked.
    ///
    /// * `work` — the class of its work, for the lock validator
    ///
    /// # Errors
    /// [`SpawnError::OutOfStacks`].
    pub fn create(
        sched: &Scheduler<P>,
        name: &str,
        class: Class,
        cpu: CpuId,
        service: Arc<dyn Service<P>>,
        work: &LockMap,
    ) -> Result<PerCpuThread<P>, SpawnError> {
        let seat = Arc::new(Seat {
            life: KthreadLife::new(),
            told: Completion::new(),
        });
        let name = ThreadName::of_cpu(name, cpu);
        let (its_seat, its_service) = (Arc::clone(&seat), Arc::clone(&service));
        let body = Box::new(move || serve::<P>(cpu, &*its_service, &its_seat));
        // (born-parked)
        let thread = sched.create(name, class, Placement::PerCpu(cpu), body, work.same())?;
        service.made(cpu, &thread);
        Ok(PerCpuThread { cpu, thread, seat })
    }

    /// Returns the thread.
    pub fn thread(&self) -> &Arc<Thread<P>> {
        &self.thread
    }

    /// Unparks the thread. If its service isn't set up there, waits until it is.
    ///
    /// # Context
    /// Another thread; the CPU is online, and doesn't go meanwhile.
    ///
    /// # Errors
    /// That of [`Service::setup`]. The thread is parked then.
    pub fn start(&self) -> Result<(), Errno> {
        let sched = P::sched();
        if self.seat.life.is_set_up() {
            sched.unpark(&self.thread);
            return Ok(());
        }
        self.seat.told.reset();
        sched.unpark(&self.thread);
        self.thread.work.wait::<P>();
        let thread = &self.thread;
        self.seat.told.wait_patiently(|| {
            log::warn!(
                "{} has not been set up for {} s (it is {:?})",
                thread.name(),
                patience::<P>().as_secs(),
                thread.state_racy()
            );
        });
        match self.seat.life.take_failure() {
            None => Ok(()),
            Some(errno) => {
                sched.park(&self.thread);
                Err(errno)
            }
        }
    }

    /// Ends the thread, which is parked, and waits for its end. If its CPU is offline, it ends
    /// on this one.
    ///
    /// # Context
    /// Another thread; no CPU comes or goes meanwhile.
    pub fn end(&self) {
        let sched = P::sched();
        self.seat.life.end();
        if !P::masks().is_online(self.cpu) {
            sched.take_over_parked(&self.thread);
        }
        let thread = &self.thread;
        thread.work.wait::<P>();
        sched.unpark(thread);
        thread.stopped.wait_patiently(|| {
            log::warn!(
                "{} has not ended for {} s (it is {:?})",
                thread.name(),
                patience::<P>().as_secs(),
                thread.state_racy()
            );
        });
    }
}

/// A per-CPU thread at work.
struct Server<'a, P: SchedHost> {
    cpu: CpuId,
    service: &'a dyn Service<P>,
    seat: &'a Seat<P>,
    me: &'a Arc<Thread<P>>,
    working: Cell<Option<LockMapGuard<'a, P>>>,
    /// Whether the thread has parked inside of its work, and is to end.
    has_ended: Cell<bool>,
}

fn serve<P: SchedHost>(cpu: CpuId, service: &dyn Service<P>, seat: &Seat<P>) {
    let sched = P::sched();
    let me = sched.current();
    let server = Server {
        cpu,
        service,
        seat,
        me: &me,
        working: Cell::new(None),
        has_ended: Cell::new(false),
    };
    live(&server.running(), &seat.life, &server);
}

impl<P: SchedHost> Server<'_, P> {
    fn running(&self) -> Running<'_, P> {
        Running {
            sched: P::sched(),
            me: self.me,
        }
    }
}

impl<P: SchedHost> Stays for Server<'_, P> {
    fn is_leaving(&self) -> bool {
        self.has_ended.get() || self.me.block_state.should_park()
    }

    #[cfg_attr(debug_assertions, track_caller)]
    fn stay(&self) -> bool {
        might_sleep_in::<P>("stay");
        if !self.has_ended.get() {
            self.has_ended
                .set(!stay(&self.running(), &self.seat.life, self));
        }
        !self.has_ended.get()
    }

    #[cfg_attr(debug_assertions, track_caller)]
    fn wait_permit(&self, at: Instant) -> bool {
        might_sleep_in::<P>("park");
        let is_late = || self.is_leaving() || (at != Instant::FOREVER && P::now() >= at);
        self.me.permit.wait(&self.running(), is_late, || {
            P::sched().schedule_until(self.me, at);
        })
    }
}

impl<P: SchedHost> Acts for Server<'_, P> {
    fn begin(&self) {
        // (works-on-own-cpu)
        assert!(
            P::this_cpu() == self.cpu,
            "BUG: {:?} was unparked on {:?}, which is not its CPU",
            P::sched().current(),
            P::this_cpu()
        );
        self.working.set(Some(self.me.work.work::<P>()));
    }

    fn setup(&self) -> Result<(), Errno> {
        self.service.setup(self.cpu)
    }

    fn tell(&self) {
        self.seat.told.complete();
    }

    fn unpark(&self) {
        self.service.unpark(self.cpu);
    }

    fn should_run(&self) -> bool {
        self.service.should_run(self.cpu)
    }

    fn run(&self) -> bool {
        self.service.run_and_stay(self.cpu, self);
        !self.has_ended.get()
    }

    fn park(&self) {
        self.service.park(self.cpu);
    }

    fn rest(&self) {
        drop(self.working.take());
    }

    fn cleanup(&self) {
        let _working = self.me.work.work::<P>();
        self.service.cleanup(self.cpu);
    }
}
