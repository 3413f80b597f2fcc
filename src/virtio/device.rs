//! The initialization of a device, the same for all kinds and transports.
#![forbid(unsafe_code)]

use virtio_drivers::transport::{DeviceStatus, Transport};

use super::error::VirtioError;

/// Features, as bits: those of the device's kind, and 24 and up those of all devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features(pub u64);

impl Features {
    /// The device follows Virtio 1.0 or later (VIRTIO_F_VERSION_1).
    pub const VERSION_1: Features = Features::bit(32);

    /// Returns the feature of this bit, which is less than 64.
    pub const fn bit(bit: u32) -> Features {
        Features(1 << bit)
    }

    /// Returns the features of both.
    #[must_use]
    pub const fn or(self, other: Features) -> Features {
        Features(self.0 | other.0)
    }

    /// Returns whether all features of `other` are among these.
    pub const fn has(self, other: Features) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Tells whether a wait has reached its limit. It is called between two looks at the device, may
/// let time pass, and returns `false` once the caller is to give up.
pub trait Limit: FnMut() -> bool {}

impl<F: FnMut() -> bool> Limit for F {}

/// How often a configuration is read that changes meanwhile.
const READS: usize = 8;

/// A device on its way to be driven, or driven. Dropping this leaves the device as it is.
#[derive(Debug)]
pub struct Device<T> {
    /// It isn't dropped: the crate's transports then reset the device, and one of them waits for
    /// that without a limit.
    transport: core::mem::ManuallyDrop<T>,
    features: Features,
}

impl<T: Transport> Device<T> {
    /// Resets the device, and chooses those of its features that are in `known`. The next step
    /// is to make its queues, and then [`Device::start`].
    ///
    /// # Errors
    /// [`VirtioError::NoReset`], [`VirtioError::FeaturesRefused`].
    pub fn new(transport: T, known: Features, limit: impl Limit) -> Result<Device<T>, VirtioError> {
        let mut device = Device {
            transport: core::mem::ManuallyDrop::new(transport),
            features: Features::default(),
        };
        device.reset(limit)?;
        let found = DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER;
        device.transport.set_status(found);
        let offered = Features(device.transport.read_device_features());
        // A device that offers it may refuse a driver that doesn't take it.
        let known = known.or(Features::VERSION_1);
        let chosen = Features(offered.0 & known.0);
        device.transport.write_driver_features(chosen.0);
        // A device over the legacy registers has no such step. It has the bit all the same
        // where it is one of Virtio 1.0 too, and ignores it where it isn't.
        device
            .transport
            .set_status(found | DeviceStatus::FEATURES_OK);
        let modern = chosen.has(Features::VERSION_1);
        let status = device.transport.get_status();
        if modern && !status.contains(DeviceStatus::FEATURES_OK) {
            device.fail();
            return Err(VirtioError::FeaturesRefused {
                offered: offered.0,
                chosen: chosen.0,
            });
        }
        // Registers of a legacy device count in pages of this size (4.2.4).
        let page = u32::try_from(virtio_drivers::PAGE_SIZE).unwrap_or(4096);
        device.transport.set_guest_page_size(page);
        device.features = chosen;
        Ok(device)
    }

    /// Returns the features that both sides know.
    pub fn features(&self) -> Features {
        self.features
    }

    /// Returns the transport, to make queues with it and to notify them.
    pub fn transport(&mut self) -> &mut T {
        &mut self.transport
    }

    /// Tells the device that its queues are ready.
    pub fn start(&mut self) {
        self.transport.finish_init();
    }

    /// Tells the device that its driver has given up.
    pub fn fail(&mut self) {
        let status = self.transport.get_status();
        self.transport.set_status(status | DeviceStatus::FAILED);
    }

    /// Returns whether the device says that only a reset helps it.
    pub fn needs_reset(&self) -> bool {
        let status = self.transport.get_status();
        status.contains(DeviceStatus::DEVICE_NEEDS_RESET)
    }

    /// Resets the device. It uses none of its queues afterwards.
    ///
    /// # Errors
    /// [`VirtioError::NoReset`]: the device may go on to use them.
    pub fn reset(&mut self, mut limit: impl Limit) -> Result<(), VirtioError> {
        self.transport.set_status(DeviceStatus::empty());
        loop {
            let status = self.transport.get_status();
            if status == DeviceStatus::empty() {
                return Ok(());
            }
            if !limit() {
                return Err(VirtioError::NoReset(status.bits()));
            }
        }
    }

    /// Returns what `read_fn` reads of the configuration, all of it from the same generation.
    ///
    /// # Errors
    /// [`VirtioError::ConfigChanges`] if the configuration changes again and again;
    /// [`VirtioError::ConfigTooShort`] if it lacks what is read.
    pub fn config<R>(
        &self,
        read_fn: impl Fn(&T) -> virtio_drivers::Result<R>,
    ) -> Result<R, VirtioError> {
        for _ in 0..READS {
            let before = self.transport.read_config_generation();
            let read = read_fn(&self.transport);
            if self.transport.read_config_generation() == before {
                return read.map_err(|_| VirtioError::ConfigTooShort);
            }
        }
        Err(VirtioError::ConfigChanges)
    }
}
