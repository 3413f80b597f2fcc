//! What correct programs do and the validator accepts, each with its incorrect twin; and
//! tables that are full.

use super::*;

/// Work of two kinds that is started and joined by turns, as by a function that halves
/// what it has to do.
#[test]
fn fork_and_join_by_turns_is_no_circle() {
    let test = Test::new();
    let map = |lock| (lock, LockKind::Map);
    for way in [[0, 1], [1, 2], [2, 0], [1, 0]] {
        let mut held = HeldLocks::new();
        for work in way {
            let taken = test.take_as(&mut held, map(work), THREAD, true);
            assert_eq!(taken, Ok(()), "{way:?}");
        }
    }
}

/// The work of kind 1 takes a mutex; kinds 0 and 1 join each other by turns; and a
/// thread that holds the mutex waits for kind 0. Whichever is seen last is reported.
#[test]
fn fork_and_join_with_a_lock_in_the_circle_is_found() {
    let takes = [
        [(1, LockKind::Map), (2, LockKind::Sleep)],
        [(0, LockKind::Map), (1, LockKind::Map)],
        [(1, LockKind::Map), (0, LockKind::Map)],
        [(2, LockKind::Sleep), (0, LockKind::Map)],
    ];
    // That kind 1 waits for kind 0 is no part of the circle, so it doesn't come last.
    for order in [[0, 1, 2, 3], [2, 1, 3, 0], [3, 0, 2, 1], [2, 3, 0, 1]] {
        let test = Test::new();
        let nest = |[outer, inner]: [(usize, LockKind); 2]| {
            let mut held = HeldLocks::new();
            test.take_as(&mut held, outer, THREAD, true)?;
            test.take_as(&mut held, inner, THREAD, true)
        };
        for index in &order[..3] {
            assert_eq!(nest(takes[*index]), Ok(()), "{order:?}");
        }
        says(nest(takes[order[3]]), CIRCLE);
    }
}

#[test]
fn a_thread_that_holds_too_much_turns_it_off() {
    let test = Test::new();
    let mut held = HeldLocks::new();
    for lock in 0..36 {
        let kind = [LockKind::Rw, LockKind::Sleep, LockKind::Spin][lock / 12];
        let class = test.class(lock % 12, kind);
        let taken = test.take_one(&mut held, class, lock, MASKED, Manner::Lock);
        assert_eq!(taken, Ok(()));
    }
    test.is_off_because(Full::Held);
    // What it noted before is let go of.
    (0..36).for_each(|lock| test.lockdep.release(&mut held, lock));
    assert_eq!(held.all().count(), 0);
}

#[test]
fn too_many_classes_turn_it_off() {
    let test = Test::new();
    let classes = (0..=u8::MAX).flat_map(|level| {
        let class = test.class(0, LockKind::Sleep);
        [0, 1, 2].map(|site| LockClass {
            level,
            site: test.sites[site],
            ..class
        })
    });
    let known = classes.filter(|class| test.lockdep.number(*class).is_some());
    assert_eq!(known.count(), 512);
    test.is_off_because(Full::Classes);
}

#[test]
fn too_many_orders_turn_it_off() {
    let test = Test::new();
    let class = test.class(0, LockKind::Sleep);
    let mut held = HeldLocks::new();
    // 70 levels in each order upwards are 2415 orders.
    for inner in 1..70 {
        for outer in 0..inner {
            for level in [outer, inner] {
                let nested = Manner::Nested(Nesting::Level(level));
                let taken = test.take_one(&mut held, class, level.into(), THREAD, nested);
                assert_eq!(taken, Ok(()));
            }
            test.lockdep.release(&mut held, outer.into());
            test.lockdep.release(&mut held, inner.into());
        }
    }
    test.is_off_because(Full::Orders);
}

#[test]
fn levels_of_a_class_are_classes_of_their_own() {
    let test = Test::new();
    let level = |level| Manner::Nested(Nesting::Level(level));
    let nest = |takes: &[(usize, Manner)]| {
        let mut held = HeldLocks::new();
        takes.iter().try_for_each(|&(instance, manner)| {
            let class = test.class(0, LockKind::Sleep);
            test.take_one(&mut held, class, instance, THREAD, manner)
        })
    };
    let tree = [(10, Manner::Lock), (20, level(1)), (30, level(2))];
    assert_eq!(nest(&tree), Ok(()));
    assert_eq!(nest(&tree[1..]), Ok(()));
    says(nest(&[(20, level(2)), (10, Manner::Lock)]), CIRCLE);
    says(nest(&[(20, level(2)), (10, level(1))]), CIRCLE);
    says(nest(&[(20, level(1)), (10, level(1))]), RECURSIVE);
    // That very lock, which no level makes another one.
    says(nest(&[(10, Manner::Lock), (10, level(1))]), RECURSIVE);
}

#[test]
fn a_handler_takes_a_lock_on_every_level() {
    let test = Test::new();
    let take = |place, manner| {
        let mut held = HeldLocks::new();
        let class = test.class(0, LockKind::Spin);
        test.take_one(&mut held, class, 10, place, manner)
    };
    assert_eq!(take(THREAD, Manner::Lock), Ok(()));
    let nested = take(HANDLER, Manner::Nested(Nesting::Level(1)));
    says(nested, "inconsistent lock state");
}

#[test]
fn ascending_addresses_are_an_order() {
    let test = Test::new();
    let nest = |takes: &[(usize, Manner)]| {
        let mut held = HeldLocks::new();
        takes.iter().try_for_each(|&(instance, manner)| {
            let class = test.class(0, LockKind::Sleep);
            test.take_one(&mut held, class, instance, THREAD, manner)
        })
    };
    let up = Manner::Nested(Nesting::Ascending);
    assert_eq!(nest(&[(10, Manner::Lock), (20, up), (30, up)]), Ok(()));
    assert_eq!(nest(&[(10, up), (20, Manner::Try), (30, up)]), Ok(()));
    says(nest(&[(10, Manner::Lock), (20, Manner::Lock)]), RECURSIVE);
    says(nest(&[(10, Manner::Lock), (10, up)]), RECURSIVE);
    let down = "locks of one class are not taken in ascending order";
    says(nest(&[(20, Manner::Lock), (10, up)]), down);
    says(nest(&[(10, Manner::Lock), (30, up), (20, up)]), down);
}

#[test]
fn locks_around_values_of_two_types_are_two_classes() {
    let test = Test::new();
    let first = test.class(0, LockKind::Sleep);
    let second = LockClass {
        type_name_fn: type_name::<u32>,
        ..first
    };
    let mut held = HeldLocks::new();
    for (instance, class) in [(10, first), (20, second)] {
        let taken = test.take_one(&mut held, class, instance, THREAD, Manner::Lock);
        assert_eq!(taken, Ok(()));
    }
    let mut held = HeldLocks::new();
    let again = test.take_one(&mut held, second, 20, THREAD, Manner::Lock);
    assert_eq!(again, Ok(()));
    says(
        test.take_one(&mut held, first, 10, THREAD, Manner::Lock),
        CIRCLE,
    );
}
