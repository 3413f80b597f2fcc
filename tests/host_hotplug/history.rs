//! The history of walks in the trace rings: the parts of a walk add up to the whole.

use stillpoint::cpu::CpuId;
use stillpoint::hotplug::{
    ALL_UP, PartKind, RecordedWalk, StepName, UP_TO_ALIVE, UP_TO_ONLINE, WalkLine, recorded_walks,
    steps,
};
use stillpoint::stop_machine::MultiStopState;
use stillpoint::time::{Frequency, Instant};
use stillpoint::trace::Direction::{self, Down, Up};
use stillpoint::trace::{Event, Gap, Record, Trace};

use crate::fake::Fake;
use crate::xorshift::Random;

pub(crate) const CONTROL: usize = 0;
pub(crate) const AP: usize = 3;

pub(crate) fn cpu(number: usize) -> CpuId {
    CpuId::new(number).expect("a small number")
}

/// Writes trace records, each some time after the one before.
pub(crate) struct Writer {
    now: u64,
    random: Random,
    pub(crate) records: Vec<Record>,
}

impl Writer {
    pub(crate) fn new(seed: u64) -> Writer {
        Writer {
            now: 1000,
            random: Random::new(seed),
            records: Vec::new(),
        }
    }

    pub(crate) fn write(&mut self, on: usize, event: Event) {
        self.now += self.random.below(100) as u64;
        self.records.push(Record {
            at: Instant(self.now),
            on: cpu(on),
            event,
        });
    }

    fn step(&mut self, step: usize, direction: Direction, ok: bool) {
        let on = if step < UP_TO_ALIVE { CONTROL } else { AP };
        let (cpu, step) = (cpu(AP), u8::try_from(step).expect("a small number"));
        let begin = Event::StepBegin {
            cpu,
            step,
            direction,
        };
        self.write(on, begin);
        let end = Event::StepEnd {
            cpu,
            step,
            direction,
            ok,
        };
        self.write(on, end);
    }

    fn begin(&mut self, direction: Direction) {
        let cpu = cpu(AP);
        self.write(CONTROL, Event::WalkBegin { cpu, direction });
    }

    fn end(&mut self) {
        self.write(CONTROL, Event::WalkEnd { cpu: cpu(AP) });
    }

    pub(crate) fn stop(&mut self, state: MultiStopState) {
        for on in [1, CONTROL, AP] {
            self.write(on, Event::Stop { state: state as u8 });
        }
    }

    pub(crate) fn up(&mut self) {
        self.begin(Up);
        (0..ALL_UP).for_each(|step| self.step(step, Up, true));
        self.end();
    }

    pub(crate) fn down(&mut self) {
        self.begin(Down);
        (UP_TO_ONLINE..ALL_UP)
            .rev()
            .for_each(|step| self.step(step, Down, true));
        self.stop(MultiStopState::Prepare);
        (UP_TO_ALIVE..UP_TO_ONLINE)
            .rev()
            .for_each(|step| self.step(step, Down, true));
        self.stop(MultiStopState::Exit);
        self.write(AP, Event::Dead);
        (0..UP_TO_ALIVE)
            .rev()
            .for_each(|step| self.step(step, Down, true));
        self.end();
    }

    pub(crate) fn walks(&self) -> Vec<RecordedWalk> {
        recorded_walks(cpu(AP), &self.records, Instant(0))
    }
}

fn adds_up(walk: &RecordedWalk) -> bool {
    let sum: u64 = walk.parts.iter().map(|part| part.ticks).sum();
    sum == walk.ended.ticks_since(walk.began)
}

/// Returns the parts without the steps, in order.
fn gaps(walk: &RecordedWalk) -> Vec<PartKind> {
    let kinds = walk.parts.iter().map(|part| part.kind);
    kinds
        .filter(|kind| !matches!(kind, PartKind::Step { .. }))
        .collect()
}

