//! Static keys: [`patch`](crate::patch) over the Image's own table, code and still point.
//!
//! A change holds the hotplug lock for reading, so that no CPU is on its way: one that comes or
//! goes executes sites too, and no still point waits for it. Below that it holds the stop mutex
//! (`one-change-at-a-time` of [`patch`](crate::patch)).

use crate::arch::aarch64::{hint, image, text};
use crate::kernel::entry::enter;
use crate::kernel::{Hw, Kernel, kernel};
use crate::patch::{Change, Key, KeyError, Keys};
use crate::stop_machine::{StopMutexGuard, StopRequest};

/// Expands to whether a static key is on. The callers are the macros that choose what a site
/// holds.
///
/// * `$starts_fn` — [`starts`], by the path that the caller has
/// * `$kind` — the kind of the entry: 0, and the site branches while the key is on; or 1
#[doc(hidden)]
#[macro_export]
macro_rules! __static_branch {
    ($starts_fn:path, $key:path, $kind:literal) => {{
        #[inline(always)]
        fn site() -> bool {
            // A host, where a program is only checked, has no such instruction.
            #[cfg(not(target_os = "none"))]
            let _: bool = $starts_fn(&$key);
            // SAFETY: the instruction has no effect but to fall through or to lead to the label.
            // The key is a static: `sym` takes no other value.
            #[cfg(target_os = "none")]
            unsafe {
                ::core::arch::asm!(
                    "771:",
                    ".if {branches}",
                    "b {target}",
                    ".else",
                    "nop",
                    ".endif",
                    ".pushsection .static_keys, \"a\"",
                    ".balign 4",
                    ".long 771b - .",
                    ".long {target} - .",
                    ".long {key} - .",
                    ".long {kind}",
                    ".long 0",
                    ".popsection",
                    branches = const ($starts_fn(&$key) != ($kind != 0)) as u32,
                    target = label { return $kind == 0 },
                    key = sym $key,
                    kind = const $kind,
                    options(nomem, nostack, preserves_flags)
                );
            }
            $kind != 0
        }
        site()
    }};
}

#[doc(hidden)]
pub use __static_branch as static_branch;

/// As the macro of programs, for the kernel.
macro_rules! static_branch_unlikely {
    ($key:path) => {
        $crate::kernel::static_key::static_branch!($crate::kernel::static_key::starts, $key, 0)
    };
}
pub(crate) use static_branch_unlikely;

/// A switch that costs one instruction where it is looked at, and a still point to turn.
///
/// It is a static, and [`static_branch_unlikely!`](crate::static_branch_unlikely!) and
/// [`static_branch_likely!`](crate::static_branch_likely!) look at it. It counts: it is on while
/// it was enabled more often than disabled. At first it is `ON`.
///
/// ```no_run
#[doc = include_str!("../../examples/api/key_users.rs")]
/// ```
#[derive(Debug)]
#[repr(transparent)] // The table has the address of the static, which is that of the key.
pub struct StaticKey<const ON: bool = false> {
    key: Key,
}

/// Returns whether `_key` is on at first. Only the macros call this.
#[doc(hidden)]
pub const fn starts<const ON: bool>(_key: &StaticKey<ON>) -> bool {
    ON
}

impl<const ON: bool> StaticKey<ON> {
    /// Returns a key.
    #[expect(
        clippy::new_without_default,
        reason = "a key that isn't a static can't be looked at"
    )]
    pub const fn new() -> Self {
        StaticKey { key: Key::new(ON) }
    }

    /// Enables the key once more; returns when every CPU sees that it is on (Linux:
    /// `static_key_slow_inc`).
    ///
    /// # Context
    /// Thread, preemption on. Takes the hotplug lock for reading and the stop mutex, and brings
    /// the machine to a still point if the key was off and has sites.
    ///
    /// # Errors
    /// [`KeyError`]; nothing has changed then.
    ///
    /// # Panics
    /// Outside its context, whether it would have to wait or not.
    pub fn enable(&'static self) -> Result<(), KeyError> {
        change(&[self.enabling()])
    }

    /// Takes one [`enable`](StaticKey::enable) back, or the one that the key began with; returns
    /// when every CPU sees that (Linux: `static_key_slow_dec`).
    ///
    /// # Context
    /// As for [`enable`](StaticKey::enable).
    ///
    /// # Errors
    /// [`KeyError`]; nothing has changed then.
    ///
    /// # Panics
    /// As for [`enable`](StaticKey::enable).
    pub fn disable(&'static self) -> Result<(), KeyError> {
        change(&[self.disabling()])
    }

    /// Returns what [`enable`](StaticKey::enable) does, to be done together with other changes.
    pub const fn enabling(&'static self) -> Change {
        self.key.enabling()
    }

    /// Returns what [`disable`](StaticKey::disable) does, to be done together with other changes.
    pub const fn disabling(&'static self) -> Change {
        self.key.disabling()
    }

    /// Returns how often the key was enabled more often than disabled. A change may be under
    /// way.
    ///
    /// # Context
    /// Any.
    pub fn count_racy(&self) -> u32 {
        self.key.count_racy()
    }
}

/// Makes `changes`, all in one still point, or none of them; returns when every CPU sees them.
/// They count in their order.
///
/// # Context
/// As for [`StaticKey::enable`].
///
/// # Errors
/// [`KeyError`] for the first change that can't be made; nothing has changed then.
///
/// # Panics
/// As for [`StaticKey::enable`].
pub fn change(changes: &[Change]) -> Result<(), KeyError> {
    let _in_kernel = enter();
    let held = kernel().hotplug.cpus_read_lock_checked();
    let _held = held.map_err(|_| KeyError::WouldDeadlock)?;
    let still = kernel().stop_machine.lock();
    let keys = judge(changes)?;
    patch_text(&still, &keys);
    Ok(())
}

/// Makes `changes` before there is a second CPU.
///
/// # Context
/// The boot CPU, which alone runs the kernel, IRQs masked.
///
/// # Errors
/// As for [`change`].
pub(crate) fn change_alone(kernel: &Kernel, changes: &[Change]) -> Result<(), KeyError> {
    judge(changes)?.apply(&mut text::TextAlias::find(&kernel.mmu));
    Ok(())
}

fn judge(changes: &[Change]) -> Result<Keys<'_>, KeyError> {
    let read_fn = |at| {
        // SAFETY: `judge` reads only at addresses of instructions within the code.
        unsafe { text::read(at) }
    };
    Keys::judge(changes, image::static_keys(), &image::text(), read_fn)
}

/// Applies `keys` in a still point, and returns when no CPU executes an old instruction any more.
fn patch_text(still: &StopMutexGuard<'_, Hw>, keys: &Keys<'_>) {
    let kernel = kernel();
    let mut alias = text::TextAlias::find(&kernel.mmu);
    if !keys.has_sites() {
        keys.apply(&mut alias);
        return;
    }
    // A CPU that leaves the still point may have fetched an instruction before it was written
    // (`fetched-anew` of `patch`).
    let synchronize = |_| hint::synchronize_context();
    let request = StopRequest::new().and_release(&synchronize);
    let stopped = kernel
        .stop_machine
        .stop(still, &request, || keys.apply(&mut alias));
    if let Err(error) = stopped {
        panic!("BUG: a change of code was not written: {error}");
    }
}
