//! The timeline of scheduling events: threads, interrupts, states of stops, and the arrows between
//! them. Whatever the rings hold, slices nest, and each arrow leads from a slice to a slice.

use serde_json::Value;
use stillpoint::config::MASK_WORDS;
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::hotplug::{RecordedStay, SchedHistory, StepName, Timeline, recorded_stays};
use stillpoint::platform::ThreadName;
use stillpoint::stop_machine::MultiStopState::{self, Abort, DisableIrq, Exit, Prepare, Run};
use stillpoint::time::{Frequency, Instant};
use stillpoint::trace::{Event, Missing, Record, SchedEvent, SchedRecord};

use crate::history::cpu;
use crate::timeline::{FREQUENCIES, slices, span};
use crate::xorshift::Random;

const STOP: u32 = 3;
const RESCHEDULE: u32 = 2;
const THREADS: u64 = 3;
const INTERRUPTS: u64 = 4;

/// The rings of some CPUs, at a clock of one tick in a nanosecond.
struct Rings {
    sched: Vec<(CpuId, Vec<SchedRecord>)>,
    stops: Vec<Record>,
}

impl Rings {
    fn new(cpus: usize) -> Rings {
        Rings {
            sched: (0..cpus).map(|on| (cpu(on), Vec::new())).collect(),
            stops: Vec::new(),
        }
    }

    fn write(&mut self, at: u64, on: usize, event: SchedEvent) {
        let at = Instant(at);
        self.sched[on].1.push(SchedRecord { at, event });
    }

    fn switch(&mut self, at: u64, on: usize, name: &str) {
        let event = SchedEvent::Switch {
            thread: u32::from(name != "idle/0") * 7,
            name: ThreadName::new(format_args!("{name}")),
            is_idle: name.starts_with("idle/"),
        };
        self.write(at, on, event);
    }

    fn interrupt(&mut self, (at, end): (u64, u64), on: usize, intid: u32, makes_due: bool) {
        self.write(at, on, SchedEvent::IrqBegin { intid });
        self.write(end, on, SchedEvent::IrqEnd { makes_due });
    }

    fn send(&mut self, at: u64, on: usize, number: u32, to: &[usize]) {
        let to: CpuMask = to.iter().map(|to| cpu(*to)).collect();
        let bits: &[u64; MASK_WORDS] = to.bits();
        let event = SchedEvent::Sgi {
            number: u8::try_from(number).expect("small"),
            first_word: 0,
            targets: [bits[0], bits[1], bits[2]],
        };
        self.write(at, on, event);
    }

    fn state(&mut self, at: u64, on: usize, state: MultiStopState, with: Option<usize>) {
        let state = state as u8;
        let with = with.map(cpu);
        self.write(at, on, SchedEvent::State { state, with });
    }

    fn stay(&mut self, (at, end): (u64, u64), on: usize, how: MultiStopState) {
        for (at, state) in [(at, Prepare), (end, how)] {
            let (at, on) = (Instant(at), cpu(on));
            let state = state as u8;
            let event = Event::Stop { state };
            self.stops.push(Record { at, on, event });
        }
    }

    fn json(&self, until: u64, hz: u64) -> Value {
        let mut stops = self.stops.clone();
        stops.sort_by_key(|record| record.at);
        let history = SchedHistory::new(&self.sched, &stops, Instant(until));
        let cpus: Vec<_> = self
            .sched
            .iter()
            .map(|(cpu, _)| (*cpu, Vec::new(), Vec::new()))
            .collect();
        let stays: Vec<RecordedStay> = recorded_stays(&stops);
        let timeline = Timeline {
            cpus: &cpus,
            stays: &stays,
            sched: Some(&history),
            governor: &[],
            missing: Missing { lost: 5, torn: 2 },
            frequency: Frequency::new(hz).expect("not 0"),
            step_name_fn: |_: usize| StepName::from("none"),
            interrupt_name_fn: |intid| format!("irq \"{intid}\""),
        };
        let text = timeline.to_string();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
    }
}

/// Returns the CPU that the track of an event is of.
fn cpu_of(event: &Value) -> u64 {
    let track = event["tid"].as_u64().expect("a track");
    track - 1000 * event["pid"].as_u64().expect("a group")
}

