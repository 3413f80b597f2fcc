//! TCP: listeners and streams.

use core::future::{Future, poll_fn};
use core::net::SocketAddr;
use core::task::Poll;
use core::time::Duration;

use crate::errno::Errno;
use crate::kernel::entry::enter;
use crate::kernel::net::{TimeLimit, poll, try_now};
use crate::kernel::{Hw, net};
use crate::net::{Shutdown, SockId};
use crate::platform::Platform;
use crate::time::Instant;

/// How many connections wait to be accepted without [`TcpListener::bind_with_backlog`], as in std.
const BACKLOG: usize = 128;

/// A place where TCP connections arrive. Dropping it closes it; connections that were not accepted
/// are reset.
#[derive(Debug)]
pub struct TcpListener {
    id: SockId,
    limit: TimeLimit,
}

impl TcpListener {
    /// Listens at `addr`; port 0 takes a free one. The unspecified address takes connections to each
    /// address of the machine, and that of IPv6 those by IPv4 too. 128 connections may wait to be
    /// accepted; while there are more, a peer that asks gets no answer and tries again.
    ///
    /// # Context
    /// Thread, preemption on.
    ///
    /// # Errors
    /// EADDRINUSE, EADDRNOTAVAIL.
    pub fn bind(addr: SocketAddr) -> Result<TcpListener, Errno> {
        let _in_kernel = enter();
        Self::listen(addr, BACKLOG)
    }

    /// Listens as [`TcpListener::bind`], with place for `backlog` connections that wait to be
    /// accepted: 1 to 4096, and as many as the machine may have.
    ///
    /// # Context
    /// Thread, preemption on.
    ///
    /// # Errors
    /// EADDRINUSE, EADDRNOTAVAIL.
    pub fn bind_with_backlog(addr: SocketAddr, backlog: usize) -> Result<TcpListener, Errno> {
        let _in_kernel = enter();
        Self::listen(addr, backlog)
    }

    fn listen(addr: SocketAddr, backlog: usize) -> Result<TcpListener, Errno> {
        let id = net::call(|stack| stack.tcp_listen(addr, backlog))?;
        Ok(TcpListener {
            id,
            limit: TimeLimit::none(),
        })
    }

    /// Returns the next connection, and its peer; waits for one.
    ///
    /// # Context
    /// Thread, preemption on; allocates.
    ///
    /// # Errors
    /// EAGAIN when the time of [`TcpListener::set_timeout`] is over.
    pub fn accept(&self) -> Result<(TcpStream, SocketAddr), Errno> {
        let _in_kernel = enter();
        let accepted = net::wait(self.limit.deadline(), |stack, waker| {
            stack.tcp_accept(self.id, waker)
        });
        accepted.map(|(id, peer)| (TcpStream::new(id), peer))
    }

    /// Returns the next connection, and its peer, if there is one.
    ///
    /// # Context
    /// Thread, preemption on.
    ///
    /// # Errors
    /// EAGAIN if there is none.
    pub fn try_accept(&self) -> Result<(TcpStream, SocketAddr), Errno> {
        let _in_kernel = enter();
        let accepted = try_now(|stack| stack.tcp_accept(self.id, None));
        accepted.map(|(id, peer)| (TcpStream::new(id), peer))
    }

    /// Returns the next connection, and its peer: for a task.
    ///
    /// # Context
    /// Thread, preemption on, when it is polled.
    ///
    /// # Errors
    /// None so far.
    pub fn accept_async(
        &self,
    ) -> impl Future<Output = Result<(TcpStream, SocketAddr), Errno>> + Send + '_ {
        poll_fn(|context| {
            let _in_kernel = enter();
            let accepted = poll(context, |stack, waker| stack.tcp_accept(self.id, waker));
            accepted.map_ok(|(id, peer)| (TcpStream::new(id), peer))
        })
    }

    /// Sets how long [`TcpListener::accept`] waits; `None`, and without this call: for ever.
    ///
    /// # Context
    /// Any.
    pub fn set_timeout(&self, time: Option<Duration>) {
        self.limit.set(time);
    }

    /// Returns where it listens.
    ///
    /// # Context
    /// Thread, preemption on.
    ///
    /// # Errors
    /// None so far.
    pub fn local_addr(&self) -> Result<SocketAddr, Errno> {
        let _in_kernel = enter();
        net::call(|stack| stack.tcp_listener_addr(self.id))
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        let _in_kernel = enter();
        net::call(|stack| stack.tcp_listener_close(self.id));
    }
}

/// A TCP connection. Dropping it closes both directions: what was written is still sent, within a
/// minute, and if something was not read the peer gets a reset. It is dropped in a thread, with
/// preemption on.
///
/// ```no_run
#[doc = include_str!("../../examples/api/client.rs")]
/// ```
#[derive(Debug)]
pub struct TcpStream {
    id: SockId,
    read_limit: TimeLimit,
    write_limit: TimeLimit,
}

impl TcpStream {
    fn new(id: SockId) -> TcpStream {
        TcpStream {
            id,
            read_limit: TimeLimit::none(),
            write_limit: TimeLimit::none(),
        }
    }

