//! A virtio device on the host, which does what a test has it do: its transport, its memory, and
//! its side of the queues.
#![allow(dead_code, reason = "each test uses a part")]
#![allow(clippy::cast_possible_truncation, reason = "a host of 64 bits")]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::cell::{Cell, RefCell};
use std::ptr::NonNull;
use std::rc::Rc;

use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{BufferDirection, Error, Hal, PhysAddr};

thread_local! {
    /// The pages that are allocated now.
    static PAGES: Cell<usize> = const { Cell::new(0) };
    /// Whether no more pages are given out.
    static FULL: Cell<bool> = const { Cell::new(false) };
}

/// Memory of the host, the same for both sides.
#[derive(Debug)]
pub(crate) struct HostMemory;

impl HostMemory {
    /// Returns how many pages of queues are allocated in this thread.
    pub(crate) fn pages() -> usize {
        PAGES.get()
    }

    /// Sets whether there are no more pages.
    pub(crate) fn set_full(full: bool) {
        FULL.set(full);
    }
}

fn layout(pages: usize) -> Layout {
    Layout::from_size_align(pages * 4096, 4096).expect("a layout")
}

// SAFETY: each call allocates anew, zeroed and aligned; addresses are those of the host.
unsafe impl Hal for HostMemory {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        if FULL.get() {
            return (0, NonNull::dangling());
        }
        // SAFETY: a queue has a size.
        let memory = NonNull::new(unsafe { alloc_zeroed(layout(pages)) }).expect("memory");
        PAGES.set(PAGES.get() + pages);
        (memory.as_ptr().expose_provenance() as u64, memory)
    }

    unsafe fn dma_dealloc(_: PhysAddr, memory: NonNull<u8>, pages: usize) -> i32 {
        PAGES.set(PAGES.get() - pages);
        // SAFETY: it was allocated with this layout.
        unsafe { dealloc(memory.as_ptr(), layout(pages)) };
        0
    }

    unsafe fn mmio_phys_to_virt(_: PhysAddr, _: usize) -> NonNull<u8> {
        NonNull::dangling()
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        buffer.cast::<u8>().as_ptr().expose_provenance() as u64
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}

/// A queue as its device knows it.
#[derive(Clone, Copy, Debug, Default)]
struct Ring {
    size: u16,
    descriptors: u64,
    available: u64,
    used: u64,
    /// How many available buffers the device has taken, and used ones it has given back.
    taken: u16,
    given: u16,
}

/// What the device is, and what it does wrong.
#[derive(Clone, Debug)]
pub(crate) struct Nature {
    pub(crate) kind: DeviceType,
    pub(crate) legacy: bool,
    pub(crate) features: u64,
    /// Room of each queue.
    pub(crate) most: u32,
    pub(crate) config: Vec<u8>,
    /// Whether the configuration changes at each look.
    pub(crate) restless: bool,
    /// Whether it refuses the features that the driver has chosen.
    pub(crate) refuses: bool,
    /// Whether it ignores a reset.
    pub(crate) deaf: bool,
}

impl Nature {
    /// Returns an honest network card of Virtio 1.0.
    pub(crate) fn card() -> Nature {
        Nature {
            kind: DeviceType::Network,
            legacy: false,
            features: 1 << 32 | 1 << 5,
            most: 1024,
            config: vec![0x52, 0x54, 0, 1, 2, 3, 1, 0],
            restless: false,
            refuses: false,
            deaf: false,
        }
    }
}

#[derive(Debug)]
struct State {
    nature: Nature,
    rings: [Ring; 4],
    status: DeviceStatus,
    generation: u32,
    notified: [u32; 4],
}

/// A device, and the transport that leads to it: each clone is the same device.
#[derive(Clone, Debug)]
pub(crate) struct Fake(Rc<RefCell<State>>);

/// A buffer that the driver has made available.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Buffer {
    pub(crate) id: u16,
    pub(crate) address: u64,
    pub(crate) size: u32,
    /// Whether the device writes it.
    pub(crate) writable: bool,
}

impl Buffer {
    /// Returns what the driver has written to it.
    pub(crate) fn read(&self) -> Vec<u8> {
        let from = std::ptr::with_exposed_provenance::<u8>(self.address as usize);
        // SAFETY: the driver keeps it until it is given back, and doesn't write it.
        unsafe { std::slice::from_raw_parts(from, self.size as usize) }.to_vec()
    }

    /// Writes `bytes` to its beginning, as many as fit.
    pub(crate) fn write(&self, bytes: &[u8]) {
        assert!(self.writable, "{self:?} is to be read");
        let to = std::ptr::with_exposed_provenance_mut::<u8>(self.address as usize);
        let count = bytes.len().min(self.size as usize);
        // SAFETY: the driver keeps it until it is given back, and touches it not.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, count) };
    }
}

fn load<T: Copy>(address: u64) -> T {
    let from = std::ptr::with_exposed_provenance::<T>(address as usize);
    // SAFETY: it is a part of a queue, which the driver frees only after a reset, when the device
    // has forgotten the address.
    unsafe { from.read_volatile() }
}

fn store<T>(address: u64, value: T) {
    let to = std::ptr::with_exposed_provenance_mut::<T>(address as usize);
    // SAFETY: as in `load`.
    unsafe { to.write_volatile(value) };
}

