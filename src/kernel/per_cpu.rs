//! Per-CPU variables of programs: a template in the Image, and a copy of it for each
//! possible CPU.
//!
//! ```text
//!   .percpu   __percpu_start ─ HITS ─ ... ─ __percpu_end     read only
//!                               │ offset
//!   areas     cpu0 [ ... HITS ...]  cpu1 [ ... HITS ... ]    whole cache lines each
//! ```
//!
//! The copies are made at boot, once the CPUs have been counted and the Image is
//! relocated, and stay for ever: a CPU that is off keeps its values, and finds them
//! when it is back.

use alloc::boxed::Box;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use crate::arch::aarch64::image;
use crate::config::CACHE_LINE;
use crate::cpu::CpuId;
use crate::kernel::Hw;
use crate::platform::Platform;
use crate::sync::{CachePadded, Once, PinnedCpu};

type Line = CachePadded<[u8; CACHE_LINE]>;

/// Where the areas of all CPUs lie, one after the other.
struct Areas {
    first: NonNull<u8>,
    /// Bytes of one.
    size: usize,
    cpus: usize,
}

// SAFETY: addresses and numbers; what lies there is shared by the rules of
// `PerCpuVar`.
unsafe impl Send for Areas {}
// SAFETY: as above: nothing of it changes.
unsafe impl Sync for Areas {}

static AREAS: Once<Areas> = Once::new();

/// Makes the areas of `cpus` CPUs. Boot CPU, before the first thread.
pub(crate) fn init(cpus: usize) {
    AREAS.call_once(|| {
        let template = image::per_cpu_template();
        let size = template.len();
        let lines = Box::<[Line]>::new_uninit_slice(cpus * size.div_ceil(CACHE_LINE));
        let lines: &'static mut [MaybeUninit<Line>] = Box::leak(lines);
        let first = NonNull::from(lines).cast::<u8>();
        let from = core::ptr::with_exposed_provenance::<u8>(template.start);
        for cpu in 0..cpus {
            // SAFETY: `lines` has room for as many as there are CPUs.
            let to = unsafe { first.add(cpu * size) };
            // SAFETY: the linker script says where the template lies, in whole cache
            // lines, of which `to` has as many; both are bytes to us.
            unsafe { core::ptr::copy_nonoverlapping(from, to.as_ptr(), size) };
        }
        Areas { first, size, cpus }
    });
}

/// A variable of which every possible CPU has its own. Made by
/// [`percpu!`](crate::percpu).
#[derive(Debug)]
pub struct PerCpuVar<T: 'static> {
    template: &'static T,
}

impl<T: Sync + 'static> PerCpuVar<T> {
    /// Returns what `percpu!` calls.
    ///
    /// # Safety
    /// `template` is a static in the section `.percpu`, initialized by a constant: the
    /// value of a constant may be copied byte by byte, as often as one likes.
    #[doc(hidden)]
    pub const unsafe fn new(template: &'static T) -> PerCpuVar<T> {
        assert!(
            align_of::<T>() <= CACHE_LINE,
            "a per-CPU area is aligned to a cache line only"
        );
        PerCpuVar { template }
    }

    /// `cpu`'s. Any context; where others may write to it meanwhile, `T` says how.
    ///
    /// # Panics
    /// Before the areas are made, which is before any thread runs; or if `cpu` is
    /// not possible.
    #[inline]
    pub fn on(&self, cpu: CpuId) -> &'static T {
        let areas = areas();
        assert!(
            cpu.index() < areas.cpus,
            "BUG: {cpu:?} is not possible on this machine"
        );
        let offset = (&raw const *self.template).addr() - image::per_cpu_template().start;
        // SAFETY: the area of a possible CPU is as large as the template, in which
        // the variable lies.
        let place = unsafe { areas.first.add(cpu.index() * areas.size + offset) };
        // SAFETY: there is a copy of the template's value, aligned as that is; it is
        // never freed, and `T` is `Sync`, so that all may refer to it.
        unsafe { place.cast::<T>().as_ref() }
    }

    /// That of this CPU, which stays this one while `_here` lives.
    ///
    /// # Panics
    /// As [`PerCpuVar::on`].
    #[inline]
    pub fn this<'a>(&self, _here: &'a impl PinnedCpu<Hw>) -> &'a T {
        self.on(Hw::this_cpu())
    }

    /// Returns those of all possible CPUs, on or off.
    ///
    /// # Panics
    /// As [`PerCpuVar::on`].
    pub fn iter(&self) -> impl Iterator<Item = (CpuId, &'static T)> {
        (0..areas().cpus)
            .filter_map(CpuId::new)
            .map(|cpu| (cpu, self.on(cpu)))
    }
}

#[inline]
fn areas() -> &'static Areas {
    AREAS
        .get()
        .expect("BUG: a per-CPU variable is used before the per-CPU areas are made")
}
