//! Listeners: what makes a connection of a SYN.
//!
//! `smoltcp` has one socket in the state LISTEN become the connection. A socket that listened all
//! the time would miss the SYN that comes while it becomes one. Here a listener is no socket: when
//! a SYN comes, a socket is made for it, listens, and gets the SYN. So no SYN is missed while there
//! is room, and memory is used for peers that are there.

use alloc::collections::VecDeque;
use core::net::SocketAddr;
use core::task::{Poll, Waker};

use smoltcp::wire::IpListenEndpoint;

use super::stack::{Core, Dropped, Ends, Sock};
use super::table::SockId;
use super::tcp::{Phase, duration};
use super::waits::Waits;
use super::{NetPort, Stack};
use crate::errno::Errno;

/// The largest backlog: Linux's `somaxconn`.
const MAX_BACKLOG: usize = 4096;

/// A place where connections arrive.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) local: SocketAddr,
    backlog: usize,
    /// Connections to be accepted.
    queue: VecDeque<SockId>,
    acceptors: Waits,
}

impl Listener {
    /// Whether a connection to `local` is for this listener, and how well it fits: 2 if its address
    /// is this one, 1 if it takes any.
    fn fit(&self, local: SocketAddr) -> Option<u8> {
        let any = match self.local {
            SocketAddr::V4(mine) => mine.ip().is_unspecified() && local.is_ipv4(),
            // As Linux with `bindv6only` 0.
            SocketAddr::V6(mine) => mine.ip().is_unspecified(),
        };
        match self.local.port() == local.port() {
            true if self.local.ip() == local.ip() => Some(2),
            true if any => Some(1),
            _ => None,
        }
    }

    /// Whether both would get the same connection.
    fn collides(&self, local: SocketAddr) -> bool {
        let mine = self.local;
        let dual = |one: SocketAddr| one.is_ipv6() && one.ip().is_unspecified();
        let alike = mine.is_ipv4() == local.is_ipv4() || dual(mine) || dual(local);
        let any = mine.ip().is_unspecified() || local.ip().is_unspecified();
        mine.port() == local.port() && (mine.ip() == local.ip() || alike && any)
    }
}

impl Core {
    fn listeners(&self) -> impl Iterator<Item = (SockId, &Listener)> {
        self.socks.ids().filter_map(|id| match self.socks.get(id) {
            Some(Sock::Listener(listener)) => Some((id, listener)),
            _ => None,
        })
    }

    /// Returns whether something listens at `port`.
    pub(super) fn is_listening(&self, port: u16) -> bool {
        self.listeners()
            .any(|(_, listener)| listener.local.port() == port)
    }

    /// Returns the connection between `ends`. If there is none and the segment `opens` one, one is
    /// made. `None`: there is nothing, the segment gets a reset.
    pub(super) fn connection(
        &mut self,
        ends: Ends,
        opens: bool,
    ) -> Result<Option<SockId>, Dropped> {
        let known = self.connections.get(&ends).copied();
        let replaced = match known.and_then(|id| self.socks.get_mut(id)) {
            Some(Sock::Tcp(tcp)) => opens && tcp.can_be_replaced(),
            _ => false,
        };
        if let Some(id) = known
            && !replaced
        {
            return Ok(Some(id));
        }
        if !opens || !self.own.contains(&ends.local.ip()) {
            return Ok(None);
        }
        let fitting = self.listeners().filter_map(|(id, listener)| {
            let fit = listener.fit(ends.local)?;
            Some((fit, id))
        });
        match fitting.max() {
            Some((_, listener)) => self.arrive(listener, ends).map(Some),
            None => Ok(known),
        }
    }

    /// Makes a half-open connection for the SYN from `ends`.
    fn arrive(&mut self, id: SockId, ends: Ends) -> Result<SockId, Dropped> {
        let Some(Sock::Listener(listener)) = self.socks.get(id) else {
            return Err(Dropped);
        };
        if listener.queue.len() >= listener.backlog {
            self.counters.backlog_full += 1;
            return Err(Dropped);
        }
        if self.half_open.len() >= self.limits.half_open
            && let Some(oldest) = self.half_open.pop_front()
        {
            self.half_open_ends(oldest);
        }
        let made = self.make_tcp(ends, Phase::Arriving(id));
        let Ok(mut tcp) = made else {
            self.counters.syn_dropped += 1;
            return Err(Dropped);
        };
        let endpoint = IpListenEndpoint::from(ends.local);
        let listens = tcp.socket().listen(endpoint);
        assert!(
            listens.is_ok(),
            "BUG: a new socket can't listen: {listens:?}"
        );
        tcp.give_up_at = Some(self.now + duration(self.limits.half_open_time));
        let made = self.socks.insert(Sock::Tcp(tcp));
        self.connections.insert(ends, made);
        self.half_open.push_back(made);
        Ok(made)
    }