#[test]
fn the_parts_of_every_walk_add_up_to_it() {
    for seed in 1..200 {
        let mut writer = Writer::new(seed);
        writer.up();
        writer.down();
        writer.up();
        let walks = writer.walks();
        let directions: Vec<Direction> = walks.iter().map(|walk| walk.direction).collect();
        assert_eq!(directions, [Up, Down, Up]);
        for walk in &walks {
            assert!(adds_up(walk), "seed {seed}: {walk:#?}");
            assert!(walk.whole && !walk.turned_back && walk.failed.is_none());
            let steps = walk.parts.len() - gaps(walk).len();
            assert_eq!(steps, ALL_UP);
            assert!(walk.parts.is_sorted_by_key(|part| part.at));
        }
    }
}

#[test]
fn what_lies_between_the_steps_has_a_name() {
    use PartKind::{Between, Call, Dead, Exit, Gather, HandOver, Mask, Request, Return};
    // Of a hundred such walks at least one has no two records at the same instant.
    let longest = |walk_fn: fn(&mut Writer)| {
        let walks = (1..100).map(|seed| {
            let mut writer = Writer::new(seed);
            walk_fn(&mut writer);
            gaps(&writer.walks()[0])
        });
        walks.max_by_key(Vec::len).expect("a hundred")
    };
    assert_eq!(
        longest(Writer::up),
        [Call, HandOver, HandOver, Return, Between]
    );
    // The CPU stores DEAD while it hands over to control.
    assert_eq!(
        longest(Writer::down),
        [
            Call, Request, Gather, Mask, Exit, HandOver, Dead, Return, Between
        ]
    );
}

#[test]
fn interrupts_are_off_from_the_last_arrival_to_the_last_leaving() {
    let mut writer = Writer::new(1);
    writer.down();
    let at = |state: MultiStopState| {
        let event = Event::Stop { state: state as u8 };
        let last = writer.records.iter().rfind(|record| record.event == event);
        last.expect("it was written").at
    };
    let off = at(MultiStopState::Exit).ticks_since(at(MultiStopState::Prepare));
    assert_eq!(writer.walks()[0].irqs_off, Some(off));
    let mut writer = Writer::new(1);
    writer.up();
    assert_eq!(writer.walks()[0].irqs_off, None);
}

#[test]
fn a_walk_that_turns_back_says_where() {
    let mut writer = Writer::new(1);
    writer.begin(Up);
    writer.step(0, Up, true);
    writer.step(1, Up, false);
    writer.step(0, Down, true);
    writer.end();
    writer.up();
    let walks = writer.walks();
    assert_eq!(walks.len(), 2);
    assert_eq!((walks[0].direction, walks[0].failed), (Up, Some(1)));
    assert!(walks[0].turned_back && adds_up(&walks[0]) && walks[0].whole);
    assert!(!walks[1].turned_back && walks[1].failed.is_none());
}

#[test]
fn what_the_rings_have_lost_is_not_made_up() {
    for lost in 0..200 {
        let mut writer = Writer::new(lost + 1);
        writer.up();
        writer.down();
        let lost = usize::try_from(lost)
            .expect("small")
            .min(writer.records.len());
        // The oldest records are overwritten first, and the newest may not be written yet.
        for records in [&writer.records[lost..], &writer.records[..lost]] {
            for walk in recorded_walks(cpu(AP), records, Instant(0)) {
                assert!(adds_up(&walk), "{lost}: {walk:#?}");
                assert!(!walk.turned_back && walk.failed.is_none());
            }
        }
        let rest = recorded_walks(cpu(AP), &writer.records[lost..], Instant(0));
        assert!(rest.iter().skip(1).all(|walk| walk.whole));
        assert_eq!(
            rest.first().is_some_and(|walk| walk.whole),
            lost == 0 || rest.len() == 1 && lost <= 2 * ALL_UP + 2
        );
    }
}

#[test]
fn walks_of_other_cpus_are_not_told() {
    let mut writer = Writer::new(1);
    writer.up();
    assert_eq!(recorded_walks(cpu(1), &writer.records, Instant(0)), []);
    assert_eq!(recorded_walks(cpu(AP), &[], Instant(0)), []);
}

