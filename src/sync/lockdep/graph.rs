//! The orders that have been seen, and the check of each new one.

use core::fmt;

use crate::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use crate::sync::lockdep::held::DEPTH;
use crate::sync::lockdep::search::{Search, Spot};
use crate::sync::lockdep::{HeldLock, HeldLocks, LockClass, LockKind, Name, Place, Report, Where};
use crate::sync::{LocalCpu, SpinLock};

/// The most classes, unless said otherwise. A program that makes more asks for a larger number here.
pub(super) const CLASSES: usize = 512;
/// The most orders, unless said otherwise.
const LINKS: usize = 2048;
/// Has a bit for each class of the largest graph.
const WORDS: usize = CLASSES / 64;

/// How a class has been used: bits.
const IN_IRQ: u8 = 1;
const IRQS_ON: u8 = 2;

/// Which table is full, so that the validator has turned itself off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Full {
    /// The table of classes.
    Classes = 1,
    /// The table of orders.
    Orders,
    /// The table of locks that a thread holds.
    Held,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Full::Classes => write!(f, "more than {CLASSES} classes of locks"),
            Full::Orders => write!(f, "more than {LINKS} orders of locks"),
            Full::Held => write!(f, "more than {DEPTH} locks held at a time"),
        }
    }
}

/// A lock that is about to be taken, and by which thread.
#[derive(Clone, Copy, Debug)]
pub struct Taking<'a> {
    /// The number of its class, from [`Lockdep::number`].
    pub number: u16,
    /// The number of its class on level 0.
    pub base: u16,
    /// Its class.
    pub class: LockClass,
    /// Its address.
    pub instance: usize,
    /// Whether the thread waits for it. A thread that only tries doesn't close a circle.
    pub waits: bool,
    /// Whether the program takes those of its class in the order of their addresses.
    pub ascending: bool,
    /// Where it is taken.
    pub at: Place,
    /// How it is taken.
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

/// The validator: the orders and uses of lock classes that it has seen. It has room for so many
/// classes, 512 at most, and so many orders.
pub struct Lockdep<E: LocalCpu, const C: usize = CLASSES, const L: usize = LINKS> {
    /// A bit for each pair of classes: one was taken while the other was held
    /// (`order-is-permanent` of [`lockdep`](crate::sync::lockdep)). Relaxed: a thread that
    /// reads a 0 looks again under the lock.
    orders: [[AtomicU64; WORDS]; C],
    /// How each class was used. As `orders`.
    usage: [AtomicU8; C],
    /// The [`Full`] that has turned the validator off; 0 while it is on. Relaxed, as `said`:
    /// it guards no data, and a check that runs meanwhile is still right.
    off: AtomicU8,
    /// Whether [`Lockdep::notice`] has returned that reason.
    said: AtomicBool,
    graph: SpinLock<Graph<C, L>, E>,
}

struct Graph<const C: usize, const L: usize> {
    classes: [Option<Class>; C],
    count: u16,
    links: [Option<(u16, u16, LinkRecord)>; L],
    linked: usize,
    search: Search<C>,
}

#[derive(Clone, Copy)]
struct Class {
    class: LockClass,
    /// Where it was first taken in a handler, and with IRQs on.
    in_irq: Option<Place>,
    irqs_on: Option<Place>,
}

impl<E: LocalCpu, const C: usize, const L: usize> Lockdep<E, C, L> {
    /// Makes a validator that has seen nothing.
    pub const fn new() -> Self {
        Lockdep {
            orders: [const { [const { AtomicU64::new(0) }; WORDS] }; C],
            usage: [const { AtomicU8::new(0) }; C],
            off: AtomicU8::new(0),
            said: AtomicBool::new(false),
            // Hidden from the validator, which takes this lock itself.
            graph: SpinLock::new_untracked(Graph {
                classes: [None; C],
                count: 0,
                links: [None; L],
                linked: 0,
                search: Search::new(),
            }),
        }
    }

