//! Why a virtio device can't be used, or no longer.
#![forbid(unsafe_code)]

use core::fmt;

/// Why a virtio device can't be used, or what it did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VirtioError {
    /// The device doesn't confirm its reset in time. Its status is this.
    NoReset(u32),
    /// The device doesn't accept the features that were chosen of those that it offers.
    FeaturesRefused {
        /// The features that it offers.
        offered: u64,
        /// Those that were chosen.
        chosen: u64,
    },
    /// The device lacks a feature without which this kernel can't drive it, by its bit.
    FeatureMissing(u32),
    /// The device has no such queue, or it is smaller than the driver needs it.
    NoQueue {
        /// The number of the queue.
        queue: u16,
        /// How many buffers the queue can have at the same time.
        size: u32,
    },
    /// There is no memory for a queue or its buffers.
    NoMemory,
    /// The device's configuration is shorter than its kind demands.
    ConfigTooShort,
    /// The device's configuration changes each time that it is read.
    ConfigChanges,
    /// All buffers of the queue are lent.
    Full,
    /// The device gives back a buffer that it doesn't have.
    BadToken {
        /// The number of the queue.
        queue: u16,
        /// The token that the device wrote.
        token: u16,
    },
    /// The device says that it has written more than the buffer holds, or less than it must.
    BadLength {
        /// The number of the queue.
        queue: u16,
        /// The length that the device wrote, in bytes.
        length: u32,
        /// The size of the buffer, in bytes.
        size: usize,
    },
    /// The device asks to be reset, or did something wrong before.
    Broken,
    /// The device doesn't answer in time.
    Late,
}

impl fmt::Display for VirtioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoReset(status) => write!(f, "it does not reset: its status is {status:#x}"),
            Self::FeaturesRefused { offered, chosen } => write!(
                f,
                "it offers the features {offered:#x} and refuses {chosen:#x}"
            ),
            Self::FeatureMissing(bit) => write!(f, "it lacks feature {bit}"),
            Self::NoQueue { queue, size } => {
                write!(f, "queue {queue} has room for {size} buffers only")
            }
            Self::NoMemory => f.write_str("no memory for its queues"),
            Self::ConfigTooShort => f.write_str("its configuration is too short"),
            Self::ConfigChanges => f.write_str("its configuration never stays the same"),
            Self::Full => f.write_str("it has all buffers of the queue"),
            Self::BadToken { queue, token } => {
                write!(
                    f,
                    "it gives buffer {token} of queue {queue} back, which it has not"
                )
            }
            Self::BadLength {
                queue,
                length,
                size,
            } => write!(
                f,
                "it says that a buffer of queue {queue} has {length} bytes, where {size} are possible"
            ),
            Self::Broken => f.write_str("it is broken"),
            Self::Late => f.write_str("it does not answer in time"),
        }
    }
}

impl core::error::Error for VirtioError {}
