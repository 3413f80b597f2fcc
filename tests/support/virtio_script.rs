//! A network card that does what bytes say: honest things and lies. Host tests and the fuzzer
//! drive the kernel's driver with it, and check what must be true whatever the device does.

use stillpoint::virtio::{MAX_FRAME, Net};

use crate::fake_virtio::{Buffer, Fake, HostMemory, Nature};

/// How many buffers the script's queues have.
const SIZE: usize = 8;

/// The queues.
const RECEIVE: usize = 0;
const SEND: usize = 1;

/// Runs the script `bytes`: each of its steps is a byte that says what happens, and the bytes that
/// it needs.
pub(crate) fn run(bytes: &[u8]) {
    let mut bytes = bytes.iter().copied();
    let mut next = move || bytes.next();
    let Some(first) = next() else { return };
    let before = HostMemory::pages();
    let fake = Fake::new(Nature {
        legacy: first & 1 != 0,
        features: if first & 2 != 0 {
            1 << 5
        } else {
            1 << 32 | 1 << 5
        },
        ..Nature::card()
    });
    let card = Net::<HostMemory, _, SIZE>::new(fake.clone(), || false);
    let mut card = card.expect("an honest beginning");
    let mut held: [Vec<Buffer>; 2] = [Vec::new(), Vec::new()];
    while let Some(step) = next() {
        let queue = usize::from(step >> 4 & 1);
        let mut word = || u32::from(next().unwrap_or(0)) << 8 | u32::from(next().unwrap_or(0));
        match step & 15 {
            0 | 1 => held[queue].extend(fake.take(queue)),
            // An honest end of a buffer.
            2 | 3 => {
                if let Some(buffer) = held[queue].pop() {
                    let length = word() % (buffer.size + 1);
                    if buffer.writable {
                        buffer.write(&vec![0x5a; length as usize]);
                    }
                    fake.give(queue, buffer.id.into(), length);
                }
            }
            // A length that may be anything, with a token that is right.
            4 => {
                if let Some(buffer) = held[queue].pop() {
                    fake.give(queue, buffer.id.into(), word() << 16 | word());
                }
            }
            // A token that may be anything.
            5 => fake.give(queue, word(), word()),
            6 => fake.give(queue, word() << 16 | word(), word()),
            7 => {
                let count = word();
                fake.jump(queue, u16::try_from(count).unwrap_or(u16::MAX));
            }
            8 | 9 => {
                if let Some((received, room)) = card.receive() {
                    let frame = received.frame().to_vec();
                    assert!(!frame.is_empty() && frame.len() <= MAX_FRAME);
                    drop(received);
                    room.send(frame.len(), |to| to.copy_from_slice(&frame));
                }
            }
            10 => {
                let length = word() as usize % (MAX_FRAME + 20);
                if let Some(room) = card.room() {
                    room.send(length, |to| {
                        assert_eq!(to.len(), length);
                        to.fill(0xa5);
                    });
                }
            }
            11 => {
                let asked = card.arm();
                if asked && card.failure().is_none() {
                    assert!(fake.wants_interrupt(RECEIVE) || fake.wants_interrupt(SEND));
                }
            }
            12 => card.disarm(),
            _ => {}
        }
    }
    assert!(card.statistics().sent_bytes <= card.statistics().sent * MAX_FRAME as u64);
    card.stop(|| false).expect("a reset");
    assert_eq!(HostMemory::pages(), before, "all of its memory is free");
}
