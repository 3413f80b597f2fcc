//! A module with its value: how threads reach the value, wait for the last reference, and take
//! the value out.

use core::fmt;
use core::ops::Deref;

use crate::module::references::{Kind, ModuleState, Plain, References, Stays, Wanted};
use crate::sched::lock::{Once, WaitQueue};
use crate::sched::{Patience, SchedHost, patience};
use crate::stop_machine::StopError;
use crate::sync::{IrqGuard, UnsafeCell, const_unless_loom, might_sleep_in};
use crate::time::Instant;

/// A value that can be loaded, used on all CPUs at once, and unloaded again.
pub struct Module<T, P: SchedHost, K = Plain> {
    /// Made at the first load: then the number of CPUs is known.
    references: Once<References<K>, P>,
    /// Where the thread that unloads it waits for the last reference.
    drained: WaitQueue<P>,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: threads on all CPUs reach the value through references, so `T: Sync`. The thread that
// unloads the module takes it out, which need not be the one that has loaded it, so `T: Send`.
// No two threads are in the cell at once unless all of them read (value-while-referenced).
unsafe impl<T: Send + Sync, P: SchedHost, K> Sync for Module<T, P, K> {}

/// Why a module was not loaded.
#[derive(Debug, PartialEq, Eq)]
pub enum LoadError<T, E> {
    /// There is one already, in this state. The value comes back.
    Loaded(ModuleState, T),
    /// The function that should set it up has returned this error.
    Init(E),
}

impl<T, E: fmt::Display> fmt::Display for LoadError<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Loaded(state, _) => write!(f, "there is a module already: it is {state}"),
            LoadError::Init(error) => write!(f, "the module could not be set up: {error}"),
        }
    }
}

impl<T: fmt::Debug, E: core::error::Error> core::error::Error for LoadError<T, E> {}

/// Why a module was not unloaded. It is as it was before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnloadError {
    /// It is in use, and stays live.
    InUse {
        /// How many references there were, or more if some were just taken or put.
        references: u64,
    },
    /// It isn't live: there is none, or a thread loads or unloads it just now.
    NotLive(ModuleState),
    /// The machine was not stopped: with a limit, not in time.
    Stop(StopError),
}

impl fmt::Display for UnloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UnloadError::InUse { references } => {
                write!(f, "the module is in use: {references} references")
            }
            UnloadError::NotLive(state) => write!(f, "the module is {state}"),
            UnloadError::Stop(error) => write!(f, "the machine can't be stopped: {error}"),
        }
    }
}

impl core::error::Error for UnloadError {}

impl From<Stays> for UnloadError {
    fn from(why: Stays) -> UnloadError {
        match why {
            Stays::InUse(references) => UnloadError::InUse { references },
            Stays::NotIn(state) => UnloadError::NotLive(state),
        }
    }
}

/// Brings the machine to a still point that no section of the module's kind reaches into, runs
/// the function there, and gives up at the instant.
pub trait StillFn: Fn(Instant, &mut (dyn FnMut() + Send)) -> Result<(), StopError> {}

impl<F: Fn(Instant, &mut (dyn FnMut() + Send)) -> Result<(), StopError>> StillFn for F {}

impl<T: Send + Sync, P: SchedHost, K: Kind> Module<T, P, K> {
    const_unless_loom! {
        /// Returns a module that isn't loaded.
        #[cfg_attr(debug_assertions, track_caller)]
        pub const fn new() -> Self {
            Module {
                references: Once::new(),
                drained: WaitQueue::new(),
                value: UnsafeCell::new(None),
            }
        }
    }

    /// Returns the state that it was in a moment ago.
    ///
    /// # Context
    /// Any.
    pub fn state_racy(&self) -> ModuleState {
        let references = self.references.get();
        references.map_or(ModuleState::Unloaded, References::state)
    }

    /// Returns how many references there were a moment ago, or more if some were just taken or
    /// put.
    ///
    /// # Context
    /// Any.
    pub fn references_racy(&self) -> u64 {
        self.references.get().map_or(0, References::total)
    }

