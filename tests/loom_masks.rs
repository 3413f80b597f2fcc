//! Model of the machine's masks: the kernel's `cpu::CpuMasks`. A CPU that sees another CPU's
//! bit set, or cleared, sees all that the other CPU did before.
#![cfg(loom)]

#[path = "support/loom_orders.rs"]
mod loom_orders;
#[path = "support/loom_word.rs"]
mod loom_word;

use loom::sync::Arc;
use loom::thread;
use loom_orders::every_order;
use loom_word::Word;
use stillpoint::cpu::{CpuId, CpuMask, CpuMasks};

struct World {
    masks: CpuMasks,
    /// Written by the CPU before it changes its bit.
    done: Word,
}

fn cpu() -> CpuId {
    CpuId::new(1).expect("a small number")
}

/// Models a CPU that changes its bit by `change_fn`, while another CPU reads it by
/// `is_there_fn`, which returns `is_there` once the bit has changed.
fn look(
    is_active: bool,
    change_fn: fn(&CpuMasks),
    is_there_fn: fn(&CpuMasks) -> bool,
    is_there: bool,
) {
    every_order(move || {
        let masks = CpuMasks::new(CpuMask::first_n(2));
        if !is_there || is_active {
            masks.set_online(cpu());
        }
        if !is_there && is_active {
            masks.set_active(cpu(), true);
        }
        let world = Arc::new(World {
            masks,
            done: Word::new(0),
        });
        let its = Arc::clone(&world);
        let changes = thread::spawn(move || {
            its.done.set(1);
            change_fn(&its.masks);
        });
        if is_there_fn(&world.masks) == is_there {
            assert_eq!(world.done.get(), 1);
        }
        changes.join().expect("a CPU of the model");
        assert_eq!(is_there_fn(&world.masks), is_there);
    });
}

const ONLINE: [fn(&CpuMasks) -> bool; 3] = [
    |masks| masks.is_online(cpu()),
    |masks| masks.online().contains(cpu()),
    |masks| masks.online_word(0) & 2 != 0,
];

const ACTIVE: [fn(&CpuMasks) -> bool; 3] = [
    |masks| masks.is_active(cpu()),
    |masks| masks.active().contains(cpu()),
    |masks| masks.active_word(0) & 2 != 0,
];

#[test]
fn a_cpu_that_is_online_has_done_what_comes_before() {
    for is_there_fn in ONLINE {
        look(false, |masks| masks.set_online(cpu()), is_there_fn, true);
        look(false, |masks| masks.clear_online(cpu()), is_there_fn, false);
    }
}

/// Two CPUs go in one still point. Each may still give the other something to do, until it has
/// seen that it may not; each does what it has been given, when it has left `online`.
#[test]
fn no_work_is_left_on_a_cpu_that_goes_with_another() {
    use stillpoint::sync::atomic::AtomicU32;
    use stillpoint::sync::atomic::Ordering::{AcqRel, Acquire, Release};

    struct Goers {
        masks: CpuMasks,
        queues: [AtomicU32; 2],
    }

    fn go(world: &Goers, me: usize) {
        let [its, other] = [me, 1 - me].map(CpuId::from_index);
        world.masks.clear_online(its);
        if world.masks.may_give_work(its, other) {
            world.queues[other.index()].fetch_add(1, AcqRel);
        }
        world.queues[me].swap(0, AcqRel);
    }

    loom::model(|| {
        let both = CpuMask::first_n(2);
        let masks = CpuMasks::new(both);
        for cpu in both.iter() {
            masks.set_online(cpu);
        }
        masks.set_dying(&both, true);
        let world = Arc::new(Goers {
            masks,
            queues: [AtomicU32::new(0), AtomicU32::new(0)],
        });
        // Before the still point each may call the other.
        assert!(world.masks.may_give_work(CpuId::BOOT, cpu()));
        world.queues[1].store(1, Release);
        let its = Arc::clone(&world);
        let goes = thread::spawn(move || go(&its, 1));
        go(&world, 0);
        goes.join().expect("a CPU of the model");
        for queue in &world.queues {
            assert_eq!(queue.load(Acquire), 0);
        }
        // When one is back, the still point is long over.
        world.masks.set_dying(&both, false);
        world.masks.set_online(cpu());
        assert!(world.masks.may_give_work(CpuId::BOOT, cpu()));
    });
}

#[test]
fn a_cpu_that_is_active_has_done_what_comes_before() {
    for is_there_fn in ACTIVE {
        look(
            true,
            |masks| masks.set_active(cpu(), true),
            is_there_fn,
            true,
        );
        look(
            true,
            |masks| masks.set_active(cpu(), false),
            is_there_fn,
            false,
        );
    }
}
