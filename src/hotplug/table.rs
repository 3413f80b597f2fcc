//! The state table.
//!
//! Thomas Gleixner's order, symmetric: each step's teardown is the inverse of
//! its startup, or says in one line why there is nothing to do.
//!
//! A row that other code expects in a place says so after its name, with the reason: see
//! [`RowPlace`]. A table that breaks this doesn't compile. A row without a place goes anywhere
//! in its group.
//!
//! Some rows are *slots* for the steps that programs install ([`Place`]). An empty slot is
//! passed over.

use core::marker::PhantomData;
use core::ops::Range;

use crate::hotplug::{Group, HotplugHost, Place, Side, Step, StepContext, StepError};

/// How many rows are up when only what must run without the hotplug lock is.
pub const UP_TO_POST_DEAD: usize = rows_through(POST_DEAD, NAMES);

/// How many steps are up when the last of group PREP is: the CPU is called, and control has
/// still to see it ALIVE.
pub const UP_TO_PREPARED: usize = rows_before("sync:alive", NAMES);

/// How many steps are up when `sync:timers` is the last of them: the AP has said ALIVE and
/// waits for its release. Control walks these.
pub const UP_TO_ALIVE: usize = rows_through("sync:timers", NAMES);

/// How many steps are up when `init:online` is the last of them: the AP is in the online
/// mask. It walks the steps from [`UP_TO_ALIVE`] to here with IRQs off.
pub const UP_TO_ONLINE: usize = rows_through("init:online", NAMES);

/// How many steps are up when `sync:active` is the last of them: all but `sched:active`.
pub const UP_TO_INACTIVE: usize = rows_through("sync:active", NAMES);

/// How many steps are up when a CPU is active too: all.
pub const ALL_UP: usize = ROWS;

/// The row in which a CPU is called.
pub(super) const CALLED: usize = rows_before("prep:hardware", NAMES);

/// The row in which the threads of a CPU are made. The services are its instances.
pub(super) const THREADS_MADE: usize = rows_before(PREP_THREADS, NAMES);

/// The row in which the threads of a CPU's services are unparked and parked. The services that
/// don't park by themselves are its instances.
pub(super) const THREADS_AT_WORK: usize = rows_before(SCHED_THREADS, NAMES);

pub(super) const PREP_THREADS: &str = "prep:threads";
pub(super) const SCHED_THREADS: &str = "sched:threads";
const POST_DEAD: &str = "prep:post-dead";
const PREP_SLOT: &str = "prep:slot";
const INIT_SLOT: &str = "init:slot";
const ENABLE_SLOT: &str = "enable:slot";

/// Returns the rows of `place`, which follow each other.
pub const fn slots_of(place: Place) -> Range<usize> {
    let name = match place {
        Place::PostDead => POST_DEAD,
        Place::Prep => PREP_SLOT,
        Place::Init => INIT_SLOT,
        Place::Enable => ENABLE_SLOT,
    };
    rows_before(name, NAMES)..rows_through(name, NAMES)
}

/// Returns the table for a machine of type `P`.
pub const fn steps<P: HotplugHost>() -> &'static [Step<StepContext>] {
    Table::<P>::STEPS
}

struct Table<P>(PhantomData<P>);

