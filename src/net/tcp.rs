//! TCP connections, as programs hold them.
//!
//! ```text
//!   SYN ──► Arriving ──► Queued ──accept──► Held ◄──── Connecting ◄── connect
//!              │            │                 │             │
//!              ▼            └── listener gone │ close       ▼
//!            gone                  ▼          ▼         an error, kept for the program
//!                                Orphan ◄─────┘
//!                                  ▼
//!                   over, reset, or given up: gone
//! ```
//!
//! # Errors
//! A connection that ends otherwise than by its peer's FIN keeps the error, which one call returns:
//! ECONNRESET, ETIMEDOUT, ECONNREFUSED. What had been received before can still be read, and comes
//! first. After that a read returns 0 bytes, and a write EPIPE, as in Linux.

use alloc::vec::Vec;
use core::mem::replace;
use core::net::SocketAddr;
use core::task::{Poll, Waker};

use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp::{CongestionControl, Socket, SocketBuffer, State};
use smoltcp::time::{Duration, Instant};

use super::stack::{By, Core, Ends, Sock};
use super::table::SockId;
use super::waits::Waits;
use super::{NetPort, Stack};
use crate::errno::Errno;

/// Linux's default of `ip_local_port_range`.
const EPHEMERAL: core::ops::RangeInclusive<u16> = 32768..=60999;

/// What a connection is to this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Half-open, for this listener.
    Arriving(SockId),
    /// It waits to be accepted.
    Queued(SockId),
    /// The program has asked for it; the peer has not answered yet.
    Connecting,
    /// A program holds it.
    Held,
    /// No program holds it any more.
    Orphan,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Tcp {
    /// Holds its socket alone.
    pub(super) set: SocketSet<'static>,
    handle: SocketHandle,
    pub(super) ends: Ends,
    pub(super) phase: Phase,
    /// As it was last looked at.
    state: State,
    /// What has ended it, until a call returns it.
    error: Option<Errno>,
    /// The program reads no more.
    read_shut: bool,
    pub(super) touched: bool,
    pub(super) deadline: Option<Instant>,
    /// When something last came of the peer.
    pub(super) heard_at: Instant,
    /// Since when the peer owes an answer.
    owed_since: Option<Instant>,
    keepalive: Option<Duration>,
    /// When it ends by force.
    pub(super) give_up_at: Option<Instant>,
    readers: Waits,
    writers: Waits,
}

/// Which directions of a connection are shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Reads return 0 bytes from now on.
    Read,
    /// Writes fail with EPIPE from now on; the peer reads the end when it has read what was
    /// written.
    Write,
    /// Both.
    Both,
}

impl Tcp {
    pub(super) fn socket(&mut self) -> &mut Socket<'static> {
        self.set.get_mut(self.handle)
    }

    fn is_over(&mut self) -> bool {
        let socket = self.socket();
        socket.state() == State::Closed && socket.local_endpoint().is_none()
    }

    /// Makes it end by force. Returns whether the peer is to be told.
    pub(super) fn give_up(&mut self) -> bool {
        if matches!(self.phase, Phase::Arriving(_)) {
            return false;
        }
        self.abort();
        true
    }

    pub(super) fn abort(&mut self) {
        self.socket().abort();
        self.state = State::Closed;
    }

    /// Returns when the peer is taken for gone, if it doesn't answer by then. `smoltcp` has such a
    /// limit too, which also ends a connection that rests.
    pub(super) fn answer_due(&mut self, now: Instant, answer_time: Duration) -> Option<Instant> {
        let socket = self.socket();
        let waits = match socket.state() {
            State::SynSent | State::FinWait1 | State::Closing | State::LastAck => true,
            State::Established | State::CloseWait => socket.send_queue() > 0,
            _ => false,
        };
        let rests = self.keepalive.filter(|_| self.socket().may_send());
        let owed_since = match (waits, rests) {
            (true, _) => Some(self.owed_since.unwrap_or(now)),
            (false, Some(rests)) => Some(self.heard_at + rests),
            (false, None) => None,
        };
        self.owed_since = owed_since.filter(|_| waits);
        owed_since.map(|since| since.max(self.heard_at) + answer_time)
    }

    /// Whether a SYN may take its place: it is over but for the waiting.
    pub(super) fn can_be_replaced(&mut self) -> bool {
        matches!(self.socket().state(), State::TimeWait | State::Closed)
    }

    fn is_opening(&self) -> bool {
        matches!(
            self.state,
            State::SynSent | State::SynReceived | State::Listen
        )
    }

    fn can_read_now(&mut self) -> bool {
        let opening = self.is_opening();
        let socket = self.socket();
        socket.can_recv() || !(opening || socket.may_recv())
    }

    /// Whether a writer is worth waking: a third of the buffer is free, as in Linux.
    fn can_write_now(&mut self) -> bool {
        if self.is_opening() {
            return false;
        }
        let socket = self.socket();
        let free = socket.send_capacity() - socket.send_queue();
        !socket.may_send() || 3 * free >= socket.send_capacity()
    }
}

