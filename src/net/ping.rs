//! Echo requests, and their answers.

use alloc::vec;
use core::net::IpAddr;
use core::task::{Poll, Waker};

use smoltcp::iface::SocketHandle;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::socket::icmp::{Endpoint, PacketBuffer, PacketMetadata, Socket};
use smoltcp::wire::{Icmpv4Packet, Icmpv4Repr, Icmpv6Packet, Icmpv6Repr, IpAddress};

use super::stack::Sock;
use super::table::SockId;
use super::waits::Waits;
use super::{NetPort, Stack};
use crate::errno::Errno;

/// What a request carries.
const DATA: &[u8] = b"Stillpoint";
/// How many echo requests may wait for their answers.
const MOST: usize = 16;

/// A request that waits for its answer.
#[derive(Debug)]
pub(super) struct Ping {
    pub(super) handle: SocketHandle,
    pub(super) readers: Waits,
}

impl<P: NetPort> Stack<P> {
    /// Sends an echo request to `to`. The id is closed by [`Stack::ping_close`].
    ///
    /// # Errors
    /// ENETUNREACH; EINVAL for an address that is no machine's; ENOBUFS.
    pub fn ping(&mut self, to: IpAddr) -> Result<SockId, Errno> {
        let core = &mut self.core;
        if to.is_unspecified() || to.is_multicast() {
            return Err(Errno::Invalid);
        }
        if !core.has_route((to, 0).into()) {
            return Err(Errno::NetworkUnreachable);
        }
        let pings = core.socks.ids();
        let pings = pings.filter(|id| matches!(core.socks.get(*id), Some(Sock::Ping(_))));
        if pings.count() >= MOST {
            return Err(Errno::NoBuffers);
        }
        let [low, high, ..] = core.random().to_le_bytes();
        let ident = u16::from_le_bytes([low, high]);
        let remote = IpAddress::from(to);
        let source = core.iface.get_source_address(&remote);
        let buffer = || PacketBuffer::new(vec![PacketMetadata::EMPTY; 2], vec![0; 256]);
        let mut socket = Socket::new(buffer(), buffer());
        let bound = socket.bind(Endpoint::Ident(ident));
        let checksums = ChecksumCapabilities::default();
        let sent = match (remote, source) {
            _ if bound.is_err() => return Err(Errno::Invalid),
            (IpAddress::Ipv4(_), _) => {
                let request = Icmpv4Repr::EchoRequest {
                    ident,
                    seq_no: 1,
                    data: DATA,
                };
                socket.send(request.buffer_len(), remote).map(|bytes| {
                    request.emit(&mut Icmpv4Packet::new_unchecked(bytes), &checksums);
                })
            }
            (IpAddress::Ipv6(to), Some(IpAddress::Ipv6(from))) => {
                let request = Icmpv6Repr::EchoRequest {
                    ident,
                    seq_no: 1,
                    data: DATA,
                };
                socket.send(request.buffer_len(), remote).map(|bytes| {
                    let mut packet = Icmpv6Packet::new_unchecked(bytes);
                    request.emit(&from, &to, &mut packet, &checksums);
                })
            }
            _ => return Err(Errno::NetworkUnreachable),
        };
        sent.map_err(|_| Errno::NoBuffers)?;
        let ping = Ping {
            handle: core.common.add(socket),
            readers: Waits::default(),
        };
        core.touch_common();
        Ok(core.socks.insert(Sock::Ping(ping)))
    }

    /// Returns whether the answer has come.
    ///
    /// # Errors
    /// EHOSTUNREACH if another machine says that it can't be had; EBADF.
    pub fn ping_answered(&mut self, id: SockId, waker: Option<&Waker>) -> Poll<Result<(), Errno>> {
        let core = &mut self.core;
        let Some(Sock::Ping(ping)) = core.socks.get_mut(id) else {
            return Poll::Ready(Err(Errno::BadFile));
        };
        if let Ok((message, _)) = core.common.get_mut::<Socket>(ping.handle).recv() {
            // The first byte is the type: an echo reply of IPv4, or of IPv6.
            return Poll::Ready(match message.first() {
                Some(0 | 129) => Ok(()),
                _ => Err(Errno::HostUnreachable),
            });
        }
        if let Some(waker) = waker {
            ping.readers.add(waker, &mut core.wakes);
        }
        Poll::Pending
    }

    /// Forgets the request.
    pub fn ping_close(&mut self, id: SockId) {
        let core = &mut self.core;
        if let Some(Sock::Ping(ping)) = core.socks.remove(id) {
            core.common.remove(ping.handle);
        }
    }
}
