//! PCI: which functions are on a host's first bus, where their registers are put, and where those
//! of a virtio device are among them.
//!
//! Firmware may have put registers anywhere or nowhere, so nothing that it left counts: all
//! functions stop decoding addresses, and those that a driver is for get theirs anew. Buses behind
//! bridges are not looked at.
//!
//! A function is no part of the kernel, and what it says is checked: a list of capabilities that
//! goes in circles ends, and a region that isn't inside of its registers is an error.
//!
//! # Sources
//! PCI Local Bus Specification 3.0: 6.1 (configuration space), 6.2.5 (base addresses), 6.7
//! (capabilities). Virtio 1.2: 4.1.4 (capabilities).
#![forbid(unsafe_code)]

use core::fmt;

/// A function on the host's first bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// The number of its device, less than 32.
    pub device: u8,
    /// Its number in the device, less than 8.
    pub function: u8,
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}.{}", self.device, self.function)
    }
}

/// The maker of a function, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The vendor.
    pub vendor: u16,
    /// The vendor's number of the device.
    pub device: u16,
}

/// The vendor of virtio devices (Virtio 1.2, 4.1.2).
pub const VIRTIO_VENDOR: u16 = 0x1af4;

/// Access to the configuration space of a host's first bus.
pub trait ConfigSpace {
    /// Returns the word at `offset`, which is a multiple of 4 below 256.
    fn read(&self, function: Function, offset: u8) -> u32;

    /// Writes the word at `offset`, as above.
    fn write(&self, function: Function, offset: u8, value: u32);
}

/// Registers of the configuration space.
const COMMAND: u8 = 0x04;
const HEADER_TYPE: u8 = 0x0c;
const BAR: u8 = 0x10;
const CAPABILITIES: u8 = 0x34;
const INTERRUPT_PIN: u8 = 0x3c;

/// Bits of the command register, and of the status above it.
const IO_SPACE: u32 = 1;
const MEMORY_SPACE: u32 = 2;
const BUS_MASTER: u32 = 4;
const INTX_OFF: u32 = 1 << 10;
const HAS_CAPABILITIES: u32 = 1 << 20;

/// How many registers have a base address.
const BARS: usize = 6;

/// Why a function can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PciError {
    /// It asks for registers in a way that the specification doesn't have, by this number.
    BadBar(usize),
    /// There is no room for its registers of this number and size.
    NoRoom(usize, u64),
    /// It doesn't say where its registers of this type are (Virtio 1.2, 4.1.4).
    Missing(u8),
    /// Its registers of this type would not be inside of any that it has.
    BadRegion(u8),
}

impl fmt::Display for PciError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadBar(bar) => write!(f, "its base address {bar} can not be"),
            Self::NoRoom(bar, size) => {
                write!(
                    f,
                    "no room for the {size:#x} bytes of its base address {bar}"
                )
            }
            Self::Missing(kind) => write!(f, "it has no registers of type {kind}"),
            Self::BadRegion(kind) => {
                write!(f, "its registers of type {kind} are outside of what it has")
            }
        }
    }
}

impl core::error::Error for PciError {}

/// Returns the functions on the bus.
pub fn functions<C: ConfigSpace>(space: &C) -> impl Iterator<Item = (Function, Identity)> {
    let there = |function| {
        let word = space.read(function, 0);
        let [low, high] = [word & 0xffff, word >> 16].map(|half| u16::try_from(half).unwrap_or(0));
        let identity = Identity {
            vendor: low,
            device: high,
        };
        (word != u32::MAX && word != 0).then_some((function, identity))
    };
    (0..32).flat_map(move |device| {
        let first = Function {
            device,
            function: 0,
        };
        let several = there(first).is_some() && space.read(first, HEADER_TYPE) & 1 << 23 != 0;
        let last = if several { 8 } else { 1 };
        (0..last).filter_map(move |function| there(Function { device, function }))
    })
}