    /// Gives a half-open connection up.
    pub(super) fn half_open_ends(&mut self, id: SockId) {
        self.counters.half_open_dropped += 1;
        self.discard(id);
    }

    /// Ends a connection by force that no program has accepted.
    fn reset(&mut self, id: SockId) {
        if let Some(Sock::Tcp(tcp)) = self.socks.get_mut(id) {
            tcp.abort();
        }
        self.abandon(id);
    }

    /// A half-open connection has become one.
    pub(super) fn arrived(&mut self, id: SockId, listener: SockId) {
        self.half_open.retain(|other| *other != id);
        let Some(Sock::Tcp(tcp)) = self.socks.get_mut(id) else {
            return;
        };
        tcp.give_up_at = None;
        tcp.phase = Phase::Queued(listener);
        let Some(Sock::Listener(listener)) = self.socks.get_mut(listener) else {
            self.reset(id); // Nothing listens any more.
            return;
        };
        listener.queue.push_back(id);
        listener.acceptors.wake(&mut self.wakes);
        self.counters.passive_opens += 1;
    }
}

impl<P: NetPort> Stack<P> {
    /// Listens at `local`; port 0 takes a free one. The unspecified address takes connections to
    /// each address of the machine; that of IPv6 also those by IPv4. `backlog` connections may wait
    /// to be accepted, 4096 at most.
    ///
    /// # Errors
    /// EADDRINUSE, EADDRNOTAVAIL.
    pub fn tcp_listen(&mut self, local: SocketAddr, backlog: usize) -> Result<SockId, Errno> {
        let core = &mut self.core;
        if !local.ip().is_unspecified() && !core.own.contains(&local.ip()) {
            return Err(Errno::AddressNotAvailable);
        }
        let mut local = local;
        if local.port() == 0 {
            let port = core.free_port(|core, port| core.is_listening(port));
            local.set_port(port.ok_or(Errno::AddressInUse)?);
        }
        if core.listeners().any(|(_, other)| other.collides(local)) {
            return Err(Errno::AddressInUse);
        }
        let listener = Listener {
            local,
            backlog: backlog.clamp(1, MAX_BACKLOG),
            queue: VecDeque::new(),
            acceptors: Waits::default(),
        };
        Ok(core.socks.insert(Sock::Listener(listener)))
    }

    /// Returns a connection that has arrived, and its peer.
    ///
    /// # Errors
    /// EBADF.
    pub fn tcp_accept(
        &mut self,
        id: SockId,
        waker: Option<&Waker>,
    ) -> Poll<Result<(SockId, SocketAddr), Errno>> {
        let Core { socks, wakes, .. } = &mut self.core;
        let Some(Sock::Listener(listener)) = socks.get_mut(id) else {
            return Poll::Ready(Err(Errno::BadFile));
        };
        let Some(arrived) = listener.queue.pop_front() else {
            if let Some(waker) = waker {
                listener.acceptors.add(waker, wakes);
            }
            return Poll::Pending;
        };
        let Some(Sock::Tcp(tcp)) = socks.get_mut(arrived) else {
            return Poll::Ready(Err(Errno::ConnectionAborted));
        };
        tcp.phase = Phase::Held;
        Poll::Ready(Ok((arrived, tcp.ends.remote)))
    }

    /// Returns where the listener listens.
    ///
    /// # Errors
    /// EBADF.
    pub fn tcp_listener_addr(&self, id: SockId) -> Result<SocketAddr, Errno> {
        match self.core.socks.get(id) {
            Some(Sock::Listener(listener)) => Ok(listener.local),
            _ => Err(Errno::BadFile),
        }
    }

    /// Closes a listener. Connections that were not accepted are reset.
    pub fn tcp_listener_close(&mut self, id: SockId) {
        let core = &mut self.core;
        let Some(Sock::Listener(mut listener)) = core.socks.remove(id) else {
            return;
        };
        listener.acceptors.wake(&mut core.wakes);
        for queued in listener.queue {
            core.reset(queued);
        }
    }
}
