//! TCP and UDP, by IPv4 and IPv6. Needs the feature `net`.
//!
//! ```no_run
#![doc = include_str!("../../examples/api/echo.rs")]
//! ```
//! Names and meanings are those of Rust's std; errors are
//! [`Errno`](crate::api::Errno)s, as Linux has them. Each call
//! that may wait has three forms:
//!
//! | Form | Waits | For |
//! |---|---|---|
//! | `read` | the thread sleeps; EAGAIN when a time limit is over that was set | a thread for each connection |
//! | `try_read` | never: EAGAIN | a loop of the program's own |
//! | `read_async` | the task is polled again | tasks of a [pool](crate::api::pool): [`Pool::spawn_async`](crate::api::pool::Pool::spawn_async) |
//!
//! Sockets may be shared: all calls take `&self`. A future that is dropped before it is ready has
//! read, written or accepted nothing.
//!
//! # The machine
//! Loopback (127.0.0.1 and ::1) is always there. If the machine has a network port it is `eth0`.
//! `docs/network.md` says how its addresses are found or given, and what is limited.
//!
//! # Errors
//! | Errno | Means |
//! |---|---|
//! | EAGAIN | it can't be done now; the time limit of the call is over |
//! | EADDRINUSE, EADDRNOTAVAIL | another socket has this end; the address isn't this machine's |
//! | ENETUNREACH | there is no route |
//! | ECONNREFUSED | nothing listens there |
//! | ETIMEDOUT | the peer has not answered for a minute; the connection is over |
//! | ECONNRESET | the peer has ended the connection by force |
//! | EPIPE | nothing can be written any more |
//! | ENETDOWN | the machine has lost the address of the connection |
//! | EMSGSIZE | the datagram is too long |
//! | EAFNOSUPPORT | the socket sends by IPv4 and the address is one of IPv6, or the other way round |
//! | ENOBUFS, ENOMEM | a limit is reached; there is no memory |

pub use super::tcp::{TcpListener, TcpStream};
pub use super::udp::UdpSocket;
pub use crate::net::Shutdown;
