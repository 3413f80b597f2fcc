//! The orders that have been seen, and the check of each new one.

use crate::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use crate::sync::lockdep::{HeldLock, HeldLocks, LockClass, LockKind, Name, Place, Report, Where};
use crate::sync::{Exec, SpinLock};

/// The most classes. A program that makes more asks for a larger number here.
const CLASSES: usize = 512;
/// The most orders.
const LINKS: usize = 2048;
const WORDS: usize = CLASSES / 64;

/// How a class has been used: bits.
const IN_IRQ: u8 = 1;
const IRQS_ON: u8 = 2;

/// A lock that is about to be taken, by whom.
#[derive(Clone, Copy, Debug)]
pub struct Taking<'a> {
    /// The number of its class, from [`Lockdep::number`].
    pub number: u16,
    /// Its class.
    pub class: LockClass,
    /// Its address.
    pub instance: usize,
    /// Whether who takes it waits for it. Who only tries can't be part of a circle as
    /// the one who waits.
    pub waits: bool,
    /// Where it is taken.
    pub at: Place,
    /// On what terms.
    pub place: Where,
    /// The thread.
    pub who: &'a str,
}

/// An order that has been seen first: `to` was taken while `from` was held.
#[derive(Clone, Copy, Debug)]
pub struct LinkRecord {
    pub(super) from: LockClass,
    pub(super) to: LockClass,
    pub(super) who: Name,
    pub(super) from_at: Place,
    pub(super) to_at: Place,
}

/// All that has been seen.
pub struct Lockdep<E: Exec> {
    /// Which class was taken while which was held (D2). Relaxed: who reads a 0 looks
    /// again under the lock.
    orders: [[AtomicU64; WORDS]; CLASSES],
    /// How each class was used. As `orders`.
    usage: [AtomicU8; CLASSES],
    graph: SpinLock<Graph, E>,
}

struct Graph {
    classes: [Option<Class>; CLASSES],
    count: u16,
    links: [Option<(u16, u16, LinkRecord)>; LINKS],
    linked: usize,
    /// What a search goes through, and where it came from: [`CLASSES`] is nowhere.
    queue: [u16; CLASSES],
    came_from: [u16; CLASSES],
}

#[derive(Clone, Copy)]
struct Class {
    class: LockClass,
    /// Where it was first taken in a handler, and with IRQs on.
    in_irq: Option<Place>,
    irqs_on: Option<Place>,
}

const NOWHERE: u16 = u16::MAX;

impl<E: Exec> Lockdep<E> {
    /// Nothing has been seen.
    pub const fn new() -> Self {
        Lockdep {
            orders: [const { [const { AtomicU64::new(0) }; WORDS] }; CLASSES],
            usage: [const { AtomicU8::new(0) }; CLASSES],
            graph: SpinLock::new_untracked(Graph {
                classes: [None; CLASSES],
                count: 0,
                links: [None; LINKS],
                linked: 0,
                queue: [0; CLASSES],
                came_from: [0; CLASSES],
            }),
        }
    }

    /// The number of `class`, to keep: a search.
    ///
    /// # Panics
    /// If there are too many classes.
    pub fn number(&self, class: LockClass) -> u16 {
        let mut graph = self.graph.lock_irqsave();
        let known = |known: &Option<Class>| known.is_some_and(|known| known.class == class);
        let count = graph.count;
        if let Some(index) = graph.classes[..usize::from(count)].iter().position(known) {
            return u16::try_from(index).unwrap_or(NOWHERE);
        }
        let Some(free) = graph.classes.get_mut(usize::from(count)) else {
            panic!("BUG: lockdep: more than {CLASSES} classes of locks");
        };
        *free = Some(Class {
            class,
            in_irq: None,
            irqs_on: None,
        });
        graph.count += 1;
        count
    }

    /// A lock is about to be taken, or was taken by a try: checks what that means, and
    /// notes that it is held.
    ///
    /// # Context
    /// IRQs masked.
    ///
    /// # Errors
    /// [`Report`]: this can deadlock.
    pub fn acquire(&self, held: &mut HeldLocks, taking: &Taking<'_>) -> Result<(), Report> {
        self.check_usage(taking)?;
        for lock in held.here() {
            self.check_order(lock, taking)?;
        }
        held.push(HeldLock {
            number: taking.number,
            in_irq: taking.place.in_irq,
            instance: taking.instance,
            class: taking.class,
            at: taking.at,
        });
        Ok(())
    }

    /// A lock is open again. One that its holder didn't take is none of ours: a try
    /// before the first thread, a guard that went to another thread.
    pub fn release(&self, held: &mut HeldLocks, instance: usize) {
        held.remove(instance);
    }