/// Where a row has to be, on the way up.
enum RowPlace {
    First,
    Last,
    After(&'static str),
    JustAfter(&'static str),
}

impl RowPlace {
    /// Returns whether the row `name` of the table `names` is there, or the slots of that
    /// name are.
    const fn holds(&self, name: &str, names: &[&str]) -> bool {
        let before = rows_before(name, names);
        match self {
            RowPlace::First => before == 0,
            RowPlace::Last => rows_through(name, names) == names.len(),
            RowPlace::After(earlier) => before >= rows_through(earlier, names),
            RowPlace::JustAfter(earlier) => before == rows_through(earlier, names),
        }
    }
}

/// Makes the table of its rows, and the list of their names, which needs no `P`. Checks the
/// places of the rows. A row is a `Step`, or `Slots`, which stands for several rows.
macro_rules! table {
    ($($kind:ident {
        name: $name:expr,
        $(place: $place:expr,)*
        group: $group:expr,
        $($rest:tt)*
    }),* $(,)?) => {
        const ROWS: usize = count(&[$(names!($kind $name, $($rest)*)),*]);
        const NAMES: &[&str] = &flat::<&str, ROWS>(&[$(names!($kind $name, $($rest)*)),*]);

        $($(const _: () = assert!(
            $place.holds($name, NAMES),
            concat!("in the wrong place: ", stringify!($name), " has ", stringify!($place)),
        );)*)*

        impl<P: HotplugHost> Table<P> {
            const STEPS: &'static [Step<StepContext>] =
                &flat::<Step<StepContext>, ROWS>(&[$(rows!($kind $name, $group, $($rest)*)),*]);
        }
    };
}

/// Returns the names of a row of [`table!`].
macro_rules! names {
    (Step $name:expr, $($sides:tt)*) => {
        &[$name]
    };
    (Slots $name:expr, rows: $rows:expr $(,)?) => {
        &[$name; $rows]
    };
}

/// Returns the steps of a row of [`table!`].
macro_rules! rows {
    (Step $name:expr, $group:expr, $($sides:tt)*) => {
        &[Step { name: $name, group: $group, $($sides)* }]
    };
    (Slots $name:expr, $group:expr, rows: $rows:expr $(,)?) => {
        &[Step::slot($name, $group); $rows]
    };
}

const fn count(parts: &[&[&str]]) -> usize {
    let (mut part, mut rows) = (0, 0);
    while part < parts.len() {
        rows += parts[part].len();
        part += 1;
    }
    rows
}

/// Returns what is in `parts`, one after the other.
const fn flat<T: Copy, const N: usize>(parts: &[&[T]]) -> [T; N] {
    let mut all = [parts[0][0]; N];
    let (mut part, mut row) = (0, 0);
    while part < parts.len() {
        let mut index = 0;
        while index < parts[part].len() {
            all[row] = parts[part][index];
            row += 1;
            index += 1;
        }
        part += 1;
    }
    all
}

/// Returns how many of `names` come before the first `name`.
const fn rows_before(name: &str, names: &[&str]) -> usize {
    let mut index = 0;
    while index < names.len() {
        if is_same(names[index].as_bytes(), name.as_bytes()) {
            return index;
        }
        index += 1;
    }
    panic!("the table has no step of this name")
}

/// Returns how many steps are up when the last row of the name `name` is the last of them.
const fn rows_through(name: &str, names: &[&str]) -> usize {
    let mut through = rows_before(name, names);
    while through < names.len() && is_same(names[through].as_bytes(), name.as_bytes()) {
        through += 1;
    }
    through
}

const fn is_same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let mut index = 0;
    while index < one.len() {
        if one[index] != other[index] {
            return false;
        }
        index += 1;
    }
    true
}

table![
    Slots {
        name: POST_DEAD,
        // Backwards, control has released the hotplug lock by then.
        place: RowPlace::First,
        group: Group::Prep,
        rows: 4,
    },
    Step {
        name: "prep:hardware",
        // The CPU comes up while control does the rest, which fills the boot record and
        // stands on the entry stack. Backwards, all else is undone before it is dismissed.
        place: RowPlace::JustAfter(POST_DEAD),
        group: Group::Prep,
        startup: Side::Fallible(|cx| P::hotplug().ready_and_call(cx)),
        teardown: Side::Infallible(|cx| P::hotplug().cancel_start(cx.cpu)),
    },
    Step {
        name: "prep:percpu",
        group: Group::Prep,
        startup: Side::Fallible(|cx| Ok(P::prepare_area(cx.cpu)?)),
        teardown: Side::Nothing("a CPU's memory is never freed: it is kept for the next time"),
    },
    Step {
        name: "prep:heap",
        group: Group::Prep,
        startup: Side::Nothing("a cache fills itself from what is asked of it"),
        teardown: Side::Infallible(|cx| P::hotplug().empty_heap_cache(cx.cpu)),
    },
    Step {
        name: "prep:calls",
        group: Group::Prep,
        startup: Side::Infallible(|cx| P::calls().prepare(cx.cpu)),
        teardown: Side::Nothing("a CPU's memory is never freed: it is kept for the next time"),
    },
    Step {
        name: "prep:threads",
        group: Group::Prep,
        startup: Side::Fallible(|cx| P::hotplug().create_threads(cx.cpu)),
        teardown: Side::Nothing("the CPU's threads are kept parked for the next time"),
    },
    Slots {
        name: PREP_SLOT,
        // Programs may rely on all that the kernel prepares.
        place: RowPlace::JustAfter("prep:threads"),
        group: Group::Prep,
        rows: 20,
    },
    Step {
        name: "sync:alive",
        group: Group::Sync,
        startup: Side::Fallible(|cx| P::hotplug().wait_alive(cx)),
        teardown: Side::Infallible(|cx| P::hotplug().wait_dead(cx)),
    },
    Step {
        name: "sync:timers",
        // Backwards, control does it before it waits for the CPU's end and for firmware: until
        // then no CPU serves the queue.
        place: RowPlace::JustAfter("sync:alive"),
        group: Group::Sync,
        startup: Side::Nothing("the CPU serves its queue again itself, in init:timer"),
        teardown: Side::Infallible(|cx| P::sched().adopt_timers(cx.cpu)),
    },
    Step {
        name: "init:cpu",
        // What comes before `init:rcu` may not read under RCU: this step alone.
        place: RowPlace::JustAfter("sync:timers"),
        group: Group::Init,
        startup: Side::Infallible(|cx| P::init_cpu(cx.cpu)),
        teardown: Side::Nothing("every entry sets all registers anew: none is left to undo"),
    },
    Step {
        name: "init:rcu",
        // The steps after it may read under RCU, in both directions.
        place: RowPlace::JustAfter("init:cpu"),
        group: Group::Init,
        startup: Side::Infallible(|cx| P::grace_periods().startup(cx.cpu)),
        teardown: Side::Infallible(|cx| P::grace_periods().teardown(cx.cpu)),
    },
    Step {
        name: "init:irqchip",
        group: Group::Init,
        startup: Side::Infallible(|cx| P::irqchip_startup(cx.cpu)),
        teardown: Side::Infallible(|cx| P::irqchip_teardown(cx.cpu)),
    },
    Step {
        name: "init:timer",
        group: Group::Init,
        startup: Side::Infallible(|cx| P::timer_startup(cx.cpu)),
        teardown: Side::Infallible(|cx| P::timer_teardown(cx.cpu)),
    },
    Step {
        name: "init:calls",
        group: Group::Init,
        startup: Side::Infallible(|cx| P::calls().startup(cx.cpu)),
        teardown: Side::Infallible(|cx| P::calls().drain(cx.cpu)),
    },
    Slots {
        name: INIT_SLOT,
        // All of the CPU's own hardware is up. A startup may stop the machine, for which it needs
        // the interrupt controller and the timer, and may not have a stopper yet.
        place: RowPlace::After("init:irqchip"),
        place: RowPlace::JustAfter("init:calls"),
        group: Group::Init,
        rows: 4,
    },
    Step {
        name: "init:stopper",
        group: Group::Init,
        startup: Side::Infallible(|cx| P::stop_machine().enable(cx.cpu)),
        teardown: Side::Infallible(|cx| P::stop_machine().disable(cx.cpu)),
    },
    Step {
        name: "init:online",
        // (`online-enabled` of [`stop_machine::stopper`](crate::stop_machine::stopper))
        place: RowPlace::JustAfter("init:stopper"),
        group: Group::Init,
        startup: Side::Infallible(|cx| P::hotplug().go_online(cx.cpu)),
        teardown: Side::Infallible(|cx| P::hotplug().go_offline(cx.cpu)),
    },
    Step {
        name: "sched:drain",
        group: Group::Sched,
        startup: Side::Nothing("threads come by themselves, once it is active"),
        teardown: Side::Fallible(|cx| {
            let drained = P::sched().drain(cx.cpu, cx.until);
            drained.map_err(StepError::Pinned)
        }),
    },
    Step {
        name: "sched:threads",
        group: Group::Sched,
        startup: Side::Fallible(|cx| P::hotplug().unpark_services(cx.cpu)),
        teardown: Side::Fallible(|cx| P::hotplug().park_services(cx.cpu)),
    },
    Step {
        name: "enable:irq-affinity",
        // Backwards, steps of programs have had their interrupts until now, and the CPU isn't
        // active any more, so no interrupt comes back to it.
        place: RowPlace::JustAfter("sched:threads"),
        group: Group::Enable,
        // Only those that rest: a move back of the others gains nothing.
        startup: Side::Infallible(|cx| P::restore_interrupts(cx.cpu)),
        teardown: Side::Infallible(|cx| P::move_interrupts(cx.cpu)),
    },
    Slots {
        name: ENABLE_SLOT,
        // Services and all else are up before, and still up on the way down. No ordinary
        // thread is on the CPU yet, and none is placed there any more.
        place: RowPlace::JustAfter("enable:irq-affinity"),
        group: Group::Enable,
        rows: 40,
    },
    Step {
        name: "sync:active",
        // The drain goes before the wait, so on the way down it begins when no code places
        // threads there any more (`drained-stays-empty` of [`migrate`](crate::sched::migrate)).
        place: RowPlace::After("sched:drain"),
        group: Group::Sync,
        startup: Side::Nothing("no reader holds an active mask with this CPU in it yet"),
        teardown: Side::Fallible(|cx| P::hotplug().wait_inactive(cx)),
    },
    Step {
        name: "sched:active",
        // Threads are placed there once all else is up, and no more before anything is undone.
        // The wait for old masks is the next step on the way down.
        place: RowPlace::Last,
        place: RowPlace::JustAfter("sync:active"),
        group: Group::Sched,
        startup: Side::Infallible(|cx| P::masks().set_active(cx.cpu, true)),
        teardown: Side::Infallible(|cx| P::masks().set_active(cx.cpu, false)),
    },
];

#[cfg(test)]
mod tests {
    use super::RowPlace;

    #[test]
    fn a_row_in_the_wrong_place_is_found() {
        let holds = |place: RowPlace| place.holds("b", &["a", "b", "c"]);
        assert!(holds(RowPlace::After("a")) && holds(RowPlace::JustAfter("a")));
        assert!(!holds(RowPlace::After("c")) && !holds(RowPlace::JustAfter("c")));
        assert!(!holds(RowPlace::First) && !holds(RowPlace::Last));
        assert!(!RowPlace::JustAfter("a").holds("b", &["a", "x", "b"]));
        assert!(RowPlace::First.holds("b", &["b", "c"]) && RowPlace::Last.holds("b", &["a", "b"]));
    }
}
