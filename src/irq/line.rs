//! One line: its users, its CPU, and whether it is open.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::IrqHost;
use super::affinity::{Owner, Route};
use super::error::RequestIrqError;
use super::handlers::{Handler, HandlerFn, Handlers};
use super::spurious::Spurious;
use super::table::IrqRequest;
use super::thread::IrqThread;
use super::word::Begin;
use crate::cpu::{CpuId, CpuMask, PerCpuCounter};
use crate::platform::{Irq, IrqLine, LineChip, Trigger};
use crate::sched::lock::WaitQueue;
use crate::sched::{Patience, patience};
use crate::smp::call::Inside;
use crate::sync::{SpinLock, SpinLockGuard};

/// Whether a line has users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It has none.
    Free,
    /// Its list of handlers is about to be changed.
    Changing,
    /// It has some.
    Used,
}

/// One that has requested the line.
#[derive(Debug)]
pub(super) struct User {
    number: u64,
    name: Arc<str>,
    /// How often it has disabled the line, and not enabled it since.
    depth: u32,
}

/// What is behind the line's lock.
#[derive(Debug)]
pub(super) struct Control {
    pub(super) phase: Phase,
    pub(super) trigger: Trigger,
    pub(super) users: Vec<User>,
    next_user: u64,
    is_shared: bool,
    /// How many of the users' threads have something to do.
    busy: u32,
    /// Where it goes. That of a free line means nothing.
    pub(super) route: Route,
    /// Whether it came too often without a reason.
    is_given_up: bool,
    /// Whether it is open (`open-is-unmasked` of [`irq`](crate::irq)).
    is_open: bool,
    /// Whether the log has said that it came without having a user.
    is_told: bool,
}

/// What a line is like, for display.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineReport {
    /// Its number and trigger.
    pub line: IrqLine,
    /// The names of its users, with commas between.
    pub names: Box<str>,
    /// The CPUs that it may go to.
    pub affinity: CpuMask,
    /// The CPU that it goes to.
    pub effective: Option<CpuId>,
    /// Whose its affinity is.
    pub owner: Owner,
}

/// The record of one line.
pub struct Line<P: IrqHost> {
    pub(super) irq: Irq,
    handlers: Handlers<P>,
    /// Under it only the lock of the interrupt controller is taken, and the heap's.
    pub(super) control: SpinLock<Control, P>,
    counts: PerCpuCounter,
    spurious: Spurious,
    /// Where threads wait until those of the users have nothing to do.
    quiet: WaitQueue<P>,
}

impl<P: IrqHost> Line<P> {
    /// Returns the record of `irq`, a line without users. Allocates.
    pub(super) fn new(irq: Irq) -> Line<P> {
        let possible = *P::masks().possible();
        Line {
            irq,
            handlers: Handlers::new(),
            control: SpinLock::new(Control {
                phase: Phase::Free,
                trigger: Trigger::Level,
                users: Vec::new(),
                next_user: 0,
                is_shared: false,
                busy: 0,
                route: Route {
                    affinity: possible,
                    owner: Owner::User,
                    effective: None,
                },
                is_given_up: false,
                is_open: false,
                is_told: false,
            }),
            counts: PerCpuCounter::new(possible.count()),
            spurious: Spurious::new(),
            quiet: WaitQueue::new(),
        }
    }

    /// Returns which line it is.
    pub fn irq(&self) -> Irq {
        self.irq
    }

    /// Returns how often each CPU has run the handlers.
    pub fn counts(&self) -> &PerCpuCounter {
        &self.counts
    }

    /// Returns how often it came without a reason.
    pub fn spurious(&self) -> &Spurious {
        &self.spurious
    }

    /// Runs the handlers on this CPU, which is `cpu` and has acknowledged the interrupt.
    ///
    /// # Context
    /// The handler of the interrupt, IRQs masked.
    #[inline]
    pub(super) fn interrupt(&self, cpu: CpuId) {
        let mut begin = Begin::Shut;
        P::calls().run_inside(cpu, Inside::Handler, || {
            begin = self.handlers.run(
                || self.counts.add(cpu, 1),
                |thread| self.wake(thread),
                |result| {
                    let now = || (P::now(), P::frequency().hz() / 10);
                    if self.spurious.note(result, now) {
                        self.give_up();
                    }
                },
            );
        });
        if begin == Begin::Shut {
            self.came_shut(cpu);
        }
    }

    /// Has `thread`, that of a user, do what the user's handler leaves.
    #[inline(never)]
    fn wake(&self, thread: Option<&Arc<IrqThread<P>>>) {
        let Some(thread) = thread else {
            panic!(
                "BUG: a handler of {:?} wakes a thread that it hasn't",
                self.irq
            )
        };
        let mut control = self.control.lock_irqsave();
        // Under the lock: the thread counts what it has done behind this.
        if thread.wake() {
            control.busy += 1;
            self.update(&mut control, P::line_chip());
            drop(control);
            thread.go_on();
        }
    }

