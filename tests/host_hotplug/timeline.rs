//! The timeline of recorded walks and still points: a reader of JSON that isn't ours takes it, its
//! slices are those that were recorded, and those inside others end inside them.

use std::collections::BTreeSet;

use serde_json::Value;
use stillpoint::config::MAX_CPUS;
use stillpoint::cpu::CpuId;
use stillpoint::hotplug::{
    Part, PartKind, SchedHistory, StepName, Timeline, recorded_calls, recorded_stays, steps,
};
use stillpoint::stop_machine::MultiStopState;
use stillpoint::time::{Frequency, Instant};
use stillpoint::trace::Direction::Up;
use stillpoint::trace::{Event, GovernorEvent, GovernorRecord, Load, Missing, Reason, Record};

use crate::fake::Fake;
use crate::history::{AP, CONTROL, Writer, cpu};

/// The sizes of ticks of QEMU, of a Raspberry Pi 4, and one that no nanosecond divides.
pub(crate) const FREQUENCIES: [u64; 3] = [62_500_000, 54_000_000, 19_200_000];

fn json(records: &[Record], writer: &Writer, hz: u64, name: &'static str) -> Value {
    let walks = writer.walks();
    let calls = recorded_calls(cpu(AP), records);
    let timeline = Timeline {
        cpus: &[(cpu(AP), walks, calls)],
        stays: &recorded_stays(records),
        sched: None,
        governor: &[],
        missing: Missing::default(),
        frequency: Frequency::new(hz).expect("not 0"),
        step_name_fn: |step: usize| match steps::<Fake>().get(step) {
            Some(_) if name.is_empty() => StepName::from("sched:drain"),
            _ => StepName::from(name),
        },
        interrupt_name_fn: |intid| intid,
    };
    let text = timeline.to_string();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

pub(crate) fn slices(json: &Value) -> Vec<&Value> {
    let events = json["traceEvents"].as_array().expect("a list");
    events.iter().filter(|event| event["ph"] == "X").collect()
}

/// Returns from when to when a slice goes, in nanoseconds.
pub(crate) fn span(slice: &Value) -> (f64, f64) {
    let ns = |field: &str| {
        let us = slice[field].as_f64().expect("a number");
        (us * 1000.0).round()
    };
    (ns("ts"), ns("ts") + ns("dur"))
}

/// Returns the name of the track that `slice` is on.
fn track_name<'a>(json: &'a Value, slice: &Value) -> &'a str {
    let events = json["traceEvents"].as_array().expect("a list");
    let of_track = |event: &&Value| {
        let is_name = event["name"] == "thread_name" && event["ph"] == "M";
        is_name && event["pid"] == slice["pid"] && event["tid"] == slice["tid"]
    };
    let names: Vec<_> = events.iter().filter(of_track).collect();
    assert_eq!(names.len(), 1, "{slice} is on one track with a name");
    names[0]["args"]["name"].as_str().expect("a name")
}

/// Perfetto takes a track of number 0, or of its group's number, for that of the whole group.
#[test]
fn no_two_tracks_are_one_to_perfetto() {
    let cpus: Vec<_> = (0..MAX_CPUS).map(CpuId::from_index).collect();
    let cpus: Vec<_> = cpus.into_iter().map(|cpu| (cpu, vec![], vec![])).collect();
    let timeline = Timeline {
        cpus: &cpus,
        stays: &[],
        sched: Some(&SchedHistory::default()),
        governor: &governor(),
        missing: Missing::default(),
        frequency: Frequency::new(FREQUENCIES[0]).expect("not 0"),
        step_name_fn: |_: usize| StepName::from(""),
        interrupt_name_fn: |intid| intid,
    };
    let json: Value = serde_json::from_str(&timeline.to_string()).expect("JSON");
    let events = json["traceEvents"].as_array().expect("a list");
    let mut numbers = BTreeSet::from([0]);
    for event in events.iter().filter(|event| event["ph"] == "M") {
        let field = match event["name"].as_str() {
            Some("process_name") => "pid",
            _ => "tid",
        };
        let number = event[field].as_u64().expect("a number");
        assert!(
            numbers.insert(number),
            "{event} has a number that was there"
        );
    }
    assert!(numbers.len() > 5 * MAX_CPUS);
}

/// What a governor records: a measurement, a decision that is carried out in part, and one that is
/// under way.
fn governor() -> [GovernorRecord; 4] {
    let load = Load {
        busy: 1_000,
        waiting: 2_750,
    };
    let (reason, from, to) = (Reason::Waiting, 1, 4);
    let decided = GovernorEvent::Decided {
        reason,
        from,
        to,
        load,
    };
    let done = GovernorEvent::Done {
        reason,
        wanted: to,
        online: 3,
    };
    let measured = GovernorEvent::Measured { online: 1, load };
    let mut at = 0;
    [measured, decided, done, decided].map(|event| {
        at += 1_000;
        GovernorRecord {
            at: Instant(at),
            on: cpu(CONTROL),
            event,
        }
    })
}

