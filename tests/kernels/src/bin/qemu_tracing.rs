//! Tracing off and on: while it is off each trace point is one NOP and no event comes, from the
//! boot on if the boot argument says so. A switch waits for walks, so that the rings have whole
//! ones. Scheduling events are off at first and cost nothing then; on, a stop is found in them whole:
//! its SGIs, the interrupts that they raise, each stopper that runs, and its states.

//@ smp: 1 2 4
//@ timeout: 240
//@ cases: switch off-at-boot
//@ case: off-at-boot
//@ append: tracing_on=0

#![no_std]
#![no_main]

extern crate alloc;

stillpoint::entry!(main);

use alloc::sync::Arc;
use alloc::vec::Vec;

use stillpoint::api::hotplug::{cpu_down, cpu_up, cpus_read_lock};
use stillpoint::api::static_key::KeyError;
use stillpoint::api::thread::{self, JoinHandle};
use stillpoint::arch::aarch64::{image, text};
use stillpoint::cpu::CpuId;
use stillpoint::kernel::{
    Hw, is_tracing, kernel, set_sched_tracing, set_tracing, wants_sched_tracing,
};
use stillpoint::patch::Site;
use stillpoint::platform::{Platform, Sgi, ThreadName};
use stillpoint::stop_machine::MultiStopState;
use stillpoint::sync::atomic::{AtomicBool, Ordering};
use stillpoint::time::Instant;
use stillpoint::trace::{Event, Missing, Record, SchedEvent, SchedRecord};
use stillpoint::{api, println};

use kernel_support::case::case;
use kernel_support::ktap::Ktap;
use kernel_support::machine::secondaries;

/// How often tracing is switched while CPUs come and go.
const SWITCHES: usize = 40;

fn main() {
    let mut ktap = Ktap::new();
    let began_on = case() == "switch";
    ktap.equal(
        "tracing is as the boot argument says",
        is_tracing(),
        began_on,
    );
    points(&mut ktap, began_on, false);
    ktap.check(
        "there are events of the boot, or none",
        records(Instant(0)).is_empty() != began_on,
    );
    nothing_comes(&mut ktap);
    it_comes(&mut ktap);
    refused(&mut ktap);
    scheduling(&mut ktap);
    whole_walks(&mut ktap);
    ktap.finish()
}

/// Returns the events of all rings from `since` on.
fn records(since: Instant) -> Vec<Record> {
    kernel().trace.collect(|record| record.at >= since)
}

/// Returns how many trace points of walks and stops have the instruction of a key that is on, and how
/// many that of one that is off; then the same for those of scheduling events. The program has no
/// key, and the kernel's other ones have fewer sites than these two.
fn words() -> [(usize, usize); 2] {
    // Only scheduling events are recorded at a call and at a return.
    let all = || image::static_keys().iter().map(|entry| entry.site());
    let key_of_sched = all().find(|site| site.kind > 1).map(|site| site.key);
    let others = all().map(|site| site.key);
    let others = others.filter(|key| Some(*key) != key_of_sched);
    let sites_of = |key: usize| all().filter(|site| site.key == key).count();
    let key_of_walks = others.max_by_key(|key| sites_of(*key));
    let with_word = |on: bool, of_sched: bool| {
        let key = if of_sched { key_of_sched } else { key_of_walks };
        let of = all().filter(move |site| Some(site.key) == key);
        let has_word = |site: &Site| {
            // SAFETY: the table has addresses of instructions.
            let found = unsafe { text::read(site.at) };
            site.word(on) == Ok(found)
        };
        of.filter(has_word).count()
    };
    [false, true].map(|of_sched| (with_word(true, of_sched), with_word(false, of_sched)))
}

fn points(ktap: &mut Ktap, on: bool, sched_on: bool) {
    let [points, sched] = words();
    println!("# {points:?} trace points, on and off; {sched:?} of scheduling events");
    let (right, wrong) = if on { points } else { (points.1, points.0) };
    ktap.check("there are trace points", right >= 10);
    let name = if on {
        "on, each trace point is a branch"
    } else {
        "off, each trace point is a NOP"
    };
    ktap.equal(name, wrong, 0);
    let (right, wrong) = if sched_on { sched } else { (sched.1, sched.0) };
    ktap.check(
        "those of scheduling events are as they should be",
        right >= 5 && wrong == 0,
    );
}