    /// Puts `value` there and sets it up by `init_fn`, which gets a reference that it may keep.
    /// The loader holds one of its own meanwhile. Others may take references from the moment at
    /// which `init_fn` begins.
    ///
    /// If `init_fn` fails, the module goes by `still_fn`: it waits until all references are put
    /// that were taken meanwhile, and drops the value.
    ///
    /// # Context
    /// Thread, preemption on. `init_fn` may sleep.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn load<'a, E>(
        &'a self,
        value: T,
        init_fn: impl FnOnce(ModuleRef<'a, T, P, K>) -> Result<(), E>,
        still_fn: impl StillFn,
    ) -> Result<(), LoadError<T, E>> {
        might_sleep_in::<P>("Module::load");
        let cpus = P::masks().possible().count();
        let references = self.references.call_once(|| References::new(cpus));
        if let Err(state) = references.claim() {
            return Err(LoadError::Loaded(state, value));
        }
        // SAFETY: no thread has a reference before Coming, and no other thread loads or unloads
        // a module that is Unformed (value-while-referenced, one-changes).
        unsafe { *self.value.get() = Some(value) };
        section::<P, K, ()>(|| references.come(P::this_cpu()));
        let own = ModuleRef { module: self };
        match init_fn(own.clone()) {
            Ok(()) => {
                references.live();
                Ok(())
            }
            Err(error) => {
                self.go_surely(references, still_fn);
                drop(own);
                self.wait_unused(references, Instant::FOREVER);
                drop(self.take_out(references));
                Err(LoadError::Init(error))
            }
        }
    }

    /// Coming → Going, for a loader that has failed and can't leave the module as it is.
    fn go_surely(&self, references: &References<K>, still_fn: impl StillFn) {
        let coming = ModuleState::Coming;
        let go = || stop_and_go(references, coming, Wanted::Any, Instant::FOREVER, &still_fn);
        while let Err(error) = go() {
            log::warn!("a module that can't be set up can't go either: {error}");
        }
    }

    /// Takes a reference, if the module is there and doesn't go.
    ///
    /// # Context
    /// Any.
    #[inline]
    pub fn try_get(&self) -> Option<ModuleRef<'_, T, P, K>> {
        let references = self.references.get()?;
        section::<P, K, _>(|| references.try_get(P::this_cpu())).then(|| ModuleRef { module: self })
    }

    /// Takes the value out if there is no reference.
    ///
    /// # Context
    /// Thread, preemption on. Stops the machine by `still_fn`, unless it is in use.
    ///
    /// # Errors
    /// [`UnloadError`].
    pub fn try_unload(&self, still_fn: impl StillFn) -> Result<T, UnloadError> {
        let references = self.live_references()?;
        // Without a stop, if it can't go: a reference that is counted was there.
        match references.total() {
            0 => (),
            references => return Err(UnloadError::InUse { references }),
        }
        let live = ModuleState::Live;
        stop_and_go(
            references,
            live,
            Wanted::Unused,
            Instant::FOREVER,
            &still_fn,
        )?;
        Ok(self.take_out(references))
    }

    /// Has no thread take a reference any more, waits until all are put, and takes the value out.
    /// Both the stop and the wait end at `at`; then the module is live, as before.
    ///
    /// # Context
    /// Thread, preemption on; it has no reference itself, for which it would wait. Stops the
    /// machine by `still_fn`.
    ///
    /// # Errors
    /// [`UnloadError`].
    pub fn unload_until(&self, at: Instant, still_fn: impl StillFn) -> Result<T, UnloadError> {
        let references = self.live_references()?;
        stop_and_go(references, ModuleState::Live, Wanted::Any, at, &still_fn)?;
        if self.wait_unused(references, at) {
            return Ok(self.take_out(references));
        }
        let left = references.total();
        references.live();
        Err(UnloadError::InUse { references: left })
    }

    fn live_references(&self) -> Result<&References<K>, UnloadError> {
        might_sleep_in::<P>("Module::unload");
        let unloaded = UnloadError::NotLive(ModuleState::Unloaded);
        let references = self.references.get().ok_or(unloaded)?;
        match references.state() {
            ModuleState::Live => Ok(references),
            state => Err(UnloadError::NotLive(state)),
        }
    }

    /// Waits until all references are put, or until `at`; returns whether they are.
    ///
    /// # Context
    /// The thread that has made it Going.
    fn wait_unused(&self, references: &References<K>, at: Instant) -> bool {
        let mut late = Patience::begin::<P>();
        loop {
            let look_at = late.next_look();
            let unused = || references.total() == 0; // (put-wakes)
            if self.drained.wait_until(look_at.min(at), unused) {
                return true;
            }
            if at <= look_at {
                return false;
            }
            if late.is_out(P::now()) {
                log::warn!(
                    "{} has waited {} s to unload a module: {} references are left",
                    P::sched().current().name(),
                    patience::<P>().as_secs(),
                    references.total()
                );
            }
        }
    }

    /// Takes the value of a module that has gone.
    fn take_out(&self, references: &References<K>) -> T {
        // SAFETY: this thread has made the module Going and seen a sum of 0 since, which stays 0
        // (none-from-none, one-changes). What was done with each reference is over: its put was
        // a Release, and the sum has read it with Acquire (value-while-referenced).
        let value = unsafe { (*self.value.get()).take() };
        references.gone();
        value.expect("BUG: a module without a value was loaded")
    }
}

