//! A thread: name, class, CPU, state, and what it runs.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;

use intrusive_collections::LinkedListAtomicLink;

use crate::cpu::CpuId;
use crate::platform::OutOfStacks;
use crate::sched::lock::Completion;
use crate::sched::{Host, Rest};
use crate::sync::{LockMap, Once, SpinLock};

/// Scheduling classes, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// A stopper: if it is runnable, it runs.
    Stop,
    /// Fixed priority above all ordinary work.
    Realtime,
    /// Ordinary threads, in turn.
    Normal,
    /// Runs when nothing else does; one for each CPU, never queued.
    Idle,
}

/// Where a thread is in its life. See the diagram in [`crate::sched`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ThreadState {
    /// On its CPU's run queue.
    Runnable,
    /// On its CPU.
    Running,
    /// Still on its CPU, about to wait: a wake makes it Running again.
    Blocking,
    /// Waits for a wake.
    Blocked,
    /// Still on its CPU, about to park.
    Parking,
    /// Waits for an unpark.
    Parked,
    /// Has exited.
    Dead,
}

impl ThreadState {
    #[inline]
    pub(super) fn from_word(word: u32) -> ThreadState {
        const STATES: [ThreadState; 7] = [
            ThreadState::Runnable,
            ThreadState::Running,
            ThreadState::Blocking,
            ThreadState::Blocked,
            ThreadState::Parking,
            ThreadState::Parked,
            ThreadState::Dead,
        ];
        match STATES.get(word as usize) {
            Some(state) => *state,
            None => panic!("BUG: {word} is no thread state"),
        }
    }
}

/// A thread's name, cut to [`ThreadName::MAX`] bytes at a character.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ThreadName {
    bytes: [u8; ThreadName::MAX],
    len: u8,
}

impl ThreadName {
    /// The longest name, in bytes (Linux keeps 15).
    pub const MAX: usize = 23;

    /// The name that `args` format to.
    pub fn new(args: fmt::Arguments<'_>) -> ThreadName {
        let mut name = ThreadName {
            bytes: [0; Self::MAX],
            len: 0,
        };
        // Writing to a name can't fail: what is too long is cut.
        match fmt::write(&mut name, args) {
            Ok(()) | Err(fmt::Error) => name,
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        let bytes = &self.bytes[..usize::from(self.len)];
        core::str::from_utf8(bytes).expect("BUG: a name is cut at a character")
    }
}

impl fmt::Write for ThreadName {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for ch in text.chars() {
            let from = usize::from(self.len);
            let to = from + ch.len_utf8();
            if to > Self::MAX {
                break;
            }
            ch.encode_utf8(&mut self.bytes[from..to]);
            self.len = u8::try_from(to).expect("BUG: MAX fits a byte");
        }
        Ok(())
    }
}

impl fmt::Display for ThreadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for ThreadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// Why a thread was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpawnError {
    /// No stack is left.
    OutOfStacks,
    /// The CPU that it should be bound to is not active.
    NotActive(CpuId),
}

impl From<OutOfStacks> for SpawnError {
    fn from(_: OutOfStacks) -> Self {
        SpawnError::OutOfStacks
    }
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SpawnError::OutOfStacks => fmt::Display::fmt(&OutOfStacks, f),
            SpawnError::NotActive(cpu) => write!(f, "CPU {cpu} is not active"),
        }
    }
}

/// What a thread runs.
pub(crate) type Body = Box<dyn FnOnce() + Send>;

/// A thread. Shared by its run queue, by who waits for it, and by itself.
pub struct Thread<P: Host> {
    /// In the run queue of `cpu` (S2).
    pub(crate) run_link: LinkedListAtomicLink,
    /// Among those who wait for what it waits for: one thing at a time.
    pub(crate) wait_link: LinkedListAtomicLink,
    name: ThreadName,
    class: Class,
    cpu: CpuId,
    /// Its state, and whether it has been asked to park.
    pub(crate) rest: Rest,
    /// Set once, before the thread runs for the first time.
    context: Once<P::Context>,
    body: SpinLock<Option<Body>, P>,
    /// Complete each time it has parked, and for ever once it is dead (S4).
    pub(crate) stopped: Completion<P>,
    /// What a per-CPU thread does between two parks, for the validator.
    pub(crate) work: LockMap,
}

impl<P: Host> Thread<P> {
    #[cfg_attr(debug_assertions, track_caller)]
    pub(crate) fn new(
        name: ThreadName,
        class: Class,
        cpu: CpuId,
        state: ThreadState,
        body: Option<Body>,
    ) -> Arc<Thread<P>> {
        Arc::new(Thread {
            run_link: LinkedListAtomicLink::new(),
            wait_link: LinkedListAtomicLink::new(),
            name,
            class,
            cpu,
            rest: Rest::new(state),
            context: Once::new(),
            body: SpinLock::new(body),
            stopped: Completion::new(),
            work: LockMap::new(),
        })
    }

    /// Its name, such as `cpuhp/3`.
    pub fn name(&self) -> &ThreadName {
        &self.name
    }

    /// Its class.
    pub fn class(&self) -> Class {
        self.class
    }

    /// The CPU that it runs on.
    pub fn cpu(&self) -> CpuId {
        self.cpu
    }

    /// Its state a moment ago: for display.
    pub fn state_racy(&self) -> ThreadState {
        self.state()
    }

    /// Waits until it has ended and is off its CPU.
    ///
    /// # Context
    /// Another thread, preemption on.
    pub fn wait_until_dead(&self) {
        self.stopped.wait();
    }

    pub(crate) fn state(&self) -> ThreadState {
        self.rest.state()
    }

    pub(crate) fn set_state(&self, state: ThreadState) {
        self.rest.set_state(state);
    }

    pub(crate) fn context(&self) -> &P::Context {
        self.context
            .get()
            .expect("BUG: a thread runs before it has a context")
    }

    pub(crate) fn set_context(&self, context: P::Context) {
        self.context.call_once(|| context);
    }

    pub(crate) fn take_body(&self) -> Option<Body> {
        self.body.lock_irqsave().take()
    }
}

impl<P: Host> fmt::Debug for Thread<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?}, {:?})", self.name, self.class, self.state())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_at_a_character() {
        assert_eq!(
            ThreadName::new(format_args!("cpuhp/{}", 3)).as_str(),
            "cpuhp/3"
        );
        let long = ThreadName::new(format_args!("{}", "ä".repeat(20)));
        assert_eq!(long.as_str(), "ä".repeat(11));
    }

    #[test]
    fn every_state_survives_its_encoding() {
        for word in 0..7 {
            assert_eq!(ThreadState::from_word(word) as u32, word);
        }
    }
}
