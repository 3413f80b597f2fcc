//! The stop mutex that control holds while a CPU comes up, lent to that CPU.
//!
//! # States
//! ```text
//!                 lend (c)        declare (a)           take (a)
//!   not lent ───────────────► LENT ───────────► DECLARED ─────────► STOPPING
//!      ▲                      │  ▲                │   ▲                 │
//!      └─── lend returns (c) ─┘  └── its step ────┘   └─ give_back (a) ─┘
//!                                    returns (a)
//! ```
//! (c): control, before it releases the CPU and when it has seen the CPU online. (a): the CPU, in
//! between.
//!
//! # Invariants
//! - **one-borrower**: the mutex is lent to one CPU at a time, from before the CPU's release until
//!   it is online. So at most one CPU that isn't online stops the machine, and no CPU comes online
//!   beside it.
//! - **declared-only**: only the startup of an INIT step that says that it stops the machine may do
//!   so: control releases CPUs one at a time only if such a step is installed.
//!
//! # Memory ordering
//! All accesses are Relaxed, because one side has the word at a time: the handshake word hands it to
//! the CPU, with the Release of SHOULD_ONLINE, and its bit in `online` back to control.
//!
//! `tests/loom_inactive.rs` model-checks this file.

#![forbid(unsafe_code)]

use crate::cpu::CpuId;
use crate::sync::atomic::{AtomicU32, Ordering};

/// What a CPU may do with the stop mutex.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Lent {
    /// Nothing: it isn't lent to this CPU.
    No = 0,
    /// Nothing yet: the step that runs doesn't say that it stops the machine.
    Undeclared = 1,
    /// It may stop the machine.
    Declared = 2,
    /// It stops the machine.
    Stopping = 3,
}

/// Low bits of the word; the number of the CPU is above them.
const STATE_BITS: u32 = 2;

/// To which CPU the stop mutex is lent.
#[derive(Debug)]
pub struct Loan {
    /// A [`Lent`] and the number of the CPU; 0 if the mutex isn't lent.
    word: AtomicU32,
}

impl Loan {
    /// Returns a loan to no CPU.
    pub fn new() -> Loan {
        Loan {
            word: AtomicU32::new(0),
        }
    }

    /// Returns what `cpu`, which is this CPU, may do.
    pub fn state(&self, cpu: CpuId) -> Lent {
        let states = [Lent::Undeclared, Lent::Declared, Lent::Stopping];
        let word = self.word.load(Ordering::Relaxed);
        let found = states.into_iter().find(|state| word == of(cpu, *state));
        found.unwrap_or(Lent::No)
    }

    /// Lends the mutex to `cpu` while `release_fn` releases it and waits until it is online.
    ///
    /// # Context
    /// Control, which has the stop mutex.
    ///
    /// # Panics
    /// If it is lent (one-borrower).
    pub fn lend(&self, cpu: CpuId, release_fn: impl FnOnce()) {
        let lent = of(cpu, Lent::Undeclared);
        let before = self.word.swap(lent, Ordering::Relaxed);
        assert!(before == 0, "BUG: the stop mutex is lent twice");
        release_fn();
        assert!(
            self.state(cpu) == Lent::Undeclared,
            "BUG: CPU {cpu} is online and has not given the stop mutex back"
        );
        self.word.store(0, Ordering::Relaxed);
    }

    /// Lets `cpu`, which is this CPU, stop the machine while `startup_fn` runs, if the mutex is lent
    /// to it (declared-only).
    pub fn declare(&self, cpu: CpuId, startup_fn: impl FnOnce()) {
        let is_lent = self.state(cpu) == Lent::Undeclared;
        if is_lent {
            self.set(cpu, Lent::Declared);
        }
        startup_fn();
        if is_lent {
            self.set(cpu, Lent::Undeclared);
        }
    }

    /// Takes the mutex for a stop of `cpu`, which is this CPU.
    ///
    /// # Errors
    /// What it may do instead, and nothing has changed.
    pub fn take(&self, cpu: CpuId) -> Result<(), Lent> {
        match self.state(cpu) {
            Lent::Declared => {
                self.set(cpu, Lent::Stopping);
                Ok(())
            }
            state => Err(state),
        }
    }

    /// Gives back what `cpu`, which is this CPU, has taken: the stop is over.
    pub fn give_back(&self, cpu: CpuId) {
        self.set(cpu, Lent::Declared);
    }

    fn set(&self, cpu: CpuId, state: Lent) {
        self.word.store(of(cpu, state), Ordering::Relaxed);
    }
}

impl Default for Loan {
    fn default() -> Self {
        Loan::new()
    }
}

const fn of(cpu: CpuId, state: Lent) -> u32 {
    cpu.as_u32() << STATE_BITS | state as u32
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn cpu(number: usize) -> CpuId {
        CpuId::from_index(number)
    }

    #[test]
    fn only_the_declared_step_of_the_borrower_may_stop() {
        let loan = Loan::new();
        assert_eq!(loan.take(cpu(1)), Err(Lent::No));
        loan.declare(cpu(1), || assert_eq!(loan.take(cpu(1)), Err(Lent::No)));
        loan.lend(cpu(1), || {
            assert_eq!(loan.take(cpu(1)), Err(Lent::Undeclared));
            loan.declare(cpu(1), || {
                for other in [0, 2] {
                    assert_eq!(loan.take(cpu(other)), Err(Lent::No));
                }
                for _ in 0..2 {
                    assert_eq!(loan.take(cpu(1)), Ok(()));
                    assert_eq!(loan.take(cpu(1)), Err(Lent::Stopping));
                    loan.give_back(cpu(1));
                }
            });
            assert_eq!(loan.take(cpu(1)), Err(Lent::Undeclared));
        });
        loan.lend(cpu(0), || ());
        assert_eq!(loan.state(cpu(0)), Lent::No);
    }

    #[test]
    #[should_panic(expected = "BUG: the stop mutex is lent twice")]
    fn two_borrowers_are_found() {
        let loan = Loan::new();
        loan.lend(cpu(1), || loan.lend(cpu(2), || ()));
    }
}
