//! The console: one lock around the UART, the kernel's log, and what is typed.
//!
//! The lock is held while bytes go out, never while a value is formatted: so a `Display`
//! may print, log, or take a lock that sleeps.
//!
//! Output can't wedge the kernel: a byte waits about 10 ms for room at most, and
//! after one failure nothing waits until there is room again. What doesn't go
//! out is counted and lost.

use alloc::boxed::Box;
use core::fmt::{self, Write};

use crate::device::{Ns16550, TypedAhead};
use crate::drivers::early;
use crate::drivers::pl011::Pl011;
use crate::drivers::uart16550::MmioPort;
use crate::dt::{ConsoleDesc, ConsoleKind, DeviceTree};
use crate::kernel::Hw;
use crate::kernel::try_kernel;
use crate::platform::{Console, Irq, Platform, Received, Trigger};
use crate::sched::lock::Completion;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Once, SpinLock};
use crate::time::Instant;

static DEVICE: Once<Box<dyn Console + Send>> = Once::new();
/// A leaf: nothing is locked under it.
static OUTPUT: SpinLock<(), Hw> = SpinLock::new(());
static INPUT: SpinLock<TypedAhead, Hw> = SpinLock::new(TypedAhead::new());
/// Completed for each batch of what has arrived.
static ARRIVED: Completion<Hw> = Completion::new();
/// Whether a panic has the console: it no longer waits for the lock. Relaxed: the
/// CPU that sets it is the only one that still prints.
static BROKEN: AtomicBool = AtomicBool::new(false);

/// Puts bytes out, each line feed with a carriage return before it.
struct Output;

impl Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        match DEVICE.get() {
            Some(device) => {
                for byte in text.bytes() {
                    // What doesn't go out is lost, rather than waited for.
                    let _ready = byte != b'\n' || device.put(b'\r');
                    let _sent = device.put(byte);
                }
            }
            None => early::write_str(text),
        }
        Ok(())
    }
}

/// How many bytes go out at once: what a UART takes in 11 ms at 115200 baud, for which
/// interrupts are masked.
const PIECE: usize = 128;

/// Collects text, and puts it out piece by piece. The console is taken for each piece
/// and not while a value says what it is, which may print itself.
///
/// Pieces end at the end of a line where there is one, so a line of up to [`PIECE`] bytes
/// goes out whole.
struct Pieces {
    bytes: [u8; PIECE],
    len: usize,
}

impl Pieces {
    const fn new() -> Pieces {
        Pieces {
            bytes: [0; PIECE],
            len: 0,
        }
    }

    /// Puts out the first `len` bytes, which end at a character.
    fn put(&mut self, len: usize) {
        let text = core::str::from_utf8(&self.bytes[..len]);
        let text = text.expect("BUG: a piece is cut at a character");
        if !text.is_empty() {
            let one = (!BROKEN.load(Ordering::Relaxed)).then(|| OUTPUT.lock_irqsave());
            write(&mut Output, format_args!("{text}"));
            drop(one);
        }
        self.bytes.copy_within(len..self.len, 0);
        self.len -= len;
    }
}

impl Write for Pieces {
    fn write_str(&mut self, mut text: &str) -> fmt::Result {
        while !text.is_empty() {
            let room = text.len().min(PIECE - self.len);
            // At the latest at 0, which is one.
            let fits = (0..=room).rev().find(|at| text.is_char_boundary(*at));
            let fits = fits.unwrap_or(0);
            let (now, later) = text.split_at(fits);
            self.bytes[self.len..self.len + fits].copy_from_slice(now.as_bytes());
            self.len += fits;
            text = later;
            if !text.is_empty() {
                let lines = self.bytes[..self.len]
                    .iter()
                    .rposition(|byte| *byte == b'\n');
                self.put(lines.map_or(self.len, |end| end + 1));
            }
        }
        Ok(())
    }
}

/// Puts text on the console. A value in it may print, too, while it says what it is: that
/// comes out in front of what has not gone out yet. A line of up to 128 bytes comes out
/// in one piece; what is longer may have others' text in it.
///
/// # Context
/// Any; IRQs are masked while a piece of up to 128 bytes goes out.
pub fn print(text: fmt::Arguments<'_>) {
    let mut pieces = Pieces::new();
    write(&mut pieces, text);
    pieces.put(pieces.len);
}

/// Puts a warning into the log from where the holder of the console may never let it go:
/// tries for 10 ms to get it, and then prints all the same.
///
/// # Context
/// As [`print`]; `text` doesn't print itself.
pub(super) fn warn_in_need(text: fmt::Arguments<'_>) {
    let one = try_for_a_while();
    let time = super::walks::Seconds(Hw::now());
    write(&mut Output, format_args!("[{time}] warning: {text}\n"));
    drop(one);
}

fn write(out: &mut dyn Write, text: fmt::Arguments<'_>) {
    // Neither writer fails; a `Display` that does has printed what it could.
    match out.write_fmt(text) {
        Ok(()) | Err(fmt::Error) => {}
    }
}

/// Takes the console, if it is to be had within 10 ms.
fn try_for_a_while() -> Option<impl Drop> {
    let limit = Hw::now().after_ticks(Hw::frequency().hz() / 100);
    loop {
        let one = OUTPUT.try_lock_irqsave();
        if one.is_some() || Hw::now() >= limit {
            return one;
        }
        <Hw as crate::sync::LocalCpu>::relax();
    }
}

/// Calls `hold_fn` with the console taken and IRQs masked. For tests of a CPU that finds it
/// so: no other CPU prints meanwhile.
pub fn with_console_taken<R>(hold_fn: impl FnOnce() -> R) -> R {
    let _one = OUTPUT.lock_irqsave();
    hold_fn()
}