/// Has `function` decode no addresses, and send no interrupt.
pub fn turn_off(space: &impl ConfigSpace, function: Function) {
    let command = space.read(function, COMMAND) & 0xffff;
    let off = command & !(IO_SPACE | MEMORY_SPACE | BUS_MASTER) | INTX_OFF;
    // Bits of the status that are written as 0 stay.
    space.write(function, COMMAND, off);
}

/// Has `function` decode its memory addresses, use the machine's memory, and send interrupts by
/// its pin.
pub fn turn_on(space: &impl ConfigSpace, function: Function) {
    let command = space.read(function, COMMAND) & 0xffff;
    let on = (command | MEMORY_SPACE | BUS_MASTER) & !INTX_OFF;
    space.write(function, COMMAND, on);
}

/// Returns the pin by which `function` sends interrupts, 1 to 4; `None` if it has none.
pub fn interrupt_pin(space: &impl ConfigSpace, function: Function) -> Option<u32> {
    let pin = space.read(function, INTERRUPT_PIN) >> 8 & 0xff;
    (1..=4).contains(&pin).then_some(pin)
}

/// Addresses for the registers of functions, as a host passes them on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first address that isn't given out, as functions see it; below 4 GiB.
    pub bus: u64,
    /// The same address, as CPUs see it.
    pub cpu: u64,
    /// How many bytes there are from there on.
    pub size: u64,
}

impl Window {
    /// Takes `size` bytes, a power of two, at a multiple of that size on the bus. Returns their
    /// addresses on the bus and of the CPU.
    fn take(&mut self, size: u64) -> Option<(u64, u64)> {
        let at = self.bus.checked_next_multiple_of(size)?;
        let skipped = at - self.bus;
        let left = self.size.checked_sub(skipped)?.checked_sub(size)?;
        let cpu = self.cpu + skipped;
        // All of it is below 4 GiB, for registers that have no wider address.
        if at + size > 1 << 32 {
            return None;
        }
        *self = Window {
            bus: at + size,
            cpu: cpu + size,
            size: left,
        };
        Some((at, cpu))
    }
}

/// Registers in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Where they begin, as CPUs see it.
    pub start: u64,
    /// How many bytes there are.
    pub size: u64,
}

/// Gives each of the memory registers of `function`, which is off, addresses of `window`. Returns
/// where they are, by the number of their base address.
///
/// # Errors
/// [`PciError::BadBar`], [`PciError::NoRoom`].
pub fn assign(
    space: &impl ConfigSpace,
    function: Function,
    window: &mut Window,
) -> Result<[Option<Region>; BARS], PciError> {
    let mut regions = [None; BARS];
    let mut number = 0;
    while number < BARS {
        let bar = |number: usize| BAR + 4 * u8::try_from(number).unwrap_or(0);
        let sized = |number| {
            space.write(function, bar(number), u32::MAX);
            space.read(function, bar(number))
        };
        let low = sized(number);
        let is_io = low & 1 != 0;
        let is_wide = !is_io && low & 0b110 == 0b100;
        if low == 0 || is_io {
            space.write(function, bar(number), 0);
            number += 1;
            continue;
        }
        if is_wide && number + 1 == BARS {
            return Err(PciError::BadBar(number));
        }
        let high = if is_wide { sized(number + 1) } else { u32::MAX };
        let mask = u64::from(high) << 32 | u64::from(low & !0xf);
        let size = mask.wrapping_neg();
        if !size.is_power_of_two() {
            return Err(PciError::BadBar(number));
        }
        let none = PciError::NoRoom(number, size);
        let (at, start) = window.take(size).ok_or(none)?;
        space.write(function, bar(number), u32::try_from(at).map_err(|_| none)?);
        if is_wide {
            space.write(function, bar(number + 1), 0);
        }
        if let Some(region) = regions.get_mut(number) {
            *region = Some(Region { start, size });
        }
        number += if is_wide { 2 } else { 1 };
    }
    Ok(regions)
}

