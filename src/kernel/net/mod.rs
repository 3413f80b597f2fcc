//! The machine's network: one stack behind a sleeping mutex, and the thread `net`, which does what
//! frames and instants demand.
//!
//! The thread takes frames until there is none, has the port raise an interrupt for the next one,
//! and sleeps until then, or until the stack's next deadline. A call of a program does its work
//! itself, under the mutex, up to the frames that it sends; it wakes the thread only if the stack
//! now has an earlier deadline than the thread sleeps for. A thread that waits for what the
//! call has done is woken when the mutex is open again.
//!
//! # Invariants
//! - **deadline-kept**: the thread wakes at the stack's deadline or before it. It says under the
//!   mutex until when it will sleep; a call that makes the deadline earlier gives it a permit.
//! - **frame-seen**: the thread sleeps only after the port has said, under the mutex, that it will
//!   raise an interrupt. A permit that comes between that and the sleep ends the sleep.

mod calls;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::Waker;
use core::time::Duration;

use crate::bootargs::BootArgs;
use crate::kernel::{Hw, kernel};
use crate::kernel::{VirtioNet, random, take_cards};
use crate::net::{Config, Limits, Stack};
use crate::platform::Platform;
use crate::sched::lock::{Completion, Mutex, MutexGuard, Once};
use crate::sched::{Class, Nice, Rank, Thread, ThreadName};
use crate::sync::{self, might_sleep_in};
use crate::time::Instant;

pub(crate) use calls::{TimeLimit, poll, try_now, wait};

/// The port of this machine.
pub(crate) type Nic = VirtioNet;
/// The stack of this machine.
pub(crate) type NetStack = Stack<Nic>;
/// An instant of the stack.
type StackInstant = smoltcp::time::Instant;

/// The nice value of the thread: as that of the threads that Linux gives its interrupts' work.
const NICE: i8 = -10;

struct Network {
    state: Mutex<State, Hw>,
    thread: Arc<Thread<Hw>>,
}

struct State {
    stack: NetStack,
    /// Until when the thread sleeps.
    sleeps_until: Instant,
}

static NETWORK: sync::Once<Network> = sync::Once::new();
/// Whether the thread has been started, and has made the network.
static STARTED: Once<(), Hw> = Once::new();
static MADE: Completion<Hw> = Completion::new();

/// Begins to use the network card, if the command line says how. Without a word of it that waits
/// until the program uses the network.
///
/// # Context
/// The first thread, when the devices have been found.
pub(crate) fn start() {
    if BootArgs::parse(kernel().bootargs).ip.is_some() {
        network();
    }
}

/// Has the thread `net` look at the port: what the handler of the port's interrupt calls.
///
/// # Context
/// Any, an interrupt handler too.
#[allow(
    dead_code,
    reason = "called by the drivers of ports that raise interrupts"
)]
pub(crate) fn wake() {
    if let Some(network) = NETWORK.get() {
        kernel().sched.give_permit(&network.thread);
    }
}

/// Calls `call_fn` with the stack.
///
/// # Context
/// Thread, preemption on. Under the stack's mutex.
pub(crate) fn call<T>(call_fn: impl FnOnce(&mut NetStack) -> T) -> T {
    let network = network();
    let mut state = network.state.lock();
    state.stack.begin(stack_now());
    let value = call_fn(&mut state.stack);
    network.finish(state);
    value
}

fn network() -> &'static Network {
    might_sleep_in::<Hw>("api::net");
    if let Some(network) = NETWORK.get() {
        return network;
    }
    STARTED.call_once(start_thread);
    NETWORK.get().expect("BUG: the network was made")
}

/// Starts the thread `net`, which makes the network: that takes more of a stack than a program may
/// have left.
fn start_thread() {
    let kernel = kernel();
    let rank = Rank {
        class: Class::Normal,
        nice: Nice::new(NICE).unwrap_or_default(),
    };
    let name = ThreadName::new(format_args!("net"));
    let anywhere = kernel.masks.possible();
    match kernel.sched.spawn(name, rank, anywhere, run_thread) {
        Ok(_) => MADE.wait(),
        Err(error) => panic!("BUG: the network's thread could not be started: {error}"),
    }
}

/// Makes the network, with the first card that was found.
fn make() -> Network {
    let kernel = kernel();
    let mut port = take_cards().into_iter().next();
    if let Some(card) = &mut port
        && !card.request_interrupt(wake)
    {
        log::warn!("net: {} has no interrupt, and is left out", card.name());
        port = None;
    }
    let now = stack_now();
    let mut stack = Stack::new(port, Limits::default(), seed(), now);
    let given = BootArgs::parse(kernel.bootargs).ip;
    let by_dhcp = Config {
        dhcp: true,
        ..Config::default()
    };
    stack.configure(&given.map_or(by_dhcp, |given| given.config()));
    let sleeps_until = Instant(0); // It looks by itself first.
    Network {
        state: Mutex::new(State {
            stack,
            sleeps_until,
        }),
        thread: kernel.sched.current(),
    }
}

impl Network {
    /// Ends a use of the stack: what is to be sent is sent, then the mutex is opened, then what
    /// waits is woken.
    fn finish(&self, mut state: MutexGuard<'_, State, Hw>) {
        let more = state.stack.settle();
        let wakes = state.stack.take_wakes();
        // The thread sleeps no longer than it should (deadline-kept).
        let late = more || instant_of(state.stack.deadline()) < state.sleeps_until;
        drop(state);
        wake_all(wakes);
        if late {
            kernel().sched.give_permit(&self.thread);
        }
    }
}

/// Returns a number for sequence numbers and ports: random, if the machine has a source of that.
fn seed() -> u64 {
    let mut bytes = [0; 8];
    match random::fill(&mut bytes) {
        Ok(()) => u64::from_le_bytes(bytes),
        Err(_) => Hw::now().0,
    }
}

fn wake_all(wakes: Vec<Waker>) {
    for waker in wakes {
        waker.wake();
    }
}

/// The thread `net`.
fn run_thread() {
    let network = NETWORK.call_once(make);
    MADE.complete_all();
    loop {
        let mut state = network.state.lock();
        let mut more = state.stack.advance(stack_now());
        let wakes = state.stack.take_wakes();
        more |= !state.stack.arm(); // Under the mutex, before it sleeps (frame-seen).
        let now = Hw::now();
        let mut until = instant_of(state.stack.deadline());
        // Not later than before: else each request that is answered would move it, and the next
        // one would have to wake the thread to move it back.
        if state.sleeps_until > now {
            until = until.min(state.sleeps_until);
        }
        state.sleeps_until = if more { Instant(0) } else { until };
        drop(state);
        wake_all(wakes);
        if !more {
            kernel().sched.wait_permit(until);
        }
    }
}

/// Returns the instant of the stack that is now.
fn stack_now() -> StackInstant {
    let ns = Hw::frequency().ticks_to_ns(Hw::now().0);
    StackInstant::from_micros(i64::try_from(ns / 1000).unwrap_or(i64::MAX))
}

/// Returns when the deadline of a stack is, which has none if it is `None`.
fn instant_of(deadline: Option<StackInstant>) -> Instant {
    let Some(deadline) = deadline else {
        return Instant::FOREVER;
    };
    let micros = u64::try_from(deadline.total_micros()).unwrap_or(0);
    let ticks = Hw::frequency().duration_to_ticks(Duration::from_micros(micros));
    Instant(ticks.saturating_add(Hw::frequency().hz() / 1_000_000))
}
