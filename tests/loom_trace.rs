//! Model of a trace ring, from the file that ships: a reader on another CPU never
//! sees an event put together from two.
#![cfg(loom)]

use loom::sync::Arc;
use loom::thread;
use stillpoint::config::TRACE_EVENTS;
use stillpoint::cpu::CpuId;
use stillpoint::time::Instant;
use stillpoint::trace::{Event, Record, Trace};

/// Once round the ring, and one more.
const EVENTS: u8 = 3;

fn write(trace: &Trace, number: u8) {
    let at = Instant(u64::from(number));
    trace.write(CpuId::BOOT, at, Event::Stop { state: number });
}

/// What is there; each event is whole, and comes once.
fn collect(trace: &Trace) -> Vec<Record> {
    let records = trace.collect(|_| true);
    for record in &records {
        let state = u8::try_from(record.at.0).expect("as written");
        assert_eq!(record.event, Event::Stop { state });
    }
    let numbers = records.iter().map(|record| record.at);
    assert!(numbers.is_sorted_by(|a, b| a < b), "{records:?}");
    records
}

#[test]
fn a_reader_sees_whole_events_only() {
    loom::model(|| {
        let trace = Arc::new(Trace::new(1));
        let writing = Arc::clone(&trace);
        let writer = thread::spawn(move || (1..=EVENTS).for_each(|number| write(&writing, number)));
        collect(&trace);
        writer.join().expect("a CPU of the model");
        let records = collect(&trace);
        assert_eq!(records.len(), TRACE_EVENTS);
        assert_eq!(records[1].at, Instant(u64::from(EVENTS)));
    });
}
