//! The 16550 and the mini UART, driven against fakes that behave as the manuals say.
#![allow(clippy::unwrap_used)] // A test's panic is its verdict.

#[path = "host_device/fake_uart.rs"]
mod fake_uart;

use std::time::Duration;

use fake_uart::{Chip, FakeUart};
use stillpoint::device::{Model, Ns16550};
use stillpoint::platform::Console;

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

fn typed(uart: &impl Console) -> Vec<u8> {
    std::iter::from_fn(|| uart.get()).collect()
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
        assert_eq!(print(&uart, "nobody hears this"), 0, "{chip:?}");
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
        uart.enable_receive_interrupt(true);
        assert!(fake.raises_interrupt(), "{chip:?}");
        uart.clear_receive_interrupt();
        assert_eq!(typed(&uart), b"a", "{chip:?}");
        assert!(!fake.raises_interrupt(), "{chip:?}: it would come for ever");
        assert!(uart.put(b'b'), "{chip:?}");
        fake.rest();
        assert!(!fake.raises_interrupt(), "{chip:?}: nobody asked for room");
        fake.types(b"c");
        assert!(fake.raises_interrupt(), "{chip:?}");
        uart.enable_receive_interrupt(false);
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
fn damaged_bytes_are_skipped_and_the_others_not() {
    for chip in [Chip::Ns8250, Chip::Ns16550, Chip::DesignWare] {
        let fake = FakeUart::new(chip);
        let uart = uart(&fake);
        uart.enable_receive_interrupt(true);
        fake.types_damaged(b'?');
        assert_eq!(uart.get(), None, "{chip:?}");
        assert!(!fake.raises_interrupt(), "{chip:?}");
        fake.types(b"y");
        assert_eq!(uart.get(), Some(b'y'), "{chip:?}");
    }
    let fake = FakeUart::new(Chip::Ns8250);
    let uart = uart(&fake);
    fake.types(b"12");
    assert_eq!(
        typed(&uart),
        b"2",
        "the one that overran the other is whole"
    );
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
    uart.enable_receive_interrupt(true);
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
        uart.enable_receive_interrupt(true);
    }
}
