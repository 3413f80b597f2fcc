//! Tests of the rings of scheduling events.

use super::*;
use crate::sync::nowhere::Nowhere;

fn cpu(index: usize) -> CpuId {
    CpuId::new(index).expect("small")
}

#[test]
fn every_event_survives_its_encoding() {
    let name = ThreadName::literal("a thread's longest name");
    for event in [
        SchedEvent::Switch {
            thread: u32::MAX,
            name,
            is_idle: false,
        },
        SchedEvent::Switch {
            thread: 0,
            name,
            is_idle: true,
        },
        SchedEvent::IrqBegin { intid: 1019 },
        SchedEvent::IrqEnd { makes_due: true },
        SchedEvent::IrqEnd { makes_due: false },
        SchedEvent::Sgi {
            number: 15,
            first_word: 6,
            targets: [1, u64::MAX, 1 << 63],
        },
        SchedEvent::State {
            state: 2,
            with: None,
        },
        SchedEvent::State {
            state: 4,
            with: Some(cpu(0)),
        },
        SchedEvent::State {
            state: 4,
            with: Some(cpu(511)),
        },
    ] {
        assert_eq!(decode(encode(&event)), Some(event));
    }
    assert_eq!(decode([0; WORDS]), None);
}

fn irq(intid: u32) -> SchedEvent {
    SchedEvent::IrqBegin { intid }
}

fn write(trace: &Trace, on: usize, at: u64, event: &SchedEvent) {
    let masked = IrqGuard::<Nowhere>::new();
    trace.write_sched(&masked, cpu(on), Instant(at), event);
}

/// Returns the numbers of the interrupts in the ring of CPU 1, and what is missing.
fn intids(trace: &Trace) -> (Vec<u32>, Missing) {
    let (records, missing) = trace.sched_of(cpu(1)).expect("there are rings");
    let intid = |record: &SchedRecord| match record.event {
        SchedEvent::IrqBegin { intid } => intid,
        _ => panic!("{record:?}"),
    };
    (records.iter().map(intid).collect(), missing)
}

#[test]
fn nothing_is_recorded_before_there_are_rings() {
    let trace = Trace::new(2);
    write(&trace, 1, 1, &irq(1));
    assert_eq!(trace.sched_of(cpu(1)), None);
    assert_eq!(trace.make_sched(), Ok(()));
    assert_eq!(intids(&trace), (Vec::new(), Missing::default()));
}

#[test]
fn the_last_events_stay_and_the_lost_ones_are_counted() {
    let trace = Trace::new(2);
    assert_eq!(trace.make_sched(), Ok(()));
    let events = u32::try_from(SCHED_EVENTS).expect("few");
    for number in 0..events + 3 {
        write(&trace, 1, number.into(), &irq(number));
    }
    let (numbers, missing) = intids(&trace);
    assert!(numbers.into_iter().eq(3..events + 3));
    assert_eq!(missing, Missing { lost: 3, torn: 0 });
    // What was recorded before it was forgotten is neither there nor lost.
    trace.forget_sched();
    write(&trace, 1, 1000, &irq(7));
    assert_eq!(intids(&trace), (Vec::from([7]), Missing::default()));
}

#[test]
fn an_sgi_to_many_cpus_is_found_for_each() {
    let trace = Trace::new(2);
    assert_eq!(trace.make_sched(), Ok(()));
    let targets: CpuMask = [0, 63, 64, 191, 192, 511].map(cpu).into_iter().collect();
    let masked = IrqGuard::<Nowhere>::new();
    trace.write_sgi(&masked, cpu(1), Instant(1), 3, &targets);
    let (records, _) = trace.sched_of(cpu(1)).expect("there are rings");
    assert_eq!(records.len(), 3, "one for each three words that aren't 0");
    for index in 0..512 {
        let target = cpu(index);
        let sent = |number| {
            let is_to = |record: &&SchedRecord| record.event.is_sgi_to(number, target);
            records.iter().filter(is_to).count()
        };
        let expected = usize::from(targets.contains(target));
        assert_eq!((sent(3), sent(2)), (expected, 0), "CPU {index}");
    }
}

#[test]
fn only_what_comes_after_a_gap_is_returned() {
    let trace = Trace::new(2);
    assert_eq!(trace.make_sched(), Ok(()));
    for number in 0..5 {
        write(&trace, 1, number.into(), &irq(number));
    }
    let SchedRing { ring, .. } = trace.sched.get().expect("there are rings").get(cpu(1));
    ring.tear(2);
    let missing = Missing { lost: 0, torn: 3 };
    assert_eq!(intids(&trace), (Vec::from([3, 4]), missing));
}
