//! The 16550 and the mini UART, driven against fakes that behave as the manuals say.
#![allow(clippy::unwrap_used)] // A test's panic is its verdict.

#[path = "host_device/fake_uart.rs"]
mod fake_uart;

use std::time::Duration;

use fake_uart::{Chip, FakeUart};
use stillpoint::device::{Model, Ns16550, TypedAhead};
use stillpoint::platform::{Console, Received};

const ALL: [Chip; 4] = [
    Chip::Ns8250,
    Chip::Ns16550,
    Chip::DesignWare,
    Chip::MiniUart,
];

const fn model(chip: Chip) -> Model {
    match chip {
        Chip::Ns8250 | Chip::Ns16550 => Model::Plain,
        Chip::DesignWare => Model::DesignWare,
        Chip::MiniUart => Model::MiniUart,
    }
}

fn uart(chip: &FakeUart) -> Ns16550<&FakeUart> {
    Ns16550::new(chip, model(chip.chip()))
}

fn print(uart: &impl Console, text: &str) -> usize {
    text.bytes().filter(|byte| uart.put(*byte)).count()
}

/// Returns the bytes that `uart` has received, with `!` where some are lost.
fn typed(uart: &impl Console) -> Vec<u8> {
    let received = std::iter::from_fn(|| uart.get());
    received
        .map(|received| match received {
            Received::Byte(byte) => byte,
            Received::Lost => b'!',
        })
        .collect()
}

#[test]
fn what_is_put_goes_out_in_order() {
    let text = "Stillpoint on a fake: more than any FIFO holds, and all of it.\n";
    for chip in ALL {
        let fake = FakeUart::new(chip);
        let uart = uart(&fake);
        assert_eq!(print(&uart, text), text.len(), "{chip:?}");
        assert_eq!(fake.sent(), text.as_bytes(), "{chip:?}");
        assert_eq!(fake.lost(), 0, "{chip:?}: written to a full FIFO");
    }
}

#[test]
fn firmware_s_words_line_and_baud_rate_stay() {
    for chip in ALL {
        let fake = FakeUart::new(chip);
        fake.firmware_says(b"boot");
        fake.firmware_leaves_divisor_latch();
        let (divisor, format) = fake.line();
        let uart = uart(&fake);
        assert!(uart.put(b'!'), "{chip:?}");
        fake.rest();
        assert_eq!(fake.sent(), b"boot!", "{chip:?}");
        assert_eq!(fake.line(), (divisor, format), "{chip:?}");
        assert!(!fake.raises_interrupt(), "{chip:?}");
    }
}

#[test]
fn what_was_typed_before_the_kernel_came_is_kept() {
    for chip in ALL {
        let fake = FakeUart::new(chip);
        // As many bytes as fit while the FIFOs aren't on yet.
        fake.types(b"e");
        let uart = uart(&fake);
        assert_eq!(typed(&uart), b"e", "{chip:?}");
        fake.types(b"c");
        assert_eq!(typed(&uart), b"c", "{chip:?}");
    }
}

#[test]
fn taken_as_it_is_nothing_but_the_byte_is_written() {
    for chip in ALL {
        let fake = FakeUart::new(chip);
        let uart = Ns16550::as_it_is(&fake, model(chip));
        assert!(uart.put(b'a'));
        assert_eq!(fake.writes(), 1, "{chip:?}");
    }
}

#[test]
fn a_stuck_transmitter_costs_10_ms_once() {
    for chip in ALL {
        let fake = FakeUart::new(chip);
        let uart = uart(&fake);
        fake.stop_sending(true);
        let mut room = 0;
        while uart.put(b'x') {
            room += 1;
            assert!(room <= 64, "{chip:?} never fills");
        }
        let began = fake.now();
        assert_eq!(print(&uart, "no terminal reads this"), 0, "{chip:?}");
        assert!(fake.now() - began < Duration::from_millis(1), "{chip:?}");
        fake.stop_sending(false);
        fake.rest();
        assert_eq!(print(&uart, "again"), 5, "{chip:?}");
        fake.stop_sending(true);
        let began = fake.now();
        while uart.put(b'x') {}
        let waited = fake.now() - began;
        let limit = Duration::from_millis(10)..Duration::from_millis(12);
        assert!(limit.contains(&waited), "{chip:?} waited {waited:?}");
    }
}

