//! The memory that virtio devices use.

use alloc::alloc::{alloc_zeroed, dealloc};
use core::alloc::Layout;
use core::ptr::{self, NonNull};

use virtio_drivers::{BufferDirection, Hal, PhysAddr};

use crate::config::PAGE_SIZE;

/// The first address beyond those of a legacy device's queue, which counts pages with 32 bits
/// (Virtio 1.2, 4.2.4, QueuePFN).
const END: usize = 1 << 44;

/// Memory of the heap. Its addresses are the same for CPUs and devices, because the kernel's map
/// is the identity and no device is behind an IOMMU that it turns on. The devices are coherent, as
/// the tree says of each, so nothing is cleaned or invalidated.
#[derive(Debug)]
pub(crate) struct DeviceMemory;

fn layout(pages: usize) -> Option<Layout> {
    let size = pages.checked_mul(PAGE_SIZE)?;
    let layout = Layout::from_size_align(size, PAGE_SIZE).ok()?;
    (size != 0).then_some(layout)
}

// SAFETY: memory comes from the heap, zeroed and aligned to pages, and belongs to the caller until
// it is given back. A buffer's address is the device's too.
unsafe impl Hal for DeviceMemory {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let none = (0, NonNull::dangling());
        let Some(layout) = layout(pages) else {
            return none;
        };
        // SAFETY: the size isn't 0.
        let Some(memory) = NonNull::new(unsafe { alloc_zeroed(layout) }) else {
            return none;
        };
        let start = memory.as_ptr().expose_provenance();
        if start + layout.size() > END {
            // SAFETY: it was allocated just now, with this layout.
            unsafe { dealloc(memory.as_ptr(), layout) };
            return none;
        }
        (start as PhysAddr, memory)
    }

    unsafe fn dma_dealloc(_: PhysAddr, vaddr: NonNull<u8>, pages: usize) -> i32 {
        if let Some(layout) = layout(pages) {
            // SAFETY: the caller promises that `dma_alloc` returned it for as many pages.
            unsafe { dealloc(vaddr.as_ptr(), layout) };
        }
        0
    }

    unsafe fn mmio_phys_to_virt(paddr: PhysAddr, _: usize) -> NonNull<u8> {
        // Only the crate's own PCI transport calls this, which the kernel doesn't use.
        let address = usize::try_from(paddr).unwrap_or(0);
        NonNull::new(ptr::with_exposed_provenance_mut(address)).unwrap_or(NonNull::dangling())
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        buffer.cast::<u8>().as_ptr().expose_provenance() as PhysAddr
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}
