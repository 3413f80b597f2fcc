//! One line: its users, its CPU, and whether it is open.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::IrqHost;
use super::affinity::{Candidates, Owner};
use super::error::{IrqAffinityError, RequestIrqError};
use super::handlers::{Handler, HandlerFn, Handlers};
use super::table::IrqRequest;
use super::word::Begin;
use crate::cpu::{CpuId, CpuMask, PerCpuCounter};
use crate::platform::{Irq, IrqLine, LineChip, Trigger};
use crate::smp::call::Inside;
use crate::sync::{SpinLock, SpinLockGuard};

/// Whether a line has users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It has none.
    Free,
    /// Its list of handlers is about to be changed.
    Changing,
    /// It has some.
    Used,
}

/// One that has requested the line.
#[derive(Debug)]
struct User {
    number: u64,
    name: Arc<str>,
    /// How often it has disabled the line, and not enabled it since.
    depth: u32,
}

/// What is behind the line's lock.
#[derive(Debug)]
struct Control {
    phase: Phase,
    trigger: Trigger,
    users: Vec<User>,
    next_user: u64,
    is_shared: bool,
    affinity: CpuMask,
    owner: Owner,
    /// The CPU that it goes to. `None` while it is resting or free.
    effective: Option<CpuId>,
    /// Whether it is managed, and none of its CPUs is there.
    is_resting: bool,
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
    irq: Irq,
    handlers: Handlers,
    /// Under it only the lock of the interrupt controller is taken, and the heap's.
    control: SpinLock<Control, P>,
    counts: PerCpuCounter,
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
                affinity: possible,
                owner: Owner::User,
                effective: None,
                is_resting: false,
                is_given_up: false,
                is_open: false,
                is_told: false,
            }),
            counts: PerCpuCounter::new(possible.count()),
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

    /// Runs the handlers on this CPU, which is `cpu` and has acknowledged the interrupt.
    ///
    /// # Context
    /// The handler of the interrupt, IRQs masked.
    #[inline]
    pub(super) fn interrupt(&self, cpu: CpuId) {
        let mut begin = Begin::Shut;
        P::calls().run_inside(cpu, Inside::Handler, || {
            begin = self.handlers.run(|result| {
                self.counts.add(cpu, 1);
                let _ = result;
            });
        });
        if begin == Begin::Shut {
            self.came_shut(cpu);
        }
    }

    /// Masks the line, on which an interrupt has come although it is shut: it was taken when the
    /// mask had no effect yet. The word keeps it.
    #[cold]
    #[inline(never)]
    fn came_shut(&self, cpu: CpuId) {
        let mut control = self.control.lock_irqsave();
        // Open now: then who has opened it has seen that it came.
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
    fn update(&self, control: &mut Control, chip: &dyn LineChip) {
        let open = control.phase == Phase::Used
            && !control.is_resting
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
        let effective = cpus.choose(&affinity, None);
        let is_resting = effective.is_none() && request.owner == Owner::Managed;
        if effective.is_none() && !is_resting {
            return Err(RequestIrqError::NoActiveCpu(request.affinity));
        }
        let trigger = request.line.trigger();
        let cpu = effective.or(cpus.serving.first()).unwrap_or(CpuId::BOOT);
        P::line_chip().set_up(self.irq, trigger, cpu);
        *control = Control {
            phase: Phase::Changing,
            trigger,
            users: Vec::new(),
            next_user: control.next_user,
            is_shared: request.is_shared,
            affinity,
            owner: request.owner,
            effective,
            is_resting,
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
        change_fn: impl FnOnce(&mut Vec<Handler>) -> R,
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
        control.users.retain(|user| user.number != number);
        if control.users.is_empty() {
            control.phase = Phase::Free;
            control.effective = None;
        } else {
            control.phase = Phase::Used;
        }
        self.update(&mut control, P::line_chip());
        drop(control);
        // Outside of the lock: what it owns may take time to drop.
        drop(handler);
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

    /// Lets the line go only to `cpus` from now on. CPUs that the machine doesn't have are left
    /// out.
    ///
    /// # Context
    /// Any.
    ///
    /// # Errors
    /// [`IrqAffinityError`]; nothing has changed then.
    pub fn set_affinity(&self, cpus: &CpuMask) -> Result<(), IrqAffinityError> {
        let mut control = self.control.lock_irqsave();
        if control.phase == Phase::Free {
            return Err(IrqAffinityError::Unused(self.irq.intid()));
        }
        if control.owner == Owner::Managed {
            return Err(IrqAffinityError::Managed(self.irq.intid()));
        }
        let to = Self::candidates().choose(cpus, control.effective);
        let to = to.ok_or(IrqAffinityError::NoActiveCpu(*cpus))?;
        control.affinity = cpus.and(P::masks().possible());
        self.route(&mut control, to);
        Ok(())
    }

    /// Has the line go to `cpu`.
    fn route(&self, control: &mut Control, cpu: CpuId) {
        if control.effective != Some(cpu) {
            P::line_chip().route(self.irq, cpu);
            control.effective = Some(cpu);
        }
    }

    /// Returns the CPUs that the line may be given to.
    ///
    /// # Context
    /// The line's lock held (`serving-under-the-lock` of [`irq`](crate::irq)).
    fn candidates() -> Candidates {
        Candidates {
            serving: P::irqs().serving(),
            active: P::masks().active(),
        }
    }

    /// Moves the line away from `cpu`, which doesn't serve interrupts any more, if it goes there. A
    /// managed line rests if none of its CPUs is left.
    ///
    /// # Panics
    /// If no other CPU serves interrupts.
    pub(super) fn move_away(&self, cpu: CpuId) {
        let mut control = self.control.lock_irqsave();
        if control.effective != Some(cpu) {
            return;
        }
        let cpus = Self::candidates();
        let mut is_broken = false;
        match cpus.choose(&control.affinity, None) {
            Some(to) => self.route(&mut control, to),
            None if control.owner == Owner::Managed => {
                control.is_resting = true;
                control.effective = None;
                self.update(&mut control, P::line_chip());
            }
            None => {
                control.affinity = *P::masks().possible();
                let to = cpus.choose(&control.affinity, None);
                let to = to.expect("BUG: the last CPU leaves that serves interrupts");
                self.route(&mut control, to);
                is_broken = true;
            }
        }
        drop(control);
        if is_broken {
            log::info!("IRQ {}: no longer affine to CPU{cpu}", self.irq.intid());
        }
    }

    /// Has the line go to `cpu`, which comes, if it rests and is managed for that CPU.
    pub(super) fn come_back(&self, cpu: CpuId) {
        let mut control = self.control.lock_irqsave();
        if control.is_resting && control.affinity.contains(cpu) {
            control.is_resting = false;
            self.route(&mut control, cpu);
            self.update(&mut control, P::line_chip());
        }
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
        self.control.lock_irqsave().affinity
    }

    /// Returns the CPU that the line goes to; `None` if it rests or has no user.
    pub fn effective_affinity(&self) -> Option<CpuId> {
        self.control.lock_irqsave().effective
    }

    /// Returns what the line is like; `None` if it has no user. Allocates.
    pub fn report(&self) -> Option<LineReport> {
        let control = self.control.lock_irqsave();
        let line = IrqLine::from_intid(self.irq.intid(), control.trigger)?;
        let names: Vec<&str> = control.users.iter().map(|user| &*user.name).collect();
        (control.phase != Phase::Free).then(|| LineReport {
            line,
            names: names.join(",").into(),
            affinity: control.affinity,
            effective: control.effective,
            owner: control.owner,
        })
    }
}
