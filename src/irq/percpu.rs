//! Interrupts that each CPU has for itself (PPIs), for a user on all CPUs.
//!
//! ```text
//!            request: the handler is put there for each possible CPU, the bit of `enabled` is
//!            set, and each online CPU turns its interrupt on
//!    free ─────────────────────────────────────────────────────────────▶ used
//!     ▲                                                                    │
//!     └──── dropped: the reverse, and a grace period if a CPU runs it ─────┘
//!
//!    a CPU that comes turns those of `enabled` on (init:irqchip); one that goes turns all off
//! ```
//!
//! # Invariants
//! - **no-cpu-is-on-its-way**: no CPU comes or goes while an interrupt is requested or given back: the
//!   caller holds the hotplug lock for reading. So each CPU either finds the bit of `enabled` as it
//!   comes, or is told by a call.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;

use super::IrqHost;
use super::error::RequestIrqError;
use super::handlers::{Handler, Handlers, IrqReturn};
use super::word::Begin;
use crate::cpu::{CpuId, PerCpu, PerCpuCounter};
use crate::platform::{FIRST_PPI, FIRST_SPI, Irq, IrqLine, Trigger};
use crate::smp::call::Inside;
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::{Once, SpinLock};

/// How many private interrupts a CPU has.
const COUNT: usize = (FIRST_SPI - FIRST_PPI) as usize;

/// A function that serves such an interrupt, on the CPU that has taken it.
pub type PerCpuHandlerFn = Arc<dyn Fn() -> IrqReturn + Send + Sync>;

/// The user of one of them.
#[derive(Debug)]
struct Used {
    name: Arc<str>,
    trigger: Trigger,
}

/// One private interrupt.
struct PerCpuLine<P: IrqHost> {
    used: SpinLock<Option<Used>, P>,
    handlers: PerCpu<Handlers<P>>,
    counts: PerCpuCounter,
}

impl<P: IrqHost> PerCpuLine<P> {
    fn new() -> Self {
        let cpus = P::masks().possible().count();
        PerCpuLine {
            used: SpinLock::new(None),
            handlers: PerCpu::new(cpus, |_| Handlers::new()),
            counts: PerCpuCounter::new(cpus),
        }
    }
}

/// All private interrupts but the timer's.
pub struct PerCpuIrqs<P: IrqHost> {
    /// Made when they are first asked for, and kept.
    lines: [Once<Box<PerCpuLine<P>>>; COUNT],
    /// Held while a record is made, so that no two calls meet. Under it the heap's are taken.
    making: SpinLock<(), P>,
    /// A bit for each INTID that CPUs turn on as they come. Relaxed: the hotplug lock orders it
    /// (no-cpu-is-on-its-way).
    enabled: AtomicU32,
    /// A bit for each INTID that is triggered by edges. Relaxed, as above.
    edges: AtomicU32,
}

impl<P: IrqHost> PerCpuIrqs<P> {
    pub(super) fn new() -> Self {
        PerCpuIrqs {
            lines: core::array::from_fn(|_| Once::new()),
            making: SpinLock::new(()),
            enabled: AtomicU32::new(0),
            edges: AtomicU32::new(0),
        }
    }

    fn line(&self, ppi: u32) -> Option<&PerCpuLine<P>> {
        let at = ppi.checked_sub(FIRST_PPI)? as usize;
        self.lines.get(at)?.get().map(|line| &**line)
    }

    /// Runs the handler of `ppi` on this CPU, which is `cpu` and has acknowledged the interrupt.
    /// Returns false if it has none.
    ///
    /// # Context
    /// The handler of the interrupt, IRQs masked.
    pub(super) fn interrupt(&self, ppi: u32, cpu: CpuId) -> bool {
        let Some(line) = self.line(ppi) else {
            return false;
        };
        let mut begin = Begin::Shut;
        P::calls().run_inside(cpu, Inside::Handler, || {
            let handlers = line.handlers.get(cpu);
            begin = handlers.run(|| line.counts.add(cpu, 1), |_| (), |_| ());
        });
        begin == Begin::Run
    }

    /// Turns the interrupts that have a user on, on this CPU, which is `cpu` and comes.
    ///
    /// # Context
    /// `init:irqchip`, IRQs masked.
    pub fn come(&self, cpu: CpuId) {
        let mut enabled = self.enabled.load(Ordering::Relaxed);
        while let Some(ppi) = enabled.checked_ilog2() {
            enabled ^= 1 << ppi;
            self.enable(cpu, ppi);
        }
    }

    fn enable(&self, cpu: CpuId, ppi: u32) {
        let trigger = if self.edges.load(Ordering::Relaxed) & 1 << ppi == 0 {
            Trigger::Level
        } else {
            Trigger::Edge
        };
        P::line_chip().enable_private(cpu, ppi, trigger);
    }

