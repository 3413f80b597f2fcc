//! The machine's source of entropy.

use alloc::boxed::Box;
use core::time::Duration;

use super::hal::DeviceMemory;
use super::{RESET_LIMIT, limit};
use crate::drivers::virtio::{VirtioInterrupt, VirtioTransport};
use crate::irq::IrqReturn;
use crate::kernel::Hw;
use crate::kernel::irqs::IrqBuilder;
use crate::kernel::random::RandomError;
use crate::platform::{IrqLine, Platform};
use crate::sched::lock::{Completion, Mutex};
use crate::virtio::{Entropy, VirtioError};

/// How long the device may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);
/// How often it is looked at, whether it has sent an interrupt or not.
const LOOK: Duration = Duration::from_millis(10);

type Source = Entropy<DeviceMemory, VirtioTransport>;

/// The source that is used, the first that was found.
static SOURCE: Mutex<Option<Box<Source>>, Hw> = Mutex::new(None);
/// Completed when the device has answered.
static ANSWERED: Completion<Hw> = Completion::new();

/// Starts the device, which is the source from now on unless there is one. It is asked for its
/// first bytes at once.
///
/// # Errors
/// It can't be used.
pub(super) fn start(
    transport: VirtioTransport,
    interrupt: VirtioInterrupt,
    line: Option<IrqLine>,
) -> Result<(), VirtioError> {
    let mut source = SOURCE.lock();
    if source.is_some() {
        return Ok(());
    }
    let mut found = Box::new(Source::new(transport, limit(RESET_LIMIT))?);
    let wishes = IrqBuilder::new("virtio-rng");
    let wishes = match interrupt {
        VirtioInterrupt::Pci(_) => wishes.shared(),
        VirtioInterrupt::Mmio(_) => wishes,
    };
    let handler = move || match interrupt.acknowledge() {
        0 => IrqReturn::None,
        _ => {
            ANSWERED.complete();
            IrqReturn::Handled
        }
    };
    // The source lives as long as the kernel, and so does its interrupt. Without one it is looked
    // at now and then.
    match line.map(|line| wishes.request(line, handler)) {
        Some(Ok(irq)) => core::mem::forget(irq),
        Some(Err(error)) => log::warn!("virtio-rng: {error}"),
        None => {}
    }
    found.take(&mut [])?;
    *source = Some(found);
    Ok(())
}

/// Fills `bytes` with random ones of the source.
///
/// # Context
/// Thread, preemption on.
///
/// # Errors
/// [`RandomError`]; `bytes` may have been written in part.
pub(crate) fn fill(mut bytes: &mut [u8]) -> Result<(), RandomError> {
    let mut source = SOURCE.lock();
    let source = source.as_mut().ok_or(RandomError::NoSource)?;
    let mut end = Hw::deadline(ANSWER_LIMIT);
    while !bytes.is_empty() {
        match source.take(bytes).map_err(|_| RandomError::Broken)? {
            0 => {
                if Hw::now() >= end {
                    return Err(RandomError::Late);
                }
                let _told = ANSWERED.wait_until(Hw::deadline(LOOK).min(end));
            }
            count => {
                bytes = bytes.get_mut(count..).unwrap_or_default();
                end = Hw::deadline(ANSWER_LIMIT);
            }
        }
    }
    Ok(())
}