/// Has CPUs come and go, and the machine stop.
fn work() {
    for cpu in secondaries() {
        assert_eq!((cpu_down(cpu), cpu_up(cpu)), (Ok(()), Ok(())));
    }
    assert_eq!(api::stop_machine(|| ()), Ok(()));
}

fn nothing_comes(ktap: &mut Ktap) {
    ktap.equal("tracing is switched off", set_tracing(false), Ok(()));
    ktap.equal(
        "once more",
        (set_tracing(false), is_tracing()),
        (Ok(()), false),
    );
    points(ktap, false, false);
    let since = Hw::now();
    work();
    ktap.equal("off, no event comes", records(since), Vec::new());
}

fn it_comes(ktap: &mut Ktap) {
    ktap.equal("tracing is switched on", set_tracing(true), Ok(()));
    ktap.check("it is on", is_tracing());
    points(ktap, true, false);
    let since = Hw::now();
    work();
    let records = records(since);
    let walks = records
        .iter()
        .filter(|record| matches!(record.event, Event::WalkEnd { .. }));
    ktap.equal(
        "on, each walk is recorded",
        walks.count(),
        2 * secondaries().len(),
    );
    let is_stop = |record: &Record| matches!(record.event, Event::Stop { .. });
    ktap.check("on, stops are recorded", records.iter().any(is_stop));
}

fn refused(ktap: &mut Ktap) {
    let held = cpus_read_lock();
    let refused = set_tracing(false);
    drop(held);
    ktap.equal(
        "under the hotplug lock a switch is refused",
        (refused, is_tracing()),
        (Err(KeyError::WouldDeadlock), true),
    );
}

/// Returns the scheduling events of `cpu`.
fn sched_of(cpu: CpuId) -> Vec<SchedRecord> {
    let (records, missing) = kernel().trace.sched_of(cpu).unwrap_or_default();
    assert_eq!(missing, Missing::default(), "one stop is few events");
    records
}

/// Returns the times of the events of `records` that are as `is_fn` says.
fn times(records: &[SchedRecord], is_fn: impl Fn(&SchedEvent) -> bool) -> Vec<Instant> {
    let found = records.iter().filter(|record| is_fn(&record.event));
    found.map(|record| record.at).collect()
}

fn scheduling(ktap: &mut Ktap) {
    ktap.check("no scheduling event is wanted", !wants_sched_tracing());
    ktap.check("there are no rings of them", all_sched().is_empty());
    ktap.equal("they are switched on", set_sched_tracing(true), Ok(()));
    points(ktap, true, true);
    // Each runs a stopper, and what ran before has the CPU again.
    let since = Hw::now();
    assert_eq!(api::stop_machine(|| ()), Ok(()));
    while !all_sched()
        .iter()
        .all(|(_, records)| is_back(records, since))
    {
        thread::yield_now();
    }
    ktap.equal("and off", set_sched_tracing(false), Ok(()));
    points(ktap, true, false);
    a_stop(ktap, since);
    let before = all_sched();
    work();
    ktap.check("off, none comes", all_sched() == before);
}

fn all_sched() -> Vec<(CpuId, Vec<SchedRecord>)> {
    let cpus = kernel().masks.online();
    let all = cpus.iter().map(|cpu| (cpu, sched_of(cpu)));
    all.filter(|(_, records)| !records.is_empty()).collect()
}

/// Returns whether the stopper has run since `since`, and another thread after it.
fn is_back(records: &[SchedRecord], since: Instant) -> bool {
    let mut switches = records.iter().filter_map(|record| match record.event {
        SchedEvent::Switch { name, .. } if record.at >= since => Some(name),
        _ => None,
    });
    let mut is_stopper = || {
        let name = switches.next();
        name.map(|name| name.as_str().starts_with("stopper/"))
    };
    let mut turn = is_stopper();
    while turn == Some(false) {
        turn = is_stopper();
    }
    turn == Some(true) && is_stopper().is_some()
}