    /// Has `handle_fn` serve `line` on each CPU, for a user that is called `name`.
    ///
    /// # Context
    /// Thread, preemption on. No CPU comes or goes meanwhile (no-cpu-is-on-its-way).
    ///
    /// # Errors
    /// [`RequestIrqError`]; nothing has changed then.
    pub fn request(
        &'static self,
        line: IrqLine,
        name: &str,
        handle_fn: PerCpuHandlerFn,
    ) -> Result<PerCpuIrqHandle<P>, RequestIrqError> {
        let no_line = RequestIrqError::NoLine(line.intid());
        let Irq::Ppi(ppi) = Irq::from(line) else {
            return Err(no_line);
        };
        let at = ppi
            .checked_sub(FIRST_PPI)
            .and_then(|at| self.lines.get(at as usize));
        let slot = at.ok_or(no_line)?;
        let record = {
            let _alone = self.making.lock_irqsave();
            slot.call_once(|| Box::new(PerCpuLine::new()))
        };
        let mut used = record.used.lock_irqsave();
        if let Some(used) = &*used {
            return Err(RequestIrqError::Busy(ppi, Arc::clone(&used.name)));
        }
        *used = Some(Used {
            name: name.into(),
            trigger: line.trigger(),
        });
        drop(used);
        for (_, handlers) in record.handlers.iter() {
            let own = Arc::clone(&handle_fn);
            let handler = Handler {
                user: 0,
                handle_fn: Box::new(move || own()),
                thread: None,
            };
            // SAFETY: an interrupt without a user is shut on each CPU and doesn't run there, and
            // its new user, which only this call makes, opens it below.
            unsafe { handlers.change(|list| list.push(handler)) };
            handlers.word.open();
        }
        let bit = 1 << ppi;
        match line.trigger() {
            Trigger::Edge => self.edges.fetch_or(bit, Ordering::Relaxed),
            Trigger::Level => self.edges.fetch_and(!bit, Ordering::Relaxed),
        };
        self.enabled.fetch_or(bit, Ordering::Relaxed);
        P::calls().call_on_many(&P::masks().online(), |cpu| self.enable(cpu, ppi));
        Ok(PerCpuIrqHandle { irqs: self, ppi })
    }

    /// Takes the handler of `ppi` back from each CPU.
    ///
    /// # Context
    /// As [`PerCpuIrqs::request`], which has returned the handle once.
    fn free(&self, ppi: u32) {
        let line = self
            .line(ppi)
            .expect("BUG: an interrupt without a record has a user");
        self.enabled.fetch_and(!(1 << ppi), Ordering::Relaxed);
        P::calls().call_on_many(&P::masks().online(), |cpu| {
            P::line_chip().disable_private(cpu, ppi);
        });
        let mut is_running = false;
        for (_, handlers) in line.handlers.iter() {
            handlers.word.shut();
            is_running |= handlers.word.is_running();
        }
        if is_running {
            // A handler is a read-side section.
            P::grace_periods().synchronize(|cpus| {
                log::warn!("a handler of interrupt {ppi} is waited for, on CPUs {cpus}");
            });
        }
        for (cpu, handlers) in line.handlers.iter() {
            assert!(
                !handlers.word.is_running(),
                "BUG: the handler of interrupt {ppi} runs on CPU{cpu} after a grace period"
            );
            // SAFETY: it is shut, nothing runs, as was just seen, and its next user opens it,
            // which there isn't before `used` is empty.
            let old = unsafe { handlers.change(core::mem::take) };
            drop(old);
        }
        *line.used.lock_irqsave() = None;
    }

    /// Returns the names, triggers and counts of those that have a user, by their INTIDs.
    /// Allocates.
    pub fn report(&self) -> impl Iterator<Item = (IrqLine, Arc<str>, &PerCpuCounter)> {
        (FIRST_PPI..FIRST_SPI).filter_map(|ppi| {
            let line = self.line(ppi)?;
            let used = line.used.lock_irqsave();
            let used = used.as_ref()?;
            let irq = IrqLine::from_intid(ppi, used.trigger)?;
            Some((irq, Arc::clone(&used.name), &line.counts))
        })
    }
}

/// A user's right to an interrupt that each CPU has for itself. It is given back by
/// [`PerCpuIrqHandle::free`].
pub struct PerCpuIrqHandle<P: IrqHost> {
    irqs: &'static PerCpuIrqs<P>,
    ppi: u32,
}

impl<P: IrqHost> PerCpuIrqHandle<P> {
    /// Gives it back: on return no CPU runs its handler, which has been dropped.
    ///
    /// # Context
    /// Thread, preemption on. No CPU comes or goes meanwhile (no-cpu-is-on-its-way).
    pub fn free(self) {
        self.irqs.free(self.ppi);
    }

    /// Returns the INTID.
    pub fn intid(&self) -> u32 {
        self.ppi
    }

    /// Returns how often each CPU has run the handler.
    pub fn counts(&self) -> &PerCpuCounter {
        let line = self.irqs.line(self.ppi);
        &line
            .expect("BUG: an interrupt without a record has a user")
            .counts
    }
}

impl<P: IrqHost> fmt::Debug for PerCpuIrqHandle<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PerCpuIrqHandle").field(&self.ppi).finish()
    }
}
