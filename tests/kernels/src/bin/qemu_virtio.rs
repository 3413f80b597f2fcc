//! The virtio devices of QEMU, over MMIO in both of its versions and
//! on a PCI bus: each is found, and does what it
//! is for.

//@ board: virt
//@ smp: 1 4
//@ cases: mmio mmio-legacy pci pci-el2
//@ qemu: -netdev user,id=net0,restrict=on
//@ case: mmio
//@ qemu: -global virtio-mmio.force-legacy=false
//@ case: mmio|mmio-legacy
//@ qemu: -device virtio-net-device,netdev=net0,mac=52:54:00:12:34:56 -device virtio-rng-device
//@ case: pci|pci-el2
//@ qemu: -device virtio-net-pci,netdev=net0,mac=52:54:00:12:34:56,romfile= -device virtio-rng-pci
//@ case: pci-el2
//@ virt: on

#![no_std]
#![no_main]

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

use kernel_support::ktap::Ktap;
use stillpoint::api::{random, thread, time};
use stillpoint::kernel::{VirtioNet, take_cards};
use stillpoint::net::NetPort;

extern crate alloc;

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
    entropy(&mut ktap);
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
    let raised = Arc::new(AtomicU32::new(0));
    let its = Arc::clone(&raised);
    let served = card.request_interrupt(move || {
        its.fetch_add(1, Ordering::Relaxed);
    });
    ktap.check("it has an interrupt", served);
    interrupts(&mut ktap, card, &raised);
    ktap.finish()
}

/// Checks that there are random bytes, and that they aren't the same twice.
fn entropy(ktap: &mut Ktap) {
    // More than the device gives at once.
    let mut bytes = [[0; 600]; 2];
    for bytes in &mut bytes {
        ktap.equal("there are random bytes", random::fill(bytes), Ok(()));
    }
    ktap.check("they are not the same twice", bytes[0] != bytes[1]);
    let zeros = bytes.iter().flatten().filter(|byte| **byte == 0).count();
    ktap.check("they are not zeros", zeros < 50);
}

/// Checks that each answer raises the interrupt if it was asked for, and none does otherwise.
fn interrupts(ktap: &mut Ktap, card: &mut VirtioNet, raised: &AtomicU32) {
    let before = raised.load(Ordering::Relaxed);
    ktap.check("an answer without an interrupt", ask(card));
    ktap.equal("it came without", raised.load(Ordering::Relaxed), before);
    let came = (0..20).filter(|_| {
        let before = raised.load(Ordering::Relaxed);
        if !card.arm() || !card.send(&REQUEST) {
            return false;
        }
        let end = time::now() + Duration::from_secs(5);
        while raised.load(Ordering::Relaxed) == before && time::now() < end {
            thread::yield_now();
        }
        let came = raised.load(Ordering::Relaxed) != before;
        came && card.receive_with(|_| ()).is_some()
    });
    ktap.equal("each of 20 answers raises it", came.count(), 20);
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
