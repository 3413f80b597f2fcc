//! Calls of CPUs that may be off: with borrowed data, from masked code, nested, calls of many
//! inside others, and calls without a waiting caller.

use alloc::sync::Arc;
use core::fmt;

use stillpoint::api;
use stillpoint::api::thread;
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::kernel::Hw;
use stillpoint::platform::Platform;
use stillpoint::sync::IrqGuard;

use crate::world::{Count, World, any_cpu, any_cpus, one_in};
use kernel_support::xorshift::Random;

/// Counters of the calls.
pub(crate) struct Calls {
    /// Calls with a waiting caller: accepted by the target, and executed.
    called: Count,
    executed: Count,
    refused: Count,
    unwaited: Arc<Unwaited>,
}

/// Calls without a waiting caller.
#[derive(Default)]
pub(crate) struct Unwaited {
    accepted: Count,
    ran: Count,
}

impl Unwaited {
    /// Calls `cpu` if it is online. Any context.
    pub(crate) fn call(this: &Arc<Unwaited>, cpu: CpuId) {
        let its = Arc::clone(this);
        if api::call_on_nowait(cpu, move || its.ran.add(1)).is_ok() {
            this.accepted.add(1);
        }
    }
}

impl Calls {
    pub(crate) fn new() -> Calls {
        Calls {
            called: Count::default(),
            executed: Count::default(),
            refused: Count::default(),
            unwaited: Arc::new(Unwaited::default()),
        }
    }

    pub(crate) fn unwaited(&self) -> &Arc<Unwaited> {
        &self.unwaited
    }

    pub(crate) fn has_worked(&self) -> bool {
        self.executed.get() > 0 && self.unwaited.ran.get() > 0
    }

    /// Returns whether every call that was accepted has run once.
    pub(crate) fn add_up(&self) -> bool {
        self.called.get() == self.executed.get()
            && self.unwaited.accepted.get() == self.unwaited.ran.get()
    }
}

impl fmt::Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "called={} executed={} refused={} unwaited={} ran={}",
            self.called, self.executed, self.refused, self.unwaited.accepted, self.unwaited.ran
        )
    }
}

/// Makes a call that changes data which its caller has lent to it.
fn borrows(world: &World, cpu: CpuId) {
    let mut local = [1, 2, 3];
    let called = api::call_on(cpu, || {
        local[0] += 10;
        local.iter().sum::<u64>()
    });
    let right = match called {
        Ok(sum) => sum == 16 && local[0] == 11,
        Err(_) => local[0] == 1,
    };
    world.must(
        right,
        format_args!("a call that borrows: {called:?}, {local:?}"),
    );
    match called {
        Ok(_) => {
            world.calls.called.add(1);
            world.calls.executed.add(1);
        }
        Err(_) => world.calls.refused.add(1),
    }
}

/// Makes a call from masked code, whose function calls another CPU.
fn nests(world: &World, cpu: CpuId, other: CpuId) {
    let masked = IrqGuard::<Hw>::new();
    let called = api::call_on(cpu, || (Hw::this_cpu(), api::call_on(other, Hw::this_cpu)));
    drop(masked);
    if let Ok((on, inner)) = called {
        world.must(
            on == cpu && inner.is_ok_and(|on| on == other) | inner.is_err(),
            format_args!("called {cpu:?} and {other:?}, ran on {on:?} and {inner:?}"),
        );
    }
}

/// Makes a call of many; each function checks the CPU that it runs on.
fn calls_many(world: &World, cpus: &CpuMask) {
    let ran = Count::default();
    let wrong = Count::default();
    let called = api::call_on_many(cpus, |on| {
        ran.add(1);
        wrong.add(u64::from(on != Hw::this_cpu()));
    });
    world.must(
        wrong.get() == 0 && called.is_subset_of(cpus),
        format_args!("called {cpus}, {called} ran it, {wrong} of them elsewhere"),
    );
    world.calls.called.add(called.count() as u64);
    world.calls.executed.add(ran.get());
}

/// Has all CPUs call one CPU at the same time.
fn many_call_one(world: &World, cpu: CpuId) {
    let (ran, refused) = (Count::default(), Count::default());
    let called = api::on_each_cpu(|_| {
        let one = api::call_on_many(&CpuMask::of(cpu), |_| ran.add(1));
        refused.add(u64::from(one.is_empty()));
    });
    world.calls.called.add(called.count() as u64);
    world.calls.executed.add(ran.get() + refused.get());
}

/// Makes a call of a random kind.
pub(crate) fn call(world: &Arc<World>, random: &mut Random) {
    for _ in 0..20 {
        let cpu = any_cpu(random);
        match random.below(6) {
            0 => borrows(world, cpu),
            1 => nests(world, cpu, any_cpu(random)),
            2 => Unwaited::call(&world.calls.unwaited, cpu),
            3 => calls_many(world, &any_cpus(random)),
            4 => many_call_one(world, cpu),
            _ => {
                let intact = api::call_on(cpu, || world.reading.look());
                world.must(intact != Ok(false), format_args!("freed under a call"));
            }
        }
        if one_in(random, 4) {
            thread::yield_now();
        }
    }
}