/// Returns the slices of a group: CPU, name, beginning and end in nanoseconds.
fn of_group(json: &Value, group: u64) -> Vec<(u64, String, f64, f64)> {
    let of = slices(json)
        .into_iter()
        .filter(|slice| slice["pid"] == group);
    let row = |slice: &Value| {
        let (began, ended) = span(slice);
        let name = slice["name"].as_str().expect("a name").to_owned();
        (cpu_of(slice), name, began, ended)
    };
    of.map(row).collect()
}

/// An end of an arrow: group, track and nanosecond.
type End = (u64, u64, f64);

/// Returns the arrows: their names and their ends.
fn arrows(json: &Value) -> Vec<(String, [End; 2])> {
    let events = json["traceEvents"].as_array().expect("a list");
    let ends = |kind: &'static str| events.iter().filter(move |event| event["ph"] == kind);
    let place = |event: &Value| {
        let number = |field: &str| event[field].as_u64().expect("a number");
        let us = event["ts"].as_f64().expect("a time");
        (number("pid"), cpu_of(event), (us * 1000.0).round())
    };
    assert_eq!(ends("s").count(), ends("f").count());
    let arrow = |from: &Value| {
        let mut to = ends("f").filter(|to| to["id"] == from["id"] && to["cat"] == from["cat"]);
        let (to, other) = (to.next().expect("it ends"), to.next());
        assert_eq!((&to["name"], &to["bp"]), (&from["name"], &"e".into()));
        assert_eq!(other, None, "an id of its own");
        let name = from["name"].as_str().expect("a name").to_owned();
        (name, [place(from), place(to)])
    };
    ends("s").map(arrow).collect()
}

fn row(track: u64, name: &str, began: f64, ended: f64) -> (u64, String, f64, f64) {
    (track, name.to_owned(), began, ended)
}

/// A stop of two CPUs, called on CPU 0 while CPU 1 is idle.
fn a_stop() -> Rings {
    let mut rings = Rings::new(2);
    rings.switch(100, 0, "main");
    rings.switch(110, 1, "idle/1");
    rings.send(200, 0, STOP, &[1]);
    rings.switch(210, 0, "stopper/0");
    rings.interrupt((220, 225), 1, STOP, true);
    rings.switch(230, 1, "stopper/1");
    rings.state(245, 1, DisableIrq, None);
    rings.state(250, 0, Run, None);
    rings.state(260, 0, Exit, None);
    rings.send(261, 0, 0, &[1]);
    rings.interrupt((265, 266), 1, 0, false);
    rings.switch(280, 0, "main");
    rings.switch(290, 1, "idle/1");
    rings.stay((215, 270), 0, Exit);
    rings.stay((240, 275), 1, Exit);
    rings
}

#[test]
fn a_stop_has_its_threads_its_interrupts_its_states_and_its_arrows() {
    let json = a_stop().json(400, 1_000_000_000);
    assert_eq!(
        of_group(&json, THREADS),
        [
            row(0, "main", 100.0, 210.0),
            row(0, "stopper/0", 210.0, 280.0),
            row(0, "main", 280.0, 400.0),
            row(1, "idle", 110.0, 230.0),
            row(1, "stopper/1", 230.0, 290.0),
            row(1, "idle", 290.0, 400.0),
        ]
    );
    assert_eq!(
        of_group(&json, INTERRUPTS),
        [
            row(1, "irq \"3\"", 220.0, 225.0),
            row(1, "irq \"0\"", 265.0, 266.0)
        ]
    );
    let mut of_stop = Vec::new();
    for (track, began, ended) in [(0, 215.0, 270.0), (1, 240.0, 275.0)] {
        of_stop.extend([
            row(track, "stop", began, ended),
            row(track, "prepare", began, 245.0),
            row(track, "disable_irq", 245.0, 250.0),
            row(track, "run", 250.0, 260.0),
            row(track, "exit", 260.0, ended),
        ]);
    }
    assert_eq!(of_group(&json, 2), of_stop);
    let [sgi, woken] = ["sgi", "woken"].map(str::to_owned);
    assert_eq!(
        arrows(&json),
        [
            (sgi.clone(), [(3, 0, 200.0), (4, 1, 220.0)]),
            (sgi, [(3, 0, 261.0), (4, 1, 265.0)]),
            (woken, [(4, 1, 220.0), (3, 1, 230.0)]),
        ]
    );
    let expected = serde_json::json!({
        "slices": "18", "flows": "3", "instants": "0", "counters": "0", "lost": "5", "torn": "2"
    });
    assert_eq!(json["otherData"], expected);
    let goes_on = slices(&json)
        .iter()
        .filter(|slice| slice["args"]["goes_on"] == true)
        .count();
    assert_eq!(goes_on, 2);
}