#[test]
fn a_still_point_that_is_not_all_recorded_is_not_told() {
    let mut writer = Writer::new(1);
    writer.up();
    let up_began = writer.records[0].at;
    let down_began = Instant(writer.now + 1);
    writer.now += 1;
    writer.down();
    let walks_from = |stops_from: Instant| recorded_walks(cpu(AP), &writer.records, stops_from);
    let whole = |walks: &[RecordedWalk]| -> Vec<bool> { walks.iter().map(|it| it.whole).collect() };
    let all = walks_from(down_began);
    assert_eq!(whole(&all), [true, true], "the way up has no still point");
    assert!(all[1].irqs_off.is_some());
    let some = walks_from(Instant(writer.now));
    assert_eq!(whole(&some), [true, false]);
    assert_eq!(some[1].irqs_off, None);
    assert!(adds_up(&some[1]) && some[0].began == up_began);
}

/// Returns the line of the first walk in `records`, whose times are in microseconds.
fn said(records: &[(u64, Event)], with_longest: bool) -> String {
    let records: Vec<Record> = records
        .iter()
        .map(|(at, event)| Record {
            at: Instant(*at),
            on: cpu(CONTROL),
            event: *event,
        })
        .collect();
    let walks = recorded_walks(cpu(AP), &records, Instant(0));
    let line = WalkLine {
        walk: &walks[0],
        frequency: Frequency::new(1_000_000).expect("not 0"),
        step_name_fn: |step| StepName::from(steps::<Fake>()[step].name),
        with_longest,
    };
    line.to_string()
}

#[test]
fn a_line_says_how_long_a_walk_took_and_what_took_longest() {
    let (cpu, direction) = (cpu(AP), Up);
    let row = |name: &str| {
        let row = steps::<Fake>().iter().position(|step| step.name == name);
        u8::try_from(row.expect("a row")).expect("a small number")
    };
    let begin = |at, name| {
        let step = row(name);
        let event = Event::StepBegin {
            cpu,
            step,
            direction,
        };
        (at, event)
    };
    let end = |at, name, ok| {
        let step = row(name);
        let event = Event::StepEnd {
            cpu,
            step,
            direction,
            ok,
        };
        (at, event)
    };
    let walk = (1000, Event::WalkBegin { cpu, direction });
    let whole = [
        walk,
        begin(1002, "prep:hardware"),
        end(1012, "prep:hardware", true),
        begin(1013, "sync:alive"),
        end(1093, "sync:alive", true),
        begin(1110, "init:cpu"),
        end(1112, "init:cpu", true),
        (3123, Event::WalkEnd { cpu }),
    ];
    assert_eq!(
        said(&whole[..7], true),
        "CPU3 up in 0.112 ms, 0.080 ms of it in sync:alive (not all of it is recorded)"
    );
    assert_eq!(
        said(&whole, true),
        "CPU3 up in 2.123 ms, 2.011 ms of it in return"
    );
    assert_eq!(said(&whole, false), "CPU3 up in 2.123 ms");
    let at_once = [walk, begin(1000, "prep:hardware"), (1000, walk.1)];
    assert_eq!(
        said(&at_once[..2], true),
        "CPU3 up in 0.000 ms (not all of it is recorded)"
    );
    let failed = [
        walk,
        begin(1000, "prep:hardware"),
        end(1060, "prep:hardware", false),
        (1075, Event::WalkEnd { cpu }),
    ];
    assert_eq!(
        said(&failed, true),
        "CPU3 up: prep:hardware failed, back after 0.075 ms, 0.060 ms of it in prep:hardware"
    );
}

