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
//! | ENETUNREACH, EHOSTUNREACH | there is no route; another machine says so |
//! | ECONNREFUSED | nothing listens there |
//! | ETIMEDOUT | the peer has not answered for a minute; the connection is over |
//! | ECONNRESET | the peer has ended the connection by force |
//! | EPIPE | nothing can be written any more |
//! | ENETDOWN | the machine has lost the address of the connection |
//! | EMSGSIZE | the datagram is too long |
//! | EAFNOSUPPORT | the socket sends by IPv4 and the address is one of IPv6, or the other way round |
//! | ENOBUFS, ENOMEM | a limit is reached; there is no memory |

use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use crate::errno::Errno;
use crate::kernel::entry::enter;
use crate::kernel::{Hw, net};
use crate::platform::Platform;

pub use super::tcp::{TcpListener, TcpStream};
pub use super::udp::UdpSocket;
pub use crate::net::Shutdown;

/// Waits until `eth0` has an address that its link isn't the end of, by DHCP or given, for `time` at
/// most.
///
/// ```no_run
#[doc = include_str!("../../examples/api/up.rs")]
/// ```
///
/// # Context
/// Thread, preemption on; allocates if it waits.
///
/// # Errors
/// EAGAIN after `time`.
pub fn wait_until_up(time: Duration) -> Result<(), Errno> {
    let _in_kernel = enter();
    net::wait(Hw::deadline(time), |stack, waker| stack.is_up(waker))
}

/// Returns the machine's addresses, and the lengths of their networks' prefixes: those of loopback
/// and those of `eth0`.
///
/// # Context
/// Thread, preemption on; allocates.
pub fn addresses() -> Vec<(IpAddr, u8)> {
    let _in_kernel = enter();
    net::call(|stack| stack.addresses())
}

/// Returns the name servers that DHCP or the command line has named.
///
/// # Context
/// Thread, preemption on; allocates.
pub fn name_servers() -> Vec<IpAddr> {
    let _in_kernel = enter();
    net::call(|stack| stack.name_servers().to_vec())
}

/// Sends an ICMP echo request to `to`, and waits `time` for the answer. Returns how long it took.
///
/// # Context
/// Thread, preemption on; allocates.
///
/// # Errors
/// EAGAIN after `time`; EHOSTUNREACH, ENETUNREACH, EINVAL, ENOBUFS.
pub fn ping(to: IpAddr, time: Duration) -> Result<Duration, Errno> {
    let _in_kernel = enter();
    let began = Hw::now();
    let until = Hw::deadline(time);
    let id = net::call(|stack| stack.ping(to))?;
    let answered = net::wait(until, |stack, waker| stack.ping_answered(id, waker));
    let ticks = Hw::now().ticks_since(began);
    net::call(|stack| stack.ping_close(id));
    answered.map(|()| Duration::from_nanos(Hw::frequency().ticks_to_ns(ticks)))
}