#[test]
fn what_is_typed_raises_the_interrupt_and_is_read() {
    for chip in ALL {
        let fake = FakeUart::new(chip);
        let uart = uart(&fake);
        fake.types(b"a");
        assert!(!fake.raises_interrupt(), "{chip:?}: it is off");
        uart.set_receive_interrupt(true);
        assert!(fake.raises_interrupt(), "{chip:?}");
        uart.clear_receive_interrupt();
        assert_eq!(typed(&uart), b"a", "{chip:?}");
        assert!(!fake.raises_interrupt(), "{chip:?}: it would come for ever");
        assert!(uart.put(b'b'), "{chip:?}");
        fake.rest();
        assert!(
            !fake.raises_interrupt(),
            "{chip:?}: no writer asked for room"
        );
        fake.types(b"c");
        assert!(fake.raises_interrupt(), "{chip:?}");
        uart.set_receive_interrupt(false);
        assert!(!fake.raises_interrupt(), "{chip:?}");
        assert_eq!(typed(&uart), b"c", "{chip:?}");
    }
}

#[test]
fn a_line_of_input_waits_in_the_fifo() {
    for chip in [Chip::Ns16550, Chip::DesignWare, Chip::MiniUart] {
        let fake = FakeUart::new(chip);
        let uart = uart(&fake);
        fake.types(b"poweroff");
        assert_eq!(typed(&uart), b"poweroff", "{chip:?}");
    }
}

#[test]
fn a_damaged_byte_is_a_gap_and_the_others_are_there() {
    for chip in [Chip::Ns8250, Chip::Ns16550, Chip::DesignWare] {
        let fake = FakeUart::new(chip);
        let uart = uart(&fake);
        uart.set_receive_interrupt(true);
        fake.types_damaged(b'?');
        assert_eq!(typed(&uart), b"!", "{chip:?}");
        assert!(!fake.raises_interrupt(), "{chip:?}");
        fake.types(b"y");
        assert_eq!(typed(&uart), b"y", "{chip:?}");
    }
}

#[test]
fn an_overrun_leaves_nothing_that_could_be_joined() {
    for chip in ALL {
        for printed in ["", "the line status is read here, which forgets an overrun"] {
            let fake = FakeUart::new(chip);
            let uart = uart(&fake);
            uart.set_receive_interrupt(true);
            // More than any FIFO holds, so that a command is cut off and the end of another
            // one follows it.
            fake.types("x\n".repeat(20).as_bytes());
            assert_eq!(print(&uart, printed), printed.len());
            assert_eq!(typed(&uart), b"!", "{chip:?}");
            fake.types(b"2");
            assert_eq!(typed(&uart), b"2", "{chip:?}");
            assert!(!fake.raises_interrupt(), "{chip:?}");
        }
    }
}

/// Returns at most `most` bytes that were typed ahead, with `!` where some are lost.
fn take(ahead: &mut TypedAhead, console: &impl Console, most: usize) -> Vec<u8> {
    let next = std::iter::from_fn(|| ahead.next(console)).take(most);
    next.map(|received| match received {
        Received::Byte(byte) => byte,
        Received::Lost => b'!',
    })
    .collect()
}

#[test]
fn what_is_typed_ahead_stays_in_the_uart_when_there_is_no_more_room() {
    let fake = FakeUart::new(Chip::Ns16550);
    let uart = uart(&fake);
    uart.set_receive_interrupt(true);
    let mut ahead = TypedAhead::new();
    ahead.reserve();
    // Sends as with flow control: a byte whenever there is room in the FIFO.
    let text: Vec<u8> = (0..1_000)
        .flat_map(|n| format!("echo {n:03}\n").into_bytes())
        .collect();
    let mut rest = text.chunks(8).peekable();
    let mut typed = Vec::new();
    let mut paused = false;
    loop {
        if fake.raises_interrupt() {
            ahead.receive(&uart);
        } else if fake.input() == 0 && rest.peek().is_some() {
            fake.types(rest.next().unwrap());
        } else {
            paused |= fake.input() != 0;
            let some = take(&mut ahead, &uart, 50);
            if some.is_empty() {
                break;
            }
            typed.extend(some);
        }
    }
    assert!(paused, "there was always room");
    assert!(typed == text);
}

