//! Bytes in are bytes out.

use std::task::Poll;

use stillpoint::net::smoltcp::time::Duration;
use stillpoint::net::{Limits, Shutdown};

use crate::cable::{Faults, Pair};
use crate::xorshift::Random;

/// Sends `total` bytes from the first machine to the second, which sends them back, and compares.
fn echo(faults: Faults, total: usize, seed: u64) {
    let mut pair = Pair::new(faults, Limits::default(), seed);
    let (client, server) = pair.connect();
    let mut random = Random::new(seed + 77);
    let sent: Vec<u8> = (0..total)
        .map(|_| random.below(256).to_le_bytes()[0])
        .collect();
    let (mut written, mut back): (usize, Vec<u8>) = (0, Vec::new());
    let mut held: Vec<u8> = Vec::new();
    let mut buffer = vec![0; 4096];
    let mut server_is_shut = false;
    loop {
        if written < total {
            let len = 1 + random.below(8000);
            let part = &sent[written..total.min(written + len)];
            match pair.call(0, |stack| stack.tcp_write(client, part, None)) {
                Poll::Ready(taken) => written += taken.expect("nothing stands against it"),
                Poll::Pending => {}
            }
            if written == total {
                pair.call(0, |stack| stack.tcp_shutdown(client, Shutdown::Write))
                    .expect("nothing stands against it");
            }
        }
        if held.is_empty() && !server_is_shut {
            match pair.call(1, |stack| stack.tcp_read(server, &mut buffer, false, None)) {
                Poll::Ready(Ok(0)) => {
                    pair.call(1, |stack| stack.tcp_shutdown(server, Shutdown::Write))
                        .expect("nothing stands against it");
                    server_is_shut = true;
                }
                Poll::Ready(read) => {
                    held.extend(&buffer[..read.expect("nothing stands against it")])
                }
                Poll::Pending => {}
            }
        }
        if !held.is_empty()
            && let Poll::Ready(taken) = pair.call(1, |stack| stack.tcp_write(server, &held, None))
        {
            held.drain(..taken.expect("nothing stands against it"));
        }
        match pair.call(0, |stack| stack.tcp_read(client, &mut buffer, false, None)) {
            Poll::Ready(Ok(0)) => break,
            Poll::Ready(read) => back.extend(&buffer[..read.expect("nothing stands against it")]),
            Poll::Pending => {}
        }
        pair.step();
    }
    assert!(back == sent, "seed {seed}: {} of {total} bytes", back.len());
    for (of, id) in [(0, client), (1, server)] {
        pair.call(of, |stack| stack.tcp_close(id));
    }
    pair.pass(Duration::from_secs(70));
    for stack in &pair.stacks {
        assert_eq!(stack.connections(), 0, "seed {seed}");
    }
}

#[test]
fn bytes_in_are_bytes_out() {
    echo(Faults::default(), 300_000, 1);
}

#[test]
fn bytes_in_are_bytes_out_over_a_bad_cable() {
    for seed in 0..8 {
        let faults = Faults {
            lost: 20,
            repeated: 20,
            late: 100,
            damaged: 10,
        };
        echo(faults, 60_000, seed);
    }
}

/// Connects a machine to itself.
#[test]
fn a_machine_talks_to_itself() {
    for ip in ["127.0.0.1", "::1", "10.0.0.1"] {
        let mut pair = Pair::new(Faults::default(), Limits::default(), 3);
        let addr = std::net::SocketAddr::new(ip.parse().expect("nothing stands against it"), 80);
        let any = std::net::SocketAddr::from(([0_u16; 8], 80));
        let listener = pair
            .call(0, |stack| stack.tcp_listen(any, 8))
            .expect("nothing stands against it");
        let client = pair
            .call(0, |stack| stack.tcp_connect(addr))
            .expect("nothing stands against it");
        let connected = pair.wait(0, |stack| stack.tcp_connected(client, None));
        assert_eq!(connected, Ok(()), "{ip}");
        pair.wait(0, |stack| stack.tcp_accept(listener, None))
            .expect("nothing stands against it");
    }
    let mut pair = Pair::new(Faults::default(), Limits::default(), 3);
    let other = std::net::SocketAddr::from(([127, 1, 2, 3], 80));
    let refused = pair.call(0, |stack| stack.tcp_connect(other));
    assert_eq!(refused, Err(stillpoint::errno::Errno::NetworkUnreachable));
}