/// Returns a zeroed buffer.
fn buffer(len: usize) -> Result<SocketBuffer<'static>, Errno> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| Errno::NoMemory)?;
    bytes.resize(len, 0);
    Ok(SocketBuffer::new(bytes))
}

pub(super) fn duration(time: core::time::Duration) -> Duration {
    Duration::from_micros(u64::try_from(time.as_micros()).unwrap_or(u64::MAX >> 2))
}

impl Core {
    /// Makes a connection in the state CLOSED.
    pub(super) fn make_tcp(&mut self, ends: Ends, phase: Phase) -> Result<Tcp, Errno> {
        let bytes = self.limits.receive_buffer + self.limits.send_buffer;
        if self.connections.len() >= self.limits.connections
            || self.bytes + bytes > self.limits.bytes
        {
            self.forget_one();
        }
        if self.connections.len() >= self.limits.connections
            || self.bytes + bytes > self.limits.bytes
        {
            return Err(Errno::NoBuffers);
        }
        let receive = buffer(self.limits.receive_buffer)?;
        let mut socket = Socket::new(receive, buffer(self.limits.send_buffer)?);
        socket.set_congestion_control(CongestionControl::Reno);
        let mut set = SocketSet::new(Vec::new());
        let handle = set.add(socket);
        self.bytes += bytes;
        Ok(Tcp {
            set,
            handle,
            ends,
            phase,
            state: State::Closed,
            error: None,
            read_shut: false,
            touched: false,
            deadline: None,
            heard_at: self.now,
            owed_since: None,
            keepalive: None,
            give_up_at: None,
            readers: Waits::default(),
            writers: Waits::default(),
        })
    }

    /// Gives the memory of `tcp` back, which was not inserted or is removed.
    pub(super) fn unmake_tcp(&mut self, tcp: Tcp) {
        self.bytes -= self.limits.receive_buffer + self.limits.send_buffer;
        drop(tcp);
    }

    /// Forgets a connection that is over but for the waiting, to make room.
    fn forget_one(&mut self) {
        if let Some(id) = self.time_wait.pop_front() {
            self.counters.time_wait_dropped += 1;
            self.discard(id);
        }
    }

    pub(super) fn tcp(&mut self, id: SockId) -> Result<&mut Tcp, Errno> {
        match self.socks.get_mut(id) {
            Some(Sock::Tcp(tcp)) => Ok(tcp),
            _ => Err(Errno::BadFile),
        }
    }

