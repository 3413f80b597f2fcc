//! The validator on threads that only hold locks: what it finds, and what it lets be.

use core::any::type_name;

use super::*;
use crate::sync::LockKey;
use crate::sync::nowhere::Nowhere;
use crate::xorshift::Random;

mod accepted;

/// Returns a class each, by the line.
#[rustfmt::skip]
fn sites() -> [Place; 12] {
    [
        at(), at(), at(), at(),
        at(), at(), at(), at(),
        at(), at(), at(), at(),
    ]
}

#[track_caller]
fn at() -> Place {
    Location::caller()
}

struct Test {
    lockdep: Box<Lockdep<Nowhere>>,
    sites: [Place; 12],
}

const THREAD: Where = Where {
    in_irq: false,
    irqs_on: true,
};
const MASKED: Where = Where {
    in_irq: false,
    irqs_on: false,
};
const HANDLER: Where = Where {
    in_irq: true,
    irqs_on: false,
};

impl Test {
    fn new() -> Test {
        Test {
            lockdep: Box::new(Lockdep::new()),
            sites: sites(),
        }
    }

    fn class(&self, site: usize, kind: LockKind) -> LockClass {
        LockClass {
            kind,
            site: self.sites[site],
            type_name_fn: type_name::<()>,
            level: 0,
        }
    }

    /// Takes lock `lock`, one of a class of its own.
    fn take_as(
        &self,
        held: &mut HeldLocks,
        (lock, kind): (usize, LockKind),
        place: Where,
        waits: bool,
    ) -> Result<(), String> {
        let manner = if waits { Manner::Lock } else { Manner::Try };
        let class = self.class(lock, kind);
        self.take_one(held, class, lock, place, manner)
    }

    /// Takes the lock of `class` at address `instance`, as the kernel does.
    fn take_one(
        &self,
        held: &mut HeldLocks,
        class: LockClass,
        instance: usize,
        place: Where,
        manner: Manner,
    ) -> Result<(), String> {
        held.set_in_irq(place.in_irq);
        let key = LockKey::untracked();
        let base = key.number(|| self.lockdep.number(class));
        let level = match manner {
            Manner::Nested(Nesting::Level(level)) => level,
            _ => 0,
        };
        let class = LockClass { level, ..class };
        let (Some(base), Some(number)) = (base, self.lockdep.number(class)) else {
            return Ok(());
        };
        let taking = Taking {
            number,
            base,
            class,
            instance,
            waits: manner != Manner::Try,
            ascending: manner == Manner::Nested(Nesting::Ascending),
            at: at(),
            place,
            who: "tester",
        };
        let taken = self.lockdep.acquire(held, &taking);
        taken.map_err(|report| report.to_string())
    }

    fn take(&self, held: &mut HeldLocks, lock: usize) -> Result<(), String> {
        self.take_as(held, (lock, LockKind::Spin), MASKED, true)
    }

    /// Checks that it has turned itself off, says so once, and reports nothing more.
    fn is_off_because(&self, full: Full) {
        assert_eq!(self.lockdep.notice(), Some(full));
        assert_eq!(self.lockdep.notice(), None);
        assert_eq!(self.nest(&[0, 1, 0]), Ok(()));
    }

    /// Takes `locks` one in the other, and opens them again.
    fn nest(&self, locks: &[usize]) -> Result<(), String> {
        self.nest_kinds(locks, |_| LockKind::Spin)
    }

    /// As `nest`, of locks whose kinds `kind_fn` knows.
    fn nest_kinds(
        &self,
        locks: &[usize],
        kind_fn: impl Fn(usize) -> LockKind,
    ) -> Result<(), String> {
        let mut held = HeldLocks::new();
        let taken = locks
            .iter()
            .try_for_each(|&lock| self.take_as(&mut held, (lock, kind_fn(lock)), MASKED, true));
        for lock in locks {
            self.lockdep.release(&mut held, *lock);
        }
        assert_eq!(held.all().count(), 0);
        taken
    }
}

fn says(result: Result<(), String>, words: &str) {
    let report = result.expect_err("this can deadlock");
    assert!(report.starts_with(words), "{report}");
}

const CIRCLE: &str = "possible circular locking dependency";
const RECURSIVE: &str = "possible recursive locking";

#[test]
fn one_order_is_fine_however_often() {
    let test = Test::new();
    for _ in 0..3 {
        assert_eq!(test.nest(&[0, 1, 2]), Ok(()));
        assert_eq!(test.nest(&[0, 2]), Ok(()));
        assert_eq!(test.nest(&[1, 2, 3]), Ok(()));
        assert_eq!(test.nest(&[3]), Ok(()));
    }
}

