//! What a peer can make grow has a limit, and at the limit others are still served.

use std::net::{Ipv4Addr, SocketAddr};
use std::task::Poll;

use stillpoint::errno::Errno;
use stillpoint::net::smoltcp::phy::ChecksumCapabilities;
use stillpoint::net::smoltcp::time::Duration;
use stillpoint::net::smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet, Ipv4Repr, TcpControl,
    TcpPacket, TcpRepr, TcpSeqNumber,
};
use stillpoint::net::{Limits, SockId};

use crate::cable::{Faults, Pair, address};
use crate::xorshift::Random;

const AT: u16 = 80;

fn addr() -> SocketAddr {
    SocketAddr::new(address(1), AT)
}

fn pair(limits: Limits) -> Pair {
    Pair::new(Faults::default(), limits, 1)
}

/// Returns the frame by which a machine that doesn't exist asks the second one for a connection.
fn syn(from: u16) -> Vec<u8> {
    let segment = TcpRepr {
        src_port: from,
        dst_port: AT,
        control: TcpControl::Syn,
        seq_number: TcpSeqNumber(1),
        ack_number: None,
        window_len: 1000,
        window_scale: None,
        max_seg_size: Some(1460),
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    };
    let header = Ipv4Repr {
        src_addr: Ipv4Addr::new(10, 0, 0, 77),
        dst_addr: Ipv4Addr::new(10, 0, 0, 2),
        next_header: IpProtocol::Tcp,
        payload_len: segment.buffer_len(),
        hop_limit: 64,
    };
    let checksums = ChecksumCapabilities::default();
    let mut bytes = vec![0; 14 + header.buffer_len() + segment.buffer_len()];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes[..]);
    frame.set_src_addr(EthernetAddress([2, 0, 0, 0, 0, 77]));
    frame.set_dst_addr(EthernetAddress([2, 0, 0, 0, 1, 1]));
    frame.set_ethertype(EthernetProtocol::Ipv4);
    let mut packet = Ipv4Packet::new_unchecked(frame.payload_mut());
    header.emit(&mut packet, &checksums);
    let (from, to) = (header.src_addr.into(), header.dst_addr.into());
    let mut tcp = TcpPacket::new_unchecked(packet.payload_mut());
    segment.emit(&mut tcp, &from, &to, &checksums);
    bytes
}

fn listen(pair: &mut Pair, backlog: usize) -> SockId {
    let listening = pair.call(1, |stack| stack.tcp_listen(addr(), backlog));
    listening.expect("the port is free")
}

fn dial(pair: &mut Pair) -> SockId {
    let connecting = pair.call(0, |stack| stack.tcp_connect(addr()));
    connecting.expect("there is a route")
}

fn accept(pair: &mut Pair, listener: SockId) -> SockId {
    let accepted = pair.wait(1, |stack| stack.tcp_accept(listener, None));
    accepted.expect("one comes").0
}

#[test]
fn a_flood_of_syns_leaves_room_for_others() {
    let limits = Limits::default();
    let mut pair = pair(limits);
    let listener = listen(&mut pair, 8);
    for from in 1..5000 {
        pair.inject(1, syn(from));
        if from % 16 == 0 {
            pair.step();
            assert!(pair.stacks[1].connections() <= limits.half_open + 10);
        }
        if from % 1000 == 0 {
            let client = dial(&mut pair);
            pair.wait(0, |stack| stack.tcp_connected(client, None))
                .expect("it is served");
            let server = accept(&mut pair, listener);
            pair.call(1, |stack| stack.tcp_close(server));
            pair.call(0, |stack| stack.tcp_close(client));
        }
    }
    assert!(pair.stacks[1].counters().half_open_dropped > 4000);
    pair.pass(Duration::from_secs(25));
    assert_eq!(pair.stacks[1].connections(), 0);
}

#[test]
fn a_full_backlog_delays_and_loses_nothing() {
    let mut pair = pair(Limits::default());
    let listener = listen(&mut pair, 4);
    let mut clients: Vec<SockId> = (0..4).map(|_| dial(&mut pair)).collect();
    pair.pass(Duration::from_millis(10));
    clients.extend((0..8).map(|_| dial(&mut pair)));
    pair.pass(Duration::from_millis(500));
    assert!(pair.stacks[1].counters().backlog_full > 0);
    for _ in &clients {
        accept(&mut pair, listener);
    }
    for client in clients {
        pair.wait(0, |stack| stack.tcp_connected(client, None))
            .expect("it was only late");
    }
}

