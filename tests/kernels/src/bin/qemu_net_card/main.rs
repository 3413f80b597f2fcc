//! The network over a virtio card and QEMU's user network: DHCP and given addresses, echo requests,
//! and bytes that come back from a program of the host, while CPUs come and go.

//@ board: virt
//@ smp: 1 4
//@ timeout: 120
//@ cases: dhcp given
//@ qemu: -netdev user,id=net0,guestfwd=tcp:10.0.2.100:7-cmd:cat -device virtio-rng-device
//@ qemu: -global virtio-mmio.force-legacy=false -device virtio-net-device,netdev=net0
//@ case: given
//@ append: ip=10.0.2.20::10.0.2.2:255.255.255.0::eth0:off

#![no_std]
#![no_main]

extern crate alloc;

#[path = "../../../../../examples/api"]
mod examples {
    pub(crate) mod up;
}

stillpoint::entry!(main);

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;

use stillpoint::api::cpu::possible;
use stillpoint::api::hotplug::{cpu_down, cpu_up};
use stillpoint::api::net::{self, Shutdown, TcpStream};
use stillpoint::api::thread;
use stillpoint::sync::atomic::{AtomicBool, Ordering};

use kernel_support::case::case;
use kernel_support::ktap::Ktap;
use kernel_support::machine::{secondaries, states_say};
use kernel_support::unharmed::same;
use kernel_support::xorshift::Random;

/// QEMU's own address on its user network.
const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 2, 2));
/// Where `cat` answers.
const CAT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 2, 100)), 7);
/// How many bytes are sent around.
const TOTAL: usize = 1 << 20;

fn main() {
    let mut ktap = Ktap::new();
    let wanted = match case() {
        "given" => Ipv4Addr::new(10, 0, 2, 20),
        _ => Ipv4Addr::new(10, 0, 2, 15),
    };
    let up = net::wait_until_up(Duration::from_secs(10));
    let has_it = net::addresses().contains(&(wanted.into(), 24));
    ktap.check("an address", up.is_ok() && has_it);
    let answer = net::ping(HOST, Duration::from_secs(10));
    ktap.check("an answer to an echo request", answer.is_ok());
    if case() == "dhcp" {
        ktap.check("the example", examples::up::report().is_ok());
    }
    ktap.check("bytes come back", there_and_back());
    ktap.check("the same while CPUs come and go", while_cpus_move());
    ktap.check("masks and counters", states_say(&possible()));
    ktap.finish()
}

/// Has the host's `cat` send [`TOTAL`] bytes back, and compares.
fn there_and_back() -> bool {
    let mut random = Random::new(7);
    let sent: Vec<u8> = (0..TOTAL)
        .map(|_| random.below(256).to_le_bytes()[0])
        .collect();
    let sent = Arc::new(sent);
    let stream = match TcpStream::connect(CAT) {
        Ok(stream) => Arc::new(stream),
        Err(error) => return same("connected", Some(error), None),
    };
    let writer = {
        let (sent, stream) = (Arc::clone(&sent), Arc::clone(&stream));
        thread::spawn(move || {
            stream.write_all(&sent)?;
            stream.shutdown(Shutdown::Write)
        })
    };
    let mut back = Vec::with_capacity(TOTAL);
    let mut buffer = vec![0; 4096];
    let end = loop {
        match stream.read(&mut buffer) {
            Ok(0) => break None,
            Ok(read) => back.extend_from_slice(&buffer[..read]),
            Err(error) => break Some(error),
        }
    };
    same("end", end, None)
        & same("written", writer.join(), Ok(()))
        & same("length", back.len(), TOTAL)
        & same("bytes", back == *sent, true)
}

fn while_cpus_move() -> bool {
    let over = Arc::new(AtomicBool::new(false));
    let mover = {
        let over = Arc::clone(&over);
        thread::spawn(move || {
            // Relaxed: nothing else is read through it.
            while !over.load(Ordering::Relaxed) {
                for cpu in secondaries() {
                    cpu_down(cpu).expect("nothing keeps it");
                }
                for cpu in secondaries() {
                    cpu_up(cpu).expect("it has come before");
                }
            }
        })
    };
    let fine = there_and_back();
    over.store(true, Ordering::Relaxed);
    mover.join();
    fine
}