#[test]
fn the_governor_has_a_slice_for_each_decision_and_two_counters() {
    let timeline = Timeline {
        cpus: &[(cpu(CONTROL), vec![], vec![])],
        stays: &[],
        sched: None,
        governor: &governor(),
        missing: Missing::default(),
        frequency: Frequency::new(1_000_000_000).expect("not 0"),
        step_name_fn: |_: usize| StepName::from(""),
        interrupt_name_fn: |intid| intid,
    };
    let json: Value = serde_json::from_str(&timeline.to_string()).expect("JSON");
    let slices = slices(&json);
    let [slice] = slices[..] else {
        panic!("{json}");
    };
    assert_eq!(
        (slice["name"].as_str(), span(slice)),
        (Some("up: waiting"), (2_000.0, 3_000.0))
    );
    assert_eq!(
        slice["args"],
        serde_json::json!({"ok": false, "from": 1, "to": 4})
    );
    let events = json["traceEvents"].as_array().expect("a list");
    let values = |name: &str| -> Vec<&Value> {
        let is_it = |event: &&Value| event["ph"] == "C" && event["name"] == name;
        events
            .iter()
            .filter(is_it)
            .map(|event| &event["args"])
            .collect()
    };
    let online: Vec<_> = values("CPUs")
        .iter()
        .map(|args| args["online"].as_u64())
        .collect();
    assert_eq!(online, [Some(1), Some(1), Some(3), Some(1)]);
    assert_eq!(
        values("load"),
        [&serde_json::json!({"busy": 1.0, "waiting": 2.75})]
    );
    assert_eq!(json["otherData"]["counters"], "5");
}

#[test]
fn each_part_is_a_slice_inside_its_walk() {
    for hz in FREQUENCIES {
        let mut writer = Writer::new(hz);
        writer.up();
        writer.down();
        let json = json(&writer.records, &writer, hz, "");
        let slices = slices(&json);
        let walks = writer.walks();
        // DEAD takes no time; what lies between steps is a sum. Three CPUs were in the stop.
        let has_place = |part: &&Part| !matches!(part.kind, PartKind::Dead | PartKind::Between);
        let parts = walks.iter().flat_map(|walk| &walk.parts);
        let parts = parts.filter(has_place).count();
        assert_eq!(slices.len(), walks.len() + parts + 3);
        assert_eq!(json["otherData"]["slices"], slices.len().to_string());
        let of_walks = slices.iter().filter(|slice| slice["pid"] == 1);
        let mut walk = None;
        let mut last = 0.0;
        for slice in of_walks {
            let (began, ended) = span(slice);
            assert_eq!(track_name(&json, slice), format!("CPU {AP}"));
            if slice["name"] == "up" || slice["name"] == "down" {
                walk = Some((began, ended));
                last = began;
                continue;
            }
            let (walk_began, walk_ended) = walk.expect("a walk comes before its parts");
            assert!(walk_began <= began && ended <= walk_ended, "{slice}");
            assert!(
                last <= began,
                "{slice} begins before the one before it ends"
            );
            last = ended;
        }
        let dead = json["traceEvents"].as_array().expect("a list");
        assert_eq!(dead.iter().filter(|event| event["ph"] == "i").count(), 1);
        assert_eq!(json["otherData"]["instants"], "1");
        // Nobody has recorded what ran: there is no group for it.
        assert!(
            dead.iter()
                .all(|event| event["pid"] == 1 || event["pid"] == 2)
        );
    }
}

#[test]
fn what_has_no_beginning_or_no_end_is_no_stay() {
    let mut writer = Writer::new(1);
    writer.stop(MultiStopState::Exit);
    writer.stop(MultiStopState::Prepare);
    writer.stop(MultiStopState::Abort);
    writer.stop(MultiStopState::Prepare);
    let stays = recorded_stays(&writer.records);
    let given_up: Vec<_> = stays.iter().map(|stay| (stay.on, stay.given_up)).collect();
    let expected = [1, CONTROL, AP].map(|number| (cpu(number), true));
    assert_eq!(given_up, expected);
    // One arrival is lost, and the CPU arrives again.
    writer.stop(MultiStopState::Prepare);
    writer.stop(MultiStopState::Exit);
    let stays = recorded_stays(&writer.records);
    assert_eq!(stays.len(), 6);
    assert!(!stays[5].given_up && stays[5].ticks < 1000);
}

#[test]
fn a_step_may_have_any_name_and_fail() {
    let name = "mine:\"quoted\"\\\n\u{1}ü";
    let mut writer = Writer::new(2);
    let (cpu, step) = (cpu(AP), 7);
    let begin = Event::CallBegin {
        cpu,
        step,
        direction: Up,
    };
    writer.write(AP, begin);
    let end = Event::CallEnd {
        cpu,
        step,
        direction: Up,
        ok: false,
    };
    writer.write(AP, end);
    let json = json(&writer.records, &writer, FREQUENCIES[0], name);
    let slices = slices(&json);
    assert_eq!(slices.len(), 1);
    assert_eq!(slices[0]["name"], name);
    assert_eq!(slices[0]["args"]["ok"], false);
    assert_eq!(slices[0]["args"]["on"], AP);
}