#[test]
fn a_circle_of_two_is_found_with_both_sides() {
    let test = Test::new();
    assert_eq!(test.nest(&[0, 1]), Ok(()));
    let report = test.nest(&[1, 0]).expect_err("this can deadlock");
    assert!(report.starts_with(CIRCLE), "{report}");
    for site in &test.sites[..2] {
        let named = report.matches(&site.to_string()).count();
        assert_eq!(named, 2, "{report}");
    }
    assert_eq!(report.matches("tester").count(), 2, "{report}");
}

#[test]
fn a_circle_of_three_is_found() {
    let test = Test::new();
    assert_eq!(test.nest(&[0, 1]), Ok(()));
    assert_eq!(test.nest(&[1, 2]), Ok(()));
    says(test.nest(&[2, 0]), CIRCLE);
}

#[test]
fn a_lock_that_was_opened_is_not_held() {
    let test = Test::new();
    let mut held = HeldLocks::new();
    assert_eq!(test.take(&mut held, 0), Ok(()));
    assert_eq!(test.take(&mut held, 1), Ok(()));
    test.lockdep.release(&mut held, 1);
    assert_eq!(test.take(&mut held, 2), Ok(()));
    // 0 leads to 2, 1 doesn't.
    assert_eq!(test.nest(&[2, 1]), Ok(()));
    says(test.nest(&[2, 0]), CIRCLE);
    // Not in the order in which they were taken.
    test.lockdep.release(&mut held, 0);
    assert_eq!(
        held.all().map(|lock| lock.instance).collect::<Vec<_>>(),
        [2]
    );
}

#[test]
fn classes_with_large_numbers_are_kept_apart() {
    let test = Test::new();
    for kind in [LockKind::Map, LockKind::Sleep, LockKind::Spin] {
        for site in test.sites {
            let class = LockClass {
                site,
                ..test.class(0, kind)
            };
            assert!(test.lockdep.number(class).is_some());
        }
    }
    // Numbers 24 to 35.
    assert_eq!(test.nest(&[11, 10]), Ok(()));
    assert_eq!(test.nest(&[3, 10]), Ok(()));
    assert_eq!(test.nest(&[3, 11]), Ok(()));
    says(test.nest(&[10, 11]), CIRCLE);
}

#[test]
fn who_only_tries_closes_no_circle() {
    let test = Test::new();
    assert_eq!(test.nest(&[0, 1]), Ok(()));
    let mut held = HeldLocks::new();
    assert_eq!(test.take(&mut held, 1), Ok(()));
    let tried = test.take_as(&mut held, (0, LockKind::Spin), MASKED, false);
    assert_eq!(tried, Ok(()));
    // But what is waited for while that is held counts.
    assert_eq!(test.take(&mut held, 2), Ok(()));
    says(test.nest(&[2, 0]), CIRCLE);
}

#[test]
fn the_same_class_twice_is_found() {
    let test = Test::new();
    says(test.nest(&[0, 0]), RECURSIVE);
}

#[test]
fn work_may_wait_for_work_of_its_kind_but_not_in_a_circle() {
    let test = Test::new();
    let map = |lock| (lock, LockKind::Map);
    let mut held = HeldLocks::new();
    assert_eq!(test.take_as(&mut held, map(0), THREAD, true), Ok(()));
    assert_eq!(test.take_as(&mut held, map(0), THREAD, true), Ok(()));
    let mutex = (1, LockKind::Sleep);
    assert_eq!(test.take_as(&mut held, mutex, THREAD, true), Ok(()));
    // Another thread waits for that work, and holds what it takes.
    let mut held = HeldLocks::new();
    assert_eq!(test.take_as(&mut held, mutex, THREAD, true), Ok(()));
    says(test.take_as(&mut held, map(0), THREAD, true), CIRCLE);
}

#[test]
fn a_handler_and_irqs_on_are_found_in_either_order() {
    let spin = (0, LockKind::Spin);
    for (first, second) in [(THREAD, HANDLER), (HANDLER, THREAD)] {
        let test = Test::new();
        let mut held = HeldLocks::new();
        assert_eq!(test.take_as(&mut held, spin, first, true), Ok(()));
        test.lockdep.release(&mut held, 0);
        let second = test.take_as(&mut held, spin, second, true);
        says(second, "inconsistent lock state");
    }
}

