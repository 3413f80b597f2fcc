//! TCP/IP: sockets over `smoltcp`, for any port that carries Ethernet frames.
//!
//! A [`NetPort`] is a device that sends and receives frames. The rest of this module knows nothing
//! of devices, interrupts or threads: it is the same program on the host, where tests join ports by
//! links that lose and reorder frames.

#![forbid(unsafe_code)]

mod config;
mod headers;
mod ip_arg;
mod limits;
mod link;
mod listener;
mod one_frame;
mod own_answer;
mod ping;
mod port;
mod stack;
mod table;
mod tcp;
mod udp;
mod waits;

/// For tests, which implement ports.
#[cfg(feature = "internals")]
pub use smoltcp;

pub use config::Config;
pub use ip_arg::{IpArg, IpArgError};
pub use limits::{Counters, Limits};
pub use link::NoPort;
pub use port::{NetPort, PortStatistics};
pub use stack::Stack;
pub use table::SockId;
pub use tcp::Shutdown;
