//! What the headers of a frame say of the socket that it is for.
//!
//! Nothing here is trusted: `smoltcp` checks the frame again, with its checksums, when it is
//! delivered. A wrong answer delivers the frame to a socket that refuses it.

use core::net::{IpAddr, SocketAddr};

use smoltcp::wire::{
    ArpPacket, EthernetFrame, EthernetProtocol, Icmpv6Message, Icmpv6Packet, IpProtocol,
    Ipv4Packet, Ipv6Packet, TcpPacket,
};

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Headers {
    /// A TCP segment.
    Tcp {
        /// This machine's end.
        local: SocketAddr,
        /// The sender.
        remote: SocketAddr,
        /// Whether it asks for a new connection: SYN without ACK or RST.
        opens: bool,
    },
    /// It says where a neighbor is: ARP, or Neighbor Discovery.
    Neighbor,
    /// Something else that may be for the machine.
    Other,
    /// It may not be: cut off, a fragment of a TCP segment, or from an address that can't be a
    /// sender's.
    Bad,
}

impl Headers {
    /// Returns what `frame` is for. If it is `foreign`, it has come by the port; then its sender
    /// must be none of `own`, and no loopback address.
    pub(super) fn of(frame: &[u8], foreign: bool, own: &[IpAddr]) -> Headers {
        let can_send =
            |sender: IpAddr| !foreign || !(sender.is_loopback() || own.contains(&sender));
        Self::parse(frame, can_send).unwrap_or(Headers::Bad)
    }

    fn parse(frame: &[u8], can_send: impl Fn(IpAddr) -> bool) -> Option<Headers> {
        let frame = EthernetFrame::new_checked(frame).ok()?;
        match frame.ethertype() {
            EthernetProtocol::Arp => {
                let arp = ArpPacket::new_checked(frame.payload()).ok()?;
                let sender = <[u8; 4]>::try_from(arp.source_protocol_addr()).ok()?;
                can_send(sender.into()).then_some(Headers::Neighbor)
            }
            EthernetProtocol::Ipv4 => {
                let packet = Ipv4Packet::new_checked(frame.payload()).ok()?;
                let sender = packet.src_addr();
                if sender.is_unspecified() || !can_send(sender.into()) {
                    return None;
                }
                let ends = (packet.dst_addr().into(), sender.into());
                let protocol = packet.next_header();
                if packet.more_frags() || packet.frag_offset() != 0 {
                    // The ports are in the first fragment alone, so it can't be said which
                    // connection a later one is for.
                    return (protocol != IpProtocol::Tcp).then_some(Headers::Other);
                }
                Self::transport(protocol, packet.payload(), ends)
            }
            EthernetProtocol::Ipv6 => {
                let packet = Ipv6Packet::new_checked(frame.payload()).ok()?;
                let sender = packet.src_addr();
                if !can_send(sender.into()) {
                    return None;
                }
                let ends = (packet.dst_addr().into(), sender.into());
                Self::transport(packet.next_header(), packet.payload(), ends)
            }
            _ => None,
        }
    }

    /// Returns what a packet between `ends` is for: this machine's, and the sender's.
    fn transport(protocol: IpProtocol, bytes: &[u8], ends: (IpAddr, IpAddr)) -> Option<Headers> {
        match protocol {
            IpProtocol::Tcp => {
                let segment = TcpPacket::new_checked(bytes).ok()?;
                Some(Headers::Tcp {
                    local: SocketAddr::new(ends.0, segment.dst_port()),
                    remote: SocketAddr::new(ends.1, segment.src_port()),
                    opens: segment.syn() && !segment.ack() && !segment.rst(),
                })
            }
            IpProtocol::Icmpv6 => {
                let message = Icmpv6Packet::new_checked(bytes).ok()?;
                let about_neighbors = matches!(
                    message.msg_type(),
                    Icmpv6Message::NeighborAdvert | Icmpv6Message::NeighborSolicit
                );
                Some(match about_neighbors {
                    true => Headers::Neighbor,
                    false => Headers::Other,
                })
            }
            _ => Some(Headers::Other),
        }
    }
}