    /// Looks at what the connection `id` has become by a frame, a call or an instant.
    pub(super) fn look(&mut self, id: SockId, by: By) {
        let Some(Sock::Tcp(tcp)) = self.socks.get_mut(id) else {
            return;
        };
        let state = tcp.socket().state();
        let before = replace(&mut tcp.state, state);
        let ends_well = matches!(before, State::Closed | State::LastAck | State::TimeWait);
        if state == State::Closed && !ends_well {
            let error = match by {
                By::Frame if before == State::SynSent => Errno::ConnectionRefused,
                By::Frame => Errno::ConnectionReset,
                By::Us if !self.own.contains(&tcp.ends.local.ip()) => Errno::NetworkDown,
                By::Us => Errno::TimedOut,
            };
            tcp.error = tcp.error.or(Some(error));
            match error {
                Errno::TimedOut => self.counters.timeouts += 1,
                Errno::ConnectionReset => self.counters.resets += 1,
                _ => {}
            }
        }
        if by == By::Frame {
            tcp.heard_at = self.now;
        }
        if state != State::SynSent && tcp.phase == Phase::Connecting {
            tcp.phase = Phase::Held;
        }
        if tcp.can_read_now() {
            tcp.readers.wake(&mut self.wakes);
        }
        if tcp.can_write_now() {
            tcp.writers.wake(&mut self.wakes);
        }
        match tcp.phase {
            Phase::Arriving(listener) => match state {
                State::SynReceived => {}
                State::Listen | State::Closed => self.half_open_ends(id),
                _ => self.arrived(id, listener),
            },
            Phase::Orphan => self.look_at_orphan(id, before),
            _ => {}
        }
    }

    fn look_at_orphan(&mut self, id: SockId, before: State) {
        let Some(Sock::Tcp(tcp)) = self.socks.get_mut(id) else {
            return;
        };
        if tcp.state != State::Closed && tcp.socket().can_recv() {
            // No program will read it: RFC 1122, section 4.2.2.13, wants a reset.
            tcp.abort();
            self.counters.orphans_reset += 1;
            self.touch(id);
        } else if tcp.is_over() {
            self.discard(id);
        } else if tcp.state == State::TimeWait && before != State::TimeWait {
            self.orphans.retain(|other| *other != id);
            self.keep_in_time_wait(id);
        }
    }

    fn keep_in_time_wait(&mut self, id: SockId) {
        if let Some(Sock::Tcp(tcp)) = self.socks.get_mut(id) {
            tcp.give_up_at = None; // TIME-WAIT ends by itself.
        }
        self.time_wait.push_back(id);
        if self.time_wait.len() > self.limits.time_wait {
            self.forget_one();
        }
    }

    /// Makes a connection one that no program holds.
    pub(super) fn abandon(&mut self, id: SockId) {
        let give_up_at = self.now + duration(self.limits.orphan_time);
        let Some(Sock::Tcp(tcp)) = self.socks.get_mut(id) else {
            return;
        };
        tcp.phase = Phase::Orphan;
        tcp.give_up_at = Some(give_up_at);
        let unread = tcp.socket().can_recv();
        match unread {
            true => tcp.abort(), // As Linux: the peer learns that it was not read.
            false => tcp.socket().close(),
        }
        let state = tcp.socket().state();
        tcp.state = state;
        if tcp.is_over() {
            self.discard(id);
            return;
        }
        if state == State::TimeWait {
            self.keep_in_time_wait(id);
        } else {
            self.orphans.push_back(id);
        }
        self.touch(id);
        if self.orphans.len() > self.limits.orphans
            && let Some(oldest) = self.orphans.pop_front()
            && let Some(Sock::Tcp(tcp)) = self.socks.get_mut(oldest)
        {
            self.counters.orphans_reset += 1;
            tcp.give_up_at = Some(self.now);
            self.touch(oldest);
        }
    }

    /// Removes a connection.
    pub(super) fn discard(&mut self, id: SockId) {
        let Some(Sock::Tcp(mut tcp)) = self.socks.remove(id) else {
            return;
        };
        if self.connections.get(&tcp.ends) == Some(&id) {
            self.connections.remove(&tcp.ends);
        }
        self.forget_deadline(id, tcp.deadline);
        for list in [&mut self.half_open, &mut self.orphans, &mut self.time_wait] {
            list.retain(|other| *other != id);
        }
        tcp.readers.wake(&mut self.wakes);
        tcp.writers.wake(&mut self.wakes);
        self.unmake_tcp(tcp);
    }

    /// Returns a port of this machine that no socket of `is_used_fn` has.
    pub(super) fn free_port(&mut self, is_used_fn: impl Fn(&Core, u16) -> bool) -> Option<u16> {
        let span = u32::from(EPHEMERAL.end() - EPHEMERAL.start()) + 1;
        let begin = u32::try_from(self.random() % u64::from(span)).unwrap_or(0);
        (0..span)
            .filter_map(|step| u16::try_from((begin + step) % span).ok())
            .map(|offset| EPHEMERAL.start() + offset)
            .find(|port| !is_used_fn(self, *port))
    }

