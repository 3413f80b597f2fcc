//! Model of a trace ring, from the kernel's own file. A reader on another CPU never sees an
//! event that is mixed from two, whichever threads of the ring's CPU write them.
#![cfg(loom)]

#[path = "support/loom_orders.rs"]
mod loom_orders;

use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use loom_orders::every_order;
use stillpoint::config::TRACE_EVENTS;
use stillpoint::cpu::CpuId;
use stillpoint::sync::{IrqFlags, IrqGuard, LocalCpu};
use stillpoint::time::Instant;
use stillpoint::trace::{Event, Record, Trace};

/// How many events are written: one more than the ring has slots.
const EVENTS: u8 = 3;

loom::lazy_static! {
    static ref MASKED: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());
}

/// The CPU that writes. The threads of the model are threads of this CPU. Each can preempt
/// the other at any moment, except while IRQs are masked.
struct Cpu;

impl LocalCpu for Cpu {
    fn irq_save() -> IrqFlags {
        let mut masked = MASKED.0.lock().expect("never poisoned");
        while *masked {
            masked = MASKED.1.wait(masked).expect("never poisoned");
        }
        *masked = true;
        IrqFlags(0)
    }
    unsafe fn irq_restore(_: IrqFlags) {
        *MASKED.0.lock().expect("never poisoned") = false;
        MASKED.1.notify_one();
    }
    unsafe fn irq_enable() {}
    fn irqs_enabled() -> bool {
        !*MASKED.0.lock().expect("never poisoned")
    }
    fn preempt_disable() {}
    unsafe fn preempt_enable_no_resched() {}
    fn preempt_count() -> u32 {
        0
    }
    fn preempt_point() {}
    fn relax() {
        thread::yield_now();
    }
}

fn write(trace: &Trace, number: u8) {
    let here = || (CpuId::BOOT, Instant(u64::from(number)));
    trace.write::<Cpu>(here, Event::Stop { state: number });
}

/// Does as [`write`], where IRQs are masked already.
fn write_masked(trace: &Trace, number: u8) {
    let masked = IrqGuard::<Cpu>::new();
    let at = Instant(u64::from(number));
    trace.write_masked(&masked, CpuId::BOOT, at, Event::Stop { state: number });
}

/// Reads the ring; checks that each event is whole and comes once.
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
    every_order(|| {
        let trace = Arc::new(Trace::new(1));
        let reading = Arc::clone(&trace);
        // The reader is the one that is started. Loom remembers one access of an atomic, so a
        // writer that begins with a load would hide from it what a reader before it has loaded,
        // and it would try no other order.
        let reader = thread::spawn(move || drop(collect(&reading)));
        (1..=EVENTS).for_each(|number| write(&trace, number));
        reader.join().expect("a CPU of the model");
        let records = collect(&trace);
        assert_eq!(records.len(), TRACE_EVENTS);
        assert_eq!(records[1].at, Instant(u64::from(EVENTS)));
    });
}

/// One thread would be preempted while it writes an event, by another thread that fills the
/// whole ring. Both would then write the same slot and spoil the last event.
#[test]
fn a_thread_that_is_preempted_spoils_no_later_event() {
    every_order(|| {
        let trace = Arc::new(Trace::new(1));
        let writing = Arc::clone(&trace);
        let preempted = thread::spawn(move || write(&writing, EVENTS));
        (1..EVENTS).for_each(|number| write_masked(&trace, number));
        preempted.join().expect("a thread of the model");
        assert_eq!(collect(&trace).len(), TRACE_EVENTS);
    });
}
