//! Lines that are raised and moved all the time, while CPUs come and go.

use alloc::sync::Arc;
use alloc::vec::Vec;

use stillpoint::api::cpu::{CpuMask, online_racy, possible};
use stillpoint::api::irq::Builder;
use stillpoint::api::{self, thread};
use stillpoint::println;
use stillpoint::sync::atomic::{AtomicBool, Ordering};

use kernel_support::machine::{eventually, secondaries};

use crate::lines::{COUNT, Counted, raise};

/// How often each secondary goes and comes back.
const ROUNDS: usize = 6;

/// Takes all secondaries down one after the other and brings them up again, the boot CPU too;
/// calls `look_fn` after each operation. Returns whether all was as it should be.
fn cycle(mut look_fn: impl FnMut() -> bool) -> bool {
    let mut others = secondaries();
    others.truncate(4);
    let mut sound = true;
    for _ in 0..ROUNDS {
        for cpu in &others {
            sound &= api::cpu_down(*cpu).is_ok() && look_fn();
        }
        for cpu in &others {
            sound &= api::cpu_up(*cpu).is_ok() && look_fn();
        }
        let boot = api::cpu::CpuId::BOOT;
        sound &= api::cpu_down(boot).is_ok() && look_fn();
        sound &= api::cpu_up(boot).is_ok() && look_fn();
    }
    sound
}

/// Threads raise the lines again and again, each line when its last interrupt was taken, and move
/// them. After each operation each line still comes.
pub(crate) fn edges() -> bool {
    let lines: Arc<Vec<Counted>> = Arc::new(
        (0..COUNT)
            .map(|at| Counted::request(at, Builder::new("storm")))
            .collect(),
    );
    let over = Arc::new(AtomicBool::new(false));
    let raisers: Vec<_> = (0..COUNT)
        .map(|at| {
            let (lines, over) = (Arc::clone(&lines), Arc::clone(&over));
            thread::spawn(move || {
                let (mut raised, mut turns) = (0, 0);
                while !over.load(Ordering::Relaxed) {
                    raise(at);
                    raised += 1;
                    if !eventually(|| lines[at].taken() >= raised) {
                        return None;
                    }
                    // Its number says where it goes next.
                    let online = online_racy();
                    turns += 1;
                    let next = online.iter().nth(turns % online.count());
                    let next = next.map_or(possible(), CpuMask::of);
                    // The CPU may just leave.
                    let _set = lines[at].irq.set_affinity(&next);
                }
                Some(raised)
            })
        })
        .collect();
    let fires = || {
        let before: Vec<_> = lines.iter().map(Counted::taken).collect();
        let came = eventually(|| {
            lines
                .iter()
                .zip(&before)
                .all(|(line, before)| line.taken() > *before)
        });
        if !came {
            println!("# a line doesn't come any more");
        }
        came
    };
    let cycled = cycle(fires);
    over.store(true, Ordering::Relaxed);
    let mut sound = cycled;
    let (mut all, mut counted) = (0, 0);
    for (raiser, line) in raisers.into_iter().zip(lines.iter()) {
        let raised = raiser.join();
        sound &= raised == Some(line.taken()) && line.taken() == line.counted();
        all += raised.unwrap_or(0);
        counted += line.counted();
    }
    println!("# raised {all}, taken {counted}");
    sound
}

/// A thread has lines go to the CPU that leaves just then. Each line goes to a CPU that is online
/// after each operation.
pub(crate) fn affinity() -> bool {
    let lines: Arc<Vec<Counted>> = Arc::new(
        (0..2)
            .map(|at| Counted::request(at, Builder::new("affinity")))
            .collect(),
    );
    let over = Arc::new(AtomicBool::new(false));
    let setter = {
        let (lines, over) = (Arc::clone(&lines), Arc::clone(&over));
        thread::spawn(move || {
            let mut set = 0_u64;
            while !over.load(Ordering::Relaxed) {
                for cpu in possible().iter() {
                    for line in lines.iter() {
                        set += u64::from(line.irq.set_affinity(&CpuMask::of(cpu)).is_ok());
                    }
                }
                thread::yield_now();
            }
            set
        })
    };
    let looks = || {
        (0..lines.len()).all(|at| {
            let online = online_racy();
            let cpu = lines[at].irq.effective_affinity();
            let before = lines[at].taken();
            raise(at);
            let goes = cpu.is_some_and(|cpu| online.contains(cpu));
            let came = eventually(|| lines[at].taken() > before);
            if !(goes && came) {
                println!("# line {at} goes to {cpu:?}, online {online}");
            }
            goes && came
        })
    };
    let sound = cycle(looks);
    over.store(true, Ordering::Relaxed);
    println!("# set {} times", setter.join());
    sound
}