/// Looks for the stop since `since` in the rings.
fn a_stop(ktap: &mut Ktap, since: Instant) {
    let all = all_sched();
    let records = |cpu: CpuId| -> Vec<SchedRecord> {
        let of_cpu = all.iter().find(|(of, _)| *of == cpu);
        let records = of_cpu.map(|(_, records)| records.as_slice());
        let of_stop = records.unwrap_or_default().iter();
        of_stop
            .filter(|record| record.at >= since)
            .copied()
            .collect()
    };
    let each: Vec<_> = all.iter().map(|(cpu, _)| (*cpu, records(*cpu))).collect();
    let ran = |(cpu, records): &(CpuId, Vec<SchedRecord>)| {
        let stopper = ThreadName::of_cpu("stopper", *cpu);
        times(
            records,
            |event| matches!(event, SchedEvent::Switch { name, .. } if *name == stopper),
        )
    };
    let online = kernel().masks.online().count();
    ktap.equal("every CPU has events", each.len(), online);
    ktap.check(
        "every stopper ran",
        each.iter().all(|each| !ran(each).is_empty()),
    );
    let of_state = |state: MultiStopState| -> Vec<Instant> {
        let is = |event: &SchedEvent| {
            *event
                == SchedEvent::State {
                    state: state as u8,
                    with: None,
                }
        };
        each.iter()
            .flat_map(|(_, records)| times(records, is))
            .collect()
    };
    // The one that switched them off is a stop, too, but its end isn't recorded.
    let first = |state| of_state(state).into_iter().min();
    let states = [
        MultiStopState::DisableIrq,
        MultiStopState::Run,
        MultiStopState::Exit,
    ];
    let states: Option<Vec<Instant>> = states.into_iter().map(first).collect();
    ktap.check(
        "its states were published one after the other",
        states.is_some_and(|states| states.is_sorted()),
    );
    let stop = Sgi::Stop.number();
    let raised = |(cpu, records): &(CpuId, Vec<SchedRecord>)| {
        let is_irq = |event: &SchedEvent| *event == SchedEvent::IrqBegin { intid: stop.into() };
        let taken = times(records, is_irq).into_iter().min();
        let all = each.iter().flat_map(|(_, records)| records);
        let sent = all.filter(|record| record.event.is_sgi_to(stop, *cpu));
        let sent = sent.map(|record| record.at).min();
        // Its own stopper a CPU wakes without an SGI. One that sleeps may have its SGI posted.
        let made_due =
            |record: &SchedRecord| record.event == SchedEvent::IrqEnd { makes_due: true };
        let (sent, taken) = (sent?, taken?);
        let after = records.iter().filter(|record| record.at >= taken);
        let runs = ran(&(*cpu, records.clone()));
        let runs_then = runs.first().is_some_and(|run| taken <= *run);
        Some(sent <= taken && after.into_iter().any(made_due) && runs_then)
    };
    let raised: Vec<_> = each.iter().filter_map(raised).collect();
    ktap.check(
        "each SGI raised an interrupt, and that its stopper",
        raised.len() + 1 >= online && raised.into_iter().all(|right| right),
    );
}

fn mover(over: &Arc<AtomicBool>, cpu: CpuId) -> JoinHandle<()> {
    let over = Arc::clone(over);
    thread::spawn(move || {
        while !over.load(Ordering::Relaxed) {
            assert_eq!((cpu_down(cpu), cpu_up(cpu)), (Ok(()), Ok(())));
        }
    })
}

/// Returns whether each event of a walk in the ring of `cpu` lies between a beginning and an end.
fn are_whole(cpu: CpuId) -> bool {
    // The oldest walk may have lost its beginning.
    let records = kernel().trace.walks_of(cpu, Instant(0));
    let is_begin = |record: &Record| matches!(record.event, Event::WalkBegin { .. });
    let mut inside = false;
    records
        .iter()
        .skip_while(|record| !is_begin(record))
        .all(|record| {
            let was_inside = inside;
            match record.event {
                Event::WalkBegin { .. } => inside = true,
                Event::WalkEnd { .. } => inside = false,
                _ => {}
            }
            was_inside != is_begin(record)
        })
        && !inside
}

fn whole_walks(ktap: &mut Ktap) {
    let name = "switched while CPUs come and go, the rings have whole walks";
    let cpus = secondaries();
    if cpus.is_empty() {
        ktap.inapplicable(name, "one CPU");
        return;
    }
    let over = Arc::new(AtomicBool::new(false));
    let movers: Vec<_> = cpus.iter().map(|cpu| mover(&over, *cpu)).collect();
    let mut switched = true;
    let mut on = true;
    for _ in 0..SWITCHES {
        on = !on;
        switched &= set_tracing(on) == Ok(()) && is_tracing() == on;
    }
    over.store(true, Ordering::Relaxed);
    movers.into_iter().for_each(JoinHandle::join);
    ktap.check(name, switched && cpus.into_iter().all(are_whole));
}
