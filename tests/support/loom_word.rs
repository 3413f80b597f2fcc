//! A plain word that the CPUs of a model share, without any synchronization of its own. Loom
//! fails a model in which two CPUs could access it at once.

use loom::cell::UnsafeCell;

/// The word.
pub(crate) struct Word(UnsafeCell<u32>);

// SAFETY: loom checks every access, and fails the model at a race.
unsafe impl Sync for Word {}

impl Word {
    pub(crate) fn new(value: u32) -> Word {
        Word(UnsafeCell::new(value))
    }

    pub(crate) fn get(&self) -> u32 {
        // SAFETY: loom has just checked that no thread writes it at this point.
        self.0.with(|word| unsafe { *word })
    }

    pub(crate) fn set(&self, value: u32) {
        // SAFETY: loom has just checked that no other thread touches it at this point.
        self.0.with_mut(|word| unsafe { *word = value });
    }
}