    /// Returns the number of `class`, to keep: a search. `None` if there is no room for
    /// another class, which turns the validator off.
    pub fn number(&self, class: LockClass) -> Option<u16> {
        if self.is_off() {
            return None;
        }
        let mut graph = self.graph.lock_irqsave();
        let known = |known: &Option<Class>| known.is_some_and(|known| known.class == class);
        let count = graph.count;
        if let Some(index) = graph.classes[..usize::from(count)].iter().position(known) {
            return u16::try_from(index).ok();
        }
        let Some(free) = graph.classes.get_mut(usize::from(count)) else {
            self.turn_off(Full::Classes);
            return None;
        };
        *free = Some(Class {
            class,
            in_irq: None,
            irqs_on: None,
        });
        graph.count += 1;
        Some(count)
    }

    /// Returns once, if a table is full, which one it is: for the caller to say.
    pub fn notice(&self) -> Option<Full> {
        let full = match self.off.load(Ordering::Relaxed) {
            0 => return None,
            1 => Full::Classes,
            2 => Full::Orders,
            _ => Full::Held,
        };
        let said = self.said.load(Ordering::Relaxed) || self.said.swap(true, Ordering::Relaxed);
        (!said).then_some(full)
    }

    fn is_off(&self) -> bool {
        self.off.load(Ordering::Relaxed) != 0
    }

    /// Turns the validator off for `full`. The first reason stays; Relaxed, see `off`.
    fn turn_off(&self, why: Full) {
        let (ok, failed) = (Ordering::Relaxed, Ordering::Relaxed);
        // Err: another table was full before this one.
        let _first = self.off.compare_exchange(0, why as u8, ok, failed);
    }

    /// Checks a lock that is about to be taken, or was taken by a try, and notes that it is
    /// held.
    ///
    /// # Context
    /// IRQs masked.
    ///
    /// # Errors
    /// [`Report`]: this can deadlock.
    pub fn acquire(&self, held: &mut HeldLocks, taking: &Taking<'_>) -> Result<(), Report> {
        if self.is_off() {
            return Ok(());
        }
        // A handler takes the lock itself, on whichever level.
        self.check_usage(taking, taking.base)?;
        if taking.number != taking.base {
            self.check_usage(taking, taking.number)?;
        }
        for lock in held.here() {
            self.check_order(lock, taking)?;
        }
        let has_room = held.push(HeldLock {
            number: taking.number,
            in_irq: taking.place.in_irq,
            instance: taking.instance,
            class: taking.class,
            at: taking.at,
        });
        if !has_room {
            self.turn_off(Full::Held);
        }
        Ok(())
    }

    /// Notes that a lock is open again. A lock that this thread isn't known to hold is
    /// passed over: it was tried before the first thread, its guard came from another
    /// thread, or it was taken when the validator was off.
    pub fn release(&self, held: &mut HeldLocks, instance: usize) {
        held.remove(instance);
    }

    fn check_usage(&self, taking: &Taking<'_>, number: u16) -> Result<(), Report> {
        let used = match taking.place {
            Where { in_irq: true, .. } => IN_IRQ,
            Where { irqs_on: true, .. } => IRQS_ON,
            Where { .. } => return Ok(()),
        };
        let usage = &self.usage[usize::from(number)];
        if taking.class.kind != LockKind::Spin || usage.load(Ordering::Relaxed) & used != 0 {
            return Ok(());
        }
        let mut graph = self.graph.lock_irqsave();
        usage.fetch_or(used, Ordering::Relaxed);
        let class = graph.class(number);
        let first = if used == IN_IRQ {
            &mut class.in_irq
        } else {
            &mut class.irqs_on
        };
        first.get_or_insert(taking.at);
        self.check_irqs(&mut graph, taking, number)
    }

