//! The console: output to the UART under one lock, the kernel's log, and typed input.
//!
//! The lock is held while bytes go out, never while a value is formatted: so a `Display`
//! may print, log, or take a lock that sleeps.
//!
//! Output can't block the kernel: a byte waits about 10 ms for room at most, and after one
//! failure no byte waits until there is room again. A byte that doesn't go out is lost.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};

#[cfg(feature = "ns16550")]
use crate::device::Ns16550;
use crate::device::{LogRing, TypedAhead};
use crate::drivers::early;
#[cfg(feature = "pl011")]
use crate::drivers::pl011::Pl011;
#[cfg(feature = "ns16550")]
use crate::drivers::uart16550::MmioPort;
use crate::dt::{ConsoleDesc, ConsoleKind, DeviceTree};
use crate::irq::{IrqHandle, IrqReturn, Line};
use crate::kernel::Hw;
use crate::kernel::irqs;
use crate::kernel::try_kernel;
use crate::platform::{Console, IrqLine, Platform, Received};
use crate::sched::lock::Completion;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{LocalCpu, Once, SpinLock, might_sleep_in};
use crate::time::Instant;

/// The UART, once [`init`] has found it. Until then output goes to the early console.
static DEVICE: Once<Box<dyn Console + Send>> = Once::new();
/// Held while bytes go out; has the last of what the log has printed. No other lock is taken
/// under it.
static OUTPUT: SpinLock<LogRing, Hw> = SpinLock::new(LogRing::new());
/// The bytes that have arrived and have not been read.
static INPUT: SpinLock<TypedAhead, Hw> = SpinLock::new(TypedAhead::new());
/// The receive interrupt, if there is input.
static IRQ: Once<IrqHandle<Hw>> = Once::new();
/// Completed each time that bytes have been put into [`INPUT`].
static ARRIVED: Completion<Hw> = Completion::new();
/// Whether a panic has taken the console, so that output no longer takes the lock. Relaxed:
/// only the CPU that sets it still prints, or a CPU that the panic could not stop.
static BROKEN: AtomicBool = AtomicBool::new(false);
/// Whether the last byte that went out ended no line. Relaxed: written and read under [`OUTPUT`],
/// or by the CPU that has taken the console.
static IN_LINE: AtomicBool = AtomicBool::new(false);

/// Writes to the UART, with a carriage return before each line feed. Takes no lock.
struct Output;

impl Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if let Some(last) = text.as_bytes().last() {
            IN_LINE.store(*last != b'\n', Ordering::Relaxed);
        }
        match DEVICE.get() {
            Some(device) => {
                for byte in text.bytes() {
                    // A byte that doesn't go out is lost: output must not block the kernel.
                    let _ready = byte != b'\n' || device.put(b'\r');
                    let _sent = device.put(byte);
                }
            }
            None => early::write_str(text),
        }
        Ok(())
    }
}

/// The most bytes that go out under the lock at once. Interrupts are masked meanwhile, for
/// 11 ms if a UART sends them at 115200 baud.
const PIECE: usize = 128;

/// Collects formatted text, and writes it to the UART in pieces. The lock is held for each
/// piece, and not while a value is formatted, because a `Display` may print, too.
///
/// A piece ends at the end of a line if it has one, so a line of up to [`PIECE`] bytes
/// goes out whole.
struct Pieces {
    bytes: [u8; PIECE],
    len: usize,
    /// Whether the log's ring gets it, too.
    is_log: bool,
    /// Whether the next piece begins a line, even if the console is in the middle of one.
    begins_line: bool,
}

impl Pieces {
    const fn new(is_log: bool) -> Pieces {
        Pieces {
            bytes: [0; PIECE],
            len: 0,
            is_log,
            begins_line: false,
        }
    }

