//! TCP/IP: sockets over `smoltcp`, for any port that carries Ethernet frames.
//!
//! A [`NetPort`] is a device that sends and receives frames. The rest of this module knows nothing
//! of devices, interrupts or threads: it is the same program on the host, where tests join ports by
//! links that lose and reorder frames.

#![forbid(unsafe_code)]

mod looped;
mod port;

pub use looped::{LoopPort, NoPort};
pub use port::{NetPort, PortStatistics};
