//! `stress`: CPUs up and down at random, with failures now and then that must roll back.

use core::fmt;

use super::command::{bad_usage, complain};
use super::ctrl_c;
use super::machine::{Failure, Machine};
use super::numbers::number;
use super::options::{Opt, Parsed};
use super::status::{Outcome, Status};
use crate::cpu::{CpuId, CpuMask};
use crate::time::Thousandths;

/// The options of `stress`.
pub(super) const OPTIONS: [Opt; 1] = [Opt {
    short: 's',
    long: "seed",
    value: Some("number"),
    help: "choose as the run with this seed did",
}];

/// One operation in so many is to fail.
const FAILS: u64 = 4;

/// Numbers without an order, the same for the same seed (Marsaglia's xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit.max(1) as u64).unwrap_or(0)
    }
}

/// What became of the operations of one direction.
#[derive(Default)]
struct Tally {
    done: usize,
    rolled_back: usize,
    refused: usize,
    sum_ns: u64,
    most_ns: u64,
    least_ns: Option<u64>,
}

impl Tally {
    fn took(&mut self, ns: u64) {
        self.done += 1;
        self.sum_ns += ns;
        self.most_ns = self.most_ns.max(ns);
        self.least_ns = Some(self.least_ns.map_or(ns, |least| least.min(ns)));
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally {
            done,
            rolled_back,
            refused,
            ..
        } = self;
        write!(
            f,
            "{done} done, {rolled_back} rolled back, {refused} refused"
        )?;
        if let Some(least) = self.least_ns {
            let mean = self.sum_ns / (*done).max(1) as u64;
            let [least, mean, most] = [least, mean, self.most_ns].map(|ns| Thousandths(ns / 1000));
            write!(f, "; min/mean/max {least}/{mean}/{most} ms")?;
        }
        Ok(())
    }
}

/// `stress`: brings CPUs up and takes them down, so many times; then the CPUs that were online
/// are again, and no others.
pub(super) fn run<M: Machine>(machine: &M, args: &Parsed<'_>) -> Outcome {
    let seed = match args.value('s') {
        None => Some(machine.now_ns()),
        Some(word) => number(word).map(|seed| seed as u64),
    };
    let rounds = args.operands.first().and_then(|word| number(word));
    let (Some(rounds), Some(seed)) = (rounds, seed) else {
        return bad_usage(machine, "stress");
    };
    let before = machine.masks().online;
    // 0 would stay 0 for ever.
    let mut random = Random(seed.wrapping_mul(2).wrapping_add(1));
    let [mut up, mut down] = [Tally::default(), Tally::default()];
    let mut ran = 0;
    let mut is_ended = false;
    while ran < rounds && !is_ended {
        round(machine, &mut random, &mut up, &mut down);
        ran += 1;
        is_ended = ctrl_c::came(machine, core::time::Duration::ZERO);
    }
    machine.write(format_args!(
        "stress: {ran} of {rounds} rounds, seed {seed}\n"
    ));
    machine.write(format_args!("Up:   {up}\nDown: {down}\n"));
    let is_restored = restore(machine, &before);
    if is_ended {
        ctrl_c::ENDED
    } else if is_restored {
        Outcome::Continue(Status::SUCCESS)
    } else {
        Outcome::Continue(Status::FAILURE)
    }
}

/// Brings a CPU up or takes one down, perhaps with a step that fails.
fn round<M: Machine>(machine: &M, random: &mut Random, up: &mut Tally, down: &mut Tally) {
    let masks = machine.masks();
    let at = random.below(masks.possible.count());
    let Some(cpu) = masks.possible.iter().nth(at) else {
        return;
    };
    let comes = !masks.online.contains(cpu);
    if !comes && masks.online.count() == 1 {
        return;
    }
    let fails = random.0.is_multiple_of(FAILS) && inject(machine, random, cpu);
    let began = machine.now_ns();
    let one = CpuMask::of(cpu);
    let (tally, failed) = if comes {
        (up, machine.cpus_up(&one))
    } else {
        (down, machine.cpus_down(&one))
    };
    let ns = machine.now_ns().saturating_sub(began);
    match failed.first() {
        None => tally.took(ns),
        // The failure is gone once it has happened.
        Some(_) if fails && machine.failure(cpu).is_none() => tally.rolled_back += 1,
        Some((_, error)) => {
            tally.refused += 1;
            let errno = error.errno();
            let way = if comes { "up" } else { "down" };
            let name = errno.name();
            let message = format_args!("CPU {cpu} {way}: {errno} ({name}: {error})");
            complain(machine, "stress", message);
        }
    }
    if fails {
        // It fails on its way in neither direction if the step lies behind the CPU.
        let _cleared = machine.set_failure(cpu, None);
    }
}

/// Has a step of `cpu` fail, chosen at random. Returns whether that step can.
fn inject<M: Machine>(machine: &M, random: &mut Random, cpu: CpuId) -> bool {
    let at = random.below(machine.steps().count());
    let state = machine.steps().nth(at).map(|row| row.number);
    state.is_some() && machine.set_failure(cpu, state).is_ok()
}

/// Has the CPUs `before` online again, and no others. Returns whether that worked.
fn restore<M: Machine>(machine: &M, before: &CpuMask) -> bool {
    let now = machine.masks().online;
    let up = machine.cpus_up(&before.without(&now));
    let down = machine.cpus_down(&now.without(before));
    for (cpu, error) in up.iter().chain(&down) {
        let errno = error.errno();
        let message = format_args!("CPU {cpu} stays: {errno} ({}: {error})", errno.name());
        complain(machine, "stress", message);
    }
    up.is_empty() && down.is_empty()
}
