//! A queue, and the buffers in it.
//!
//! # Invariants
//! - **lent-or-owned**: a buffer is either lent to a device, and then only the queue has its
//!   address, or it is owned by the driver.
//! - **lent-by-token**: a queue takes a buffer back only for a token under which it has lent one.
//!   Any other token is a lie, after which the queue is broken and never read again.
//! - **freed-after-reset**: the memory of a queue, and that of the buffers lent to its device, is
//!   freed only after the device has confirmed a reset. If it doesn't, the memory is never used
//!   again.
//! - **clamped-length**: a length that a device says is compared with the size of its buffer, and never
//!   used if it is larger.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;

use virtio_drivers::Hal;
use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::Transport;

use super::device::{Device, Limit};
use super::error::VirtioError;
use crate::sync::atomic::{Ordering, fence};

/// A buffer that the device has (lent-or-owned).
#[derive(Clone, Copy, Debug)]
struct Lent {
    /// The whole buffer, as [`Box::into_raw`] returned it.
    buffer: NonNull<[u8]>,
    /// How many of its bytes the device reads; `None` if it writes the buffer.
    readable: Option<usize>,
}

/// A buffer that the device has given back.
#[derive(Debug)]
pub struct Returned {
    /// The buffer.
    pub buffer: Box<[u8]>,
    /// How many of its bytes the device has written, 0 if the buffer was one to read; or what is
    /// wrong with the number that it says (clamped-length).
    pub length: Result<usize, VirtioError>,
}

/// A queue of up to `N` buffers, each one descriptor of the device's.
///
/// The queue asks for no event index: the crate compares indices without regard to their wrap at
/// 65536, and would lose a notification there. It asks for no indirect descriptors, because no
/// buffer needs two.
pub struct Queue<H: Hal, const N: usize> {
    /// Freed by [`Queue::free`] alone (freed-after-reset). It has a copy of all descriptors, and a
    /// thread's stack has no room for some of them.
    queue: ManuallyDrop<Box<VirtQueue<H, N>>>,
    /// The buffers that the device has, by their tokens (lent-by-token).
    lent: Box<[Option<Lent>]>,
    /// How many those are.
    count: usize,
    number: u16,
    /// Whether the device has told a lie in this queue.
    broken: bool,
}

// SAFETY: the queue alone has the addresses of the lent buffers (lent-or-owned), and they are
// plain memory.
unsafe impl<H: Hal, const N: usize> Send for Queue<H, N> {}

impl<H: Hal, const N: usize> Queue<H, N> {
    /// Makes queue `number` of a device that isn't started yet.
    ///
    /// # Errors
    /// [`VirtioError::NoQueue`] if the device has no such queue of `N` buffers;
    /// [`VirtioError::NoMemory`].
    pub fn new<T: Transport>(
        device: &mut Device<T>,
        number: u16,
    ) -> Result<Queue<H, N>, VirtioError> {
        let transport = device.transport();
        let size = transport.max_queue_size(number);
        if usize::try_from(size).is_ok_and(|size| size < N) {
            return Err(VirtioError::NoQueue {
                queue: number,
                size,
            });
        }
        let queue =
            VirtQueue::new(transport, number, false, false).map_err(|error| match error {
                virtio_drivers::Error::DmaError => VirtioError::NoMemory,
                // The device says that the queue is in use, right after its reset.
                _ => VirtioError::Broken,
            })?;
        let mut lent = Vec::new();
        let room = lent.try_reserve_exact(N);
        let queue = ManuallyDrop::new(Box::new(queue));
        room.map_err(|_| VirtioError::NoMemory)?;
        lent.resize(N, None);
        Ok(Queue {
            queue,
            lent: lent.into_boxed_slice(),
            count: 0,
            number,
            broken: false,
        })
    }

    /// Returns how many buffers the device has.
    pub fn lent(&self) -> usize {
        self.count
    }

    /// Returns whether the device has told a lie in this queue, which isn't used any more.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Lends `buffer` to the device, which writes it.
    ///
    /// # Errors
    /// The buffer, with [`VirtioError::Full`] or [`VirtioError::Broken`].
    pub fn lend_to_write(&mut self, buffer: Box<[u8]>) -> Result<(), (Box<[u8]>, VirtioError)> {
        self.lend(buffer, None)
    }

    /// Lends `buffer` to the device, which reads its first `length` bytes, at least one.
    ///
    /// # Errors
    /// As for [`Queue::lend_to_write`].
    pub fn lend_to_read(
        &mut self,
        buffer: Box<[u8]>,
        length: usize,
    ) -> Result<(), (Box<[u8]>, VirtioError)> {
        self.lend(buffer, Some(length))
    }

    fn lend(
        &mut self,
        buffer: Box<[u8]>,
        readable: Option<usize>,
    ) -> Result<(), (Box<[u8]>, VirtioError)> {
        if self.broken {
            return Err((buffer, VirtioError::Broken));
        }
        let bytes = readable.unwrap_or(buffer.len());
        if self.count == N || bytes == 0 || bytes > buffer.len() {
            return Err((buffer, VirtioError::Full));
        }
        let buffer = NonNull::from(Box::leak(buffer));
        let lent = Lent { buffer, readable };
        let added = match readable {
            Some(_) => {
                // SAFETY: the queue alone has the address (lent-or-owned).
                let whole = unsafe { buffer.as_ref() };
                // SAFETY: the buffer stays where it is, and is not touched, until `pop_used` has
                // returned its token.
                unsafe { self.queue.add(&[&whole[..bytes]], &mut []) }
            }
            None => {
                let mut whole = buffer;
                // SAFETY: as above.
                let whole = unsafe { whole.as_mut() };
                // SAFETY: as above.
                unsafe { self.queue.add(&[], &mut [whole]) }
            }
        };
        let free = added.ok().and_then(|token| {
            let slot = self.lent.get_mut(usize::from(token))?;
            slot.is_none().then_some(slot)
        });
        match free {
            Some(slot) => {
                *slot = Some(lent);
                self.count += 1;
                Ok(())
            }
            // The queue has as many slots as descriptors, so there was room.
            None => panic!("BUG: queue {} has lost a descriptor", self.number),
        }
    }

