//! Virtio devices that are honest, and such that aren't: each lie ends in an error, and no memory
//! is used that isn't the driver's.
#![allow(clippy::unwrap_used)] // A test's panic is its verdict.
#![allow(clippy::cast_possible_truncation)] // Lengths of frames, and numbers of queues.
#![cfg(not(loom))]

#[path = "support/fake_virtio.rs"]
mod fake_virtio;
#[path = "host_virtio/pci.rs"]
mod pci;
#[path = "support/virtio_script.rs"]
mod virtio_script;
#[path = "support/xorshift.rs"]
mod xorshift;

use fake_virtio::{Fake, HostMemory, Nature};
use stillpoint::virtio::{Entropy, MAX_FRAME, Net, VirtioError};
use virtio_drivers::transport::{DeviceStatus, DeviceType};
use xorshift::Random;

type Card = Net<HostMemory, Fake, 8>;

/// The queues of a card.
const RECEIVE: usize = 0;
const SEND: usize = 1;

fn start(nature: Nature) -> (Fake, Card) {
    let fake = Fake::new(nature);
    let card = Card::new(fake.clone(), || false).unwrap();
    (fake, card)
}

/// Has `fake` receive `frame`, which has a header of `header` bytes.
fn arrive(fake: &Fake, header: usize, frame: &[u8]) {
    let buffer = fake.take(RECEIVE).expect("a buffer");
    let whole = [&vec![0; header], frame].concat();
    buffer.write(&whole);
    fake.give(RECEIVE, buffer.id.into(), whole.len() as u32);
}

fn receive(card: &mut Card) -> Option<Vec<u8>> {
    card.receive()
        .map(|(received, _)| received.frame().to_vec())
}

#[test]
fn frames_go_both_ways_and_each_buffer_many_times() {
    for (legacy, features, header) in [(false, 1 << 32 | 1 << 5, 12), (true, 1 << 5, 10)] {
        let (fake, mut card) = start(Nature {
            legacy,
            features,
            ..Nature::card()
        });
        assert_eq!(card.mac(), Some([0x52, 0x54, 0, 1, 2, 3]));
        for number in 0..100_000_usize {
            let length = 1 + number % MAX_FRAME;
            let frame = vec![number.to_le_bytes()[0]; length];
            arrive(&fake, header, &frame);
            let (received, room) = card.receive().expect("the frame");
            assert_eq!(received.frame(), frame);
            let frame = received.frame().to_vec();
            drop(received);
            room.send(length, |to| to.copy_from_slice(&frame));
            let sent = fake.take(SEND).expect("the answer");
            assert_eq!(sent.read(), [&vec![0; header], &frame[..]].concat());
            fake.give(SEND, sent.id.into(), 0);
        }
        assert_eq!(card.statistics().received, 100_000);
        assert_eq!(card.failure(), None);
        card.stop(|| false).unwrap();
        assert_eq!(HostMemory::pages(), 0);
    }
}

#[test]
fn a_length_that_lies_costs_its_frame_only() {
    let (fake, mut card) = start(Nature::card());
    let size = (12 + MAX_FRAME) as u32;
    for (number, length) in [0, 11, 12, size + 1, u32::MAX].into_iter().enumerate() {
        let buffer = fake.take(RECEIVE).unwrap();
        fake.give(RECEIVE, buffer.id.into(), length);
        assert_eq!(receive(&mut card), None, "{length}");
        assert_eq!(card.statistics().bad, number as u64 + 1);
        arrive(&fake, 12, b"frame");
        assert_eq!(receive(&mut card).as_deref(), Some(&b"frame"[..]));
    }
    assert_eq!(card.failure(), None);
}

#[test]
fn a_token_that_lies_ends_the_card() {
    for (queue, tokens) in [
        // Out of range; one that the device has, and again before it has got it back.
        (RECEIVE, &[9_u32][..]),
        (RECEIVE, &[65535]),
        (RECEIVE, &[3, 3]),
        // Never lent.
        (SEND, &[0]),
    ] {
        let (fake, mut card) = start(Nature::card());
        for token in tokens {
            fake.give(queue, *token, 5);
        }
        while receive(&mut card).is_some() {}
        let _room = card.room().is_some();
        let token = u16::try_from(*tokens.last().unwrap()).unwrap();
        let queue = queue as u16;
        assert_eq!(card.failure(), Some(VirtioError::BadToken { queue, token }));
        assert!(card.room().is_none(), "nothing more is sent");
        arrive(&fake, 12, b"frame");
        assert_eq!(receive(&mut card), None, "nor received");
        assert!(card.arm(), "and nobody looks at it without a pause");
        // What the device has stays its own until it is reset.
        assert_ne!(HostMemory::pages(), 0);
        card.stop(|| false).unwrap();
        assert_eq!(HostMemory::pages(), 0);
    }
}

#[test]
fn an_index_that_jumps_ends_the_card() {
    for queue in [RECEIVE, SEND] {
        let (fake, mut card) = start(Nature::card());
        fake.jump(queue, 40_000);
        let mut frames = 0;
        while receive(&mut card).is_some() || card.room().is_some_and(|_| frames < 100) {
            frames += 1;
        }
        assert!(frames <= 8, "{frames}: no more than there are buffers");
        assert!(matches!(card.failure(), Some(VirtioError::BadToken { .. })));
    }
}