    /// Writes out the first `len` bytes, which end at a character, and removes them.
    fn put(&mut self, len: usize) {
        let text = core::str::from_utf8(&self.bytes[..len]);
        let text = text.expect("BUG: a piece is cut at a character");
        if !text.is_empty() {
            let mut one = (!BROKEN.load(Ordering::Relaxed)).then(|| OUTPUT.lock_irqsave());
            if let Some(ring) = one.as_mut().filter(|_| self.is_log) {
                ring.add(text.as_bytes());
            }
            if core::mem::take(&mut self.begins_line) && IN_LINE.load(Ordering::Relaxed) {
                write(&mut Output, format_args!("\n"));
            }
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
            // 0 is always a boundary, so the search finds one.
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

/// Prints `text` on the console. If the `Display` of a value in it prints, too, that output
/// comes before the part of `text` that has not gone out yet. A line of up to 128 bytes
/// comes out in one piece; output of other CPUs and threads may come in the middle of a
/// longer one.
///
/// # Context
/// Any; IRQs are masked while a piece of up to 128 bytes goes out.
pub fn print(text: fmt::Arguments<'_>) {
    print_to(text, false);
}

/// Prints as [`print`] does, on a line of its own: if the console is in the middle of a line, that
/// one ends first. `text` ends its last line itself.
///
/// # Context
/// As for [`print`].
pub(super) fn print_line(text: fmt::Arguments<'_>) {
    let mut pieces = Pieces::new(false);
    pieces.begins_line = true;
    write(&mut pieces, text);
    pieces.put(pieces.len);
}

/// Prints as [`print`] does, and with `is_log` to the log's ring, too.
fn print_to(text: fmt::Arguments<'_>, is_log: bool) {
    let mut pieces = Pieces::new(is_log);
    write(&mut pieces, text);
    pieces.put(pieces.len);
}

/// Logs a warning where the console's lock may never be released: tries for 10 ms to take
/// the lock, and then prints without it.
///
/// # Context
/// As for [`print`]; formatting `text` must not print.
pub(super) fn warn_in_need(text: fmt::Arguments<'_>) {
    let one = try_for_a_while();
    let time = super::walks::Seconds(Hw::now());
    write(&mut Output, format_args!("[{time}] warning: {text}\n"));
    drop(one);
}

/// Writes `text` to `out`, and ignores a failure.
fn write(out: &mut dyn Write, text: fmt::Arguments<'_>) {
    // Neither writer fails. If a `Display` fails, the text before it is out already.
    match out.write_fmt(text) {
        Ok(()) | Err(fmt::Error) => {}
    }
}

/// Takes the console's lock, or returns `None` if it isn't free within 10 ms.
fn try_for_a_while() -> Option<impl Drop> {
    let limit = Hw::now().after_ticks(Hw::frequency().hz() / 100);
    loop {
        let one = OUTPUT.try_lock_irqsave();
        if one.is_some() || Hw::now() >= limit {
            return one;
        }
        Hw::relax();
    }
}

/// Calls `hold_fn` with the console's lock held and IRQs masked. For tests of a CPU that
/// wants to print while another CPU holds the lock.
pub fn with_console_taken<R>(hold_fn: impl FnOnce() -> R) -> R {
    let _one = OUTPUT.lock_irqsave();
    hold_fn()
}

/// Takes the console from the CPU that holds it: waits 10 ms for the lock, and from then on
/// output takes no lock. Only a panic may call this, after it has stopped the other CPUs.
pub(super) fn break_lock() {
    // Before there is a kernel no other CPU runs. And the MMU may be off, where exclusive
    // accesses, which the lock needs, don't work.
    if try_kernel().is_some() {
        drop(try_for_a_while());
    }
    BROKEN.store(true, Ordering::Relaxed);
}

/// Returns a writer to the console that takes no lock, for a panic's report.
pub(super) fn panic_writer() -> impl Write {
    Output
}

/// Makes the console the log's output, for messages that `filter` lets through.
pub(crate) fn start_log(filter: log::LevelFilter) {
    // It fails only if a logger is set already, and this is called once.
    if let Ok(()) = log::set_logger(&LOGGER) {
        log::set_max_level(filter);
    }
}

/// Finds the console that the tree names, and makes it the kernel's console. Returns the line of
/// its interrupt, or `None` if there is no input.
pub(crate) fn init(tree: &DeviceTree<'_>) -> Option<IrqLine> {
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
            // The warning goes to the early console, if there is one.
            log::warn!("console: {error}: no input, and output by the early console");
            return None;
        }
    };
    DEVICE.call_once(|| device);
    if let Some(path) = tree.stdout_path().filter(|_| !found.named) {
        log::warn!("console: `{path}`, which /chosen names, is none: using the first one found");
    }
    INPUT.lock_irqsave().reserve();
    match found.interrupt {
        Ok(line) => IrqLine::from_intid(line.irq.intid(), line.trigger),
        Err(error) => {
            log::warn!("console: no input: {error}");
            None
        }
    }
}

/// Why there is no console although the tree has one.
enum NoConsole {
    /// The kernel has no driver for it.
    Unknown,
    /// The program was built without its driver.
    LeftOut,
    /// A UART's registers can't be at this address.
    BadAddress(u64),
    /// No UART answers at this address.
    Silent(u64),
}

impl fmt::Display for NoConsole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoConsole::Unknown => f.write_str("none of a known kind"),
            NoConsole::LeftOut => f.write_str("this program was built without its driver"),
            NoConsole::BadAddress(address) => {
                write!(f, "{address:#x} can not be the address of a UART")
            }
            NoConsole::Silent(address) => write!(f, "no UART answers at {address:#x}"),
        }
    }
}

