//! The name of the function that a CPU runs, for messages about one that doesn't return.

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
    /// Returns the name of functions of the type `F`.
    #[inline]
    pub fn of<F>() -> &'static CallName {
        &Of::<F>::NAME
    }

    /// Returns the name of `call_fn`.
    #[inline]
    pub fn of_val<F>(_call_fn: &F) -> &'static CallName {
        Self::of::<F>()
    }

    /// Returns the name, as the compiler has it.
    pub fn as_str(&self) -> &'static str {
        (self.0)()
    }
}

/// The name of the function that a CPU runs. Only that CPU writes it, with IRQs masked;
/// other CPUs read it for messages. Relaxed: a name never changes.
#[derive(Debug)]
pub struct Running(AtomicPtr<CallName>);

impl Running {
    /// Makes a cell that names no function.
    pub fn new() -> Running {
        Running(AtomicPtr::new(ptr::null_mut()))
    }

    /// Calls `run_fn`, which runs a function of this name. Calls may nest.
    #[inline]
    pub fn note<R>(&self, name: &'static CallName, run_fn: impl FnOnce() -> R) -> R {
        let before = self.0.load(Ordering::Relaxed);
        let name = ptr::from_ref(name).cast_mut();
        self.0.store(name, Ordering::Relaxed);
        let value = run_fn();
        self.0.store(before, Ordering::Relaxed);
        value
    }

    /// Returns the name of the function that ran a moment ago, if one did.
    pub fn get(&self) -> Option<&'static CallName> {
        let name = self.0.load(Ordering::Relaxed);
        // SAFETY: null, or an address that was made from a `'static` reference.
        unsafe { name.as_ref() }
    }
}

impl Default for Running {
    fn default() -> Self {
        Self::new()
    }
}