impl<T: Send + Sync, P: SchedHost, K: Kind> Default for Module<T, P, K> {
    #[cfg_attr(debug_assertions, track_caller)]
    fn default() -> Self {
        Self::new()
    }
}

impl<T, P: SchedHost, K> fmt::Debug for Module<T, P, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module").finish_non_exhaustive()
    }
}

/// Runs `call_fn` in a section of the kind: on one CPU, if the kind asks for that.
#[inline]
fn section<P: SchedHost, K: Kind, R>(call_fn: impl FnOnce() -> R) -> R {
    let here = K::KEEPS_CPU.then(IrqGuard::<P>::new);
    let value = call_fn();
    drop(here);
    value
}

/// Has the module go in a still point.
fn stop_and_go<K: Kind>(
    references: &References<K>,
    from: ModuleState,
    wanted: Wanted,
    at: Instant,
    still_fn: &impl StillFn,
) -> Result<(), UnloadError> {
    let mut went = None;
    let mut go = || went = Some(references.go(from, wanted)); // (looked-and-counted)
    still_fn(at, &mut go).map_err(UnloadError::Stop)?;
    let went = went.expect("BUG: a stop ended without its function having run");
    Ok(went?)
}

/// A reference to a module: the value stays where it is while this exists.
///
/// Another thread, on another CPU, may have it or drop it.
#[must_use]
pub struct ModuleRef<'a, T: Send + Sync, P: SchedHost, K: Kind = Plain> {
    module: &'a Module<T, P, K>,
}

impl<T: Send + Sync, P: SchedHost, K: Kind> ModuleRef<'_, T, P, K> {
    fn references(&self) -> &References<K> {
        let references = self.module.references.get();
        references.expect("BUG: a reference to a module that was never loaded")
    }
}

impl<T: Send + Sync, P: SchedHost, K: Kind> Deref for ModuleRef<'_, T, P, K> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the value was written before this reference could be taken, and is taken out
        // after it is put, which borrows `self` mutably (value-while-referenced).
        let value = unsafe { &*self.module.value.get() };
        value
            .as_ref()
            .expect("BUG: a module went while it had a reference")
    }
}

impl<T: Send + Sync, P: SchedHost, K: Kind> Clone for ModuleRef<'_, T, P, K> {
    /// Takes another reference, also while the module goes.
    fn clone(&self) -> Self {
        section::<P, K, _>(|| self.references().get_again(P::this_cpu()));
        ModuleRef {
            module: self.module,
        }
    }
}

impl<T: Send + Sync, P: SchedHost, K: Kind> Drop for ModuleRef<'_, T, P, K> {
    fn drop(&mut self) {
        let goes = section::<P, K, _>(|| {
            self.references().put(P::this_cpu());
            self.references().goes()
        });
        if goes {
            self.module.drained.wake_one();
        }
    }
}

impl<T: Send + Sync + fmt::Debug, P: SchedHost, K: Kind> fmt::Debug for ModuleRef<'_, T, P, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
