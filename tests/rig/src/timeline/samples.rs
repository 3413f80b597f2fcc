//! Traces for the tests: each as the kernel writes it, with less in it.

use serde_json::{Value, json};

/// Returns the events that name the tracks of `groups` for `cpus` CPUs.
fn names(groups: &[(u64, &str)], cpus: u64) -> Vec<Value> {
    let mut events = Vec::new();
    for (group, name) in groups {
        events
            .push(json!({"ph": "M", "name": "process_name", "pid": group, "args": {"name": name}}));
        for cpu in 0..cpus {
            let (track, name) = (group * 1000 + cpu, format!("CPU {cpu}"));
            events.push(
                json!({"ph": "M", "name": "thread_name", "pid": group, "tid": track,
                               "args": {"name": name}}),
            );
        }
    }
    events
}

/// Returns a slice on the track of `cpu` in `group`. Times are in nanoseconds.
fn slice(group: u64, cpu: u64, name: &str, from: u32, to: u32, on: u64) -> Value {
    let us = |ns: u32| f64::from(ns) / 1000.0;
    json!({"ph": "X", "name": name, "pid": group, "tid": group * 1000 + cpu, "ts": us(from),
           "dur": us(to - from), "args": {"ok": true, "on": on}})
}

fn trace(events: Vec<Value>, flows: usize) -> Value {
    let slices = events.iter().filter(|event| event["ph"] == "X").count();
    let counts = json!({"slices": slices.to_string(), "flows": flows.to_string()});
    json!({"displayTimeUnit": "ns", "traceEvents": events, "otherData": counts})
}

/// Returns a stop of four CPUs, with its states, and with the SGIs of CPU 0 to the others.
pub fn stop() -> Value {
    let mut events = names(&[(1, "walks"), (2, "still points")], 4);
    for cpu in 0..4 {
        let from = 100_000 + 900 * u32::try_from(cpu).expect("a few CPUs");
        for (name, from, to) in [
            ("stop", from, from + 4_000),
            ("prepare", from, 103_000),
            ("disable_irq", 103_000, 103_400),
            ("run", 103_400, from + 4_000),
        ] {
            events.push(slice(2, cpu, name, from, to, cpu));
        }
        if cpu > 0 {
            let mut end = |kind: &str, cpu: u64, at: f64, id: u64| {
                events.push(json!({"ph": kind, "name": "SGI", "id": id, "pid": 2,
                                   "tid": 2000 + cpu, "ts": at}));
            };
            end("s", 0, 99.5, cpu);
            end("f", cpu, f64::from(from) / 1000.0, cpu);
        }
    }
    trace(events, 3)
}

/// Returns CPU 1 of two, which goes and comes; each has a step in the table's groups, and what
/// lies between them.
pub fn walk() -> Value {
    let mut events = names(&[(1, "walks"), (2, "still points")], 2);
    let down = [
        ("call", 0),
        ("sched:active", 1),
        ("stop:request", 1),
        ("stop:mask", 1),
        ("init:online", 1),
        ("init:cpu", 1),
        ("stop:exit", 0),
        ("hand-over", 0),
        ("prep:threads", 0),
        ("return", 0),
    ];
    let up = [
        ("call", 0),
        ("prep:threads", 0),
        ("hand-over", 1),
        ("init:cpu", 1),
        ("init:online", 1),
        ("sched:active", 1),
        ("return", 0),
    ];
    for (name, parts, began) in [("down", &down[..], 500_000), ("up", &up[..], 600_000)] {
        let mut at = began;
        events.push(slice(
            1,
            1,
            name,
            began,
            began + 1000 * u32::try_from(parts.len()).expect("few"),
            0,
        ));
        for (name, on) in parts {
            events.push(slice(1, 1, name, at, at + 950, *on));
            at += 1000;
        }
    }
    events.push(json!({"ph": "i", "name": "dead", "pid": 1, "tid": 1001, "ts": 506.5, "s": "t"}));
    trace(events, 0)
}

/// Returns a trace of these slices: the group, the name, and from when to when. Each is on the next
/// CPU if it overlaps one before in its group, but for the state `run`, which is on CPU 0.
pub fn of(slices: &[(u64, &str, u32, u32)]) -> Value {
    let mut events = names(&[(1, "walks"), (2, "still points")], 4);
    for (number, (group, name, from, to)) in slices.iter().enumerate() {
        let before = slices[..number].iter();
        let overlaps = before.filter(|(of, _, _, end)| of == group && end > from);
        let cpu = if *name == "run" {
            0
        } else {
            overlaps.count() as u64
        };
        events.push(slice(*group, cpu, name, *from, *to, 0));
    }
    trace(events, 0)
}
