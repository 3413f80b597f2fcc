//! Model of the trace rings, from the kernel's own file. A reader on another CPU never sees an
//! event that is mixed from two, whichever threads of a CPU write them, and whichever CPUs
//! write one after the other, as those do that walk a CPU.
#![cfg(loom)]

#[path = "support/loom_orders.rs"]
mod loom_orders;

use loom::sync::atomic::{AtomicBool, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use loom_orders::every_order;
use stillpoint::config::{SCHED_EVENTS, STOP_EVENTS, WALK_EVENTS};
use stillpoint::cpu::CpuId;
use stillpoint::platform::ThreadName;
use stillpoint::sync::{IrqFlags, IrqGuard, LocalCpu};
use stillpoint::time::Instant;
use stillpoint::trace::{Direction, Event, Missing, Record, SchedEvent, Trace};

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
        assert_eq!(records.len(), STOP_EVENTS);
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
        assert_eq!(collect(&trace).len(), STOP_EVENTS);
    });
}

/// Writes an event of a walk of the CPU, as one of the CPUs that own the walk in turn.
fn write_step(trace: &Trace, on: usize, number: u8) {
    let here = || (cpu(on), Instant(u64::from(number)));
    let direction = Direction::Up;
    let (cpu, step) = (CpuId::BOOT, number);
    let event = Event::StepBegin {
        cpu,
        step,
        direction,
    };
    trace.write::<Cpu>(here, event);
}

fn cpu(number: usize) -> CpuId {
    CpuId::new(number).expect("a small number")
}

/// Control writes the first events of a walk and hands it over, the CPU writes the last one.
#[test]
fn a_walk_that_is_handed_over_stays_whole() {
    every_order(|| {
        let trace = Arc::new(Trace::new(1));
        let is_released = Arc::new(AtomicBool::new(false));
        let reading = Arc::clone(&trace);
        let (walking, seen) = (Arc::clone(&trace), Arc::clone(&is_released));
        let reader = thread::spawn(move || drop(steps(&reading)));
        let ap = thread::spawn(move || {
            // As the handshake word does it.
            if seen.load(Ordering::Acquire) {
                write_step(&walking, 1, EVENTS);
            }
        });
        (1..EVENTS).for_each(|number| write_step(&trace, 0, number));
        is_released.store(true, Ordering::Release);
        reader.join().expect("a CPU of the model");
        ap.join().expect("a CPU of the model");
        assert_eq!(steps(&trace).len(), WALK_EVENTS);
    });
}

/// Reads the ring of walks; checks that each event is whole, comes once, and has the CPU that
/// wrote it.
fn steps(trace: &Trace) -> Vec<Record> {
    let records = trace.walks_of(CpuId::BOOT, Instant(0));
    for record in &records {
        let Event::StepBegin { step, .. } = record.event else {
            panic!("{record:?}");
        };
        assert_eq!(record.at, Instant(u64::from(step)));
        assert_eq!(record.on, cpu(usize::from(step == EVENTS)));
    }
    let numbers = records.iter().map(|record| record.at);
    assert!(numbers.is_sorted_by(|a, b| a < b), "{records:?}");
    records
}

/// Writes that the CPU goes over to the thread of this number, whose name tells it, too.
fn write_switch(trace: &Trace, number: u8) {
    let masked = IrqGuard::<Cpu>::new();
    let event = SchedEvent::Switch {
        thread: number.into(),
        name: ThreadName::from_words([number.into(); ThreadName::WORDS]),
        is_idle: false,
    };
    trace.write_sched(&masked, CpuId::BOOT, Instant(number.into()), &event);
}

/// Reads the ring of scheduling events; checks that each event is whole, comes once, and that none
/// is missing between two. Returns how many there are and how many are missing.
fn switches(trace: &Trace) -> (usize, Missing) {
    let (records, missing) = trace.sched_of(CpuId::BOOT).expect("there are rings");
    for record in &records {
        let number = record.at.0;
        let SchedEvent::Switch { thread, name, .. } = record.event else {
            panic!("{record:?}");
        };
        let words = [number; ThreadName::WORDS];
        assert_eq!((u64::from(thread), name.to_words()), (number, words));
    }
    let numbers = records.iter().map(|record| record.at.0);
    assert!(
        numbers.is_sorted_by(|a, b| a + 1 == *b),
        "a gap in {records:?}"
    );
    (records.len(), missing)
}

#[test]
fn a_reader_sees_whole_scheduling_events_only_and_no_gap() {
    every_order(|| {
        let trace = Trace::new(1);
        assert_eq!(trace.make_sched(), Ok(()));
        let trace = Arc::new(trace);
        let reading = Arc::clone(&trace);
        let reader = thread::spawn(move || {
            let (seen, Missing { lost, torn }) = switches(&reading);
            assert!(seen as u64 + lost + torn <= u64::from(EVENTS));
        });
        (1..=EVENTS).for_each(|number| write_switch(&trace, number));
        reader.join().expect("a CPU of the model");
        let missing = Missing { lost: 1, torn: 0 };
        assert_eq!(switches(&trace), (SCHED_EVENTS, missing));
    });
}
