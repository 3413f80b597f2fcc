//! Per-CPU variables of programs: a template in the Image, and a copy of it for each
//! possible CPU.
//!
//! ```text
//!   .percpu   __percpu_start ─ HITS ─ ... ─ __percpu_end     read only
//!                               │ offset
//!   areas     cpu0 [ ... HITS ...]  cpu1 [ ... HITS ... ]    whole cache lines each
//! ```
//!
//! The copies are made at boot, after the CPUs have been counted and the Image has been
//! relocated. They are never freed, so a CPU that goes off finds its values when it is back.

use alloc::boxed::Box;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use crate::arch::aarch64::image;
use crate::config::CACHE_LINE;
use crate::cpu::CpuId;
use crate::sync::{CachePadded, Once};

/// A cache line of an area.
type Line = CachePadded<[u8; CACHE_LINE]>;

/// Where the areas of all CPUs lie, one after the other.
struct AreaRange {
    /// The first byte of the boot CPU's area.
    first: NonNull<u8>,
    /// The size of one area in bytes.
    size: usize,
    /// The number of areas.
    cpus: usize,
}

// SAFETY: an address and two numbers; `PerCpuVar` says how the memory there is shared.
unsafe impl Send for AreaRange {}
// SAFETY: as above; none of the fields changes.
unsafe impl Sync for AreaRange {}

static AREAS: Once<AreaRange> = Once::new();

/// Makes the areas of `cpus` CPUs.
///
/// # Context
/// The boot CPU, before the first thread.
pub(crate) fn init(cpus: usize) {
    AREAS.call_once(|| {
        let template = image::per_cpu_template();
        let size = template.len();
        let lines = Box::<[Line]>::new_uninit_slice(cpus * size.div_ceil(CACHE_LINE));
        let lines: &'static mut [MaybeUninit<Line>] = Box::leak(lines);
        let first = NonNull::from(lines).cast::<u8>();
        let from = core::ptr::with_exposed_provenance::<u8>(template.start);
        for cpu in 0..cpus {
            // SAFETY: `lines` has room for an area of each CPU.
            let to = unsafe { first.add(cpu * size) };
            // SAFETY: the linker script says where the template lies. It is made of whole cache
            // lines, and `to` has as many. Both are copied as bytes.
            unsafe { core::ptr::copy_nonoverlapping(from, to.as_ptr(), size) };
        }
        AreaRange { first, size, cpus }
    });
}

/// A variable of which every possible CPU has its own copy. Made by
/// [`percpu!`](crate::percpu).
///
/// ```no_run
#[doc = include_str!("../../examples/api/per_cpu.rs")]
/// ```
#[derive(Debug)]
pub struct PerCpuVar<T: 'static> {
    /// The variable in the section `.percpu`, which holds the first value of every copy.
    template: &'static T,
}

impl<T: Sync + 'static> PerCpuVar<T> {
    /// Returns the variable whose first value is `template`. Only `percpu!` calls this.
    ///
    /// # Safety
    /// `template` is a static in the section `.percpu`, initialized by a constant: the
    /// value of a constant may be copied byte by byte any number of times.
    #[doc(hidden)]
    pub const unsafe fn new(template: &'static T) -> PerCpuVar<T> {
        assert!(
            align_of::<T>() <= CACHE_LINE,
            "a per-CPU area is aligned to a cache line only"
        );
        PerCpuVar { template }
    }

    /// Returns the copy of `cpu`. Other CPUs may use it at the same time, as far as `T`
    /// allows that.
    ///
    /// # Context
    /// Any.
    ///
    /// # Panics
    /// If `cpu` isn't possible; or if it is called before the areas are made, which happens
    /// before any thread runs.
    #[inline]
    pub fn on(&self, cpu: CpuId) -> &'static T {
        let areas = areas();
        assert!(
            cpu.index() < areas.cpus,
            "BUG: {cpu:?} is not possible on this machine"
        );
        let offset = (&raw const *self.template).addr() - image::per_cpu_template().start;
        // SAFETY: the variable lies in the template, and the area of a possible CPU is as
        // large as that.
        let place = unsafe { areas.first.add(cpu.index() * areas.size + offset) };
        // SAFETY: a copy of the template's value is there, with the template's alignment. It is
        // never freed, and `T` is `Sync`, so every CPU may refer to it.
        unsafe { place.cast::<T>().as_ref() }
    }

    /// Returns the copies of all possible CPUs, on or off.
    ///
    /// # Panics
    /// As for [`PerCpuVar::on`].
    pub fn iter(&self) -> impl Iterator<Item = (CpuId, &'static T)> {
        (0..areas().cpus)
            .filter_map(CpuId::new)
            .map(|cpu| (cpu, self.on(cpu)))
    }
}

#[inline]
fn areas() -> &'static AreaRange {
    AREAS
        .get()
        .expect("BUG: a per-CPU variable is used before the per-CPU areas are made")
}
