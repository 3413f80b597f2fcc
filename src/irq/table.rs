//! All lines of the machine, by their numbers.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use super::IrqHost;
use super::affinity::{Owner, Serving};
use super::error::RequestIrqError;
use super::handle::IrqHandle;
use super::handlers::HandlerFn;
use super::line::Line;
use super::percpu::PerCpuIrqs;
use super::thread::{IrqThread, ThreadFn};
use crate::cpu::{CpuId, CpuMask};
use crate::platform::{FIRST_LPI, FIRST_SPI, Irq, IrqLine};
use crate::sched::lock::Mutex;
use crate::sync::{Once, SpinLock};

/// What a user wants of a line.
#[derive(Clone, Debug)]
pub struct IrqRequest {
    /// Which line, and how it triggers.
    pub line: IrqLine,
    /// What `/proc/interrupts` calls the user.
    pub name: String,
    /// The CPUs that it may go to.
    pub affinity: CpuMask,
    /// Whose the affinity is.
    pub owner: Owner,
    /// Whether other users may have the same line.
    pub is_shared: bool,
    /// Whether the user enables it itself.
    pub starts_disabled: bool,
}

/// The records of the lines of one kind, made when they are first asked for (`never-freed`
/// of [`irq`](crate::irq)).
type Lines<P> = Box<[Once<Box<Line<P>>>]>;

/// All lines.
pub struct IrqTable<P: IrqHost> {
    spis: Lines<P>,
    lpis: Once<Lines<P>>,
    /// The lines whose records were made, in that order. Under it no other lock is taken but the
    /// heap's.
    made: SpinLock<Vec<Irq>, P>,
    /// The CPUs that serve interrupts: see [`IrqTable::serving`].
    serving: Serving,
    /// The interrupts that each CPU has for itself.
    pub percpu: PerCpuIrqs<P>,
    /// Held by the thread that requests or frees a shared line.
    sharing: Mutex<(), P>,
}

fn lines<P: IrqHost>(count: usize) -> Lines<P> {
    (0..count).map(|_| Once::new()).collect()
}

impl<P: IrqHost> IrqTable<P> {
    /// Returns a table for `spis` shared interrupts, without a user. Allocates.
    pub fn new(spis: usize) -> Self {
        IrqTable {
            spis: lines(spis),
            lpis: Once::new(),
            made: SpinLock::new(Vec::new()),
            serving: Serving::new(),
            percpu: PerCpuIrqs::new(),
            sharing: Mutex::new(()),
        }
    }

    /// Makes room for `count` messages of an ITS, INTID 8192 and up. Allocates.
    ///
    /// # Context
    /// The boot, once.
    pub fn add_lpis(&self, count: usize) {
        self.lpis.call_once(|| lines(count));
    }

    /// Returns where the record of `irq` is or would be.
    #[inline]
    fn slot(&self, irq: Irq) -> Option<&Once<Box<Line<P>>>> {
        match irq {
            Irq::Spi(spi) => self.spis.get(spi.checked_sub(FIRST_SPI)? as usize),
            Irq::Lpi(lpi) => self.lpis.get()?.get(lpi.checked_sub(FIRST_LPI)? as usize),
            Irq::Sgi(_) | Irq::UnknownSgi(_) | Irq::Ppi(_) => None,
        }
    }

    /// Returns the record of `irq`, if it was ever asked for.
    ///
    /// # Context
    /// Any.
    #[inline]
    pub fn line(&self, irq: Irq) -> Option<&Line<P>> {
        self.slot(irq)?.get().map(|line| &**line)
    }

    /// Returns all lines that were ever asked for, in the order in which they first were.
    ///
    /// # Context
    /// Any.
    pub fn lines(&self) -> impl Iterator<Item = &Line<P>> {
        let mut at = 0;
        core::iter::from_fn(move || {
            let irq = self.made.lock_irqsave().get(at).copied()?;
            at += 1;
            self.line(irq)
        })
    }

