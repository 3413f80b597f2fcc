//! The rules of the state table, checked with the kernel's own table, and with tables that
//! break one rule each.

use std::collections::BTreeSet;

use stillpoint::hotplug::{
    Group, Place, RunsOn, Side, Step, UP_TO_ALIVE, UP_TO_ONLINE, UP_TO_POST_DEAD, slots_of, steps,
};

use crate::fake::Fake;

/// Returns all rules that `table` breaks.
fn violations<C>(table: &[Step<C>]) -> Vec<String> {
    let mut found = Vec::new();
    let mut names = BTreeSet::new();
    for (row, step) in table.iter().enumerate() {
        let mut wrong = |what: &str| found.push(format!("{}: {what}", step.name));
        if !step.is_slot() && !names.insert(step.name) {
            wrong("twice");
        }
        let group = match step.group {
            Group::Prep => "prep",
            Group::Sync => "sync",
            Group::Init => "init",
            Group::Sched => "sched",
            Group::Enable => "enable",
        };
        if step.name.split_once(':').map(|(before, _)| before) != Some(group) {
            wrong("not named after its group");
        }
        let sides = [&step.startup, &step.teardown];
        for side in sides {
            // A reason has several words and is no placeholder.
            if side.reason().is_some_and(|why| why.split(' ').count() < 3) {
                wrong("lacks a side without a reason");
            }
        }
        if sides.iter().all(|side| side.reason().is_some()) {
            wrong("has no side at all");
        }
        if step.group == Group::Init && sides.iter().any(|side| side.may_fail()) {
            wrong("may fail where nothing may");
        }
        let is_before_arrival = row < UP_TO_ALIVE && step.group != Group::Init;
        if is_before_arrival && step.teardown.may_fail() {
            wrong("may refuse to be undone");
        }
    }
    found
}

/// The steps in their order, and whether each may fail on the way up and on the way down. It
/// is written twice on purpose: no step changes its place or learns to fail by accident.
#[test]
fn the_steps_have_their_names_in_their_order() {
    let steps = steps::<Fake>().iter().filter(|step| !step.is_slot());
    let seen: Vec<_> = steps
        .map(|step| (step.name, step.startup.may_fail(), step.teardown.may_fail()))
        .collect();
    let wanted = [
        ("prep:hardware", true, false),
        ("prep:percpu", true, false),
        ("prep:heap", false, false),
        ("prep:calls", false, false),
        ("prep:threads", true, false),
        ("sync:alive", true, false),
        ("sync:timers", false, false),
        ("init:cpu", false, false),
        ("init:rcu", false, false),
        ("init:irqchip", false, false),
        ("init:timer", false, false),
        ("init:calls", false, false),
        ("init:stopper", false, false),
        ("init:online", false, false),
        ("sched:drain", false, true),
        ("sched:threads", true, true),
        ("enable:irq-affinity", false, false),
        ("sync:active", false, true),
        ("sched:active", false, false),
    ];
    assert_eq!(seen, wanted);
}

/// The steps that the shell's help and its page name are there.
#[test]
fn the_steps_in_the_shells_texts_exist() {
    let texts = [
        include_str!("../../src/shell/texts.rs"),
        include_str!("../../docs/shell.md"),
    ];
    let is_part = |c: char| c.is_ascii_lowercase() || c == '-' || c == ':';
    let words = texts.iter().flat_map(|text| text.split(|c| !is_part(c)));
    let groups = ["prep:", "sync:", "init:", "sched:", "enable:", "stop:"];
    let named = words.filter(|word| groups.iter().any(|group| word.starts_with(group)));
    let named: BTreeSet<&str> = named.map(|word| word.trim_end_matches(':')).collect();
    assert!(named.contains("sched:drain"), "{named:?}");
    for name in named {
        let mut steps = steps::<Fake>().iter();
        assert!(steps.any(|step| step.name == name), "no step {name}");
    }
}

/// The slots are where programs expect them: each row between the two steps around it.
#[test]
fn the_slots_are_in_their_places() {
    let table = steps::<Fake>();
    for (place, rows, before, after) in [
        (Place::PostDead, 4, None, "prep:hardware"),
        (Place::Prep, 20, Some("prep:threads"), "sync:alive"),
        (Place::Init, 4, Some("init:calls"), "init:stopper"),
        (
            Place::Enable,
            40,
            Some("enable:irq-affinity"),
            "sync:active",
        ),
    ] {
        let slots = slots_of(place);
        assert_eq!(slots.len(), rows, "{place:?}");
        assert!(table[slots.clone()].iter().all(Step::is_slot));
        let last = slots.start.checked_sub(1);
        assert_eq!(last.map(|last| table[last].name), before, "{place:?}");
        assert_eq!(table[slots.end].name, after, "{place:?}");
    }
    let slots = table.iter().filter(|step| step.is_slot()).count();
    assert_eq!(slots, 68);
    assert_eq!(slots_of(Place::PostDead), 0..UP_TO_POST_DEAD);
}

#[test]
fn the_table_keeps_its_rules() {
    assert_eq!(violations(steps::<Fake>()), [""; 0]);
}

#[test]
fn the_half_with_irqs_masked_is_the_init_group() {
    let table = steps::<Fake>();
    // The steps that run on the AP with IRQs masked are exactly those of the INIT group. No
    // step before it runs on the AP.
    for (index, step) in table.iter().enumerate() {
        let masked = (UP_TO_ALIVE..UP_TO_ONLINE).contains(&index);
        assert_eq!(step.group == Group::Init, masked, "{}", step.name);
        assert!(
            index >= UP_TO_ALIVE || step.group.runs_on() != RunsOn::Ap,
            "{}",
            step.name
        );
    }
}

/// Returns a step that breaks no rule.
fn sound() -> Step<()> {
    Step {
        name: "init:sound",
        group: Group::Init,
        startup: Side::Infallible(|()| ()),
        teardown: Side::Infallible(|()| ()),
    }
}

#[test]
fn a_table_that_is_wrong_is_found() {
    assert_eq!(violations(&[sound()]), [""; 0]);
    let fallible = || Side::Fallible(|()| Ok(()));
    let prep = || Step {
        name: "prep:sound",
        group: Group::Prep,
        ..sound()
    };
    let broken = [
        (
            "may fail where nothing may",
            Step {
                startup: fallible(),
                ..sound()
            },
        ),
        (
            "may fail where nothing may",
            Step {
                teardown: fallible(),
                ..sound()
            },
        ),
        (
            "may refuse to be undone",
            Step {
                teardown: fallible(),
                ..prep()
            },
        ),
        (
            "lacks a side without a reason",
            Step {
                teardown: Side::Nothing(""),
                ..sound()
            },
        ),
        (
            "not named after its group",
            Step {
                name: "sync:sound",
                ..sound()
            },
        ),
        (
            "has no side at all",
            Step {
                startup: Side::Nothing("there is nothing to do"),
                teardown: Side::Nothing("there is nothing to undo"),
                ..sound()
            },
        ),
    ];
    for (what, step) in broken {
        let wanted = format!("{}: {what}", step.name);
        assert_eq!(violations(&[step]), [wanted]);
    }
    assert_eq!(violations(&[sound(), sound()]), ["init:sound: twice"]);
}
