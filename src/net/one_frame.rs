//! A device that delivers one frame, which has been looked into.

use smoltcp::phy::{Device, DeviceCapabilities, RxToken, TxToken};
use smoltcp::time::Instant;

/// A device with one frame to be received, and one place for an answer.
pub(super) struct OneFrame<'f, T> {
    frame: Option<(&'f [u8], T)>,
    capabilities: DeviceCapabilities,
}

impl<'f, T> OneFrame<'f, T> {
    pub(super) fn new(frame: &'f [u8], answer: T, capabilities: DeviceCapabilities) -> Self {
        OneFrame {
            frame: Some((frame, answer)),
            capabilities,
        }
    }
}

impl<'f, T: TxToken> Device for OneFrame<'f, T> {
    type RxToken<'a>
        = Bytes<'f>
    where
        Self: 'a;
    type TxToken<'a>
        = T
    where
        Self: 'a;

    fn receive(&mut self, _: Instant) -> Option<(Bytes<'f>, T)> {
        let (frame, answer) = self.frame.take()?;
        Some((Bytes(frame), answer))
    }

    fn transmit(&mut self, _: Instant) -> Option<T> {
        None
    }

    fn capabilities(&self) -> DeviceCapabilities {
        self.capabilities.clone()
    }
}

/// The bytes of a frame.
pub(super) struct Bytes<'f>(&'f [u8]);

impl RxToken for Bytes<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read_fn: F) -> R {
        read_fn(self.0)
    }
}