/// Returns the driver for the console that the tree names.
fn make(found: &ConsoleDesc) -> Result<Box<dyn Console + Send>, NoConsole> {
    let base = found.registers.start();
    let early = found.early().ok_or(NoConsole::Unknown)?;
    if !early::has_driver(early.kind) {
        return Err(NoConsole::LeftOut);
    }
    // SAFETY: `boot::early` has checked that the tree has no memory there, and mapped it.
    if !unsafe { early::answers(early) } {
        return Err(NoConsole::Silent(base));
    }
    match found.kind {
        #[cfg(feature = "pl011")]
        ConsoleKind::Pl011 => {
            // SAFETY: the tree says that it is a PL011. `boot::early` mapped it as device
            // memory, and the early console is not used again.
            let uart = unsafe { Pl011::new(base) }.map_err(|_| NoConsole::BadAddress(base))?;
            Ok(Box::new(uart))
        }
        #[cfg(feature = "pl011")]
        ConsoleKind::SbsaUart => {
            // SAFETY: as above, for SBSA's generic UART.
            let uart = unsafe { Pl011::new_sbsa(base) }.map_err(|_| NoConsole::BadAddress(base))?;
            Ok(Box::new(uart))
        }
        #[cfg(feature = "ns16550")]
        ConsoleKind::Ns16550(layout) => {
            // SAFETY: as above, for a 16550; `dt` has checked that the whole layout lies
            // within the registers that the tree names.
            let port = unsafe { MmioPort::new(base, layout) }.ok_or(NoConsole::BadAddress(base))?;
            Ok(Box::new(Ns16550::new(port, layout.model)))
        }
        #[allow(unreachable_patterns)] // With all drivers only `Other` is left.
        _ => Err(NoConsole::Unknown),
    }
}

/// Requests the receive interrupt, which has the line `line`.
///
/// # Context
/// The boot, once.
pub(crate) fn request_interrupt(line: IrqLine) {
    match irqs::request_irq(line, "console", receive_interrupt) {
        Ok(handle) => {
            IRQ.call_once(|| handle);
        }
        Err(error) => log::warn!("console: no input: {error}"),
    }
}

/// Returns the line of the receive interrupt, if there is input.
pub(super) fn line() -> Option<&'static Line<Hw>> {
    IRQ.get().map(IrqHandle::line)
}

/// Turns on the receive interrupt.
///
/// # Context
/// Thread.
pub(crate) fn enable_input() {
    if let Some(device) = DEVICE.get() {
        device.set_receive_interrupt(true);
        // Takes the bytes that arrived before the interrupt was on.
        let _served = receive_interrupt();
    }
}

/// Handles the receive interrupt: takes the bytes that have arrived, and wakes a reader.
fn receive_interrupt() -> IrqReturn {
    if let Some(device) = DEVICE.get() {
        INPUT.lock_irqsave().receive(&**device);
        ARRIVED.complete();
    }
    IrqReturn::Handled
}

/// Returns the next typed byte, or that bytes were lost here; sleeps until there is one.
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

/// As [`read`], but sleeps until `at` at the latest, and returns `None` if there is no
/// input by then.
///
/// # Context
/// Thread, preemption on.
pub(crate) fn read_until(at: Instant) -> Option<Received> {
    might_sleep_in::<Hw>("console::read_byte");
    loop {
        // The clock is read before the input: so input that came before `at` is returned.
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

/// Takes the next Ctrl-C out of the input, and all that was typed before it; sleeps until `at` at
/// the latest. Returns how many bytes came before it; `None` if none is typed by then.
///
/// # Context
/// Thread, preemption on.
pub(crate) fn interrupted_until(at: Instant) -> Option<usize> {
    loop {
        // The clock is read before the input, as in `read_until`.
        let late = Hw::now() >= at;
        if let Some(device) = DEVICE.get()
            && let Some(dropped) = INPUT.lock_irqsave().take_through(CTRL_C, &**device)
        {
            return Some(dropped);
        }
        if late {
            return None;
        }
        let _told = ARRIVED.wait_until(at);
    }
}

/// What a terminal sends for Ctrl-C.
const CTRL_C: u8 = 3;

/// Returns what the log's ring has, from the first whole line on.
///
/// # Context
/// Thread; allocates.
pub(crate) fn logged() -> String {
    let mut text = Vec::new();
    let mut piece = [0; PIECE];
    let mut next = 0;
    loop {
        // The lock is held for a piece only: interrupts are masked meanwhile.
        let (from, count) = OUTPUT.lock_irqsave().copy(next, &mut piece);
        if from > next {
            // The ring has lost what comes before, and perhaps the beginning of a line.
            text.clear();
        }
        if count == 0 {
            break;
        }
        text.extend_from_slice(&piece[..count]);
        next = from + count;
    }
    let text = String::from_utf8_lossy(&text);
    match text.find('[') {
        Some(at) => text[at..].into(),
        None => String::new(),
    }
}

/// The kernel's log. Each line begins with the time since the counter started, as in
/// Linux.
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
            print_to(
                format_args!(
                    "[{}] {mark}{}\n",
                    super::walks::Seconds(Hw::now()),
                    record.args()
                ),
                true,
            );
        }
    }

    fn flush(&self) {}
}