    /// Returns the CPUs that serve interrupts: those past `enable:irq-affinity`, or while there are
    /// none the CPU that boots the machine.
    ///
    /// # Context
    /// Any, the lock of a line held for which one of them is chosen
    /// (`serving-under-the-lock` of [`irq`](crate::irq)).
    pub(super) fn serving(&self) -> CpuMask {
        let serving = self.serving.cpus();
        if serving.is_empty() {
            CpuMask::of(P::this_cpu())
        } else {
            serving
        }
    }

    /// Runs the handlers of `irq`, which this CPU, `cpu`, has acknowledged. Returns false if that
    /// was never asked for, or is a private interrupt without a user.
    ///
    /// # Context
    /// The handler of the interrupt, IRQs masked.
    #[inline]
    pub fn interrupt(&self, irq: Irq, cpu: CpuId) -> bool {
        match (self.line(irq), irq) {
            (Some(line), _) => {
                line.interrupt(cpu);
                true
            }
            (None, Irq::Ppi(ppi)) => self.percpu.interrupt(ppi, cpu),
            (None, _) => false,
        }
    }

    /// Has `handle_fn` serve a line, as `request` says, and `thread_fn` do what that leaves.
    ///
    /// # Context
    /// Thread, preemption on; the boot, if it isn't shared. Allocates.
    ///
    /// # Errors
    /// [`RequestIrqError`]; nothing has changed then.
    pub fn request(
        &'static self,
        request: &IrqRequest,
        handle_fn: HandlerFn,
        thread_fn: Option<ThreadFn>,
    ) -> Result<IrqHandle<P>, RequestIrqError> {
        let irq = Irq::from(request.line);
        if let Irq::Ppi(ppi) = irq {
            return Err(RequestIrqError::Private(ppi));
        }
        let slot = self.slot(irq).filter(|_| P::line_chip().has_line(irq));
        let slot = slot.ok_or(RequestIrqError::NoLine(irq.intid()))?;
        let line = match slot.get() {
            Some(line) => line,
            None => {
                let mut made = self.made.lock_irqsave();
                slot.call_once(|| {
                    made.push(irq); // (listed-before-used)
                    Box::new(Line::new(irq))
                })
            }
        };
        let _alone = request.is_shared.then(|| self.sharing.lock());
        let start = |thread_fn| IrqThread::start(line, &request.name, &request.affinity, thread_fn);
        let thread = thread_fn.map(start).transpose();
        let thread = thread.map_err(RequestIrqError::Thread)?;
        let user = line.request(request, handle_fn, thread.clone());
        if let (Err(_), Some(thread)) = (&user, thread) {
            thread.end();
        }
        let user = user?;
        Ok(IrqHandle::new(line, user, request.is_shared))
    }

    /// Removes a user of a shared line.
    pub(super) fn free_shared(&self, line: &Line<P>, user: u64) {
        let _alone = self.sharing.lock();
        line.free(user);
    }

    /// Moves all lines away from `cpu`, which leaves (`routed-to-serving` of
    /// [`irq`](crate::irq)). Those that are managed
    /// for it alone rest.
    ///
    /// # Context
    /// The thread `cpuhp` on `cpu`, IRQs on.
    ///
    /// # Panics
    /// If no other CPU serves interrupts.
    pub fn move_away(&self, cpu: CpuId) {
        self.serving.leave(cpu);
        for line in self.lines() {
            line.move_away(cpu);
        }
    }

    /// Has `cpu`, which comes, serve interrupts from now on. The lines that rest, and are managed
    /// for it, go there.
    ///
    /// # Context
    /// The thread `cpuhp` on `cpu`, IRQs on; for the boot CPU the boot.
    pub fn come_back(&self, cpu: CpuId) {
        self.serving.come(cpu);
        for line in self.lines() {
            line.come_back(cpu);
        }
    }
}
