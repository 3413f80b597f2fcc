//! The virtio devices of QEMU, over MMIO in both of its versions: each is found, and does what it
//! is for.

//@ board: virt
//@ smp: 1 4
//@ cases: mmio mmio-legacy
//@ qemu: -netdev user,id=net0,restrict=on -device virtio-rng-device
//@ case: mmio
//@ qemu: -global virtio-mmio.force-legacy=false
//@ case: mmio|mmio-legacy
//@ qemu: -device virtio-net-device,netdev=net0,mac=52:54:00:12:34:56

#![no_std]
#![no_main]

use core::time::Duration;

use kernel_support::ktap::Ktap;
use stillpoint::api::{thread, time};
use stillpoint::kernel::{VirtioNet, take_cards};

stillpoint::entry!(main);

/// The address that the card is given above.
const OURS: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

/// An ARP request for 10.0.2.2, QEMU's side of its user network, from 10.0.2.15.
const REQUEST: [u8; 42] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 0x12, 0x34, 0x56, 0x08,
    0x06, // Ethernet
    0, 1, 0x08, 0, 6, 4, 0, 1, // for IPv4, a request
    0x52, 0x54, 0, 0x12, 0x34, 0x56, 10, 0, 2, 15, // from
    0, 0, 0, 0, 0, 0, 10, 0, 2, 2, // to
];

fn main() {
    let mut ktap = Ktap::new();
    let mut cards = take_cards();
    ktap.check("one network card is found", cards.len() == 1);
    let Some(card) = cards.first_mut() else {
        ktap.finish();
    };
    ktap.equal("it has its address", card.address(), OURS);
    // More than the card's queues hold at once, so every buffer is used again.
    let answers = (0..200).filter(|_| ask(card)).count();
    ktap.equal("each of 200 requests is answered", answers, 200);
    let counts = card.counts();
    ktap.equal(
        "no frame is bad or dropped",
        (counts.bad, counts.dropped),
        (0, 0),
    );
    ktap.finish()
}

/// Sends the request, and returns whether the answer comes.
fn ask(card: &mut VirtioNet) -> bool {
    let end = time::now() + Duration::from_secs(5);
    while !card.send(&REQUEST) {
        if time::now() >= end {
            return false;
        }
        thread::yield_now();
    }
    while time::now() < end {
        let answered = card.receive_with(|frame| {
            frame.get(..6) == Some(&OURS) && frame.get(20..22) == Some(&[0, 2])
        });
        if answered == Some(true) {
            return true;
        }
        thread::yield_now();
    }
    false
}
