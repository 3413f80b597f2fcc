//! Plain threads of which each CPU has one, and that stay with their CPU.

use alloc::sync::Arc;
use core::fmt;
use core::time::Duration;

use crate::api::hotplug::{InstallError, NotRemoved};
use crate::cpu::{CpuId, PerCpu};
use crate::hotplug::{NewService, ServiceHandle};
use crate::kernel::entry::{Entered, enter};
use crate::kernel::{Hw, kernel};
use crate::platform::Platform;
use crate::sched::{self, Class};
use crate::time::Instant;

mod adapter {
    use super::{CpuId, Hw, PerCpu, Residence, sched};
    use crate::sched::{Stays, run_app};
    use crate::sync::atomic::{AtomicBool, Ordering};

    /// The threads, as the kernel sees them.
    pub(super) struct Adapter<F> {
        body: F,
        /// Whether the body is to be called on each CPU. Relaxed: only the CPU's thread uses it.
        wanted: PerCpu<AtomicBool>,
    }

    impl<F> Adapter<F> {
        pub(super) fn new(body: F, cpus: usize) -> Adapter<F> {
            Adapter {
                body,
                wanted: PerCpu::new(cpus, |_| AtomicBool::new(false)),
            }
        }

        fn want(&self, cpu: CpuId, wanted: bool) {
            self.wanted.get(cpu).store(wanted, Ordering::Relaxed);
        }
    }

    impl<F: Fn(&Residence<'_>) + Send + Sync> sched::Service<Hw> for Adapter<F> {
        fn should_run(&self, cpu: CpuId) -> bool {
            self.wanted.get(cpu).load(Ordering::Relaxed)
        }

        fn run(&self, _: CpuId) {}

        fn run_and_stay(&self, cpu: CpuId, stays: &dyn Stays) {
            run_app::<Hw, _>(|| (self.body)(&Residence { cpu, stays }));
            self.want(cpu, false);
        }

        fn unpark(&self, cpu: CpuId) {
            self.want(cpu, true);
        }
    }
}

/// Gives each CPU an ordinary thread, called `name/N`, that calls `body` on its CPU: now, or when
/// the CPU comes up for the first time.
///
/// When the CPU goes, the operation waits until the thread has parked. `body` has two ways to let
/// it. It calls [`Residence::stay`], in which the thread parks while its CPU is away, and goes on
/// there. Or it returns when [`Residence::is_leaving`] says so; it is called again each time that
/// the CPU is back. If it returns before that, it isn't called again before the CPU has been away.
///
/// ```no_run
#[doc = include_str!("../../examples/api/residents.rs")]
/// ```
///
/// # Context
/// As [`register_service`](crate::api::hotplug::register_service). `body` is called as the
/// functions of a [`Service`](crate::api::hotplug::Service) are: in
/// [`api::hotplug`](crate::api::hotplug) it gets an error from functions that bring a CPU up or
/// down, or register something, and may not take
/// [`cpus_read_lock`](crate::api::hotplug::cpus_read_lock). Where it waits otherwise than by
/// [`Residence::park`], it holds its CPU up.
///
/// # Errors
/// [`InstallError`]; nothing is left then. It names the step `prep:threads` if a thread can't be
/// made.
#[cfg_attr(debug_assertions, track_caller)]
pub fn spawn_on_each_cpu(
    name: &'static str,
    body: impl Fn(&Residence<'_>) + Send + Sync + 'static,
) -> Result<Residents, InstallError> {
    let _in_kernel = enter();
    let cpus = kernel().masks.possible().count();
    let handle = kernel().hotplug.register_service(NewService {
        name,
        class: Class::Normal,
        service: Arc::new(adapter::Adapter::new(body, cpus)),
    })?;
    Ok(Residents {
        handle: Entered::new(handle),
    })
}

/// What a thread of [`spawn_on_each_cpu`] asks of its CPU.
///
/// ```no_run
#[doc = include_str!("../../examples/api/turns.rs")]
/// ```
pub struct Residence<'a> {
    cpu: CpuId,
    stays: &'a dyn sched::Stays,
}

impl Residence<'_> {
    /// Returns the CPU of the thread.
    ///
    /// # Context
    /// Any.
    pub fn cpu(&self) -> CpuId {
        self.cpu
    }

    /// Returns whether the CPU waits for the thread, because it goes, or the threads are to end.
    ///
    /// # Context
    /// Any.
    pub fn is_leaving(&self) -> bool {
        let _in_kernel = enter();
        self.stays.is_leaving()
    }

    /// Parks while the CPU is away, and returns true when the thread goes on there: at once, if
    /// the CPU doesn't go. Returns false if the thread is to end, and `body` to return; the CPU
    /// may be offline then, and the thread on another one.
    ///
    /// # Context
    /// The thread itself, preemption on. It holds no lock that others need meanwhile.
    #[must_use = "the thread has to end if it is false"]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn stay(&self) -> bool {
        let _in_kernel = enter();
        self.stays.stay()
    }

    /// Waits as [`thread::park`](crate::api::thread::park) does, for an unpark by
    /// [`Residents::unpark`] or the thread's handle, but returns early if the thread
    /// [is leaving](Residence::is_leaving). Returns whether it was unparked.
    ///
    /// # Context
    /// The thread itself, preemption on.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn park(&self) -> bool {
        let _in_kernel = enter();
        self.stays.wait_permit(Instant::FOREVER)
    }

    /// As [`Residence::park`], for `time` at most.
    ///
    /// # Context
    /// As [`Residence::park`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn park_timeout(&self, time: Duration) -> bool {
        let _in_kernel = enter();
        self.stays.wait_permit(Hw::deadline(time))
    }
}

impl fmt::Debug for Residence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Residence").field(&self.cpu).finish()
    }
}

/// Threads of which each CPU has one. Dropping it ends them as [`Residents::remove`] does.
///
/// # Panics
/// If it is dropped where [`Residents::remove`] returns an error or may not be called.
#[must_use = "dropping it ends the threads"]
pub struct Residents {
    handle: Entered<ServiceHandle<Hw>>,
}

impl Residents {
    /// Wakes the thread of `cpu` from its [`Residence::park`]; otherwise its next one returns at
    /// once, also when the CPU is back. Does nothing if the CPU has never been up.
    ///
    /// # Context
    /// Any.
    pub fn unpark(&self, cpu: CpuId) {
        let _in_kernel = enter();
        self.handle.give_permit(cpu);
    }

    /// Ends the threads. On return all have ended, also those of CPUs that are offline.
    ///
    /// # Context
    /// As [`register_service`](crate::api::hotplug::register_service).
    ///
    /// # Errors
    /// [`NotRemoved`], with the threads.
    pub fn remove(self) -> Result<(), NotRemoved<Residents>> {
        let _in_kernel = enter();
        self.handle
            .into_inner()
            .remove()
            .map_err(|failed| NotRemoved {
                handle: Residents {
                    handle: Entered::new(failed.handle),
                },
                why: failed.why,
            })
    }

    /// Leaves the threads for ever.
    ///
    /// # Context
    /// Any.
    pub fn keep(self) {
        let _in_kernel = enter();
        self.handle.into_inner().keep();
    }
}

impl fmt::Debug for Residents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Residents").finish_non_exhaustive()
    }
}