    /// Notes that the thread of a user has done what its handler had left.
    pub(super) fn thread_done(&self) {
        let mut control = self.control.lock_irqsave();
        control.busy -= 1;
        self.update(&mut control, P::line_chip());
        let is_quiet = control.busy == 0;
        drop(control);
        if is_quiet {
            self.quiet.wake_all();
        }
    }

    /// Gives the line up, which comes all the time without a reason.
    #[cold]
    #[inline(never)]
    fn give_up(&self) {
        let mut control = self.control.lock_irqsave();
        control.is_given_up = true;
        self.update(&mut control, P::line_chip());
        drop(control);
        let intid = self.irq.intid();
        log::error!("irq {intid}: nobody cared; it is disabled");
    }

    /// Masks the line, on which an interrupt has come although it is shut: it was taken when the
    /// mask had no effect yet. The word keeps it.
    #[cold]
    #[inline(never)]
    fn came_shut(&self, cpu: CpuId) {
        let mut control = self.control.lock_irqsave();
        // Open now: then the opener has seen that it came.
        if !control.is_open {
            P::line_chip().mask(self.irq);
        }
        let unexpected = control.phase == Phase::Free && !control.is_told;
        control.is_told |= unexpected;
        drop(control);
        if unexpected {
            log::warn!(
                "CPU{cpu}: unexpected {:?}: it has no handler, and is masked",
                self.irq
            );
        }
    }

    /// Opens or shuts the line, if that is due (`open-is-unmasked` of [`irq`](crate::irq)).
    pub(super) fn update(&self, control: &mut Control, chip: &dyn LineChip) {
        let open = control.phase == Phase::Used
            && (control.busy == 0 || control.trigger == Trigger::Edge)
            && control.route.effective.is_some()
            && !control.is_given_up
            && control.users.iter().all(|user| user.depth == 0);
        if open == control.is_open {
            return;
        }
        control.is_open = open;
        if open {
            let has_come = self.handlers.word.open();
            // A level is still there if it isn't served.
            if has_come && control.trigger == Trigger::Edge {
                chip.set_pending(self.irq);
            }
            chip.unmask(self.irq);
        } else {
            self.handlers.word.shut();
            chip.mask(self.irq);
        }
    }

    /// Adds a user with the handler `handle_fn`, as `request` says; returns the user's number.
    ///
    /// # Context
    /// Thread, or the boot. If it is shared, the caller is the only one that requests or frees
    /// shared lines just now.
    pub(super) fn request(
        &self,
        request: &IrqRequest,
        handle_fn: HandlerFn,
        thread: Option<Arc<IrqThread<P>>>,
    ) -> Result<u64, RequestIrqError> {
        let name: Arc<str> = Arc::from(&*request.name);
        let mut control = self.control.lock_irqsave();
        let intid = self.irq.intid();
        match control.phase {
            Phase::Free => self.set_up(&mut control, request)?,
            Phase::Used if control.is_shared && request.is_shared => {
                if control.trigger != request.line.trigger() {
                    return Err(RequestIrqError::OtherTrigger(intid));
                }
                control.phase = Phase::Changing;
                self.update(&mut control, P::line_chip());
            }
            Phase::Used | Phase::Changing => {
                let user = control.users.first().map(|user| Arc::clone(&user.name));
                return Err(RequestIrqError::Busy(
                    intid,
                    user.unwrap_or_else(|| "none".into()),
                ));
            }
        }
        drop(control);
        self.synchronize();
        let mut control = self.control.lock_irqsave();
        let number = control.next_user;
        control.next_user += 1;
        control.users.push(User {
            number,
            name,
            depth: u32::from(request.starts_disabled),
        });
        self.change(&mut control, |list| {
            list.push(Handler {
                user: number,
                handle_fn,
                thread,
            });
        });
        control.phase = Phase::Used;
        self.update(&mut control, P::line_chip());
        Ok(number)
    }

    /// Sets the line up, which is free, as `request` says. It is changing then.
    fn set_up(&self, control: &mut Control, request: &IrqRequest) -> Result<(), RequestIrqError> {
        let affinity = request.affinity.and(P::masks().possible());
        let cpus = Self::candidates();
        let route = Route::new(affinity, request.owner, &cpus);
        let route = route.ok_or(RequestIrqError::NoActiveCpu(request.affinity))?;
        let trigger = request.line.trigger();
        let cpu = route
            .effective
            .or(cpus.serving.first())
            .unwrap_or(CpuId::BOOT);
        P::line_chip().set_up(self.irq, trigger, cpu);
        self.spurious.reset();
        *control = Control {
            phase: Phase::Changing,
            trigger,
            users: Vec::new(),
            next_user: control.next_user,
            is_shared: request.is_shared,
            busy: 0,
            route,
            is_given_up: false,
            is_open: false,
            is_told: false,
        };
        Ok(())
    }