    /// Connects to `addr`; waits until the peer has answered.
    ///
    /// # Context
    /// Thread, preemption on; allocates.
    ///
    /// # Errors
    /// ECONNREFUSED, ETIMEDOUT after a minute, ENETUNREACH, EADDRNOTAVAIL, EINVAL, ENOBUFS, ENOMEM.
    pub fn connect(addr: SocketAddr) -> Result<TcpStream, Errno> {
        let _in_kernel = enter();
        Self::connect_until(addr, Instant::FOREVER)
    }

    /// Connects as [`TcpStream::connect`], and gives up after `time`.
    ///
    /// # Context
    /// Thread, preemption on; allocates.
    ///
    /// # Errors
    /// As [`TcpStream::connect`]; ETIMEDOUT after `time`.
    pub fn connect_timeout(addr: SocketAddr, time: Duration) -> Result<TcpStream, Errno> {
        let _in_kernel = enter();
        Self::connect_until(addr, Hw::deadline(time))
    }

    fn connect_until(addr: SocketAddr, until: Instant) -> Result<TcpStream, Errno> {
        let stream = TcpStream::new(net::call(|stack| stack.tcp_connect(addr))?);
        match net::wait(until, |stack, waker| stack.tcp_connected(stream.id, waker)) {
            Ok(()) => Ok(stream),
            Err(Errno::Again) => Err(Errno::TimedOut),
            Err(error) => Err(error),
        }
    }

    /// Connects to `addr`: for a task.
    ///
    /// # Context
    /// Thread, preemption on, when it is polled; allocates.
    ///
    /// # Errors
    /// As [`TcpStream::connect`].
    pub fn connect_async(
        addr: SocketAddr,
    ) -> impl Future<Output = Result<TcpStream, Errno>> + Send {
        let mut begun: Option<TcpStream> = None;
        poll_fn(move |context| {
            let _in_kernel = enter();
            let stream = match begun.take() {
                Some(stream) => stream,
                None => match net::call(|stack| stack.tcp_connect(addr)) {
                    Ok(id) => TcpStream::new(id),
                    Err(error) => return Poll::Ready(Err(error)),
                },
            };
            let connected = poll(context, |stack, waker| {
                stack.tcp_connected(stream.id, waker)
            });
            if connected.is_pending() {
                begun = Some(stream);
                return Poll::Pending;
            }
            connected.map_ok(|()| stream)
        })
    }

    /// Reads what is there into `buffer`, and returns how many bytes; waits for the first. 0 bytes:
    /// the peer has written its last, or the buffer is empty.
    ///
    /// # Context
    /// Thread, preemption on; allocates if it waits.
    ///
    /// # Errors
    /// ECONNRESET, ETIMEDOUT, ENETDOWN; EAGAIN when the time of [`TcpStream::set_read_timeout`]
    /// is over.
    pub fn read(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        let _in_kernel = enter();
        net::wait(self.read_limit.deadline(), |stack, waker| {
            stack.tcp_read(self.id, buffer, false, waker)
        })
    }

    /// Reads as [`TcpStream::read`], but never waits.
    ///
    /// # Context
    /// Thread, preemption on.
    ///
    /// # Errors
    /// EAGAIN if nothing is there; else as [`TcpStream::read`].
    pub fn try_read(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        let _in_kernel = enter();
        try_now(|stack| stack.tcp_read(self.id, buffer, false, None))
    }