/// Takes the console from the CPU that holds it: only a panic may, with the other
/// CPUs stopped. Tries the lock first, for a while.
pub(super) fn break_lock() {
    // Before there is a kernel no other CPU runs; and with the MMU off memory takes no
    // exclusive access.
    if try_kernel().is_some() {
        drop(try_for_a_while());
    }
    BROKEN.store(true, Ordering::Relaxed);
}

/// Returns the panic's own console: it takes no lock, whichever CPU holds one.
pub(super) fn panic_writer() -> impl Write {
    Output
}

/// Has the log go to the console, as much of it as `filter` lets through.
pub(crate) fn start_log(filter: log::LevelFilter) {
    // It fails only if there is a logger: this one, which is set once.
    if let Ok(()) = log::set_logger(&LOGGER) {
        log::set_max_level(filter);
    }
}

/// Finds the console that the tree names, and makes it the kernel's. Returns its
/// interrupt.
pub(crate) fn init(tree: &DeviceTree<'_>) -> Option<(u32, Trigger)> {
    let found = match tree.console() {
        Ok(found) => found,
        Err(error) => {
            log::warn!("console: {error}");
            None
        }
    }?;
    let device = match make(&found) {
        Ok(device) => device,
        Err(error) => {
            // To the early console, if there is one.
            log::warn!("console: {error}: no input, and output by the early console");
            return None;
        }
    };
    DEVICE.call_once(|| device);
    if let Some(path) = tree.stdout_path().filter(|_| !found.named) {
        log::warn!("console: `{path}`, as /chosen has it, is none: this is the first other one");
    }
    INPUT.lock_irqsave().reserve();
    match found.interrupt {
        Ok(line) => match line.irq {
            Irq::Spi(spi) => Some((spi, line.trigger)),
            other => {
                log::warn!("console: no input, its interrupt is {other:?}");
                None
            }
        },
        Err(error) => {
            log::warn!("console: no input: {error}");
            None
        }
    }
}

/// Why there is no console although the tree has one.
enum NoConsole {
    /// It is of a kind that we don't know.
    Unknown,
    /// There can't be any at this address.
    BadAddress(u64),
    /// None answers at this address.
    Silent(u64),
}

impl fmt::Display for NoConsole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoConsole::Unknown => f.write_str("none of a known kind"),
            NoConsole::BadAddress(address) => {
                write!(f, "{address:#x} can not be the address of a UART")
            }
            NoConsole::Silent(address) => write!(f, "no UART answers at {address:#x}"),
        }
    }
}

/// Returns the driver for what the tree names.
fn make(found: &ConsoleDesc) -> Result<Box<dyn Console + Send>, NoConsole> {
    let base = found.registers.start();
    let bad = NoConsole::BadAddress(base);
    let early = found.early().ok_or(NoConsole::Unknown)?;
    // SAFETY: `early` has seen that the tree has no memory there, and mapped it.
    if !unsafe { early::answers(early) } {
        return Err(NoConsole::Silent(base));
    }
    match found.kind {
        ConsoleKind::Pl011 => {
            // SAFETY: the tree says that it is a PL011, `early` mapped it as device
            // memory, and the early console is not used again.
            let uart = unsafe { Pl011::new(base) }.map_err(|_| bad)?;
            Ok(Box::new(uart))
        }
        ConsoleKind::SbsaUart => {
            // SAFETY: as above, of SBSA's generic UART.
            let uart = unsafe { Pl011::new_sbsa(base) }.map_err(|_| bad)?;
            Ok(Box::new(uart))
        }
        ConsoleKind::Ns16550(layout) => {
            // SAFETY: as above, of a 16550; `dt` has seen that all of the layout is
            // within the registers that the tree names.
            let port = unsafe { MmioPort::new(base, layout) }.ok_or(bad)?;
            Ok(Box::new(Ns16550::new(port, layout.model)))
        }
        ConsoleKind::Other => Err(NoConsole::Unknown),
    }
}

/// Lets input arrive.
///
/// # Context
/// Thread.
pub(crate) fn enable_input() {
    if let Some(device) = DEVICE.get() {
        device.set_receive_interrupt(true);
        // What came before the interrupt was on.
        receive_interrupt();
    }
}

/// The receive interrupt: takes what has arrived.
pub(super) fn receive_interrupt() {
    let Some(device) = DEVICE.get() else { return };
    INPUT.lock_irqsave().receive(&**device);
    ARRIVED.complete();
}

/// Returns the next byte that is typed, or that some are missing; sleeps until there is
/// one.
///
/// # Context
/// Thread, preemption on.
pub(crate) fn read() -> Received {
    loop {
        if let Some(received) = read_until(Instant::FOREVER) {
            return received;
        }
    }
}

/// As [`read`], but sleeps not past `at`; `None` if nothing has come by then.
///
/// # Context
/// Thread, preemption on.
pub(crate) fn read_until(at: Instant) -> Option<Received> {
    loop {
        // Before the input: what comes after the look is told again.
        let late = Hw::now() >= at;
        if let Some(device) = DEVICE.get()
            && let Some(received) = INPUT.lock_irqsave().next(&**device)
        {
            return Some(received);
        }
        if late {
            return None;
        }
        let _told = ARRIVED.wait_until(at);
    }
}

/// The kernel's log: lines with the time since the counter started, as Linux
/// writes them.
struct Logger;

static LOGGER: Logger = Logger;

impl log::Log for Logger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            let mark = match record.level() {
                log::Level::Error => "error: ",
                log::Level::Warn => "warning: ",
                _ => "",
            };
            print(format_args!(
                "[{}] {mark}{}\n",
                super::walks::Seconds(Hw::now()),
                record.args()
            ));
        }
    }

    fn flush(&self) {}
}