#[test]
fn a_gap_in_what_is_typed_ahead_stays_in_its_place() {
    let fake = FakeUart::new(Chip::Ns16550);
    let uart = uart(&fake);
    uart.set_receive_interrupt(true);
    let mut ahead = TypedAhead::new();
    ahead.reserve();
    let mut sent = 0;
    // Fills the FIFO, and sends more than it holds.
    while fake.input() == 0 {
        fake.types(b"ab");
        ahead.receive(&uart);
        sent += 2;
    }
    let in_memory = sent - fake.input();
    fake.types(&[b'c'; 40]);
    assert!(!fake.raises_interrupt(), "it would come for ever");
    let mut typed = take(&mut ahead, &uart, sent);
    fake.types(b"d");
    ahead.receive(&uart);
    typed.extend(take(&mut ahead, &uart, sent));
    let expected = ["ab".repeat(in_memory / 2), "!d".into()].concat();
    assert!(typed == expected.as_bytes(), "{}", typed.escape_ascii());
}

#[test]
fn a_byte_is_found_in_what_is_typed_ahead_and_taken_with_all_before_it() {
    const CTRL_C: u8 = 3;
    let fake = FakeUart::new(Chip::Ns16550);
    let uart = uart(&fake);
    uart.set_receive_interrupt(true);
    let mut ahead = TypedAhead::new();
    ahead.reserve();
    fake.types(b"ab");
    ahead.receive(&uart);
    assert_eq!(ahead.take_through(CTRL_C, &uart), None);
    fake.types(b"c\x03de\x03f");
    ahead.receive(&uart);
    assert_eq!(
        ahead.take_through(CTRL_C, &uart),
        Some(3),
        "nothing was taken"
    );
    assert_eq!(ahead.take_through(CTRL_C, &uart), Some(2));
    assert_eq!(ahead.take_through(CTRL_C, &uart), None);
    assert_eq!(take(&mut ahead, &uart, 9), b"f");
    // When memory is full the rest waits in the UART, and comes when there is room again.
    let mut sent = 0;
    while fake.input() == 0 {
        fake.types(b"xy");
        ahead.receive(&uart);
        sent += 2;
    }
    let in_memory = sent - fake.input();
    assert_eq!(ahead.take_through(CTRL_C, &uart), None);
    take(&mut ahead, &uart, 1);
    fake.types(b"\x03!");
    assert_eq!(ahead.take_through(b'x', &uart), Some(1));
    assert_eq!(ahead.take_through(CTRL_C, &uart), Some(sent - 3));
    assert!(in_memory > 4000 && fake.input() == 0);
    assert_eq!(take(&mut ahead, &uart, 9), b"!");
}

#[test]
fn a_mini_uart_s_reserved_bits_say_nothing() {
    let fake = FakeUart::new(Chip::MiniUart);
    let uart = uart(&fake);
    fake.reserved_bits_read(0b1001_1100);
    fake.types(b"ok");
    assert_eq!(typed(&uart), b"ok");
    assert_eq!(print(&uart, "ok"), 2);
}

#[test]
fn a_design_ware_s_own_interrupts_end() {
    let fake = FakeUart::new(Chip::DesignWare);
    let uart = uart(&fake);
    uart.set_receive_interrupt(true);
    fake.firmware_wrote_line_while_busy();
    assert!(fake.raises_interrupt());
    uart.clear_receive_interrupt();
    assert_eq!(uart.get(), None);
    assert!(!fake.raises_interrupt(), "busy detect");
    fake.times_out_without_byte();
    assert!(fake.raises_interrupt());
    uart.clear_receive_interrupt();
    assert_eq!(uart.get(), None);
    assert!(!fake.raises_interrupt(), "time-out");
}

#[test]
fn where_no_device_answers_nothing_is_read_for_ever() {
    for chip in ALL {
        let fake = FakeUart::new(chip);
        fake.unplug();
        let uart = uart(&fake);
        assert_eq!(uart.get(), None, "{chip:?}");
        uart.clear_receive_interrupt();
        uart.set_receive_interrupt(true);
    }
}