    /// Calls `change_fn` with the list of handlers.
    fn change<R>(
        &self,
        control: &mut SpinLockGuard<'_, Control, P>,
        change_fn: impl FnOnce(&mut Vec<Handler<P>>) -> R,
    ) -> R {
        assert!(
            control.phase == Phase::Changing && !self.handlers.word.is_running(),
            "BUG: the handlers of {:?} are changed while they run",
            self.irq
        );
        // SAFETY: a line that is changing is shut (open-is-unmasked), nothing runs, as was just
        // seen, and it is opened under the lock that `control` stands for. So is every change.
        unsafe { self.handlers.change(change_fn) }
    }

    /// Removes the user `number`, with its handler, which doesn't run any more on return.
    ///
    /// # Context
    /// Thread, preemption on. If it is shared, the caller is the only one that requests or frees
    /// shared lines just now.
    pub(super) fn free(&self, number: u64) {
        let mut control = self.control.lock_irqsave();
        control.phase = Phase::Changing;
        self.update(&mut control, P::line_chip());
        drop(control);
        self.synchronize();
        let mut control = self.control.lock_irqsave();
        let handler = self.change(&mut control, |list| {
            let at = list.iter().position(|handler| handler.user == number);
            at.map(|at| list.remove(at))
        });
        drop(control);
        // Nothing wakes it any more.
        if let Some(thread) = handler.as_ref().and_then(|handler| handler.thread.as_ref()) {
            thread.end();
        }
        let mut control = self.control.lock_irqsave();
        control.users.retain(|user| user.number != number);
        if control.users.is_empty() {
            control.phase = Phase::Free;
            control.route.effective = None;
        } else {
            control.phase = Phase::Used;
        }
        self.update(&mut control, P::line_chip());
        drop(control);
        // Outside of the lock: what it owns may take time to drop.
        drop(handler);
    }

    /// Waits until no CPU runs the handlers that has begun before, and the users' threads have done
    /// what was left to them.
    ///
    /// # Context
    /// Thread, preemption on. Not a user's thread: it would wait for itself.
    pub(super) fn synchronize_all(&self) {
        self.synchronize();
        let quiet = || self.control.lock_irqsave().busy == 0;
        let mut late = Patience::begin::<P>();
        while !quiet() && !self.quiet.wait_until(late.next_look(), quiet) {
            if late.is_out(P::now()) {
                log::warn!(
                    "the threads of {:?} are waited for, for {} s",
                    self.irq,
                    patience::<P>().as_secs()
                );
            }
        }
    }

    /// Waits until no CPU runs the handlers that has begun before.
    ///
    /// # Context
    /// Thread, preemption on, if a CPU runs them.
    pub(super) fn synchronize(&self) {
        if self.handlers.word.is_running() {
            // A handler is a read-side section.
            P::grace_periods().synchronize(|cpus| {
                log::warn!("a handler of {:?} is waited for, on CPUs {cpus}", self.irq);
            });
        }
    }

    /// Adds one to how often the user `number` has disabled the line.
    ///
    /// # Context
    /// Any.
    pub(super) fn disable(&self, number: u64) {
        let mut control = self.control.lock_irqsave();
        let mut users = control.users.iter_mut();
        if let Some(user) = users.find(|user| user.number == number) {
            user.depth = user
                .depth
                .checked_add(1)
                .expect("BUG: an interrupt is disabled for ever");
        }
        self.update(&mut control, P::line_chip());
    }

    /// Takes one back of what [`Line::disable`] has added. Returns whether there was any.
    ///
    /// # Context
    /// Any.
    pub(super) fn enable(&self, number: u64) -> bool {
        let mut control = self.control.lock_irqsave();
        let mut users = control.users.iter_mut();
        let user = users.find(|user| user.number == number);
        let depth = user.and_then(|user| {
            user.depth = user.depth.checked_sub(1)?;
            Some(user.depth)
        });
        self.update(&mut control, P::line_chip());
        depth.is_some()
    }

    /// Makes the line pending, as its device does by an edge.
    ///
    /// # Context
    /// Any.
    pub fn raise(&self) {
        let _control = self.control.lock_irqsave(); // (one-changes-a-line)
        P::line_chip().set_pending(self.irq);
    }

    /// Returns the CPUs that the line may go to.
    pub fn affinity(&self) -> CpuMask {
        self.control.lock_irqsave().route.affinity
    }

    /// Returns the CPU that the line goes to; `None` if it rests or has no user.
    pub fn effective_affinity(&self) -> Option<CpuId> {
        self.control.lock_irqsave().route.effective
    }

    /// Returns what the line is like; `None` if it has no user. Allocates.
    pub fn report(&self) -> Option<LineReport> {
        let control = self.control.lock_irqsave();
        let line = IrqLine::from_intid(self.irq.intid(), control.trigger)?;
        let names: Vec<&str> = control.users.iter().map(|user| &*user.name).collect();
        (control.phase != Phase::Free).then(|| LineReport {
            line,
            names: names.join(",").into(),
            affinity: control.route.affinity,
            effective: control.route.effective,
            owner: control.route.owner,
        })
    }
}
