//! UDP sockets.

use alloc::vec;
use core::net::{IpAddr, SocketAddr};
use core::task::{Poll, Waker};

use smoltcp::iface::SocketHandle;
use smoltcp::socket::udp::{PacketBuffer, PacketMetadata, SendError, Socket, UdpMetadata};
use smoltcp::wire::IpListenEndpoint;

use super::stack::{Core, Sock};
use super::table::SockId;
use super::waits::Waits;
use super::{NetPort, Stack};
use crate::errno::Errno;

/// The largest datagram that is sent: an MTU without the headers of IPv4 and UDP. Longer ones would
/// go in fragments, for which `smoltcp` has a buffer in the interface, and that would be too large
/// for the stack of the thread that makes it.
const MAX_DATAGRAM: usize = 1500 - 28;

/// A UDP socket.
#[derive(Debug)]
pub(super) struct Udp {
    handle: SocketHandle,
    local: SocketAddr,
    readers: Waits,
    writers: Waits,
}

impl Core {
    fn udps(&self) -> impl Iterator<Item = &Udp> {
        self.socks.ids().filter_map(|id| match self.socks.get(id) {
            Some(Sock::Udp(udp)) => Some(udp),
            _ => None,
        })
    }

    /// Returns whether a UDP socket has this end, or one that would get the same datagrams.
    fn is_bound(&self, local: SocketAddr) -> bool {
        self.udps().any(|udp| {
            let mine = udp.local;
            let any = mine.ip().is_unspecified() || local.ip().is_unspecified();
            mine.port() == local.port() && (mine.ip() == local.ip() || any)
        })
    }

    /// Wakes what waits for sockets of the common set that can go on.
    pub(super) fn look_common(&mut self) {
        let ids: alloc::vec::Vec<SockId> = self.socks.ids().collect();
        for id in ids {
            let udp = match self.socks.get_mut(id) {
                Some(Sock::Udp(udp)) => udp,
                Some(Sock::Ping(ping)) => {
                    ping.readers.wake(&mut self.wakes);
                    continue;
                }
                _ => continue,
            };
            let socket = self.common.get::<Socket>(udp.handle);
            if socket.can_recv() {
                udp.readers.wake(&mut self.wakes);
            }
            if socket.can_send() {
                udp.writers.wake(&mut self.wakes);
            }
        }
    }
}

impl<P: NetPort> Stack<P> {
    /// Makes a UDP socket at `local`; port 0 takes a free one. The unspecified address takes
    /// datagrams for all addresses of its kind.
    ///
    /// # Errors
    /// EADDRINUSE, EADDRNOTAVAIL, ENOBUFS.
    pub fn udp_bind(&mut self, local: SocketAddr) -> Result<SockId, Errno> {
        let core = &mut self.core;
        if !local.ip().is_unspecified() && !core.own.contains(&local.ip()) {
            return Err(Errno::AddressNotAvailable);
        }
        if core.udps().count() >= core.limits.udp_sockets {
            return Err(Errno::NoBuffers);
        }
        let mut local = local;
        if local.port() == 0 {
            let any = IpAddr::from([0; 4]);
            let port = core.free_port(|core, port| core.is_bound(SocketAddr::new(any, port)));
            local.set_port(port.ok_or(Errno::AddressInUse)?);
        }
        if core.is_bound(local) {
            return Err(Errno::AddressInUse);
        }
        let buffer = || {
            let limits = &core.limits;
            let places = vec![PacketMetadata::EMPTY; limits.datagrams];
            PacketBuffer::new(places, vec![0; limits.datagram_bytes])
        };
        let mut socket = Socket::new(buffer(), buffer());
        let ip = local.ip();
        let endpoint = IpListenEndpoint {
            addr: (!ip.is_unspecified()).then(|| ip.into()),
            port: local.port(),
        };
        socket.bind(endpoint).map_err(|_| Errno::Invalid)?;
        let udp = Udp {
            handle: core.common.add(socket),
            local,
            readers: Waits::default(),
            writers: Waits::default(),
        };
        Ok(core.socks.insert(Sock::Udp(udp)))
    }

