//! UDP sockets.

use core::future::{Future, poll_fn};
use core::net::SocketAddr;
use core::time::Duration;

use crate::errno::Errno;
use crate::kernel::entry::enter;
use crate::kernel::net::{self, TimeLimit, poll, try_now};
use crate::net::SockId;

/// A UDP socket. Up to 64 datagrams, of 64 KiB together, wait in it to be received; others are
/// dropped. Dropping it closes it, in a thread, with preemption on.
///
/// ```no_run
#[doc = include_str!("../../examples/api/datagrams.rs")]
/// ```
#[derive(Debug)]
pub struct UdpSocket {
    id: SockId,
    limit: TimeLimit,
}

impl UdpSocket {
    /// Makes a socket that receives at `addr`; port 0 takes a free one. The unspecified address
    /// receives for each address of the machine of its kind: IPv4 or IPv6.
    ///
    /// # Context
    /// Thread, preemption on; allocates.
    ///
    /// # Errors
    /// EADDRINUSE, EADDRNOTAVAIL, ENOBUFS.
    pub fn bind(addr: SocketAddr) -> Result<UdpSocket, Errno> {
        let _in_kernel = enter();
        let id = net::call(|stack| stack.udp_bind(addr))?;
        Ok(UdpSocket {
            id,
            limit: TimeLimit::none(),
        })
    }

    /// Sends `bytes` to `addr` as one datagram, of 1472 bytes at most, or 1452 by IPv6; waits for room.
    ///
    /// # Context
    /// Thread, preemption on; allocates if it waits.
    ///
    /// # Errors
    /// EMSGSIZE, ENETUNREACH, EAFNOSUPPORT, EINVAL; EAGAIN when the time of
    /// [`UdpSocket::set_timeout`] is over.
    pub fn send_to(&self, bytes: &[u8], addr: SocketAddr) -> Result<usize, Errno> {
        let _in_kernel = enter();
        net::wait(self.limit.deadline(), |stack, waker| {
            stack.udp_send(self.id, bytes, addr, waker)
        })
    }

    /// Sends as [`UdpSocket::send_to`], but never waits.
    ///
    /// # Context
    /// Thread, preemption on.
    ///
    /// # Errors
    /// EAGAIN if there is no room; else as [`UdpSocket::send_to`].
    pub fn try_send_to(&self, bytes: &[u8], addr: SocketAddr) -> Result<usize, Errno> {
        let _in_kernel = enter();
        try_now(|stack| stack.udp_send(self.id, bytes, addr, None))
    }

    /// Sends as [`UdpSocket::send_to`]: for a task.
    ///
    /// # Context
    /// Thread, preemption on, when it is polled.
    ///
    /// # Errors
    /// EMSGSIZE, ENETUNREACH, EAFNOSUPPORT, EINVAL.
    pub fn send_to_async<'a>(
        &'a self,
        bytes: &'a [u8],
        addr: SocketAddr,
    ) -> impl Future<Output = Result<usize, Errno>> + Send + 'a {
        poll_fn(move |context| {
            let _in_kernel = enter();
            poll(context, |stack, waker| {
                stack.udp_send(self.id, bytes, addr, waker)
            })
        })
    }

    /// Receives a datagram into `buffer`; waits for one. Returns how many bytes of it are there, and
    /// its sender. What doesn't fit is lost.
    ///
    /// # Context
    /// Thread, preemption on; allocates if it waits.
    ///
    /// # Errors
    /// EAGAIN when the time of [`UdpSocket::set_timeout`] is over.
    pub fn recv_from(&self, buffer: &mut [u8]) -> Result<(usize, SocketAddr), Errno> {
        let _in_kernel = enter();
        net::wait(self.limit.deadline(), |stack, waker| {
            stack.udp_receive(self.id, buffer, waker)
        })
    }

    /// Receives as [`UdpSocket::recv_from`], but never waits.
    ///
    /// # Context
    /// Thread, preemption on.
    ///
    /// # Errors
    /// EAGAIN if none is there.
    pub fn try_recv_from(&self, buffer: &mut [u8]) -> Result<(usize, SocketAddr), Errno> {
        let _in_kernel = enter();
        try_now(|stack| stack.udp_receive(self.id, buffer, None))
    }

    /// Receives as [`UdpSocket::recv_from`]: for a task.
    ///
    /// # Context
    /// Thread, preemption on, when it is polled.
    ///
    /// # Errors
    /// None so far.
    pub fn recv_from_async<'a>(
        &'a self,
        buffer: &'a mut [u8],
    ) -> impl Future<Output = Result<(usize, SocketAddr), Errno>> + Send + 'a {
        poll_fn(|context| {
            let _in_kernel = enter();
            poll(context, |stack, waker| {
                stack.udp_receive(self.id, buffer, waker)
            })
        })
    }

    /// Sets how long a call waits; `None`, and without this call: for ever.
    ///
    /// # Context
    /// Any.
    pub fn set_timeout(&self, time: Option<Duration>) {
        self.limit.set(time);
    }

    /// Returns where it receives.
    ///
    /// # Context
    /// Thread, preemption on.
    ///
    /// # Errors
    /// None so far.
    pub fn local_addr(&self) -> Result<SocketAddr, Errno> {
        let _in_kernel = enter();
        net::call(|stack| stack.udp_addr(self.id))
    }
}

impl Drop for UdpSocket {
    fn drop(&mut self) {
        let _in_kernel = enter();
        net::call(|stack| stack.udp_close(self.id));
    }
}