#[test]
fn a_state_needs_its_beginning_and_its_end() {
    let mut rings = a_stop();
    // DISABLE_IRQ isn't recorded: neither PREPARE nor DISABLE_IRQ has both its ends.
    rings.sched[1]
        .1
        .retain(|record| !matches!(record.event, SchedEvent::State { .. }));
    let names: Vec<_> = of_group(&rings.json(400, 1_000_000_000), 2)
        .into_iter()
        .map(|(_, name, ..)| name)
        .collect();
    assert_eq!(names, ["stop", "run", "exit", "stop", "run", "exit"]);
}

#[test]
fn the_states_of_a_pair_are_those_of_its_two_cpus() {
    let mut rings = Rings::new(4);
    for (first, offset) in [(0, 0), (2, 1)] {
        for (at, state) in [(20, DisableIrq), (30, Run), (40, Exit)] {
            rings.state(at + offset, first, state, Some(first + 1));
        }
        rings.stay((10 + offset, 50 + offset), first, Exit);
        rings.stay((11 + offset, 51 + offset), first + 1, Exit);
    }
    let json = rings.json(60, 1_000_000_000);
    let runs: Vec<_> = of_group(&json, 2)
        .into_iter()
        .filter(|(_, name, ..)| name == "run")
        .collect();
    let pair = |track, began: f64| row(track, "run", began, began + 10.0);
    // In the order in which the stays ended.
    assert_eq!(
        runs,
        [pair(0, 30.0), pair(1, 30.0), pair(2, 31.0), pair(3, 31.0)]
    );
}

#[test]
fn a_stop_that_was_given_up_has_no_states() {
    let mut rings = Rings::new(1);
    rings.stay((10, 50), 0, Abort);
    rings.state(60, 0, DisableIrq, None);
    assert_eq!(
        of_group(&rings.json(60, 1_000_000_000), 2),
        [row(0, "stop", 10.0, 50.0)]
    );
}

#[test]
fn what_has_no_beginning_or_no_end_is_left_out() {
    let mut rings = Rings::new(2);
    rings.write(5, 0, SchedEvent::IrqEnd { makes_due: true });
    rings.switch(10, 0, "first");
    rings.write(20, 0, SchedEvent::IrqBegin { intid: 27 });
    rings.switch(30, 0, "idle/0");
    rings.write(40, 0, SchedEvent::IrqBegin { intid: 27 });
    // It left at 45, and its idle thread goes on when it is back.
    let dead = |at| Record {
        at: Instant(at),
        on: cpu(0),
        event: Event::Dead,
    };
    rings.stops.push(dead(45));
    rings.switch(70, 0, "stopper/0");
    // No handler goes on across a switch: this is the end of one whose beginning is lost.
    rings.write(75, 0, SchedEvent::IrqEnd { makes_due: false });
    rings.stops.push(dead(80));
    let json = rings.json(100, 1_000_000_000);
    assert_eq!(
        of_group(&json, THREADS),
        [
            row(0, "first", 10.0, 30.0),
            row(0, "idle", 30.0, 45.0),
            row(0, "stopper/0", 70.0, 80.0)
        ]
    );
    assert_eq!(of_group(&json, INTERRUPTS), []);
    assert_eq!(arrows(&json), []);
}

#[test]
fn an_arrow_leads_to_the_interrupt_that_the_sgi_raised() {
    let mut rings = Rings::new(3);
    rings.switch(10, 0, "a");
    rings.send(15, 0, RESCHEDULE, &[2]); // CPU 2 has nothing from this time.
    rings.switch(20, 1, "b");
    rings.switch(20, 2, "c");
    rings.send(30, 0, RESCHEDULE, &[1, 2]);
    rings.send(31, 1, RESCHEDULE, &[2]);
    rings.send(32, 1, STOP, &[2]);
    rings.interrupt((40, 41), 2, RESCHEDULE, false);
    rings.send(42, 0, RESCHEDULE, &[2]);
    rings.interrupt((50, 51), 2, RESCHEDULE, true);
    rings.switch(55, 2, "idle/2"); // What was due has been taken by another CPU.
    rings.interrupt((60, 60), 1, RESCHEDULE, true); // It takes no time.
    rings.switch(61, 1, "d");
    let sgi = |by, sent, raised| {
        let ends = [(3, by, sent), (4, 2, raised)];
        ("sgi".to_owned(), ends)
    };
    assert_eq!(
        arrows(&rings.json(100, 1_000_000_000)),
        [sgi(0, 30.0, 40.0), sgi(1, 31.0, 40.0), sgi(0, 42.0, 50.0)]
    );
}

