//! Kernel threads on the fake machine, each of which yields at random. Each seed makes
//! another interleaving, and always the same one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::sched::{Class, SchedHost, ThreadName};
use stillpoint::sync::PreemptGuard;

use crate::fake::{Baton, Fake};
use crate::xorshift::Random;

/// How long a test may take before it counts as hung. Miri is slow. It is well below the shortest
/// limit that `make mutants` gives a test, which is a minute.
const PATIENCE: Duration = Duration::from_secs(if cfg!(miri) { 1800 } else { 20 });

/// The function that a kernel thread runs.
pub(crate) type Body = Box<dyn FnOnce(&mut Random) + Send>;

/// Runs `bodies` as kernel threads of one fake machine, until all have ended.
pub(crate) fn run(seed: u64, bodies: Vec<Body>) {
    let (done, ended) = channel();
    std::thread::spawn(move || {
        Fake::new_machine();
        Fake::spawn(move || {
            let sched = Fake::sched();
            let idle = sched.new_idle(CpuId::BOOT, Baton::default());
            sched.start_cpu(&idle);
            let left = Arc::new(AtomicUsize::new(bodies.len()));
            // No thread may run before all are spawned.
            let held = PreemptGuard::<Fake>::new();
            for (number, body) in bodies.into_iter().enumerate() {
                let left = Arc::clone(&left);
                let name = ThreadName::new(format_args!("thread {number}"));
                let here = CpuMask::of(CpuId::BOOT);
                let spawned = sched.spawn(name, Class::Normal, &here, move || {
                    let mut random = Random::new(seed * 1000 + number as u64);
                    rest(&mut random);
                    body(&mut random);
                    left.fetch_sub(1, Ordering::Relaxed);
                });
                assert!(spawned.is_ok(), "a thread");
            }
            drop(held);
            while left.load(Ordering::Relaxed) > 0 {
                sched.yield_now();
            }
            done.send(()).expect("the test waits");
        });
    });
    ended
        .recv_timeout(PATIENCE)
        .unwrap_or_else(|error| panic!("seed {seed}: {error}: a thread waits for ever"));
}

/// Yields, at random.
pub(crate) fn rest(random: &mut Random) {
    while random.below(3) == 0 {
        Fake::sched().yield_now();
    }
}

/// Returns `number` bodies, each made by `make_fn`.
pub(crate) fn bodies<F>(number: usize, make_fn: impl Fn(usize) -> F) -> Vec<Body>
where
    F: FnOnce(&mut Random) + Send + 'static,
{
    let make = |number| Box::new(make_fn(number)) as Body;
    (0..number).map(make).collect()
}
