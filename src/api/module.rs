//! Modules: values that all CPUs use, and that can be unloaded while they run, such as a driver,
//! a plugin or a table of functions.
//!
//! A use costs its CPU two stores to memory of its own, so users on different CPUs don't slow
//! each other down. The price is paid by the unload: it stops the machine. A value that is
//! replaced often is better served by [`rcu`](crate::api::rcu), and one that never has to come
//! back whole by an [`Arc`](alloc::sync::Arc).
//!
//! ```no_run
#![doc = include_str!("../../examples/api/module.rs")]
//! ```

use core::ops::Deref;

use crate::api::stop::{Stop, StopMode};
use crate::kernel::Hw;
use crate::kernel::entry::{Entered, enter};
use crate::module;
use crate::stop_machine::StopError;
use crate::time::Instant;

pub use crate::module::{Atomic, Counting, LoadError, ModuleState, Plain, UnloadError};

/// A value that can be loaded, used on all CPUs, and unloaded again: for a `static`, or to be
/// shared by reference.
///
/// References to a module of the kind [`Plain`] are taken with IRQs masked for a moment, and it is
/// unloaded by the classic stop. With [`Atomic`] nothing is masked; the price is one atomic
/// instruction, and an unload that waits for preempted threads first
/// ([`StopMode::FlushPreempted`]). If no deadline is given, such an unload gives up after
/// [`FLUSH_LIMIT`](crate::api::stop::FLUSH_LIMIT).
///
/// ```no_run
#[doc = include_str!("../../examples/api/module_kinds.rs")]
/// ```
#[derive(Debug)]
pub struct Module<T, K = Plain>(module::Module<T, Hw, K>);

/// Runs `call_fn` in a still point that excludes the sections of `K`, if that comes before `at`.
fn still<K: Counting>(at: Instant, call_fn: &mut (dyn FnMut() + Send)) -> Result<(), StopError> {
    let mode = if K::KEEPS_CPU {
        StopMode::Classic
    } else {
        StopMode::FlushPreempted
    };
    Stop::new().mode(mode).before(at).run(call_fn)
}

impl<T: Send + Sync, K: Counting> Module<T, K> {
    /// Returns a module that isn't loaded.
    ///
    /// # Context
    /// Any.
    #[cfg_attr(debug_assertions, track_caller)]
    pub const fn new() -> Module<T, K> {
        Module(module::Module::new())
    }

    /// Loads `value` and sets it up by `init_fn`, which gets a reference that it may keep. The
    /// module is live when `init_fn` has returned; others get references from its beginning on,
    /// so that what it registers can be called at once. The loader holds one of its own meanwhile.
    ///
    /// If `init_fn` fails, no thread gets a reference any more; this function stops the machine,
    /// waits until those are dropped that `init_fn` and others have taken, and drops the value.
    ///
    /// # Context
    /// Thread, preemption on; allocates at the first call. `init_fn` may sleep, but may not wait
    /// for this module.
    ///
    /// # Errors
    /// [`LoadError`].
    ///
    /// # Panics
    /// As for [`stop_machine`](crate::api::stop::stop_machine), if `init_fn` fails.
    pub fn load<'a, E>(
        &'a self,
        value: T,
        init_fn: impl FnOnce(ModuleRef<'a, T, K>) -> Result<(), E>,
    ) -> Result<(), LoadError<T, E>> {
        let _in_kernel = enter();
        self.0.load(
            value,
            |own| init_fn(ModuleRef(Entered::new(own))),
            still::<K>,
        )
    }

    /// Takes a reference, if the module is loaded and not being unloaded (Linux:
    /// `try_module_get`).
    ///
    /// # Context
    /// Any, also an interrupt handler; masks IRQs for a moment, if the kind is [`Plain`].
    #[inline]
    pub fn try_get(&self) -> Option<ModuleRef<'_, T, K>> {
        let _in_kernel = enter();
        let own = self.0.try_get()?;
        Some(ModuleRef(Entered::new(own)))
    }

    /// Unloads the module and returns its value, if there is no reference to it. It stops the
    /// machine to be sure of that, unless it sees a reference before.
    ///
    /// # Context
    /// As for [`stop_machine`](crate::api::stop::stop_machine).
    ///
    /// # Errors
    /// [`UnloadError`]; nothing has changed then.
    ///
    /// # Panics
    /// As for [`stop_machine`](crate::api::stop::stop_machine).
    pub fn try_unload(&self) -> Result<T, UnloadError> {
        let _in_kernel = enter();
        self.0.try_unload(still::<K>)
    }

    /// Unloads the module and returns its value. It stops the machine; no thread gets a reference
    /// any more; then it waits until the last one is dropped. After ten seconds the log says for
    /// how many it waits.
    ///
    /// # Context
    /// As for [`stop_machine`](crate::api::stop::stop_machine). If this thread has a reference, it
    /// waits for itself, for ever.
    ///
    /// # Errors
    /// [`UnloadError`], but not [`UnloadError::InUse`].
    ///
    /// # Panics
    /// As for [`stop_machine`](crate::api::stop::stop_machine).
    pub fn unload(&self) -> Result<T, UnloadError> {
        self.unload_before(Instant::FOREVER)
    }

    /// Does as [`Module::unload`], but gives up at `deadline`, whether it waits for the stop or for
    /// references. Then the module is live, as before. While it waited for references, no thread
    /// got one.
    ///
    /// # Context
    /// As for [`stop_machine`](crate::api::stop::stop_machine); allocates.
    ///
    /// # Errors
    /// [`UnloadError`]. It is [`UnloadError::Stop`] if the machine did not stop in time.
    ///
    /// # Panics
    /// As for [`stop_machine`](crate::api::stop::stop_machine).
    pub fn unload_before(&self, deadline: Instant) -> Result<T, UnloadError> {
        let _in_kernel = enter();
        self.0.unload_until(deadline, still::<K>)
    }

    /// Returns the state that the module was in a moment ago.
    ///
    /// # Context
    /// Any.
    pub fn state_racy(&self) -> ModuleState {
        self.0.state_racy()
    }

    /// Returns how many references there were a moment ago, or more if some were just taken or
    /// dropped. It reads a word of each CPU.
    ///
    /// # Context
    /// Any.
    pub fn references_racy(&self) -> u64 {
        self.0.references_racy()
    }
}

impl<T: Send + Sync, K: Counting> Default for Module<T, K> {
    #[cfg_attr(debug_assertions, track_caller)]
    fn default() -> Self {
        Self::new()
    }
}

/// A reference to a loaded module: its value stays while this exists.
///
/// It may go to another thread, and be dropped on another CPU than it was taken on. One that is
/// forgotten ([`core::mem::forget`]) keeps the module loaded for ever. A clone is another
/// reference; it can be made while the module is being unloaded.
#[must_use]
#[derive(Debug)]
pub struct ModuleRef<'a, T: Send + Sync, K: Counting = Plain>(
    Entered<module::ModuleRef<'a, T, Hw, K>>,
);

impl<T: Send + Sync, K: Counting> Clone for ModuleRef<'_, T, K> {
    #[inline]
    fn clone(&self) -> Self {
        let _in_kernel = enter();
        ModuleRef(Entered::new((*self.0).clone()))
    }
}

impl<T: Send + Sync, K: Counting> Deref for ModuleRef<'_, T, K> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        let own: &module::ModuleRef<'_, T, Hw, K> = &self.0;
        own
    }
}