    fn check_usage(&self, taking: &Taking<'_>) -> Result<(), Report> {
        let used = match taking.place {
            Where { in_irq: true, .. } => IN_IRQ,
            Where { irqs_on: true, .. } => IRQS_ON,
            Where { .. } => return Ok(()),
        };
        let usage = &self.usage[usize::from(taking.number)];
        if taking.class.kind != LockKind::Spin || usage.load(Ordering::Relaxed) & used != 0 {
            return Ok(());
        }
        let mut graph = self.graph.lock_irqsave();
        usage.fetch_or(used, Ordering::Relaxed);
        let class = graph.class(taking.number);
        let first = if used == IN_IRQ {
            &mut class.in_irq
        } else {
            &mut class.irqs_on
        };
        first.get_or_insert(taking.at);
        self.check_irqs(&mut graph, taking)
    }

    /// Whether something that is taken in a handler leads, by way of `taking`, to
    /// something that is taken with IRQs on.
    fn check_irqs(&self, graph: &mut Graph, taking: &Taking<'_>) -> Result<(), Report> {
        let me = taking.number;
        let Some(last) = self.search(graph, me, |number| self.is_used(number, IRQS_ON)) else {
            return Ok(());
        };
        for first in 0..graph.count {
            let leads_here = self.is_used(first, IN_IRQ)
                && self.search(graph, first, |number| number == me).is_some();
            if leads_here {
                let (inner, outer) = (*graph.class(first), *graph.class(last));
                return Err(Report::irqs(taking, &inner.in_irq(), &outer.irqs_on()));
            }
        }
        Ok(())
    }

    fn is_used(&self, number: u16, how: u8) -> bool {
        self.usage[usize::from(number)].load(Ordering::Relaxed) & how != 0
    }

    fn check_order(&self, lock: &HeldLock, taking: &Taking<'_>) -> Result<(), Report> {
        if !taking.waits || self.is_linked(lock.number, taking.number) {
            return Ok(());
        }
        if lock.number == taking.number {
            // Work that waits for work of its kind, as in fork and join, is no circle.
            if taking.class.kind == LockKind::Map {
                return Ok(());
            }
            return Err(Report::recursive(taking, lock));
        }
        let mut graph = self.graph.lock_irqsave();
        let (from, to) = (lock.number, taking.number);
        if self
            .search(&mut graph, to, |number| number == from)
            .is_some()
        {
            let mut report = Report::circular(taking, lock);
            graph.tell_way(to, from, |link| report.add(link));
            return Err(report);
        }
        let record = LinkRecord {
            from: lock.class,
            to: taking.class,
            who: Name::new(taking.who),
            from_at: lock.at,
            to_at: taking.at,
        };
        graph.add(from, to, record);
        self.orders[usize::from(from)][usize::from(to) / 64]
            .fetch_or(1 << (to % 64), Ordering::Relaxed);
        self.check_irqs(&mut graph, taking)
    }

    fn is_linked(&self, from: u16, to: u16) -> bool {
        let word = &self.orders[usize::from(from)][usize::from(to) / 64];
        word.load(Ordering::Relaxed) & (1 << (to % 64)) != 0
    }

    /// The nearest class that `from` leads to, itself included, of which `is_it_fn`
    /// says yes. Leaves the way to it in `came_from`.
    fn search(&self, graph: &mut Graph, from: u16, is_it_fn: impl Fn(u16) -> bool) -> Option<u16> {
        graph.came_from = [NOWHERE; CLASSES];
        graph.came_from[usize::from(from)] = from;
        graph.queue[0] = from;
        let (mut next, mut end) = (0, 1);
        while next < end {
            let here = graph.queue[next];
            next += 1;
            if is_it_fn(here) {
                return Some(here);
            }
            for there in 0..graph.count {
                if graph.came_from[usize::from(there)] == NOWHERE && self.is_linked(here, there) {
                    graph.came_from[usize::from(there)] = here;
                    graph.queue[end] = there;
                    end += 1;
                }
            }
        }
        None
    }
}

impl<E: Exec> Default for Lockdep<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl Class {
    fn in_irq(&self) -> (LockClass, Place) {
        (self.class, self.in_irq.unwrap_or(self.class.site))
    }

    fn irqs_on(&self) -> (LockClass, Place) {
        (self.class, self.irqs_on.unwrap_or(self.class.site))
    }
}

impl Graph {
    fn class(&mut self, number: u16) -> &mut Class {
        let class = self.classes[usize::from(number)].as_mut();
        class.expect("BUG: a class has a number and no entry")
    }

    fn add(&mut self, from: u16, to: u16, record: LinkRecord) {
        let Some(free) = self.links.get_mut(self.linked) else {
            panic!("BUG: lockdep: more than {LINKS} orders of locks");
        };
        *free = Some((from, to, record));
        self.linked += 1;
    }

    /// Tells the links of the way that a search has found, from its end.
    fn tell_way(&self, from: u16, to: u16, mut tell_fn: impl FnMut(&LinkRecord)) {
        let mut here = to;
        while here != from {
            let before = self.came_from[usize::from(here)];
            let mut links = self.links[..self.linked].iter().flatten();
            if let Some((_, _, link)) = links.find(|(a, b, _)| (*a, *b) == (before, here)) {
                tell_fn(link);
            }
            here = before;
        }
    }
}
