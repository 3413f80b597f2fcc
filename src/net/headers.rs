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
    /// It may not be: cut off, a fragment of a TCP segment, from an address that can't be a
    /// sender's, or from the link to an address of loopback.
    Bad,
}

impl Headers {
    /// Returns what `frame` is for. If it is `foreign`, it has come by the port; then its sender
    /// must be none of `own`, and neither end an address of loopback, which no other machine may
    /// reach (RFC 1122, 3.2.1.3; RFC 4291, 2.5.3).
    pub(super) fn of(frame: &[u8], foreign: bool, own: &[IpAddr]) -> Headers {
        let may_be = |sender: IpAddr, receiver: IpAddr| {
            let outside = sender.is_loopback() || receiver.is_loopback() || own.contains(&sender);
            !foreign || !outside
        };
        Self::parse(frame, may_be).unwrap_or(Headers::Bad)
    }

    /// Does as [`Headers::of`], where `may_be` tells which sender and receiver a frame may have.
    fn parse(frame: &[u8], may_be: impl Fn(IpAddr, IpAddr) -> bool) -> Option<Headers> {
        let frame = EthernetFrame::new_checked(frame).ok()?;
        match frame.ethertype() {
            EthernetProtocol::Arp => {
                let arp = ArpPacket::new_checked(frame.payload()).ok()?;
                let sender = <[u8; 4]>::try_from(arp.source_protocol_addr()).ok()?;
                let target = <[u8; 4]>::try_from(arp.target_protocol_addr()).ok()?;
                may_be(sender.into(), target.into()).then_some(Headers::Neighbor)
            }
            EthernetProtocol::Ipv4 => {
                let packet = Ipv4Packet::new_checked(frame.payload()).ok()?;
                let sender = packet.src_addr();
                let ends = (packet.dst_addr().into(), sender.into());
                if sender.is_unspecified() || !may_be(ends.1, ends.0) {
                    return None;
                }
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
                let ends = (packet.dst_addr().into(), packet.src_addr().into());
                if !may_be(ends.1, ends.0) {
                    return None;
                }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a UDP datagram without content from `sender` to `receiver`, in a frame.
    fn datagram(sender: [u8; 4], receiver: [u8; 4]) -> Vec<u8> {
        let mut frame = vec![2; 12];
        frame.extend([8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0]);
        frame.extend(sender.into_iter().chain(receiver));
        frame.extend([0, 9, 0, 9, 0, 8, 0, 0]);
        frame
    }

    /// Returns an ARP request of `sender` for `target`, in a frame.
    fn request(sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
        let mut frame = vec![2; 12];
        frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 2, 2, 2, 2, 2]);
        frame.extend(sender);
        frame.extend([0; 6]);
        frame.extend(target);
        frame
    }

    #[test]
    fn no_frame_of_the_link_is_for_loopback() {
        let (own, peer, loopback) = ([10, 0, 2, 15], [10, 0, 2, 2], [127, 0, 0, 1]);
        let of = |frame: &[u8], foreign| Headers::of(frame, foreign, &[own.into()]);
        assert_eq!(of(&datagram(peer, own), true), Headers::Other);
        assert_eq!(of(&request(peer, own), true), Headers::Neighbor);
        for (sender, receiver) in [(peer, loopback), (loopback, own), (own, own)] {
            assert_eq!(of(&datagram(sender, receiver), true), Headers::Bad);
            assert_eq!(of(&request(sender, receiver), true), Headers::Bad);
            assert_eq!(of(&datagram(sender, receiver), false), Headers::Other);
        }
    }
}
