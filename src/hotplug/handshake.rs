//! The word in which control and the CPU that comes or goes agree.
//!
//! The word decides; firmware only confirms. Every change is a compare-exchange
//! from the value seen, never a store, so of two sides that move at once exactly
//! one wins, and the other learns that it has lost.
//!
//! # States
//! ```text
//!             kick (c)             arrive (a)         release (c)
//!   DEAD ───────────────► KICKED ────────────► ALIVE ────────────► SHOULD_ONLINE
//!    ▲                     │ │ ▲                 │                      │
//!    ├──── take_back (c) ──┤ │ │ kick (c)        │ dismiss (c)          │ online (a)
//!    ├──── seen_off (c) ───┘ │ │                 ▼                      ▼
//!    │           give_up (c) ▼ │             SHOULD_DIE              ONLINE
//!    ├──── arrive (a) ───── CANCELLED            │                      │
//!    ├──── seen_off (c) ─────┘                   │                      │
//!    ├──── dead (a) ─────────────────────────────┘                      │
//!    └──── dead (a), from its idle thread ──────────────────────────────┘
//! ```
//! (c): control, (a): the AP. `take_back` goes to CANCELLED instead if `kick` came from there.
//! `seen_off` is for an AP that refused itself: it says why in its boot record and leaves
//! without a move, and control sees it OFF.
//!
//! # Memory ordering
//! Every move is a Release, and every look an Acquire, also the look of a move that
//! failed: a side that sees a state sees all that was done before it was set. A move
//! that succeeds needs no Acquire: the side that makes it has looked before. SeqCst is
//! not needed, because there is one word.
//!
//! `tests/loom_handshake.rs` model-checks this file.

use crate::sync::atomic::{AtomicU32, Ordering};

/// What the handshake word says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum SyncState {
    /// The CPU doesn't run kernel code, and won't until it is kicked.
    Dead = 0,
    /// CPU_ON is about to be called, or has been.
    Kicked = 1,
    /// Control gave up on a CPU that had not arrived; it may still.
    Cancelled = 2,
    /// The CPU has arrived and waits for the verdict.
    Alive = 3,
    /// Verdict: go on.
    ShouldOnline = 4,
    /// Verdict: turn yourself off.
    ShouldDie = 5,
    /// It runs.
    Online = 6,
}

impl SyncState {
    fn from_word(word: u32) -> SyncState {
        match word {
            0 => SyncState::Dead,
            1 => SyncState::Kicked,
            2 => SyncState::Cancelled,
            3 => SyncState::Alive,
            4 => SyncState::ShouldOnline,
            5 => SyncState::ShouldDie,
            6 => SyncState::Online,
            _ => panic!("BUG: {word} is no handshake state"),
        }
    }

    /// Returns the state's name, as Linux writes it.
    pub const fn name(self) -> &'static str {
        match self {
            SyncState::Dead => "DEAD",
            SyncState::Kicked => "KICKED",
            SyncState::Cancelled => "CANCELLED",
            SyncState::Alive => "ALIVE",
            SyncState::ShouldOnline => "SHOULD_ONLINE",
            SyncState::ShouldDie => "SHOULD_DIE",
            SyncState::Online => "ONLINE",
        }
    }
}

/// The moves on one CPU's handshake word.
#[derive(Clone, Copy, Debug)]
pub struct Handshake<'a>(pub &'a AtomicU32);

