//! A source of entropy.
//!
//! The device fills one buffer at a time. It may be asked, and the answer be fetched later: a
//! device that doesn't answer keeps the buffer, and may still answer the next caller.
#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::vec::Vec;

use virtio_drivers::Hal;
use virtio_drivers::transport::Transport;

use super::device::{Device, Features, Limit};
use super::error::VirtioError;
use super::queue::Queue;

/// The only queue (Virtio 1.2, 5.4.2).
const REQUESTS: u16 = 0;
/// The most bytes that the device is asked for at once.
const MOST: usize = 256;

/// The kernel lends one buffer; a queue of one isn't possible in the layout of a legacy device.
const SIZE: usize = 8;

/// A source of entropy.
pub struct Entropy<H: Hal, T: Transport> {
    device: Device<T>,
    queue: Queue<H, SIZE>,
    /// The buffer, while the device hasn't got it.
    spare: Option<Box<[u8]>>,
    /// How many bytes at the front of the buffer are random and not used.
    filled: usize,
}

impl<H: Hal, T: Transport> Entropy<H, T> {
    /// Starts the device.
    ///
    /// # Errors
    /// The device can't be used; it has been told so.
    pub fn new(transport: T, limit: impl Limit) -> Result<Self, VirtioError> {
        let mut buffer = Vec::new();
        buffer
            .try_reserve_exact(MOST)
            .map_err(|_| VirtioError::NoMemory)?;
        buffer.resize(MOST, 0);
        let mut device = Device::new(transport, Features::default(), limit)?;
        let queue = match Queue::new(&mut device, REQUESTS) {
            Ok(queue) => queue,
            Err(error) => {
                device.fail();
                return Err(error);
            }
        };
        device.start();
        Ok(Entropy {
            device,
            queue,
            spare: Some(buffer.into_boxed_slice()),
            filled: 0,
        })
    }

    /// Copies random bytes to `bytes`, as many as there are, and returns how many. Asks the device
    /// for more if there are none: then the result is 0, until the device has answered.
    ///
    /// # Errors
    /// The device did something wrong. It can still be asked unless it is
    /// [`VirtioError::Broken`].
    pub fn take(&mut self, bytes: &mut [u8]) -> Result<usize, VirtioError> {
        self.fetch()?;
        let Some(mut buffer) = self.spare.take() else {
            return Ok(0);
        };
        if self.filled == 0 {
            return match self.queue.lend_to_write(buffer) {
                Ok(()) => {
                    self.queue.notify(&mut self.device);
                    Ok(0)
                }
                Err((buffer, error)) => {
                    self.spare = Some(buffer);
                    Err(error)
                }
            };
        }
        let count = bytes.len().min(self.filled);
        let rest = self.filled - count;
        if let (Some(to), Some(from)) = (bytes.get_mut(..count), buffer.get_mut(rest..self.filled))
        {
            to.copy_from_slice(from);
            // Nobody finds out later what was given to a caller.
            from.fill(0);
        }
        self.filled = rest;
        self.spare = Some(buffer);
        Ok(count)
    }

    /// Takes the buffer back, if the device has filled it.
    fn fetch(&mut self) -> Result<(), VirtioError> {
        let Some(returned) = self.queue.take_back()? else {
            return Ok(());
        };
        let size = returned.buffer.len();
        self.spare = Some(returned.buffer);
        self.filled = match returned.length? {
            0 => {
                // At least one byte is the device's duty (5.4.6.1).
                return Err(VirtioError::BadLength {
                    queue: REQUESTS,
                    length: 0,
                    size,
                });
            }
            length => length,
        };
        Ok(())
    }
}
