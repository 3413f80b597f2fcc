//! A line of a PL061, Arm's controller of general-purpose lines, as the input of a key.
//!
//! # Sources
//! Arm PrimeCell GPIO (PL061) Technical Reference Manual, 3.2 and 3.3.

use core::ptr::{self, NonNull};

use tock_registers::interfaces::{Readable, Writeable};
use tock_registers::register_structs;
use tock_registers::registers::{ReadOnly, ReadWrite, WriteOnly};

register_structs! {
    /// The registers that say how a line interrupts. Each has a bit for each of eight lines.
    Registers {
        (0x000 => _data),
        (0x400 => direction: ReadWrite<u32>),
        (0x404 => by_level: ReadWrite<u32>),
        (0x408 => by_both_edges: ReadWrite<u32>),
        (0x40c => by_rising_edge: ReadWrite<u32>),
        (0x410 => enabled: ReadWrite<u32>),
        (0x414 => _raw),
        (0x418 => raised: ReadOnly<u32>),
        (0x41c => clear: WriteOnly<u32>),
        (0x420 => @END),
    }
}

/// A key on a line of a PL061.
#[derive(Debug)]
pub struct Pl061Key {
    base: NonNull<Registers>,
    bit: u32,
}

// SAFETY: the pointer is to device registers, which any CPU may use.
unsafe impl Send for Pl061Key {}

impl Pl061Key {
    /// Returns the key on line `line` of the PL061 at `base`, which interrupts from now on each
    /// time that the key goes down; `None` if there can't be one. The other lines interrupt no
    /// more: nothing would serve them.
    ///
    /// # Safety
    /// `base` must be the address of a PL061's registers, mapped as device memory for ever and used
    /// by nothing else.
    pub unsafe fn new(base: u64, line: u8, active_low: bool) -> Option<Pl061Key> {
        let address = usize::try_from(base).ok()?;
        let base = NonNull::new(ptr::with_exposed_provenance_mut::<Registers>(address))?;
        let bit = 1_u32.checked_shl(line.into()).filter(|bit| *bit < 256)?;
        if !base.is_aligned() {
            return None;
        }
        let key = Pl061Key { base, bit };
        let registers = key.registers();
        let with = |was: u32, set: bool| if set { was | bit } else { was & !bit };
        registers.enabled.set(0);
        registers
            .direction
            .set(with(registers.direction.get(), false));
        registers
            .by_level
            .set(with(registers.by_level.get(), false));
        let both = &registers.by_both_edges;
        both.set(with(both.get(), false));
        let rising = &registers.by_rising_edge;
        rising.set(with(rising.get(), !active_low));
        registers.clear.set(bit);
        registers.enabled.set(bit);
        Some(key)
    }

    fn registers(&self) -> &Registers {
        // SAFETY: the caller of `new` promised that the registers are there, for ever. Each access
        // is one volatile load or store.
        unsafe { self.base.as_ref() }
    }

    /// Returns whether the key has gone down since the last call.
    ///
    /// # Context
    /// Any.
    pub fn take_press(&self) -> bool {
        let registers = self.registers();
        let pressed = registers.raised.get() & self.bit != 0;
        if pressed {
            registers.clear.set(self.bit);
        }
        pressed
    }
}
