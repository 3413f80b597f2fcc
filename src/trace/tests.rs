//! Tests of the trace rings.

use super::*;

fn cpu(index: usize) -> CpuId {
    CpuId::new(index).expect("small")
}

#[test]
fn every_event_survives_its_encoding() {
    let step = |direction, ok| Event::StepEnd {
        cpu: cpu(511),
        step: 11,
        direction,
        ok,
    };
    for event in [
        step(Direction::Up, true),
        step(Direction::Down, false),
        Event::StepBegin {
            cpu: cpu(3),
            step: 0,
            direction: Direction::Down,
        },
        Event::CallBegin {
            cpu: cpu(511),
            step: 63,
            direction: Direction::Up,
        },
        Event::CallEnd {
            cpu: cpu(0),
            step: 64,
            direction: Direction::Down,
            ok: true,
        },
        Event::Stop { state: 4 },
        Event::Dead,
        Event::WalkBegin {
            cpu: cpu(511),
            direction: Direction::Down,
        },
        Event::WalkEnd { cpu: cpu(1) },
    ]
    .into_iter()
    .chain(Gap::ALL.map(|was| Event::Gap { cpu: cpu(511), was }))
    {
        let word = place_on(cpu(510), encode(event));
        assert_eq!(decode(word), Some((cpu(510), event)));
    }
    assert_eq!(decode(0), None);
}

/// Writes `event` as `on`, at `at`.
fn write(trace: &Trace, on: usize, at: u64, event: Event) {
    let (on, at, word) = (cpu(on), Instant(at), place_on(cpu(on), encode(event)));
    match event.walk() {
        Some(cpu) => trace.walks.get(cpu).put(at, [word]),
        None => trace.stops.get(on).put(at, [word]),
    }
}

#[test]
fn the_last_events_of_all_rings_come_out_by_time() {
    let trace = Trace::new(2);
    for number in 0..STOP_EVENTS as u64 + 5 {
        write(&trace, 0, 2 * number, Event::Stop { state: 0 });
    }
    write(&trace, 1, 101, Event::Dead);
    let all = trace.collect(|_| true);
    assert_eq!(all.len(), STOP_EVENTS + 1);
    assert_eq!(all[0].at, Instant(10));
    assert!(all.is_sorted_by_key(|record| record.at));
    let dead = trace.collect(|record| record.event == Event::Dead);
    assert_eq!((dead.len(), dead[0].on), (1, cpu(1)));
}

#[test]
fn what_control_does_for_others_leaves_the_walk_of_a_cpu_whole() {
    let trace = Trace::new(101);
    for of in 1..=100 {
        let (cpu, direction) = (cpu(of), Direction::Up);
        write(&trace, 0, 0, Event::WalkBegin { cpu, direction });
        for step in 0..30 {
            write(
                &trace,
                0,
                0,
                Event::StepBegin {
                    cpu,
                    step,
                    direction,
                },
            );
        }
        write(&trace, 0, 0, Event::WalkEnd { cpu });
        for _ in 0..STOP_EVENTS {
            write(&trace, of, 0, Event::Stop { state: 0 });
        }
    }
    for of in 1..=100 {
        let records = trace.walks_of(cpu(of), Instant(0));
        assert_eq!(records.len(), 32, "CPU{of}");
        assert!(records.iter().all(|record| record.on == cpu(0)));
    }
}

#[test]
fn from_when_on_all_stops_are_there_is_known() {
    let trace = Trace::new(2);
    let mut records = Vec::new();
    assert_eq!(trace.add_stops(Instant(0), &mut records), Instant(0));
    for number in 1..=STOP_EVENTS as u64 {
        write(&trace, 1, number, Event::Stop { state: 0 });
    }
    assert_eq!(trace.add_stops(Instant(9), &mut records), Instant(0));
    assert_eq!(records.len(), STOP_EVENTS - 8);
    write(&trace, 1, 1000, Event::Dead);
    assert_eq!(trace.add_stops(Instant(0), &mut records), Instant(2));
}