/// Returns rings of events at random, in an order of time and in no other order.
fn at_random(seed: u64) -> (Rings, u64) {
    let mut random = Random::new(seed);
    let mut rings = Rings::new(3);
    let mut at = 0;
    for _ in 0..300 {
        at += random.below(4) as u64;
        let on = random.below(3);
        match random.below(8) {
            0 => rings.switch(at, on, ["idle/0", "a", "b"][random.below(3)]),
            1 => rings.write(
                at,
                on,
                SchedEvent::IrqBegin {
                    intid: small(random.below(6)),
                },
            ),
            2 | 3 => {
                let makes_due = random.below(2) == 0;
                rings.write(at, on, SchedEvent::IrqEnd { makes_due });
            }
            4 => rings.send(
                at,
                on,
                small(random.below(6)),
                &[random.below(3), random.below(3)],
            ),
            5 => {
                let state = [DisableIrq, Run, Exit, Abort][random.below(4)];
                let with = (random.below(4) == 0).then(|| random.below(3));
                rings.state(at, on, state, with);
            }
            6 => {
                let state = [Prepare, Prepare, Exit, Exit, Abort][random.below(5)] as u8;
                let event = Event::Stop { state };
                let (at, on) = (Instant(at), cpu(on));
                rings.stops.push(Record { at, on, event });
            }
            _ => {
                let event = [Event::Dead, Event::Stop { state: 0 }][random.below(2)];
                let (at, on) = (Instant(at), cpu(on));
                rings.stops.push(Record { at, on, event });
            }
        }
    }
    (rings, at)
}

fn small(number: usize) -> u32 {
    u32::try_from(number).expect("small")
}

/// Checks that of any two slices of a track one is in the other, or they don't meet.
fn assert_nested(json: &Value) {
    let mut all: Vec<_> = slices(json)
        .into_iter()
        .map(|slice| {
            (
                slice["pid"].to_string(),
                slice["tid"].to_string(),
                span(slice),
            )
        })
        .collect();
    // As a reader sorts them: by their beginnings, else as they come.
    all.sort_by(|(pid, tid, (at, _)), (pid2, tid2, (at2, _))| {
        (pid, tid).cmp(&(pid2, tid2)).then(at.total_cmp(at2))
    });
    let mut open: Vec<(String, String, f64)> = Vec::new();
    for (pid, tid, (began, ended)) in all {
        open.retain(|(p, t, end)| (p, t) == (&pid, &tid) && (*end > began || ended <= *end));
        if let Some((.., end)) = open.last() {
            assert!(
                ended <= *end,
                "{pid} {tid}: {began} to {ended} leaves the one that ends at {end}"
            );
        }
        open.push((pid, tid, ended));
    }
}

#[test]
fn slices_nest_and_arrows_have_slices_whatever_the_rings_hold() {
    let mut seen = [0; 2];
    for seed in 0..100 {
        let (rings, end) = at_random(seed);
        for hz in FREQUENCIES {
            let json = rings.json(end + 3, hz);
            assert_nested(&json);
            let groups: Vec<_> = [THREADS, INTERRUPTS]
                .map(|group| of_group(&json, group))
                .into();
            let all = slices(&json).len();
            assert_eq!(json["otherData"]["slices"], all.to_string());
            let arrows = arrows(&json);
            assert_eq!(json["otherData"]["flows"], arrows.len().to_string());
            for (name, ends) in &arrows {
                for (group, track, at) in ends {
                    let slices = &groups[usize::try_from(*group - THREADS).expect("3 or 4")];
                    let around = |(on, _, began, ended): &(u64, String, f64, f64)| {
                        on == track && began <= at && at < ended
                    };
                    assert!(slices.iter().any(around), "{seed}: {name} {ends:?}");
                }
                assert!(
                    ends[0].2 <= ends[1].2,
                    "{seed}: {name} leads back: {ends:?}"
                );
                seen[usize::from(name == "sgi")] += 1;
            }
        }
    }
    assert!(seen.iter().all(|seen| *seen > 100), "{seen:?}");
}