    /// Returns whether a packet to `remote` would leave this machine or reach it.
    pub(super) fn has_route(&self, remote: SocketAddr) -> bool {
        if remote.ip().is_loopback() {
            return self.own.contains(&remote.ip());
        }
        let remote_ip = remote.ip().into();
        let direct = self.iface.ip_addrs();
        let routes = self.iface.routes();
        direct.iter().any(|own| own.contains_addr(&remote_ip))
            || match remote {
                SocketAddr::V4(_) => routes.get_default_ipv4_route().is_some(),
                SocketAddr::V6(_) => routes.get_default_ipv6_route().is_some(),
            }
    }
}

impl<P: NetPort> Stack<P> {
    /// Begins to connect to `remote`.
    ///
    /// # Errors
    /// EINVAL for port 0 or an address that is no host's, ENETUNREACH without a way there,
    /// EADDRNOTAVAIL without a free port, ENOBUFS at a limit, ENOMEM.
    pub fn tcp_connect(&mut self, remote: SocketAddr) -> Result<SockId, Errno> {
        let core = &mut self.core;
        let ip = remote.ip();
        if remote.port() == 0 || ip.is_unspecified() || ip.is_multicast() {
            return Err(Errno::Invalid);
        }
        if !core.has_route(remote) {
            return Err(Errno::NetworkUnreachable);
        }
        let local_ip = core.iface.get_source_address(&ip.into());
        let local_ip = local_ip.ok_or(Errno::NetworkUnreachable)?.into();
        let ends = |port| Ends {
            local: SocketAddr::new(local_ip, port),
            remote,
        };
        let port = core.free_port(|core, port| {
            core.connections.contains_key(&ends(port)) || core.is_listening(port)
        });
        let ends = ends(port.ok_or(Errno::AddressNotAvailable)?);
        let mut tcp = core.make_tcp(ends, Phase::Connecting)?;
        let socket = tcp.set.get_mut::<Socket>(tcp.handle);
        if socket
            .connect(core.iface.context(), remote, ends.local)
            .is_err()
        {
            core.unmake_tcp(tcp);
            return Err(Errno::Invalid);
        }
        tcp.state = State::SynSent;
        let id = core.socks.insert(Sock::Tcp(tcp));
        core.connections.insert(ends, id);
        core.counters.active_opens += 1;
        core.touch(id);
        Ok(id)
    }

    /// Returns whether the connection `id` is there: `Ready(Ok)` when the peer has answered.
    ///
    /// # Errors
    /// ECONNREFUSED, ETIMEDOUT; ECONNRESET, EBADF.
    pub fn tcp_connected(&mut self, id: SockId, waker: Option<&Waker>) -> Poll<Result<(), Errno>> {
        let Core { socks, wakes, .. } = &mut self.core;
        let Some(Sock::Tcp(tcp)) = socks.get_mut(id) else {
            return Poll::Ready(Err(Errno::BadFile));
        };
        if let Some(error) = tcp.error.take() {
            return Poll::Ready(Err(error));
        }
        if tcp.phase != Phase::Connecting {
            return Poll::Ready(Ok(()));
        }
        if let Some(waker) = waker {
            tcp.writers.add(waker, wakes);
        }
        Poll::Pending
    }

    /// Reads what is there into `buffer`; 0 bytes at the end of what the peer has sent. With
    /// `peek` it stays there.
    ///
    /// # Errors
    /// ECONNRESET, ETIMEDOUT; EBADF.
    pub fn tcp_read(
        &mut self,
        id: SockId,
        buffer: &mut [u8],
        peek: bool,
        waker: Option<&Waker>,
    ) -> Poll<Result<usize, Errno>> {
        let Core { socks, wakes, .. } = &mut self.core;
        let Some(Sock::Tcp(tcp)) = socks.get_mut(id) else {
            return Poll::Ready(Err(Errno::BadFile));
        };
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if tcp.socket().can_recv() {
            let read = match peek {
                true => tcp.socket().peek_slice(buffer),
                false => tcp.socket().recv_slice(buffer),
            };
            if !peek {
                self.core.touch(id); // The window has grown.
            }
            return Poll::Ready(read.map_err(|_| Errno::ConnectionReset));
        }
        if let Some(error) = tcp.error.take() {
            return Poll::Ready(Err(error));
        }
        if tcp.read_shut || tcp.can_read_now() {
            return Poll::Ready(Ok(0));
        }
        if let Some(waker) = waker {
            tcp.readers.add(waker, wakes);
        }
        Poll::Pending
    }

