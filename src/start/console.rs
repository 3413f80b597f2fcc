//! The console: one lock around the UART, the kernel's log, and what is typed.
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
use crate::platform::{Console, Irq, Platform, Received, Trigger};
use crate::sched::lock::Completion;
use crate::start::Hw;
use crate::start::kernel::try_kernel;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Once, SpinLock};

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

/// Puts text on the console.
///
/// # Context
/// Any; IRQs are masked while the text goes out.
pub fn print(text: fmt::Arguments<'_>) {
    if BROKEN.load(Ordering::Relaxed) {
        write(text);
    } else {
        let _one = OUTPUT.lock_irqsave();
        write(text);
    }
}

fn write(text: fmt::Arguments<'_>) {
    // `Output` never fails; a `Display` that does has printed what it could.
    match Output.write_fmt(text) {
        Ok(()) | Err(fmt::Error) => {}
    }
}

/// Takes the console from whoever holds it: only a panic may, with the other
/// CPUs stopped. Tries the lock first, for a while.
pub(super) fn break_lock() {
    if try_kernel().is_none() {
        // Nobody else runs. And with the MMU off memory takes no exclusive access.
        BROKEN.store(true, Ordering::Relaxed);
        return;
    }
    let limit = Hw::now().after_ticks(Hw::frequency().hz() / 100);
    while Hw::now() < limit {
        if OUTPUT.try_lock_irqsave().is_some() {
            break;
        }
        <Hw as crate::sync::Exec>::relax();
    }
    BROKEN.store(true, Ordering::Relaxed);
}

/// The panic's own console: no lock, whoever holds it.
pub(super) fn panic_writer() -> impl Write {
    Output
}

/// Has the log go to the console, as much of it as `filter` lets through.
pub(super) fn start_log(filter: log::LevelFilter) {
    // It fails only if there is a logger: this one, which is set once.
    if let Ok(()) = log::set_logger(&LOGGER) {
        log::set_max_level(filter);
    }
}

/// Finds the console that the tree names, and makes it the kernel's. Returns its
/// interrupt.
pub(super) fn init(tree: &DeviceTree<'_>) -> Option<(u32, Trigger)> {
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
            log::warn!("console: {error}");
            return None;
        }
    };
    DEVICE.call_once(|| device);
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
}

impl fmt::Display for NoConsole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoConsole::Unknown => f.write_str("none of a known kind"),
            NoConsole::BadAddress(address) => {
                write!(f, "{address:#x} can not be the address of a UART")
            }
        }
    }
}

/// The driver for what the tree names.
fn make(found: &ConsoleDesc) -> Result<Box<dyn Console + Send>, NoConsole> {
    let base = found.registers.start();
    let bad = NoConsole::BadAddress(base);
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
pub(super) fn enable_input() {
    if let Some(device) = DEVICE.get() {
        device.enable_receive_interrupt(true);
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
pub(super) fn read() -> Received {
    loop {
        if let Some(device) = DEVICE.get()
            && let Some(received) = INPUT.lock_irqsave().next(&**device)
        {
            return received;
        }
        ARRIVED.wait();
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