#[test]
fn a_device_that_never_answers_is_asked_no_more() {
    let (fake, mut card) = start(Nature::card());
    let sent = (0..100).map_while(|_| card.room().map(|room| room.send(60, |_| ())));
    assert_eq!(sent.count(), 8);
    assert!(card.arm(), "an interrupt may still come");
    assert!(fake.wants_interrupt(SEND) && card.room().is_none());
    // A frame that arrives has to wait: it could not be answered.
    arrive(&fake, 12, b"frame");
    assert_eq!(receive(&mut card), None);
    assert!(card.arm(), "no interrupt, and no look without a pause");
    let buffer = fake.take(SEND).unwrap();
    fake.give(SEND, buffer.id.into(), 0);
    assert!(!card.arm(), "there is room");
    assert_eq!(receive(&mut card).as_deref(), Some(&b"frame"[..]));
}

#[test]
fn interrupts_come_only_when_they_are_asked_for() {
    let (fake, mut card) = start(Nature::card());
    assert!(!fake.wants_interrupt(RECEIVE) && !fake.wants_interrupt(SEND));
    assert!(card.arm());
    assert!(fake.wants_interrupt(RECEIVE) && !fake.wants_interrupt(SEND));
    arrive(&fake, 12, b"frame");
    assert!(!card.arm(), "one waits already");
    assert!(!fake.wants_interrupt(RECEIVE));
}

#[test]
fn what_can_not_be_driven_says_why() {
    let refused = |change_fn: fn(&mut Nature)| {
        let mut nature = Nature::card();
        change_fn(&mut nature);
        let fake = Fake::new(nature);
        let mut looks = 0;
        let limit = move || {
            looks += 1;
            looks < 5
        };
        let error = Card::new(fake.clone(), limit).err().expect("an error");
        let failed = fake.status().contains(DeviceStatus::FAILED);
        let silent = matches!(error, VirtioError::NoReset(_) | VirtioError::NoMemory);
        assert!(failed || silent, "it is told: {error}");
        error
    };
    let chosen = 1 << 32 | 1 << 5;
    assert_eq!(
        refused(|nature| nature.refuses = true),
        VirtioError::FeaturesRefused {
            offered: chosen,
            chosen
        }
    );
    assert_eq!(
        refused(|nature| nature.deaf = true),
        VirtioError::NoReset(2)
    );
    assert_eq!(
        refused(|nature| nature.most = 4),
        VirtioError::NoQueue { queue: 0, size: 4 }
    );
    assert_eq!(
        refused(|nature| nature.restless = true),
        VirtioError::ConfigChanges
    );
    assert_eq!(
        refused(|nature| nature.config.truncate(5)),
        VirtioError::ConfigTooShort
    );
    HostMemory::set_full(true);
    assert_eq!(refused(|_| ()), VirtioError::NoMemory);
    HostMemory::set_full(false);
}

#[test]
fn an_address_that_no_card_has_is_none() {
    for config in [[0; 8], [1, 2, 3, 4, 5, 6, 0, 0]] {
        let (_, card) = start(Nature {
            config: config.to_vec(),
            ..Nature::card()
        });
        assert_eq!(card.mac(), None);
    }
}

#[test]
fn memory_is_not_freed_while_the_device_may_have_it() {
    let (fake, card) = start(Nature::card());
    let pages = HostMemory::pages();
    fake.change(|nature| nature.deaf = true);
    assert_eq!(card.stop(|| false), Err(VirtioError::NoReset(2)));
    assert_eq!(HostMemory::pages(), pages);
    // Nor where it is only dropped.
    let (_, card) = start(Nature::card());
    drop(card);
    assert_eq!(HostMemory::pages(), 2 * pages);
}

#[test]
fn entropy_is_what_the_device_says_and_given_once() {
    let fake = Fake::new(Nature {
        kind: DeviceType::EntropySource,
        features: 1 << 32,
        ..Nature::card()
    });
    let mut source = Entropy::<HostMemory, _>::new(fake.clone(), || false).unwrap();
    let mut bytes = [0; 3];
    assert_eq!(source.take(&mut bytes), Ok(0), "it is asked");
    assert_eq!(source.take(&mut bytes), Ok(0), "once");
    assert_eq!(fake.notified(0), 1);
    let answer = |bytes: &[u8], length: u32| {
        let buffer = fake.take(0).expect("a question");
        buffer.write(bytes);
        fake.give(0, buffer.id.into(), length);
    };
    answer(&[1, 2, 3, 4], 4);
    assert_eq!((source.take(&mut bytes), bytes), (Ok(3), [2, 3, 4]));
    assert_eq!((source.take(&mut bytes), bytes), (Ok(1), [1, 3, 4]));
    // What isn't an answer is an error, and the next one counts.
    for length in [0, 257, u32::MAX] {
        assert_eq!(source.take(&mut bytes), Ok(0));
        answer(&[], length);
        let bad = VirtioError::BadLength {
            queue: 0,
            length,
            size: 256,
        };
        assert_eq!(source.take(&mut bytes), Err(bad));
    }
    assert_eq!(source.take(&mut bytes), Ok(0));
    fake.give(0, 7, 4);
    let lie = VirtioError::BadToken { queue: 0, token: 7 };
    assert_eq!(source.take(&mut bytes), Err(lie));
    assert_eq!(source.take(&mut bytes), Err(VirtioError::Broken));
}

#[test]
fn scripts_of_lies_end_well() {
    for seed in 0..2000 {
        let mut random = Random::new(seed);
        let length = 20 + random.below(600);
        let script: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
        virtio_script::run(&script);
    }
}