impl Fake {
    pub(crate) fn new(nature: Nature) -> Fake {
        Fake(Rc::new(RefCell::new(State {
            nature,
            rings: Default::default(),
            status: DeviceStatus::empty(),
            generation: 0,
            notified: [0; 4],
        })))
    }

    pub(crate) fn change(&self, change_fn: impl FnOnce(&mut Nature)) {
        change_fn(&mut self.0.borrow_mut().nature);
    }

    pub(crate) fn status(&self) -> DeviceStatus {
        self.0.borrow().status
    }

    /// Returns how often the driver has notified the queue.
    pub(crate) fn notified(&self, queue: usize) -> u32 {
        self.0.borrow().notified[queue]
    }

    /// Returns whether the driver asks for interrupts of this queue.
    pub(crate) fn wants_interrupt(&self, queue: usize) -> bool {
        let ring = self.0.borrow().rings[queue];
        ring.size != 0 && load::<u16>(ring.available) & 1 == 0
    }

    /// Takes the next available buffer of a queue.
    pub(crate) fn take(&self, queue: usize) -> Option<Buffer> {
        let mut state = self.0.borrow_mut();
        let ring = &mut state.rings[queue];
        if ring.size == 0 || load::<u16>(ring.available + 2) == ring.taken {
            return None;
        }
        let slot = u64::from(ring.taken % ring.size);
        ring.taken = ring.taken.wrapping_add(1);
        let id = load::<u16>(ring.available + 4 + 2 * slot);
        let descriptor = ring.descriptors + 16 * u64::from(id);
        assert!(id < ring.size, "a descriptor that is there");
        let flags = load::<u16>(descriptor + 12);
        assert_eq!(flags & !2, 0, "one descriptor is one buffer");
        Some(Buffer {
            id,
            address: load(descriptor),
            size: load(descriptor + 8),
            writable: flags & 2 != 0,
        })
    }

    /// Gives a buffer back, real or not, with this length.
    pub(crate) fn give(&self, queue: usize, id: u32, length: u32) {
        let mut state = self.0.borrow_mut();
        let ring = &mut state.rings[queue];
        if ring.size == 0 {
            return;
        }
        let slot = ring.used + 4 + 8 * u64::from(ring.given % ring.size);
        store(slot, id);
        store(slot + 4, length);
        ring.given = ring.given.wrapping_add(1);
        store(ring.used + 2, ring.given);
    }

    /// Claims that `count` more buffers are used, without a word which.
    pub(crate) fn jump(&self, queue: usize, count: u16) {
        let mut state = self.0.borrow_mut();
        let ring = &mut state.rings[queue];
        if ring.size != 0 {
            ring.given = ring.given.wrapping_add(count);
            store(ring.used + 2, ring.given);
        }
    }
}

impl Transport for Fake {
    fn device_type(&self) -> DeviceType {
        self.0.borrow().nature.kind
    }

    fn read_device_features(&mut self) -> u64 {
        self.0.borrow().nature.features
    }

    fn write_driver_features(&mut self, features: u64) {
        let offered = self.0.borrow().nature.features;
        assert_eq!(features & !offered, 0, "only what is offered");
    }

    fn max_queue_size(&mut self, _: u16) -> u32 {
        self.0.borrow().nature.most
    }

    fn notify(&mut self, queue: u16) {
        self.0.borrow_mut().notified[usize::from(queue)] += 1;
    }

    fn get_status(&self) -> DeviceStatus {
        self.status()
    }

    fn set_status(&mut self, status: DeviceStatus) {
        let mut state = self.0.borrow_mut();
        if status.is_empty() && !state.nature.deaf {
            state.rings = Default::default();
        }
        let deaf = state.nature.deaf && status.is_empty();
        state.status = if deaf {
            DeviceStatus::DRIVER
        } else if state.nature.refuses {
            status - DeviceStatus::FEATURES_OK
        } else {
            status
        };
    }

    fn set_guest_page_size(&mut self, size: u32) {
        assert_eq!(size, 4096);
    }

    fn requires_legacy_layout(&self) -> bool {
        self.0.borrow().nature.legacy
    }

    fn queue_set(&mut self, queue: u16, size: u32, descriptors: u64, available: u64, used: u64) {
        self.0.borrow_mut().rings[usize::from(queue)] = Ring {
            size: size.try_into().expect("a small queue"),
            descriptors,
            available,
            used,
            taken: 0,
            given: 0,
        };
    }

    fn queue_unset(&mut self, _: u16) {
        panic!("it may wait for ever");
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        self.0.borrow().rings[usize::from(queue)].size != 0
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        panic!("it is the handler's");
    }

    fn read_config_generation(&self) -> u32 {
        let mut state = self.0.borrow_mut();
        state.generation += u32::from(state.nature.restless);
        state.generation
    }

    fn read_config_space<T: zerocopy::FromBytes + zerocopy::IntoBytes>(
        &self,
        offset: usize,
    ) -> Result<T, Error> {
        let state = self.0.borrow();
        let bytes = state.nature.config.get(offset..);
        let read = bytes.and_then(|bytes| T::read_from_prefix(bytes).ok());
        read.map(|(value, _)| value)
            .ok_or(Error::ConfigSpaceTooSmall)
    }

    fn write_config_space<T: zerocopy::IntoBytes + zerocopy::Immutable>(
        &mut self,
        _: usize,
        _: T,
    ) -> Result<(), Error> {
        panic!("nothing is configured");
    }
}