    /// Sends `bytes` to `remote` as one datagram.
    ///
    /// # Errors
    /// EMSGSIZE, ENETUNREACH, EINVAL, EAFNOSUPPORT; EBADF.
    pub fn udp_send(
        &mut self,
        id: SockId,
        bytes: &[u8],
        remote: SocketAddr,
        waker: Option<&Waker>,
    ) -> Poll<Result<usize, Errno>> {
        let core = &mut self.core;
        let has_route = core.has_route(remote);
        let Some(Sock::Udp(udp)) = core.socks.get_mut(id) else {
            return Poll::Ready(Err(Errno::BadFile));
        };
        if remote.is_ipv4() != udp.local.is_ipv4() {
            return Poll::Ready(Err(Errno::NoAddressFamily));
        }
        let headers = if remote.is_ipv6() { 20 } else { 0 }; // IPv6 has a longer one.
        if bytes.len() > MAX_DATAGRAM - headers {
            return Poll::Ready(Err(Errno::MessageSize));
        }
        let is_broadcast = remote.ip() == IpAddr::from([255; 4]);
        if !has_route && !is_broadcast {
            return Poll::Ready(Err(Errno::NetworkUnreachable));
        }
        let socket = core.common.get_mut::<Socket>(udp.handle);
        let mut to = UdpMetadata::from(smoltcp::wire::IpEndpoint::from(remote));
        to.local_address = None;
        match socket.send_slice(bytes, to) {
            Ok(()) => {
                core.touch_common();
                Poll::Ready(Ok(bytes.len()))
            }
            Err(SendError::Unaddressable) => Poll::Ready(Err(Errno::Invalid)),
            Err(SendError::BufferFull) => {
                if let Some(waker) = waker {
                    udp.writers.add(waker, &mut core.wakes);
                }
                Poll::Pending
            }
        }
    }

    /// Receives a datagram into `buffer`, and returns how many bytes of it are there, and its
    /// sender. The rest of a longer datagram is lost.
    ///
    /// # Errors
    /// EBADF.
    pub fn udp_receive(
        &mut self,
        id: SockId,
        buffer: &mut [u8],
        waker: Option<&Waker>,
    ) -> Poll<Result<(usize, SocketAddr), Errno>> {
        let core = &mut self.core;
        let Some(Sock::Udp(udp)) = core.socks.get_mut(id) else {
            return Poll::Ready(Err(Errno::BadFile));
        };
        let socket = core.common.get_mut::<Socket>(udp.handle);
        let Ok((bytes, from)) = socket.recv() else {
            if let Some(waker) = waker {
                udp.readers.add(waker, &mut core.wakes);
            }
            return Poll::Pending;
        };
        let read = bytes.len().min(buffer.len());
        buffer[..read].copy_from_slice(&bytes[..read]);
        let from = SocketAddr::new(from.endpoint.addr.into(), from.endpoint.port);
        Poll::Ready(Ok((read, from)))
    }

    /// Returns where the socket receives.
    ///
    /// # Errors
    /// EBADF.
    pub fn udp_addr(&self, id: SockId) -> Result<SocketAddr, Errno> {
        match self.core.socks.get(id) {
            Some(Sock::Udp(udp)) => Ok(udp.local),
            _ => Err(Errno::BadFile),
        }
    }

    /// Closes the socket. Datagrams that were not sent are lost.
    pub fn udp_close(&mut self, id: SockId) {
        let core = &mut self.core;
        if let Some(Sock::Udp(mut udp)) = core.socks.remove(id) {
            udp.readers.wake(&mut core.wakes);
            udp.writers.wake(&mut core.wakes);
            core.common.remove(udp.handle);
        }
    }
}