/// CPU 3 comes with others: its line names what it was made of itself, however long control was
/// at work for the others.
#[test]
fn what_control_does_for_others_is_told_apart() {
    use PartKind::{Arrival, Between, Call, HandOver, Others, Return};
    let (cpu, direction) = (cpu(AP), Up);
    let step = |step, [from, to]: [u64; 2]| {
        let step = u8::try_from(step).expect("a small number");
        let begin = Event::StepBegin {
            cpu,
            step,
            direction,
        };
        let end = Event::StepEnd {
            cpu,
            step,
            direction,
            ok: true,
        };
        [(from, begin), (to, end)]
    };
    let gap = |until, was| [(until, Event::Gap { cpu, was })];
    let alive = UP_TO_ALIVE - 1;
    let records = [
        &[(1000, Event::WalkBegin { cpu, direction })][..],
        &step(0, [1001, 1011]),
        &step(1, [1012, 1022]),
        // It arrives in the middle of the time in which control waits for all.
        &gap(5022, Gap::Others),
        &gap(5322, Gap::Arrival),
        &gap(9322, Gap::Others),
        &step(alive, [9323, 9325]),
        &gap(9825, Gap::Others),
        &step(UP_TO_ALIVE, [9925, 9995]),
        &step(UP_TO_ONLINE, [10_050, 10_060]),
        &[(10_062, Event::WalkEnd { cpu })],
    ]
    .concat();
    assert_eq!(
        said(&records, true),
        "CPU3 up in 9.062 ms, 0.300 ms of it in arrival and 8.500 ms for others"
    );
    assert_eq!(said(&records, false), "CPU3 up in 9.062 ms");
    let on_control: Vec<Record> = records
        .iter()
        .map(|(at, event)| Record {
            at: Instant(*at),
            on: CpuId::BOOT,
            event: *event,
        })
        .collect();
    let walk = &recorded_walks(cpu, &on_control, Instant(0))[0];
    assert!(adds_up(walk) && walk.whole, "{walk:#?}");
    assert_eq!(
        gaps(walk),
        [
            Call, Others, Arrival, Others, Others, HandOver, HandOver, Return, Between
        ]
    );
    // What lay between its steps is a sum, and is not named either.
    let alone = [
        &[(1000, Event::WalkBegin { cpu, direction })][..],
        &step(0, [1000, 1004]),
        &step(1, [1010, 1013]),
        &step(2, [1019, 1022]),
        &[(1022, Event::WalkEnd { cpu })],
    ]
    .concat();
    let first = StepName::from(steps::<Fake>()[0].name);
    assert_eq!(
        said(&alone, true),
        format!("CPU3 up in 0.022 ms, 0.004 ms of it in {first}")
    );
}

#[test]
fn the_name_of_a_step_fills_its_column() {
    let name = StepName::from("prep:heap");
    assert_eq!(
        format!("{name}|{name:<12}|{name:<3}|"),
        "prep:heap|prep:heap   |prep:heap|"
    );
    assert_eq!(format!("{:<6}|", StepName::from("call")), "call  |");
}

#[test]
fn a_step_is_passed_from_its_begin_to_its_end() {
    let mut writer = Writer::new(1);
    writer.up();
    writer.down();
    let trace = Trace::new(AP + 1);
    assert_eq!(trace.passing_racy(cpu(AP)), None);
    for record in writer.records {
        trace.write::<Fake>(|| (record.on, record.at), record.event);
        // What a still point and a CPU on its way out write is in other rings.
        let passing = match record.event {
            Event::StepBegin { step, .. } => Some(step),
            Event::StepEnd { .. } | Event::WalkBegin { .. } | Event::WalkEnd { .. } => None,
            _ => continue,
        };
        assert_eq!(trace.passing_racy(cpu(AP)), passing, "{record:?}");
        assert_eq!(trace.passing_racy(cpu(CONTROL)), None);
    }
    // The call of an installation too.
    let (cpu, step, direction) = (cpu(AP), 5, Up);
    let write = |event| trace.write::<Fake>(|| (cpu, Instant(0)), event);
    write(Event::CallBegin {
        cpu,
        step,
        direction,
    });
    assert_eq!(trace.passing_racy(cpu), Some(step));
    write(Event::CallEnd {
        cpu,
        step,
        direction,
        ok: true,
    });
    assert_eq!(trace.passing_racy(cpu), None);
}
