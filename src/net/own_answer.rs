//! What the machine answers itself when it asks for the hardware address of one of its own addresses.
//!
//! `smoltcp` would answer for all but ::1; it has no loopback interface in mind.

use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol,
    Icmpv6Packet, Icmpv6Repr, IpProtocol, Ipv6Packet, Ipv6Repr, NdiscNeighborFlags, NdiscRepr,
};

/// The hop limit of Neighbor Discovery: RFC 4861, section 7.1.
const HOP_LIMIT: u8 = 255;

/// Returns the answer to `frame`, if it asks for the hardware address of one of `own`, which is
/// `mac`.
pub(super) fn answer(frame: &[u8], own: &[IpAddr], mac: [u8; 6]) -> Option<Vec<u8>> {
    let frame = EthernetFrame::new_checked(frame).ok()?;
    match frame.ethertype() {
        EthernetProtocol::Arp => answer_arp(frame.payload(), own, mac),
        EthernetProtocol::Ipv6 => answer_solicitation(frame.payload(), own, mac),
        _ => None,
    }
}

fn answer_arp(question: &[u8], own: &[IpAddr], mac: [u8; 6]) -> Option<Vec<u8>> {
    let question = ArpRepr::parse(&ArpPacket::new_checked(question).ok()?).ok()?;
    let ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Request,
        source_hardware_addr,
        source_protocol_addr,
        target_protocol_addr,
        ..
    } = question
    else {
        return None;
    };
    if !own.contains(&target_protocol_addr.into()) {
        return None;
    }
    let answer = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Reply,
        source_hardware_addr: EthernetAddress(mac),
        source_protocol_addr: target_protocol_addr,
        target_hardware_addr: source_hardware_addr,
        target_protocol_addr: source_protocol_addr,
    };
    let (mut frame, at) = frame_for_itself(answer.buffer_len(), EthernetProtocol::Arp, mac);
    answer.emit(&mut ArpPacket::new_unchecked(&mut frame[at..]));
    Some(frame)
}

fn answer_solicitation(question: &[u8], own: &[IpAddr], mac: [u8; 6]) -> Option<Vec<u8>> {
    let packet = Ipv6Packet::new_checked(question).ok()?;
    let header = Ipv6Repr::parse(&packet).ok()?;
    if header.next_header != IpProtocol::Icmpv6 {
        return None;
    }
    let message = Icmpv6Packet::new_checked(packet.payload()).ok()?;
    let (from, to) = (&header.src_addr, &header.dst_addr);
    let ignored = ChecksumCapabilities::ignored(); // It is the machine's own.
    let Ok(Icmpv6Repr::Ndisc(NdiscRepr::NeighborSolicit { target_addr, .. })) =
        Icmpv6Repr::parse(from, to, &message, &ignored)
    else {
        return None;
    };
    if !own.contains(&target_addr.into()) {
        return None;
    }
    Some(advertisement(target_addr, header.src_addr, mac))
}

/// Returns the frame that tells `to`, an address of the machine's, where `target` is, another one.
fn advertisement(target: Ipv6Addr, to: Ipv6Addr, mac: [u8; 6]) -> Vec<u8> {
    let answer = Icmpv6Repr::Ndisc(NdiscRepr::NeighborAdvert {
        flags: NdiscNeighborFlags::SOLICITED | NdiscNeighborFlags::OVERRIDE,
        target_addr: target,
        lladdr: Some(EthernetAddress(mac).into()),
    });
    let header = Ipv6Repr {
        src_addr: target,
        dst_addr: to,
        next_header: IpProtocol::Icmpv6,
        payload_len: answer.buffer_len(),
        hop_limit: HOP_LIMIT,
    };
    let len = header.buffer_len() + answer.buffer_len();
    let (mut frame, at) = frame_for_itself(len, EthernetProtocol::Ipv6, mac);
    let mut packet = Ipv6Packet::new_unchecked(&mut frame[at..]);
    header.emit(&mut packet);
    let mut message = Icmpv6Packet::new_unchecked(packet.payload_mut());
    answer.emit(&target, &to, &mut message, &ChecksumCapabilities::default());
    frame
}

/// Returns a frame from the machine to itself with `len` bytes of `protocol`, and where these begin.
fn frame_for_itself(len: usize, protocol: EthernetProtocol, mac: [u8; 6]) -> (Vec<u8>, usize) {
    let at = EthernetFrame::<&[u8]>::header_len();
    let mut bytes = vec![0; at + len];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes[..]);
    frame.set_src_addr(EthernetAddress(mac));
    frame.set_dst_addr(EthernetAddress(mac));
    frame.set_ethertype(protocol);
    (bytes, at)
}