    /// Reads as [`TcpStream::read`]: for a task.
    ///
    /// # Context
    /// Thread, preemption on, when it is polled.
    ///
    /// # Errors
    /// ECONNRESET, ETIMEDOUT, ENETDOWN.
    pub fn read_async<'a>(
        &'a self,
        buffer: &'a mut [u8],
    ) -> impl Future<Output = Result<usize, Errno>> + Send + 'a {
        poll_fn(|context| {
            let _in_kernel = enter();
            poll(context, |stack, waker| {
                stack.tcp_read(self.id, buffer, false, waker)
            })
        })
    }

    /// Reads as [`TcpStream::read`], but leaves the bytes there for the next read.
    ///
    /// # Context
    /// Thread, preemption on; allocates if it waits.
    ///
    /// # Errors
    /// As [`TcpStream::read`].
    pub fn peek(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        let _in_kernel = enter();
        net::wait(self.read_limit.deadline(), |stack, waker| {
            stack.tcp_read(self.id, buffer, true, waker)
        })
    }

    /// Writes as much of `bytes` as there is room for, and returns how many bytes; waits for the
    /// first. They are sent from then on, and again until the peer has acknowledged them.
    ///
    /// # Context
    /// Thread, preemption on; allocates if it waits.
    ///
    /// # Errors
    /// EPIPE, ECONNRESET, ETIMEDOUT, ENETDOWN; EAGAIN when the time of
    /// [`TcpStream::set_write_timeout`] is over.
    pub fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        let _in_kernel = enter();
        net::wait(self.write_limit.deadline(), |stack, waker| {
            stack.tcp_write(self.id, bytes, waker)
        })
    }

    /// Writes as [`TcpStream::write`], but never waits.
    ///
    /// # Context
    /// Thread, preemption on.
    ///
    /// # Errors
    /// EAGAIN if there is no room; else as [`TcpStream::write`].
    pub fn try_write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        let _in_kernel = enter();
        try_now(|stack| stack.tcp_write(self.id, bytes, None))
    }

    /// Writes as [`TcpStream::write`]: for a task.
    ///
    /// # Context
    /// Thread, preemption on, when it is polled.
    ///
    /// # Errors
    /// EPIPE, ECONNRESET, ETIMEDOUT, ENETDOWN.
    pub fn write_async<'a>(
        &'a self,
        bytes: &'a [u8],
    ) -> impl Future<Output = Result<usize, Errno>> + Send + 'a {
        poll_fn(|context| {
            let _in_kernel = enter();
            poll(context, |stack, waker| {
                stack.tcp_write(self.id, bytes, waker)
            })
        })
    }

    /// Writes all of `bytes`. If it fails, some of them may have been sent.
    ///
    /// # Context
    /// Thread, preemption on; allocates if it waits.
    ///
    /// # Errors
    /// As [`TcpStream::write`]; the time limit is that of each part.
    pub fn write_all(&self, bytes: &[u8]) -> Result<(), Errno> {
        let _in_kernel = enter();
        let mut rest = bytes;
        while !rest.is_empty() {
            let written = net::wait(self.write_limit.deadline(), |stack, waker| {
                stack.tcp_write(self.id, rest, waker)
            })?;
            rest = &rest[written..];
        }
        Ok(())
    }

    /// Writes as [`TcpStream::write_all`]: for a task.
    ///
    /// # Context
    /// Thread, preemption on, when it is polled.
    ///
    /// # Errors
    /// As [`TcpStream::write_async`].
    pub fn write_all_async<'a>(
        &'a self,
        bytes: &'a [u8],
    ) -> impl Future<Output = Result<(), Errno>> + Send + 'a {
        let mut rest = bytes;
        poll_fn(move |context| {
            let _in_kernel = enter();
            while !rest.is_empty() {
                let written = poll(context, |stack, waker| {
                    stack.tcp_write(self.id, rest, waker)
                });
                match written {
                    Poll::Ready(Ok(written)) => rest = &rest[written..],
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => return Poll::Pending,
                }
            }
            Poll::Ready(Ok(()))
        })
    }

    /// Shuts one direction down, or both.
    ///
    /// # Context
    /// Thread, preemption on.
    ///
    /// # Errors
    /// ENOTCONN if the connection is over.
    pub fn shutdown(&self, how: Shutdown) -> Result<(), Errno> {
        let _in_kernel = enter();
        net::call(|stack| stack.tcp_shutdown(self.id, how))
    }

    /// Returns the peer's end of the connection.
    ///
    /// # Context
    /// Thread, preemption on.
    ///
    /// # Errors
    /// None so far.
    pub fn peer_addr(&self) -> Result<SocketAddr, Errno> {
        let _in_kernel = enter();
        net::call(|stack| stack.tcp_ends(self.id)).map(|(_, peer)| peer)
    }

    /// Returns this machine's end of the connection.
    ///
    /// # Context
    /// Thread, preemption on.
    ///
    /// # Errors
    /// None so far.
    pub fn local_addr(&self) -> Result<SocketAddr, Errno> {
        let _in_kernel = enter();
        net::call(|stack| stack.tcp_ends(self.id)).map(|(local, _)| local)
    }

    /// Sets how long a read waits; `None`, and without this call: for ever.
    ///
    /// # Context
    /// Any.
    pub fn set_read_timeout(&self, time: Option<Duration>) {
        self.read_limit.set(time);
    }

    /// Sets how long a write waits; `None`, and without this call: for ever.
    ///
    /// # Context
    /// Any.
    pub fn set_write_timeout(&self, time: Option<Duration>) {
        self.write_limit.set(time);
    }

    /// Sets whether small writes are sent at once (TCP_NODELAY). Without this call they wait, as
    /// long as something is on its way, to be sent together.
    ///
    /// # Context
    /// Thread, preemption on.
    ///
    /// # Errors
    /// None so far.
    pub fn set_nodelay(&self, nodelay: bool) -> Result<(), Errno> {
        let _in_kernel = enter();
        net::call(|stack| stack.tcp_set_nodelay(self.id, nodelay))
    }

    /// Sets after how long without a sign of the peer it is asked for one (TCP keep-alive); a peer
    /// that gives none for a minute has the connection end with ETIMEDOUT. `None`, and without this
    /// call: it isn't asked.
    ///
    /// # Context
    /// Thread, preemption on.
    ///
    /// # Errors
    /// None so far.
    pub fn set_keepalive(&self, time: Option<Duration>) -> Result<(), Errno> {
        let _in_kernel = enter();
        net::call(|stack| stack.tcp_set_keepalive(self.id, time))
    }
}

impl Drop for TcpStream {
    fn drop(&mut self) {
        let _in_kernel = enter();
        net::call(|stack| stack.tcp_close(self.id));
    }
}
