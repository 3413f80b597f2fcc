//! Virtio devices: the protocol of their queues, and the drivers of network cards, sources of
//! entropy and consoles, over whatever transport a device has.
//!
//! The crate `virtio-drivers` has the transports, and the layout of the queues. Its own drivers
//! wait for a device without a limit and trust what it says, so those here are the kernel's. A
//! device is no part of the kernel: all that it writes is checked before it is used.
//!
//! ```text
//!   reset ──> ACKNOWLEDGE, DRIVER ──> features ──> FEATURES_OK ──> queues ──> DRIVER_OK
//!     │ within a limit                   │ read back                             │
//!     └────────────────> VirtioError <───┴──────────── Broken <── a lie ─────────┘
//! ```
//!
//! The rules about memory are those of [`Queue`].
//!
//! # Sources
//! Virtio 1.2: 2.7 (split virtqueues), 3.1 (initialization), 4.1 and 4.2 (transports), 5.1, 5.3
//! and 5.4 (the devices).

mod device;
mod entropy;
mod error;
mod net;
mod queue;

pub use device::{Device, Features, Limit};
pub use entropy::Entropy;
pub use error::VirtioError;
pub use net::{MAX_FRAME, Net, NetStatistics, Received, Room};
pub use queue::{Queue, Returned};
