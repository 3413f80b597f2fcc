//! Tasks: what wakes them, and that each is polled until it is over, whatever CPUs come and go.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use stillpoint::api::cpu::{call_on, possible};
use stillpoint::api::pool::Pool;
use stillpoint::api::sync::SpinLock;
use stillpoint::api::task::{block_on, sleep, sleep_until};
use stillpoint::api::{thread, time};
use stillpoint::sync::atomic::{AtomicUsize, Ordering};

use kernel_support::machine::last_cpu;
use kernel_support::unharmed::same;

use crate::storm::while_they_move;

const TASKS: usize = 300;
const TURNS: usize = 10;

/// Lets others run: the task is woken while it is polled.
fn turn() -> impl Future<Output = ()> {
    let mut is_first = true;
    poll_fn(move |context| {
        if core::mem::replace(&mut is_first, false) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    })
}

/// Where a task leaves its waker, and whether it may go on.
#[derive(Clone)]
struct Gate(Arc<SpinLock<(bool, Option<Waker>)>>);

impl Gate {
    fn new() -> Gate {
        Gate(Arc::new(SpinLock::new((false, None))))
    }

    fn open(&self) {
        let waker = {
            let mut gate = self.0.lock_irqsave();
            gate.0 = true;
            gate.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Future for Gate {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut gate = self.0.lock_irqsave();
        if gate.0 {
            return Poll::Ready(());
        }
        gate.1 = Some(context.waker().clone());
        Poll::Pending
    }
}

/// A thread, an interrupt handler and a timer wake tasks, before they wait and afterwards.
pub(crate) fn woken(pool: &Pool) -> bool {
    let gates: Vec<_> = (0..30).map(|_| Gate::new()).collect();
    let tasks: Vec<_> = gates
        .iter()
        .map(|gate| {
            let gate = gate.clone();
            pool.spawn_async(async move {
                gate.await;
                1
            })
        })
        .collect();
    let mut sound = true;
    for (number, gate) in gates.iter().enumerate() {
        match number % 3 {
            0 => gate.open(),
            1 => sound &= same("call", call_on(last_cpu(), || gate.open()), Ok(())),
            _ => {
                let gate = gate.clone();
                let timer = time::Timer::new(move || gate.open());
                timer.start(time::now());
                while timer.is_set() {
                    thread::yield_now();
                }
            }
        }
    }
    let ended = tasks.into_iter().map(|task| task.join()).sum();
    sound & same("ended", ended, 30)
}

pub(crate) fn sleepers(pool: &Pool) -> bool {
    let began = time::now();
    let early = pool.spawn_async(async move {
        sleep(Duration::from_millis(2)).await;
        began.elapsed() < Duration::from_millis(2)
    });
    let past = block_on(async {
        sleep_until(began).await;
        true
    });
    // What is dropped before its time wakes nothing.
    drop(sleep(Duration::from_secs(1000)));
    block_on(async {
        let mut long = sleep(Duration::from_secs(1000));
        let polled = poll_fn(|context| Poll::Ready(Pin::new(&mut long).poll(context))).await;
        same("polled", polled, Poll::Pending)
    }) & past
        & same("early", early.join(), false)
        & same("example", crate::example::sum_of_sleepers(), Ok(55))
}

/// Each task counts its turns, awaits another one, and sleeps now and then.
pub(crate) fn while_cpus_move(pool: &Pool) -> bool {
    let count = Arc::new(AtomicUsize::new(0));
    let sound = while_they_move(|| {
        let tasks: Vec<_> = (0..TASKS)
            .map(|number| {
                let count = Arc::clone(&count);
                let one = pool.spawn_async(async move {
                    turn().await;
                    number
                });
                pool.spawn_async(async move {
                    for nth in 0..TURNS {
                        count.fetch_add(1, Ordering::Relaxed);
                        match (number + nth) % 32 {
                            0 => sleep(Duration::from_millis(1)).await,
                            _ => turn().await,
                        }
                    }
                    one.await
                })
            })
            .collect();
        let sum = tasks.into_iter().map(|task| task.join()).sum();
        same("sum", sum, TASKS * (TASKS - 1) / 2)
    });
    sound & same("turns", count.load(Ordering::Relaxed), TASKS * TURNS)
}

/// A pool that is dropped waits for its tasks.
pub(crate) fn dropped() -> bool {
    let count = Arc::new(AtomicUsize::new(0));
    let tasks = 3 * possible().count();
    {
        let pool = Pool::new().expect("there is a slot");
        for number in 0..tasks {
            let count = Arc::clone(&count);
            pool.spawn_async(async move {
                sleep(Duration::from_millis(number as u64 % 3)).await;
                count.fetch_add(1, Ordering::Relaxed);
            });
        }
    }
    same("over", count.load(Ordering::Relaxed), tasks)
}
