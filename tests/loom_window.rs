//! Model of CPUs that come up together: control releases both while it holds the stop mutex.
//! However all move, a CPU that has fallen asleep gets its verdict, each sees what control has
//! prepared, and a stop finds none of them online or both.
#![cfg(loom)]

#[path = "support/loom_cpu.rs"]
mod loom_cpu;
#[path = "support/loom_word.rs"]
mod loom_word;

use loom::sync::{Arc, Mutex};
use loom::thread;
use loom_cpu::Cpu;
use loom_word::Word;
use stillpoint::cpu::{CpuId, CpuMask, CpuMasks};
use stillpoint::hotplug::{Handshake, SyncState, release_all};
use stillpoint::sync::atomic::AtomicU32;
use stillpoint::sync::{Wait, WaitPoint};

/// The CPUs that come; control is CPU 0.
const COMING: [usize; 2] = [1, 2];

struct World {
    words: [AtomicU32; 2],
    points: [WaitPoint; 2],
    masks: CpuMasks,
    /// Written by control before the verdicts, read by each CPU after its own.
    prepared: Word,
    /// The stop mutex.
    stop: Mutex<()>,
}

impl World {
    fn new() -> Arc<World> {
        Arc::new(World {
            words: [0, 1].map(|_| AtomicU32::new(SyncState::Kicked as u32)),
            points: [0, 1].map(|_| WaitPoint::new()),
            masks: CpuMasks::new(CpuMask::first_n(3)),
            prepared: Word::new(0),
            stop: Mutex::new(()),
        })
    }

    fn handshake(&self, cpu: usize) -> Handshake<'_> {
        Handshake(&self.words[cpu - 1])
    }

    /// What CPU `cpu` does.
    fn come(&self, cpu: usize) {
        Cpu::become_cpu(cpu);
        let sync = self.handshake(cpu);
        assert!(sync.arrive());
        let point = &self.points[cpu - 1];
        let goes_on = point.wait_masked::<Cpu, bool>(cpu, 0, || sync.verdict());
        assert!(goes_on);
        assert_eq!(self.prepared.get(), 7);
        sync.online();
        self.masks.set_online(CpuId::from_index(cpu));
    }

    /// What control does.
    fn release(&self) {
        for cpu in COMING {
            while self.handshake(cpu).state() == SyncState::Kicked {
                thread::yield_now();
            }
        }
        self.prepared.set(7);
        let held = self.stop.lock().expect("never poisoned");
        let waiting = COMING.map(|cpu| {
            let id = CpuId::from_index(cpu);
            (id, self.handshake(cpu), &self.points[cpu - 1])
        });
        let asleep = release_all(waiting.into_iter());
        if !asleep.is_empty() {
            Cpu::send_wake(asleep.bits());
        }
        while self.masks.online().count() < COMING.len() {
            thread::yield_now();
        }
        drop(held);
    }
}

#[test]
fn each_cpu_of_a_window_gets_its_verdict() {
    loom::model(|| {
        let world = World::new();
        let cpus = COMING.map(|cpu| {
            let its = Arc::clone(&world);
            thread::spawn(move || its.come(cpu))
        });
        Cpu::become_cpu(0);
        world.release();
        for cpu in cpus {
            cpu.join().expect("a CPU of the model");
        }
    });
}

#[test]
fn a_stop_finds_none_of_a_window_or_all() {
    let mut model = loom::model::Builder::new();
    // With three it takes minutes.
    model.preemption_bound = Some(2);
    model.check(|| {
        let world = World::new();
        let mut threads = Vec::from(COMING.map(|cpu| {
            let its = Arc::clone(&world);
            thread::spawn(move || its.come(cpu))
        }));
        let its = Arc::clone(&world);
        threads.push(thread::spawn(move || {
            let held = its.stop.lock().expect("never poisoned");
            let participants = its.masks.online();
            assert!(matches!(participants.count(), 0 | 2), "{participants}");
            thread::yield_now();
            assert_eq!(its.masks.online(), participants);
            drop(held);
        }));
        Cpu::become_cpu(0);
        world.release();
        for thread in threads {
            thread.join().expect("a thread of the model");
        }
    });
}
