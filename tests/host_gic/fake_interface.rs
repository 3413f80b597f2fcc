//! A fake of a CPU's interface of a GICv3. A write takes effect at the next ISB, except one
//! to the mask. Without system registers an access to one of them is UNDEFINED.

use std::cell::{Cell, RefCell};

use stillpoint::device::gic::{GicV3Interface, Icc, IccRegisters};

/// The properties of a fake.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interface {
    /// Whether the CPU has the system registers.
    pub(crate) exists: bool,
    /// Whether a higher exception level lets EL1 turn them on.
    pub(crate) can_be_on: bool,
    /// Whether they are on from the start.
    pub(crate) is_on: bool,
    /// The running priority that an interrupt has left from a former life.
    pub(crate) running: u8,
}

pub(crate) const GOOD: Interface = Interface {
    exists: true,
    can_be_on: true,
    is_on: false,
    running: 0xff,
};

pub(crate) struct FakeInterface {
    what: Interface,
    on: Cell<bool>,
    group1: Cell<u64>,
    control: Cell<u64>,
    binary_point: Cell<u64>,
    mask: Cell<u64>,
    /// Writes that have not taken effect.
    written: RefCell<Vec<(Icc, u64)>>,
    undefined: RefCell<Vec<Icc>>,
    accesses: Cell<usize>,
}

impl FakeInterface {
    /// As a former life has left it: interrupts come, with another split of priorities.
    pub(crate) fn new(what: Interface) -> FakeInterface {
        FakeInterface {
            what,
            on: Cell::new(what.is_on),
            group1: Cell::new(1),
            control: Cell::new(0b10),
            binary_point: Cell::new(7),
            mask: Cell::new(0),
            written: RefCell::new(Vec::new()),
            undefined: RefCell::new(Vec::new()),
            accesses: Cell::new(0),
        }
    }

    pub(crate) fn interface(&self) -> GicV3Interface<&FakeInterface> {
        GicV3Interface::new(self)
    }

    /// Returns whether an interrupt of our ordinary priority comes.
    pub(crate) fn lets_through(&self) -> bool {
        self.group1.get() == 1 && self.mask.get() > 0xc0
    }

    /// Returns whether interrupts end and preempt as ours must.
    pub(crate) fn is_set_up(&self) -> bool {
        self.control.get() == 0 && self.binary_point.get() == 0
    }

    /// Accesses that were UNDEFINED.
    pub(crate) fn undefined(&self) -> Vec<Icc> {
        self.undefined.borrow().clone()
    }

    /// Returns how often a register was read or written.
    pub(crate) fn accesses(&self) -> usize {
        self.accesses.get()
    }

    /// Returns how many writes have not taken effect.
    pub(crate) fn without_effect(&self) -> usize {
        self.written.borrow().len()
    }

    fn is_undefined(&self, register: Icc) -> bool {
        self.accesses.set(self.accesses.get() + 1);
        let undefined =
            !self.what.exists || register != Icc::SystemRegisterEnable && !self.on.get();
        if undefined {
            self.undefined.borrow_mut().push(register);
        }
        undefined
    }

    fn take_effect(&self, register: Icc, value: u64) {
        match register {
            Icc::SystemRegisterEnable => {
                self.on.set(value & 1 != 0 && self.what.can_be_on);
            }
            Icc::Control => self.control.set(value),
            Icc::BinaryPoint => self.binary_point.set(value),
            Icc::PriorityMask => self.mask.set(value),
            Icc::RunningPriority => panic!("ICC_RPR_EL1 is read only"),
            Icc::Group1 => self.group1.set(value),
        }
    }
}

impl IccRegisters for &FakeInterface {
    fn exist(&self) -> bool {
        self.what.exists
    }

    fn read(&self, register: Icc) -> u64 {
        if self.is_undefined(register) {
            return 0;
        }
        match register {
            Icc::SystemRegisterEnable => self.on.get().into(),
            Icc::Control => self.control.get(),
            Icc::BinaryPoint => self.binary_point.get(),
            Icc::PriorityMask => self.mask.get(),
            Icc::RunningPriority => self.what.running.into(),
            Icc::Group1 => self.group1.get(),
        }
    }

    fn write(&self, register: Icc, value: u64) {
        if self.is_undefined(register) {
            return;
        }
        if register == Icc::PriorityMask {
            self.take_effect(register, value);
        } else {
            self.written.borrow_mut().push((register, value));
        }
    }

    fn synchronize(&self) {
        let written = self.written.take();
        for (register, value) in written {
            self.take_effect(register, value);
        }
    }

    fn tell_others(&self) {}
}