#[test]
fn connections_and_their_bytes_have_limits() {
    for limits in [
        Limits {
            connections: 6,
            ..Limits::default()
        },
        Limits {
            bytes: 6 * (64 << 10),
            ..Limits::default()
        },
    ] {
        let mut pair = pair(limits);
        listen(&mut pair, 64);
        for _ in 0..6 {
            dial(&mut pair);
        }
        let more = pair.call(0, |stack| stack.tcp_connect(addr()));
        assert_eq!(more, Err(Errno::NoBuffers));
        pair.pass(Duration::from_millis(50));
        pair.inject(1, syn(9));
        pair.pass(Duration::from_millis(50));
        assert_eq!(pair.stacks[1].connections(), 6);
        assert_eq!(pair.stacks[1].counters().syn_dropped, 1);
    }
}

#[test]
fn what_is_over_is_forgotten() {
    let limits = Limits {
        time_wait: 8,
        ..Limits::default()
    };
    let mut pair = pair(limits);
    let listener = listen(&mut pair, 8);
    for _ in 0..40 {
        let client = dial(&mut pair);
        let server = accept(&mut pair, listener);
        pair.call(1, |stack| stack.tcp_close(server)); // It waits, having closed first.
        let end =
            |stack: &mut stillpoint::net::Stack<_>| stack.tcp_read(client, &mut [0], false, None);
        assert_eq!(pair.wait(0, end), Ok(0));
        pair.call(0, |stack| stack.tcp_close(client));
        pair.pass(Duration::from_millis(2));
    }
    assert_eq!(pair.stacks[1].connections(), 8);
    assert_eq!(pair.stacks[1].counters().time_wait_dropped, 32);
    pair.pass(Duration::from_secs(12));
    assert_eq!(pair.stacks[1].connections(), 0);
}

#[test]
fn a_program_that_forgets_to_read_stops_its_peer_and_no_other() {
    let mut pair = pair(Limits::default());
    let (client, server) = pair.connect();
    let mut taken = 0;
    for _ in 0..2000 {
        match pair.call(0, |stack| stack.tcp_write(client, &[7; 4096], None)) {
            Poll::Ready(more) => taken += more.expect("it is open"),
            Poll::Pending => {}
        }
        pair.step();
    }
    let both = Limits::default().receive_buffer + Limits::default().send_buffer;
    assert_eq!(taken, both);
    // The window stays shut for long, which is no reason to end the connection.
    pair.pass(Duration::from_secs(100));
    pair.call(1, |stack| stack.tcp_close(server));
    pair.pass(Duration::from_millis(10));
    let written = pair.call(0, |stack| stack.tcp_write(client, &[7], None));
    assert_eq!(written, Poll::Ready(Err(Errno::ConnectionReset)));
}

#[test]
fn a_connection_may_rest_for_long() {
    let mut pair = pair(Limits::default());
    let (client, server) = pair.connect();
    for _ in 0..3 {
        pair.pass(Duration::from_secs(100));
        let written = pair.call(0, |stack| stack.tcp_write(client, b"x", None));
        assert_eq!(written, Poll::Ready(Ok(1)));
        let mut byte = [0];
        let read = pair.wait(1, |stack| stack.tcp_read(server, &mut byte, false, None));
        assert_eq!(read, Ok(1));
    }
}

#[test]
fn a_peer_that_vanishes_has_writes_time_out() {
    let faults = Faults::default();
    let mut pair = Pair::new(faults, Limits::default(), 1);
    let (client, _) = pair.connect();
    pair.cut();
    let written = pair.call(0, |stack| stack.tcp_write(client, b"x", None));
    assert_eq!(written, Poll::Ready(Ok(1)));
    pair.pass(Duration::from_secs(70));
    let mut byte = [0];
    let read = pair.call(0, |stack| stack.tcp_read(client, &mut byte, false, None));
    assert_eq!(read, Poll::Ready(Err(Errno::TimedOut)));
}

/// Frames that are damaged in all places, and ones that were never right, harm nothing.
#[test]
fn damaged_frames_harm_no_connection() {
    let mut pair = pair(Limits::default());
    let (client, server) = pair.connect();
    let mut random = Random::new(9);
    let mut pattern = vec![syn(7)];
    let mut byte = [0];
    for round in 0..3000 {
        let write = pair.call(0, |stack| stack.tcp_write(client, b"abc", None));
        assert!(matches!(write, Poll::Ready(Ok(3))), "round {round}");
        pattern.extend(pair.on_the_way(1));
        let from = random.below(pattern.len());
        let mut frame = pattern[from].clone();
        for _ in 0..1 + random.below(4) {
            let place = random.below(frame.len());
            frame[place] = random.below(256).to_le_bytes()[0];
        }
        frame.truncate(1 + random.below(2 * frame.len()));
        pair.inject(1, frame);
        pattern.truncate(50);
        for _ in 0..3 {
            let read = pair.wait(1, |stack| stack.tcp_read(server, &mut byte, false, None));
            assert_eq!(read, Ok(1), "round {round}");
        }
    }
    assert!(pair.stacks[1].counters().bad_frames > 100);
    assert!(pair.stacks[1].connections() < 10);
}