/// Returns the offsets of the capabilities of `function`, and the first word of each.
pub fn capabilities<C: ConfigSpace>(
    space: &C,
    function: Function,
) -> impl Iterator<Item = (u8, u32)> {
    let any = space.read(function, COMMAND) & HAS_CAPABILITIES != 0;
    let mut next = if any {
        space.read(function, CAPABILITIES) & 0xfc
    } else {
        0
    };
    // There is no room for more of them, so a list that is longer goes in circles.
    (0..48).map_while(move |_| {
        let at = u8::try_from(next).ok().filter(|at| *at >= 0x40)?;
        let word = space.read(function, at);
        next = word >> 8 & 0xfc;
        Some((at, word))
    })
}

/// Where the registers of a virtio device are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VirtioRegions {
    /// The common configuration, at least [`COMMON_SIZE`] bytes at a multiple of 4.
    pub common: Region,
    /// The words that are written to notify queues, at a multiple of 2.
    pub notify: Region,
    /// How many bytes the words of two neighbouring queues are apart.
    pub notify_multiplier: u32,
    /// The status of the interrupt, at least a byte.
    pub isr: Region,
    /// The configuration of the device's kind, at a multiple of 4.
    pub device: Option<Region>,
}

/// The size of the common configuration, in bytes (Virtio 1.2, 4.1.4.3).
pub const COMMON_SIZE: u64 = 0x38;

/// The types of capabilities (4.1.4).
const COMMON: u8 = 1;
const NOTIFY: u8 = 2;
const ISR: u8 = 3;
const DEVICE: u8 = 4;

/// The identifier of a vendor's own capability.
const VENDOR_SPECIFIC: u32 = 9;

/// Returns where the registers of the virtio device `function` are, whose memory registers are in
/// `bars`.
///
/// # Errors
/// [`PciError::Missing`], [`PciError::BadRegion`].
pub fn virtio_regions(
    space: &impl ConfigSpace,
    function: Function,
    bars: &[Option<Region>; BARS],
) -> Result<VirtioRegions, PciError> {
    let mut found = [None; 5];
    let mut notify_multiplier = 0;
    for (at, word) in capabilities(space, function) {
        let [id, _, length, kind] = word.to_le_bytes();
        // The device's choice is the first of a type that can be used (4.1.4).
        let slot = found.get_mut(usize::from(kind));
        let wanted = slot.filter(|slot| slot.is_none() && (COMMON..=DEVICE).contains(&kind));
        let (Some(slot), true) = (wanted, u32::from(id) == VENDOR_SPECIFIC && length >= 16) else {
            continue;
        };
        let field = |offset: u8| {
            let at = at.checked_add(offset);
            at.map_or(u32::MAX, |at| space.read(function, at))
        };
        let [bar, ..] = field(4).to_le_bytes();
        let Some(Some(bar)) = bars.get(usize::from(bar)) else {
            continue;
        };
        let (offset, size) = (u64::from(field(8)), u64::from(field(12)));
        let (least, align) = match kind {
            COMMON => (COMMON_SIZE, 4),
            NOTIFY => (2, 2),
            ISR => (1, 1),
            _ => (1, 4),
        };
        let inside = offset + size <= bar.size && size >= least;
        if !inside || !offset.is_multiple_of(align) {
            return Err(PciError::BadRegion(kind));
        }
        if kind == NOTIFY {
            if length < 20 {
                return Err(PciError::BadRegion(kind));
            }
            notify_multiplier = field(16);
        }
        *slot = Some(Region {
            start: bar.start + offset,
            size,
        });
    }
    let get = |kind: u8| found.get(usize::from(kind)).copied().flatten();
    let need = |kind| get(kind).ok_or(PciError::Missing(kind));
    Ok(VirtioRegions {
        common: need(COMMON)?,
        notify: need(NOTIFY)?,
        notify_multiplier,
        isr: need(ISR)?,
        device: get(DEVICE),
    })
}