    /// Checks that nothing which is taken in a handler leads, by way of `me`, to
    /// something that is taken with IRQs on.
    fn check_irqs(
        &self,
        graph: &mut Graph<C, L>,
        taking: &Taking<'_>,
        me: u16,
    ) -> Result<(), Report> {
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
        if !taking.waits {
            return Ok(());
        }
        if lock.number == taking.number || lock.instance == taking.instance {
            return check_same_class(lock, taking);
        }
        if self.is_linked(lock.number, taking.number) {
            return Ok(());
        }
        let mut graph = self.graph.lock_irqsave();
        let (from, to) = (lock.number, taking.number);
        let begin = Spot {
            number: to,
            met_lock: !(graph.is_map(from) && graph.is_map(to)),
        };
        let end = Spot {
            number: from,
            met_lock: true,
        };
        if self.walk(&mut graph, begin, |spot| spot == end).is_some() {
            let mut report = Report::circular(taking, lock);
            graph.tell_way(begin, end, |link| report.add(link));
            return Err(report);
        }
        let record = LinkRecord {
            from: lock.class,
            to: taking.class,
            who: Name::new(taking.who),
            from_at: lock.at,
            to_at: taking.at,
        };
        if !graph.add(from, to, record) {
            self.turn_off(Full::Orders);
            return Ok(());
        }
        self.orders[usize::from(from)][usize::from(to) / 64]
            .fetch_or(1 << (to % 64), Ordering::Relaxed);
        self.check_irqs(&mut graph, taking, to)
    }

    fn is_linked(&self, from: u16, to: u16) -> bool {
        let word = &self.orders[usize::from(from)][usize::from(to) / 64];
        word.load(Ordering::Relaxed) & (1 << (to % 64)) != 0
    }

    /// Returns the nearest class that `from` leads to, itself included, of which
    /// `is_sought_fn` says yes.
    fn search(
        &self,
        graph: &mut Graph<C, L>,
        from: u16,
        is_sought_fn: impl Fn(u16) -> bool,
    ) -> Option<u16> {
        let begin = Spot {
            number: from,
            met_lock: true,
        };
        let found = self.walk(graph, begin, |spot| is_sought_fn(spot.number));
        found.map(|spot| spot.number)
    }

    /// Returns the nearest spot that `begin` leads to, itself included, of which
    /// `is_sought_fn` says yes. Leaves the way to it in `graph.search`.
    fn walk(
        &self,
        graph: &mut Graph<C, L>,
        begin: Spot,
        is_sought_fn: impl Fn(Spot) -> bool,
    ) -> Option<Spot> {
        graph.search.begin(begin);
        while let Some(here) = graph.search.next() {
            if is_sought_fn(here) {
                return Some(here);
            }
            for number in 0..graph.count {
                if self.is_linked(here.number, number) {
                    let met_lock = here.met_lock || !graph.is_map(number);
                    graph.search.add(here, Spot { number, met_lock });
                }
            }
        }
        None
    }
}

/// Checks a lock of the class of one that is held, or that very one again.
fn check_same_class(lock: &HeldLock, taking: &Taking<'_>) -> Result<(), Report> {
    // Work that waits for work of its kind, as in fork and join, is no circle.
    if taking.class.kind == LockKind::Map || taking.ascending && lock.instance < taking.instance {
        Ok(())
    } else if taking.ascending && lock.instance > taking.instance {
        Err(Report::descending(taking, lock))
    } else {
        Err(Report::recursive(taking, lock))
    }
}

impl<E: LocalCpu, const C: usize, const L: usize> Default for Lockdep<E, C, L> {
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

impl<const C: usize, const L: usize> Graph<C, L> {
    fn class(&mut self, number: u16) -> &mut Class {
        let class = self.classes[usize::from(number)].as_mut();
        class.expect("BUG: a class has a number and no entry")
    }

    fn is_map(&mut self, number: u16) -> bool {
        self.class(number).class.kind == LockKind::Map
    }

    /// Notes a link; returns whether there was room for it.
    #[must_use]
    fn add(&mut self, from: u16, to: u16, record: LinkRecord) -> bool {
        let Some(free) = self.links.get_mut(self.linked) else {
            return false;
        };
        *free = Some((from, to, record));
        self.linked += 1;
        true
    }

    /// Tells the links of the way that a search has found, from its end.
    fn tell_way(&self, begin: Spot, end: Spot, mut tell_fn: impl FnMut(&LinkRecord)) {
        let mut here = end;
        while here != begin {
            let before = self.search.came_from(here);
            let way = (before.number, here.number);
            let mut links = self.links[..self.linked].iter().flatten();
            if let Some((_, _, link)) = links.find(|(a, b, _)| (*a, *b) == way) {
                tell_fn(link);
            }
            here = before;
        }
    }
}