    /// Takes as much of `bytes` as there is room for, at least one byte.
    ///
    /// # Errors
    /// EPIPE, ECONNRESET, ETIMEDOUT; EBADF.
    pub fn tcp_write(
        &mut self,
        id: SockId,
        bytes: &[u8],
        waker: Option<&Waker>,
    ) -> Poll<Result<usize, Errno>> {
        let Core { socks, wakes, .. } = &mut self.core;
        let Some(Sock::Tcp(tcp)) = socks.get_mut(id) else {
            return Poll::Ready(Err(Errno::BadFile));
        };
        if let Some(error) = tcp.error.take() {
            return Poll::Ready(Err(error));
        }
        let opening = tcp.is_opening();
        let socket = tcp.socket();
        if !opening && !socket.may_send() {
            return Poll::Ready(Err(Errno::BrokenPipe));
        }
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if socket.can_send() {
            let written = socket.send_slice(bytes);
            self.core.touch(id);
            return Poll::Ready(written.map_err(|_| Errno::BrokenPipe));
        }
        if let Some(waker) = waker {
            tcp.writers.add(waker, wakes);
        }
        Poll::Pending
    }

    /// Shuts one direction down, or both. What was written is still sent.
    ///
    /// # Errors
    /// ENOTCONN if the connection is over; EBADF.
    pub fn tcp_shutdown(&mut self, id: SockId, how: Shutdown) -> Result<(), Errno> {
        let core = &mut self.core;
        let tcp = core.tcp(id)?;
        if tcp.socket().state() == State::Closed {
            return Err(Errno::NotConnected);
        }
        if how != Shutdown::Write {
            tcp.read_shut = true;
        }
        if how != Shutdown::Read {
            tcp.socket().close();
            tcp.state = tcp.socket().state();
        }
        if let Some(Sock::Tcp(tcp)) = core.socks.get_mut(id) {
            tcp.readers.wake(&mut core.wakes);
            tcp.writers.wake(&mut core.wakes);
        }
        core.touch(id);
        Ok(())
    }

    /// Closes the connection: no program holds it from now on. What was written is still sent,
    /// within [`Limits::orphan_time`](super::Limits); what was not read has the peer get a reset.
    pub fn tcp_close(&mut self, id: SockId) {
        self.core.abandon(id);
    }

    /// Returns this machine's end and the peer's.
    ///
    /// # Errors
    /// EBADF.
    pub fn tcp_ends(&mut self, id: SockId) -> Result<(SocketAddr, SocketAddr), Errno> {
        let ends = self.core.tcp(id)?.ends;
        Ok((ends.local, ends.remote))
    }

    /// Sets whether small writes are sent at once (TCP_NODELAY).
    ///
    /// # Errors
    /// EBADF.
    pub fn tcp_set_nodelay(&mut self, id: SockId, nodelay: bool) -> Result<(), Errno> {
        self.core.tcp(id)?.socket().set_nagle_enabled(!nodelay);
        self.core.touch(id);
        Ok(())
    }

    /// Sets after how long without a segment the peer is asked whether it is still there.
    ///
    /// # Errors
    /// EBADF.
    pub fn tcp_set_keepalive(
        &mut self,
        id: SockId,
        time: Option<core::time::Duration>,
    ) -> Result<(), Errno> {
        let time = time.map(duration);
        let tcp = self.core.tcp(id)?;
        tcp.keepalive = time;
        tcp.socket().set_keep_alive(time);
        self.core.touch(id);
        Ok(())
    }
}