#[test]
fn a_handler_and_irqs_masked_are_fine() {
    let test = Test::new();
    let spin = (0, LockKind::Spin);
    for place in [MASKED, HANDLER, MASKED] {
        let mut held = HeldLocks::new();
        assert_eq!(test.take_as(&mut held, spin, place, true), Ok(()));
    }
}

#[test]
fn what_a_handler_takes_must_not_lead_to_irqs_on() {
    // 0 is a handler's, 1 is taken with IRQs on; whichever is seen last.
    type Act = fn(&Test) -> Result<(), String>;
    let acts: [Act; 3] = [
        |test| test.take_as(&mut HeldLocks::new(), (0, LockKind::Spin), HANDLER, true),
        |test| test.take_as(&mut HeldLocks::new(), (1, LockKind::Spin), THREAD, true),
        |test| test.nest(&[0, 1]),
    ];
    for order in [[0, 1, 2], [0, 2, 1], [1, 2, 0], [2, 1, 0]] {
        let test = Test::new();
        assert_eq!(acts[order[0]](&test), Ok(()));
        assert_eq!(acts[order[1]](&test), Ok(()));
        says(acts[order[2]](&test), "possible irq lock inversion");
    }
}

#[test]
fn a_handler_has_an_order_of_its_own() {
    let test = Test::new();
    assert_eq!(test.nest(&[1, 0]), Ok(()));
    let mut held = HeldLocks::new();
    assert_eq!(test.take(&mut held, 0), Ok(()));
    // Comes in while 0 is held, which it knows nothing of.
    let handlers = test.take_as(&mut held, (1, LockKind::Spin), HANDLER, true);
    assert_eq!(handlers, Ok(()));
    test.lockdep.release(&mut held, 1);
    held.set_in_irq(false);
    assert_eq!(held.all().count(), 1);
}

#[test]
fn a_wait_is_judged_by_where_it_is() {
    let test = Test::new();
    let mut held = HeldLocks::new();
    assert!(held.may_sleep(at(), 0, true).is_ok());
    assert_eq!(test.take(&mut held, 0), Ok(()));
    let report = held
        .may_sleep(at(), 1, true)
        .expect_err("preemption is off");
    let report = report.to_string();
    assert!(report.contains(&test.sites[0].to_string()), "{report}");
    assert!(held.may_sleep(at(), 0, false).is_err());
    let spin = held.last_spin_lock().expect("it is held").to_string();
    assert!(spin.contains(&test.sites[0].to_string()), "{spin}");
    test.lockdep.release(&mut held, 0);
    assert!(held.last_spin_lock().is_none());
    held.set_in_irq(true);
    assert!(held.may_sleep(at(), 0, true).is_err());
}

/// Random nests of locks and maps against a graph that is searched naively: the first
/// circle with a lock in it is found, and none before.
#[test]
fn it_finds_what_a_naive_graph_finds() {
    let kind = |lock| {
        if lock < LOCKS {
            LockKind::Spin
        } else {
            LockKind::Map
        }
    };
    let mut circles = 0;
    for seed in 1..300 {
        let mut random = Random::new(seed);
        let test = Test::new();
        let mut orders = [[false; 12]; 12];
        for _ in 0..40 {
            let mut locks: Vec<usize> = Vec::new();
            for _ in 0..1 + random.below(4) {
                let lock = random.below(12);
                if !locks.contains(&lock) {
                    locks.push(lock);
                }
            }
            for (index, &inner) in locks.iter().enumerate() {
                for &outer in &locks[..index] {
                    orders[outer][inner] = true;
                }
            }
            let circle = has_circle(&orders);
            let found = test.nest_kinds(&locks, kind);
            assert_eq!(found.is_err(), circle, "seed {seed}: {locks:?}, {found:?}");
            if circle {
                circles += 1;
                break;
            }
        }
    }
    assert!(circles > 100, "only {circles} circles");
}

/// Of the 12 of a random nest: the others are maps.
const LOCKS: usize = 7;

/// Whether some lock, and not only a map, leads to itself (Warshall's closure).
fn has_circle(orders: &[[bool; 12]; 12]) -> bool {
    let mut leads = *orders;
    for by in 0..12 {
        for from in 0..12 {
            for to in 0..12 {
                leads[from][to] |= leads[from][by] && leads[by][to];
            }
        }
    }
    (0..LOCKS).any(|lock| leads[lock][lock])
}
