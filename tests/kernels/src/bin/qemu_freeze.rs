//! All CPUs but any one go, from any CPU, and come back. Meanwhile hotplug is disabled, and the
//! threads of the others go on.

//@ smp: 1 2 4 8
//@ timeout: 120

#![no_std]
#![no_main]

extern crate alloc;

stillpoint::entry!(main);

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::api::hotplug::{
    CpuDownError, CpuUpError, FreezeError, HotplugDisabled, TargetError, WouldDeadlock, disable,
    freeze,
};
use stillpoint::api::thread;
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::kernel::kernel;
use stillpoint::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use stillpoint::{api, println};

use kernel_support::ktap::Ktap;
use kernel_support::machine::{eventually, masks_say, states_say};
use kernel_support::memory::InUse;

fn main() {
    let mut ktap = Ktap::new();
    ktap.check("to any CPU, from any CPU", each_pair());
    let used = InUse::settled();
    ktap.check("to any CPU, from any CPU, again", each_pair());
    ktap.check("nothing of it is left in memory", used.is_back());
    ktap.check("hotplug is disabled meanwhile: EBUSY", refused());
    ktap.check("threads go on where all have come together", threads());
    ktap.check("a CPU that may not go: EBUSY, and all are back", bound());
    ktap.check("not under the lock of the CPUs: EDEADLK", reader());
    ktap.finish()
}

fn all() -> CpuMask {
    *kernel().masks.possible()
}

fn are(online: &CpuMask) -> bool {
    masks_say(online) && states_say(online)
}

/// The calling thread begins on each CPU, and each CPU stays.
fn each_pair() -> bool {
    let me = thread::current();
    all().iter().all(|from| {
        all().iter().all(|stays| {
            let moved = me.set_affinity(&CpuMask::of(from)).is_ok();
            let free = me.set_affinity(&all()).is_ok();
            let frozen = freeze(stays);
            let alone = are(&CpuMask::of(stays)) && api::cpu::current() == stays;
            let stopped = api::stop_machine(api::cpu::current) == Ok(stays);
            let thawed = match frozen {
                Ok(mut frozen) => frozen.thaw().is_ok(),
                Err(error) => {
                    println!("# {error}");
                    false
                }
            };
            let good = moved && free && alone && stopped && thawed && are(&all());
            if !good {
                println!("# from CPU{from}, CPU{stays} stays");
            }
            good
        })
    })
}

fn refused() -> bool {
    let stays = all().first().expect("a machine has a CPU");
    let are_refused = || {
        all().iter().all(|cpu| {
            let disabled = HotplugDisabled;
            api::cpu_up(cpu) == Err(CpuUpError::Disabled(disabled))
                && api::cpu_down(cpu) == Err(CpuDownError::Disabled(disabled))
                && api::hotplug::cpu_set_target(cpu, 0) == Err(TargetError::Disabled(disabled))
                && freeze(cpu).err() == Some(FreezeError::Disabled(disabled))
        })
    };
    let frozen = freeze(stays);
    let while_frozen = frozen.is_ok() && are_refused();
    drop(frozen);
    let guards = (disable(), disable());
    drop(guards.0);
    let one_is_left = guards.1.is_ok() && are_refused();
    drop(guards.1);
    let errno = CpuDownError::Disabled(HotplugDisabled).errno().name();
    while_frozen && one_is_left && errno == "EBUSY" && api::cpu_up(stays).is_ok() && are(&all())
}

/// A thread for each CPU counts; each goes on counting while there is one CPU.
fn threads() -> bool {
    let over = Arc::new(AtomicBool::new(false));
    let counts: Vec<_> = all().iter().map(|_| Arc::new(AtomicU64::new(0))).collect();
    let threads: Vec<_> = counts
        .iter()
        .map(|count| {
            let (count, over) = (Arc::clone(count), Arc::clone(&over));
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    count.fetch_add(1, Ordering::Relaxed);
                    api::sleep(Duration::from_micros(100));
                }
            })
        })
        .collect();
    let now = || -> Vec<u64> {
        let counts = counts.iter();
        counts.map(|count| count.load(Ordering::Relaxed)).collect()
    };
    let go_on = || {
        let before = now();
        eventually(|| now().iter().zip(&before).all(|(now, before)| now > before))
    };
    let went_on = all().iter().all(|stays| {
        let frozen = freeze(stays);
        frozen.is_ok() && go_on()
    });
    let good = went_on && go_on();
    over.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join();
    }
    good
}

/// A thread is bound to the last CPU, and keeps it.
fn bound() -> bool {
    let last = all().iter().last().expect("a machine has a CPU");
    let first = CpuId::BOOT;
    if last == first {
        return true;
    }
    let over = Arc::new(AtomicBool::new(false));
    let is_over = Arc::clone(&over);
    let holder = api::spawn_on(last, "holder", move || {
        while !is_over.load(Ordering::Relaxed) {
            api::sleep(Duration::from_millis(1));
        }
    });
    let (cpu, threads) = (last, 1);
    let refused = FreezeError::Down {
        error: CpuDownError::BoundThreads { cpu, threads },
        away: 0,
    };
    let answer = freeze(first).err();
    let back = are(&all());
    // Where that CPU is the one that stays, the thread is in nobody's way.
    let stays = freeze(last).is_ok();
    over.store(true, Ordering::Relaxed);
    if let Ok(holder) = holder {
        holder.join();
    }
    answer == Some(refused) && back && stays && freeze(first).is_ok() && are(&all())
}

fn reader() -> bool {
    let mut frozen = freeze(CpuId::BOOT);
    let reads = api::cpus_read_lock();
    let thawed = frozen.as_mut().map(api::hotplug::Frozen::thaw);
    let is_held = matches!(
        thawed,
        Ok(Err(api::hotplug::ThawError::WouldDeadlock(
            WouldDeadlock::HoldsIt
        )))
    );
    let again = freeze(CpuId::BOOT).err();
    drop(reads);
    let alone = are(&CpuMask::of(CpuId::BOOT));
    drop(frozen);
    is_held
        && again == Some(FreezeError::WouldDeadlock(WouldDeadlock::HoldsIt))
        && alone
        && are(&all())
}
