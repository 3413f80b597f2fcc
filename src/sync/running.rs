//! Whose function a CPU runs: for messages about one that doesn't return.

use core::ptr;

use crate::sync::atomic::{AtomicPtr, Ordering};

/// The name of a function that is called elsewhere.
#[derive(Debug)]
pub struct CallName(fn() -> &'static str);

/// Holds the name of each type of function.
struct Of<F>(F);

impl<F> Of<F> {
    const NAME: CallName = CallName(core::any::type_name::<F>);
}

impl CallName {
    /// The name of functions of the type `F`.
    #[inline]
    pub fn of<F>() -> &'static CallName {
        &Of::<F>::NAME
    }

    /// The name of `call_fn`.
    #[inline]
    pub fn of_val<F>(_call_fn: &F) -> &'static CallName {
        Self::of::<F>()
    }

    /// The name, as the compiler has it.
    pub fn as_str(&self) -> &'static str {
        (self.0)()
    }
}

/// Whose function a CPU runs. Written by that CPU alone, with IRQs masked; read by others
/// for messages. Relaxed: a name never changes.
#[derive(Debug)]
pub struct Running(AtomicPtr<CallName>);

impl Running {
    /// Nobody's.
    pub fn new() -> Running {
        Running(AtomicPtr::new(ptr::null_mut()))
    }

    /// Calls `run_fn`, which runs a function of this name. Nests.
    #[inline]
    pub fn note<R>(&self, name: &'static CallName, run_fn: impl FnOnce() -> R) -> R {
        let before = self.0.load(Ordering::Relaxed);
        let name = ptr::from_ref(name).cast_mut();
        self.0.store(name, Ordering::Relaxed);
        let value = run_fn();
        self.0.store(before, Ordering::Relaxed);
        value
    }

    /// The name, if there is one, a moment ago.
    pub fn get(&self) -> Option<&'static CallName> {
        let name = self.0.load(Ordering::Relaxed);
        // SAFETY: null, or the address of what `note` was given, which stays for ever.
        unsafe { name.as_ref() }
    }
}

impl Default for Running {
    fn default() -> Self {
        Self::new()
    }
}