impl Handshake<'_> {
    /// Returns what the word says now.
    pub fn state(self) -> SyncState {
        SyncState::from_word(self.0.load(Ordering::Acquire))
    }

    /// One move: from `from` to `to`, unless the other side was faster.
    fn step(self, from: SyncState, to: SyncState) -> Result<(), SyncState> {
        self.0
            .compare_exchange(from as u32, to as u32, Ordering::Release, Ordering::Acquire)
            .map(|_| ())
            .map_err(SyncState::from_word)
    }

    /// Returns the state from which control may [`Handshake::kick`] now. The answer lasts:
    /// the only move of the AP from there is CANCELLED → DEAD.
    ///
    /// # Errors
    /// The state that forbids it: the CPU isn't off.
    pub fn may_kick(self) -> Result<SyncState, SyncState> {
        match self.state() {
            state @ (SyncState::Dead | SyncState::Cancelled) => Ok(state),
            other => Err(other),
        }
    }

    /// Control, before CPU_ON: DEAD → KICKED, or CANCELLED → KICKED for a CPU
    /// that may still be on its way. Returns the state it was in.
    ///
    /// # Errors
    /// The state that forbids it: the CPU isn't off.
    pub fn kick(self) -> Result<SyncState, SyncState> {
        let mut seen = self.state();
        loop {
            match seen {
                SyncState::Dead | SyncState::Cancelled => {
                    match self.step(seen, SyncState::Kicked) {
                        Ok(()) => return Ok(seen),
                        Err(now) => seen = now,
                    }
                }
                other => return Err(other),
            }
        }
    }

    /// Control, when firmware refused CPU_ON: KICKED → `before`, which is what
    /// [`Handshake::kick`] found.
    ///
    /// # Errors
    /// The state it is in, if the CPU has arrived all the same.
    pub fn take_back(self, before: SyncState) -> Result<(), SyncState> {
        self.step(SyncState::Kicked, before)
    }

    /// Control gives up waiting: KICKED → CANCELLED.
    ///
    /// # Errors
    /// ALIVE: it arrived at the last moment after all.
    pub fn give_up(self) -> Result<(), SyncState> {
        self.step(SyncState::Kicked, SyncState::Cancelled)
    }

    /// Control, when the AP refused itself and firmware says OFF: `from` (KICKED, or
    /// CANCELLED if it had been given up) → DEAD.
    ///
    /// # Errors
    /// The state it is in instead.
    pub fn seen_off(self, from: SyncState) -> Result<(), SyncState> {
        self.step(from, SyncState::Dead)
    }

    /// Control's verdict "go on": ALIVE → SHOULD_ONLINE.
    ///
    /// # Errors
    /// The state it is in instead.
    pub fn release(self) -> Result<(), SyncState> {
        self.step(SyncState::Alive, SyncState::ShouldOnline)
    }

    /// Control's verdict "turn yourself off": ALIVE → SHOULD_DIE.
    ///
    /// # Errors
    /// The state it is in instead.
    pub fn dismiss(self) -> Result<(), SyncState> {
        self.step(SyncState::Alive, SyncState::ShouldDie)
    }

    /// The AP has arrived: KICKED → ALIVE, or CANCELLED → DEAD. Returns whether
    /// it is to wait for the verdict (`false`: leave, using the boot record
    /// only). If control's retry wins against CANCELLED, `arrive` looks again
    /// and finds KICKED. At DEAD it leaves too: firmware has started a CPU though it said that
    /// it would not, and control has put DEAD back.
    ///
    /// # Panics
    /// In any other state: there would be two of this CPU.
    pub fn arrive(self) -> bool {
        let mut seen = self.state();
        loop {
            let (to, wait) = match seen {
                SyncState::Kicked => (SyncState::Alive, true),
                SyncState::Cancelled => (SyncState::Dead, false),
                SyncState::Dead => return false,
                other => panic!("BUG: a CPU arrives with its handshake at {}", other.name()),
            };
            match self.step(seen, to) {
                Ok(()) => return wait,
                Err(now) => seen = now,
            }
        }
    }

    /// The AP asks for the verdict: `None` while there is none, else whether it
    /// goes on.
    ///
    /// # Panics
    /// In any other state: from ALIVE control may only move the word to a verdict.
    pub fn verdict(self) -> Option<bool> {
        match self.state() {
            SyncState::Alive => None,
            SyncState::ShouldOnline => Some(true),
            SyncState::ShouldDie => Some(false),
            other => panic!("BUG: a CPU that waits finds {}", other.name()),
        }
    }

    /// The AP goes on, just before its online bit: SHOULD_ONLINE → ONLINE.
    ///
    /// # Panics
    /// If the other side has moved the word, which it may not from there.
    pub fn online(self) {
        if let Err(now) = self.step(SyncState::ShouldOnline, SyncState::Online) {
            panic!("BUG: a released CPU finds {}", now.name());
        }
    }

    /// The AP leaves: `from` (SHOULD_DIE or ONLINE) → DEAD. It is the last store by which
    /// control learns that the AP goes. Where CPU_OFF returns, the AP also stores what
    /// firmware answered.
    ///
    /// # Panics
    /// If the other side has moved the word, which it may not from there.
    pub fn dead(self, from: SyncState) {
        if let Err(now) = self.step(from, SyncState::Dead) {
            panic!("BUG: a leaving CPU finds {}", now.name());
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn word(state: SyncState) -> AtomicU32 {
        AtomicU32::new(state as u32)
    }

    #[test]
    fn a_whole_life() {
        let word = word(SyncState::Dead);
        let sync = Handshake(&word);
        assert_eq!(sync.kick(), Ok(SyncState::Dead));
        assert!(sync.arrive());
        assert_eq!(sync.verdict(), None);
        assert_eq!(sync.release(), Ok(()));
        assert_eq!(sync.verdict(), Some(true));
        sync.online();
        assert_eq!(sync.may_kick(), Err(SyncState::Online));
        assert_eq!(sync.kick(), Err(SyncState::Online));
        sync.dead(SyncState::Online);
        assert_eq!(sync.state(), SyncState::Dead);
    }

    #[test]
    fn one_that_comes_late_leaves() {
        let word = word(SyncState::Kicked);
        let sync = Handshake(&word);
        assert_eq!(sync.give_up(), Ok(()));
        assert!(!sync.arrive());
        assert_eq!(sync.state(), SyncState::Dead);
    }

    #[test]
    fn one_that_comes_late_but_within_a_retry_stays() {
        let word = word(SyncState::Cancelled);
        let sync = Handshake(&word);
        assert_eq!(sync.may_kick(), Ok(SyncState::Cancelled));
        assert_eq!(sync.kick(), Ok(SyncState::Cancelled));
        assert!(sync.arrive());
        assert_eq!(sync.dismiss(), Ok(()));
        assert_eq!(sync.verdict(), Some(false));
        sync.dead(SyncState::ShouldDie);
        assert_eq!(sync.state(), SyncState::Dead);
    }

    #[test]
    fn one_that_was_not_called_leaves() {
        let word = word(SyncState::Dead);
        let sync = Handshake(&word);
        assert!(!sync.arrive());
        assert_eq!(sync.kick(), Ok(SyncState::Dead));
    }

    #[test]
    fn a_refusal_puts_back_what_was() {
        for before in [SyncState::Dead, SyncState::Cancelled] {
            let word = word(before);
            let sync = Handshake(&word);
            assert_eq!(sync.kick(), Ok(before));
            assert_eq!(sync.take_back(before), Ok(()));
            assert_eq!(sync.state(), before);
        }
    }
}
