//! Plain threads that stay with their CPUs: they go on where they were, or are called anew.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::api::cpu::{CpuId, current, possible};
use stillpoint::api::hotplug::{Residence, cpu_down, cpu_up, spawn_on_each_cpu};
use stillpoint::api::thread;
use stillpoint::sync::atomic::{AtomicU32, Ordering};

use kernel_support::machine::{eventually, last_cpu, leave_and_return, secondaries};
use kernel_support::unharmed::same;

/// What the thread of each CPU has done.
#[derive(Default)]
struct Seat {
    begun: AtomicU32,
    turns: AtomicU32,
    returned: AtomicU32,
    /// Turns elsewhere, or out of order.
    wrong: AtomicU32,
}

type Seats = Arc<Vec<Seat>>;

fn seats() -> Seats {
    Arc::new(possible().iter().map(|_| Seat::default()).collect())
}

fn count(seats: &Seats, of: fn(&Seat) -> &AtomicU32) -> u32 {
    seats
        .iter()
        .map(|seat| of(seat).load(Ordering::Relaxed))
        .sum()
}

/// Takes turns until it is to end. Its own count goes on when its CPU is back.
fn stays(seats: &Seats, residence: &Residence<'_>) {
    let seat = &seats[residence.cpu().index()];
    seat.begun.fetch_add(1, Ordering::Relaxed);
    let mut turns = 0;
    while residence.stay() {
        let is_next = seat.turns.load(Ordering::Relaxed) == turns;
        if !is_next || current() != residence.cpu() {
            seat.wrong.fetch_add(1, Ordering::Relaxed);
        }
        turns += 1;
        seat.turns.store(turns, Ordering::Relaxed);
        match turns % 3 {
            0 => drop(residence.park_timeout(Duration::from_millis(1))),
            1 => thread::yield_now(),
            _ => (),
        }
    }
    seat.returned.fetch_add(1, Ordering::Relaxed);
}

/// Takes turns until its CPU goes.
fn leaves(seats: &Seats, residence: &Residence<'_>) {
    let seat = &seats[residence.cpu().index()];
    seat.begun.fetch_add(1, Ordering::Relaxed);
    while !residence.is_leaving() {
        if current() != residence.cpu() {
            seat.wrong.fetch_add(1, Ordering::Relaxed);
        }
        residence.park();
    }
    seat.returned.fetch_add(1, Ordering::Relaxed);
}

/// Returns whether the thread of `cpu` takes turns.
fn goes_on(seats: &Seats, cpu: CpuId) -> bool {
    let turns = || seats[cpu.index()].turns.load(Ordering::Relaxed);
    let before = turns();
    eventually(|| turns() > before)
}

pub(crate) fn they_go_on() -> bool {
    let seats = seats();
    let its = u32::try_from(seats.len()).expect("few");
    let shared = Arc::clone(&seats);
    let Ok(residents) = spawn_on_each_cpu("stays", move |residence| stays(&shared, residence))
    else {
        return false;
    };
    let mut sound = possible().iter().all(|cpu| goes_on(&seats, cpu));
    for _ in 0..3 {
        sound &= leave_and_return(|| {
            let away = |cpu: &CpuId| seats[cpu.index()].turns.load(Ordering::Relaxed);
            let before: Vec<_> = secondaries().iter().map(away).collect();
            thread::sleep(Duration::from_millis(3));
            let after: Vec<_> = secondaries().iter().map(away).collect();
            same("while away", after, before) & goes_on(&seats, CpuId::BOOT)
        });
        sound &= possible().iter().all(|cpu| goes_on(&seats, cpu));
    }
    // They end wherever their CPUs are.
    let last = last_cpu();
    if last != CpuId::BOOT {
        sound &= same("down", cpu_down(last), Ok(()));
    }
    sound &= residents.remove().is_ok();
    sound &= same("begun", count(&seats, |seat| &seat.begun), its);
    sound &= same("returned", count(&seats, |seat| &seat.returned), its);
    sound &= same("wrong", count(&seats, |seat| &seat.wrong), 0);
    sound & same("up", cpu_up(last), Ok(()))
}

pub(crate) fn they_are_called_anew() -> bool {
    let seats = seats();
    let its = u32::try_from(seats.len()).expect("few");
    let shared = Arc::clone(&seats);
    let Ok(residents) = spawn_on_each_cpu("leaves", move |residence| leaves(&shared, residence))
    else {
        return false;
    };
    let others = its - 1;
    let mut sound = true;
    for round in 1..4 {
        sound &= eventually(|| count(&seats, |seat| &seat.begun) == its + (round - 1) * others);
        sound &= leave_and_return(|| {
            residents.unpark(CpuId::BOOT);
            same(
                "returned",
                count(&seats, |seat| &seat.returned),
                round * others,
            )
        });
    }
    drop(residents);
    let begun = count(&seats, |seat| &seat.begun);
    // A thread that ends before it has begun anew isn't called.
    sound &= begun <= its + 3 * others && begun >= its + 2 * others;
    sound &= same("returned", count(&seats, |seat| &seat.returned), begun);
    sound & same("wrong", count(&seats, |seat| &seat.wrong), 0)
}
