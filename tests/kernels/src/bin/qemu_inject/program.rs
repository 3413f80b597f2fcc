//! Steps of a program, for failures: two plain ones with one of several instances between them,
//! in either group.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use stillpoint::cpu::CpuId;
use stillpoint::errno::Errno;
use stillpoint::hotplug::{
    Callbacks, FallibleFn, InfallibleFn, InstanceHandle, NewStep, Passing, Place, StepHandle,
};
use stillpoint::kernel::{Hw, kernel};
use stillpoint::sync::atomic::{AtomicU64, Ordering};
use stillpoint::trace::Direction;

use kernel_support::unharmed::same;

use crate::hotplug;

/// How many instances the step in the middle has.
const INSTANCES: usize = 3;
/// How many instances there are in a group, a plain step counted as one.
const ALL: usize = 2 + INSTANCES;

/// One callback pair. All of a group are numbered in the order of the way up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(crate) row: usize,
    /// The number of the instance in its step.
    pub(crate) instance: usize,
    /// The number in its group.
    pub(crate) number: usize,
}

/// What the callbacks of a group share. Relaxed: the operations order what they write.
struct Shared {
    /// By number: the CPUs that are past it, as bits.
    past: [AtomicU64; ALL],
    /// The call that refuses, once: the number, the direction and the CPU.
    refuses: AtomicU64,
}

/// That no call refuses.
const NONE: u64 = u64::MAX;

fn call_of(number: usize, direction: Direction, cpu: CpuId) -> u64 {
    let is_down = u64::from(direction == Direction::Down);
    (number as u64) << 32 | is_down << 31 | cpu.index() as u64
}

impl Shared {
    fn call(&self, number: usize, direction: Direction, cpu: CpuId) -> Result<(), Errno> {
        let call = call_of(number, direction, cpu);
        let refused =
            self.refuses
                .compare_exchange(call, NONE, Ordering::Relaxed, Ordering::Relaxed);
        if refused.is_ok() {
            return Err(Errno::Busy);
        }
        // A second call in the same direction leaves the bit wrong, which `agrees` sees.
        self.past[number].fetch_xor(1 << cpu.index(), Ordering::Relaxed);
        Ok(())
    }
}

/// The steps of a group.
pub(crate) struct Steps {
    shared: Arc<Shared>,
    plain: [StepHandle<Hw>; 2],
    multi: StepHandle<Hw>,
    instances: Vec<InstanceHandle<Hw>>,
}

impl Steps {
    /// Installs them in `place`, each CPU that is up being called.
    pub(crate) fn install(place: Place) -> Steps {
        let shared = Arc::new(Shared {
            past: Default::default(),
            refuses: AtomicU64::new(NONE),
        });
        let callbacks = |number| callbacks(&shared, place, number);
        let install = |name, callbacks| {
            let new = NewStep {
                name,
                place,
                callbacks,
            };
            let installed = hotplug().install(new, Passing::Called);
            installed.expect("a slot is free")
        };
        let below = install("below", Some(callbacks(0)));
        let multi = install("multi", None);
        let add = |at| multi.add_instance(callbacks(1 + at), Passing::Called);
        let instances = (0..INSTANCES).map(|at| add(at).expect("it has instances"));
        let instances = instances.collect();
        let above = install("above", Some(callbacks(ALL - 1)));
        Steps {
            shared,
            plain: [below, above],
            multi,
            instances,
        }
    }

    /// Returns all seats, in the order of the way up.
    pub(crate) fn seats(&self) -> impl Iterator<Item = Seat> + '_ {
        (0..ALL).map(|number| {
            let (row, instance) = match number {
                0 => (self.plain[0].row(), 0),
                _ if number == ALL - 1 => (self.plain[1].row(), 0),
                _ => (self.multi.row(), number - 1),
            };
            Seat {
                row,
                instance,
                number,
            }
        })
    }

    /// Returns the name of the last step that is up on a CPU that is past the seats below
    /// `number` and no others.
    pub(crate) fn last_below(&self, number: usize) -> &'static str {
        match number {
            1 => self.plain[0].name().name(),
            2.. => self.multi.name().name(),
            _ => unreachable!("no walk rests below all seats"),
        }
    }

    /// Has the call of `seat` for `cpu` refuse, once.
    pub(crate) fn refuse(&self, seat: Seat, direction: Direction, cpu: CpuId) {
        let call = call_of(seat.number, direction, cpu);
        self.shared.refuses.store(call, Ordering::Relaxed);
    }

    /// Returns whether all CPUs that are online, and no others, are past all seats, each by one
    /// call for each that is counted; and no call is still to refuse.
    pub(crate) fn agrees(&self) -> bool {
        let online = kernel().masks.online();
        let wanted = online.iter().map(|cpu| 1 << cpu.index()).sum::<u64>();
        let past = self.shared.past.iter();
        let past: Vec<u64> = past.map(|one| one.load(Ordering::Relaxed)).collect();
        let refuses = self.shared.refuses.load(Ordering::Relaxed);
        past.iter().all(|one| same("past", *one, wanted)) & same("to refuse", refuses, NONE)
    }

    /// Removes all; returns whether the teardown was called for each CPU.
    pub(crate) fn remove(self) -> bool {
        drop((self.instances, self.plain, self.multi));
        let mut past = self.shared.past.iter();
        past.all(|one| same("past", one.load(Ordering::Relaxed), 0))
    }
}

fn callbacks(shared: &Arc<Shared>, place: Place, number: usize) -> Callbacks {
    let fallible = |direction| -> FallibleFn {
        let shared = Arc::clone(shared);
        Box::new(move |cpu| shared.call(number, direction, cpu))
    };
    let shared = Arc::clone(shared);
    let stop_fn: InfallibleFn = Box::new(move |cpu| {
        let stopped = shared.call(number, Direction::Down, cpu);
        stopped.expect("none is to refuse");
    });
    match place {
        Place::Enable => Callbacks::enable(
            Some(fallible(Direction::Up)),
            Some(fallible(Direction::Down)),
        ),
        Place::Prep => Callbacks::prep(Some(fallible(Direction::Up)), Some(stop_fn)),
        Place::PostDead | Place::Init => unreachable!("nothing fails there"),
    }
}