    /// Takes back a buffer that the device has done with, or returns `None` if it has done with
    /// none.
    ///
    /// # Errors
    /// [`VirtioError::BadToken`] if the device gives back what it hasn't got, which breaks the
    /// queue; [`VirtioError::Broken`] if the queue is broken.
    pub fn take_back(&mut self) -> Result<Option<Returned>, VirtioError> {
        if self.broken {
            return Err(VirtioError::Broken);
        }
        let Some(token) = self.queue.peek_used() else {
            return Ok(None);
        };
        let slot = self.lent.get_mut(usize::from(token));
        let Some(lent) = slot.and_then(Option::take) else {
            self.broken = true;
            return Err(VirtioError::BadToken {
                queue: self.number,
                token,
            });
        };
        let popped = self.pop(token, lent);
        let Some(length) = popped else {
            // The device has changed the token between two looks at it. The buffer may be
            // its own still.
            if let Some(slot) = self.lent.get_mut(usize::from(token)) {
                *slot = Some(lent);
            }
            self.broken = true;
            return Err(VirtioError::BadToken {
                queue: self.number,
                token,
            });
        };
        self.count -= 1;
        // SAFETY: it came from a box, and the device has given it back (lent-or-owned).
        let buffer = unsafe { Box::from_raw(lent.buffer.as_ptr()) };
        let written = match (lent.readable, usize::try_from(length)) {
            (Some(_), _) => Ok(0),
            (None, Ok(written)) if written <= buffer.len() => Ok(written),
            (None, _) => Err(VirtioError::BadLength {
                queue: self.number,
                length,
                size: buffer.len(),
            }),
        };
        Ok(Some(Returned {
            buffer,
            length: written,
        }))
    }

    /// Removes the buffer `lent`, which was lent as `token`, from the queue, and returns the
    /// length that the device says; `None` if the device has given back another one.
    fn pop(&mut self, token: u16, lent: Lent) -> Option<u32> {
        let mut buffer = lent.buffer;
        let popped = match lent.readable {
            Some(length) => {
                // SAFETY: the queue alone has the address (lent-or-owned).
                let whole = unsafe { buffer.as_ref() };
                let inputs = [&whole[..length]];
                // SAFETY: it is the buffer that was added as `token` (lent-by-token).
                unsafe { self.queue.pop_used(token, &inputs, &mut []) }
            }
            None => {
                // SAFETY: as above.
                let whole = unsafe { buffer.as_mut() };
                let mut outputs = [whole];
                // SAFETY: as above.
                unsafe { self.queue.pop_used(token, &[], &mut outputs) }
            }
        };
        popped.ok()
    }

    /// Returns whether the device has done with a buffer that has not been taken back.
    pub fn has_returned(&self) -> bool {
        !self.broken && self.queue.can_pop()
    }

    /// Asks the device for an interrupt each time that it has done with a buffer, or for none.
    /// It may still send one after it was asked for none. After the caller has asked for them it
    /// looks with [`Queue::has_returned`]: the device may have done with a buffer before.
    pub fn set_interrupt(&mut self, on: bool) {
        self.queue.set_dev_notify(on);
        // The device looks at the flag after it has moved its index, and the caller at the index
        // after the flag. Pairs with the device's barrier between its two: one of them sees the
        // other's (store buffering).
        fence(Ordering::SeqCst);
    }

    /// Tells the device that there are new buffers, unless it has said that it looks by itself.
    pub fn notify<T: Transport>(&self, device: &mut Device<T>) {
        // The device looks at the index after it has cleared its flag, and this looks at the flag
        // after it has moved the index. Pairs with the device's barrier between its two.
        fence(Ordering::SeqCst);
        if self.queue.should_notify() {
            device.transport().notify(self.number);
        }
    }

    /// Resets `device`, whose queues these are, and frees the memory of all of them and of all
    /// lent buffers. If the device doesn't reset in time, that memory is lost (freed-after-reset).
    ///
    /// # Errors
    /// [`VirtioError::NoReset`].
    pub fn free<T: Transport, const COUNT: usize>(
        queues: [Queue<H, N>; COUNT],
        device: &mut Device<T>,
        limit: impl Limit,
    ) -> Result<(), VirtioError> {
        device.reset(limit)?;
        for mut queue in queues {
            for lent in queue.lent.iter_mut().filter_map(Option::take) {
                // SAFETY: it came from a box, and the device has no queue any more
                // (freed-after-reset).
                drop(unsafe { Box::from_raw(lent.buffer.as_ptr()) });
            }
            // SAFETY: `queue` ends here, and nothing uses the field again.
            unsafe { ManuallyDrop::drop(&mut queue.queue) };
        }
        Ok(())
    }
}
