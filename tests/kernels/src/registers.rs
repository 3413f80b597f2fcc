//! Values that assembly holds in registers, so that the compiler doesn't move them.

use core::arch::asm;

use stillpoint::time::Instant;

/// A value for each of q0 to q31.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C, align(16))]
pub struct Vectors([[u64; 2]; 32]);

/// A value for each of d8 to d15, which a call keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Low([u64; 8]);

/// A value for FPCR and one for FPSR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    fpcr: u64,
    fpsr: u64,
}

impl Control {
    /// Returns one of the four rounding modes and some of the six flags (IOC, DZC, OFC, UFC,
    /// IXC, IDC), depending on `seed`.
    pub fn new(seed: u64) -> Control {
        Control {
            fpcr: (seed % 4) << 22,
            fpsr: (seed / 4 % 32) | (seed / 128 % 2) << 7,
        }
    }
}

impl Vectors {
    /// Returns values that differ from register to register, and with `seed`.
    pub fn new(seed: u64) -> Vectors {
        Vectors(core::array::from_fn(|index| {
            let value = (seed << 32) | ((index as u64) << 8);
            [value | 0xa5, !value]
        }))
    }
}

impl Low {
    /// Returns values that differ from register to register, and with `seed`.
    pub fn new(seed: u64) -> Low {
        Low(core::array::from_fn(|index| {
            (seed << 32) | (index as u64 + 1)
        }))
    }
}

/// `ldp` or `stp` of q0 to q31 at the address in a register.
macro_rules! all_vectors {
    ($op:literal, $at:literal) => {
        concat!(
            all_vectors!(@ $op, $at, "0", "1", "0"),
            all_vectors!(@ $op, $at, "2", "3", "32"),
            all_vectors!(@ $op, $at, "4", "5", "64"),
            all_vectors!(@ $op, $at, "6", "7", "96"),
            all_vectors!(@ $op, $at, "8", "9", "128"),
            all_vectors!(@ $op, $at, "10", "11", "160"),
            all_vectors!(@ $op, $at, "12", "13", "192"),
            all_vectors!(@ $op, $at, "14", "15", "224"),
            all_vectors!(@ $op, $at, "16", "17", "256"),
            all_vectors!(@ $op, $at, "18", "19", "288"),
            all_vectors!(@ $op, $at, "20", "21", "320"),
            all_vectors!(@ $op, $at, "22", "23", "352"),
            all_vectors!(@ $op, $at, "24", "25", "384"),
            all_vectors!(@ $op, $at, "26", "27", "416"),
            all_vectors!(@ $op, $at, "28", "29", "448"),
            all_vectors!(@ $op, $at, "30", "31", "480"),
        )
    };
    (@ $op:literal, $at:literal, $a:literal, $b:literal, $offset:literal) => {
        concat!($op, " q", $a, ", q", $b, ", [", $at, ", #", $offset, "]\n")
    };
}

/// Holds `values` in q0 to q31 until `until` with IRQs unmasked, and returns the registers'
/// values then. It calls no function meanwhile, so only an interrupt can change them.
pub fn hold(values: &Vectors, until: Instant) -> Vectors {
    let mut found = Vectors([[0; 2]; 32]);
    // SAFETY: reads 512 bytes at x0 and writes 512 at x1, which are the two
    // values; every vector register is given up by `clobber_abi`, x3, x4 and the
    // flags are scratch; the interrupt mask is put back.
    unsafe {
        asm!(
            all_vectors!("ldp", "x0"),
            "mrs x4, daif",
            "msr daifclr, #2",
            "2: mrs x3, cntvct_el0",
            "cmp x3, x2",
            "b.lo 2b",
            "msr daif, x4",
            all_vectors!("stp", "x1"),
            in("x0") &raw const *values,
            in("x1") &raw mut found,
            in("x2") until.0,
            clobber_abi("C"),
            options(nostack),
        );
    }
    found
}

/// Holds values as [`hold`] does, in FPCR and FPSR too, and leaves the IRQ mask as it is.
/// Restores FPCR, and clears FPSR.
pub fn hold_all(values: &Vectors, control: &Control, until: Instant) -> (Vectors, Control) {
    let mut found = Vectors([[0; 2]; 32]);
    let mut control_found = Control { fpcr: 0, fpsr: 0 };
    // SAFETY: reads 512 bytes at x0 and writes 512 at x1, which are the two values;
    // every vector register is given up by `clobber_abi`, as are the scratch registers
    // and the flags; FPCR is what it was at the end. Rounding modes and cumulative
    // flags trap nothing.
    unsafe {
        asm!(
            "mrs x5, fpcr",
            "msr fpcr, x3",
            "msr fpsr, x4",
            all_vectors!("ldp", "x0"),
            "2: mrs x6, cntvct_el0",
            "cmp x6, x2",
            "b.lo 2b",
            all_vectors!("stp", "x1"),
            "mrs x3, fpcr",
            "mrs x4, fpsr",
            "msr fpcr, x5",
            "msr fpsr, xzr",
            in("x0") &raw const *values,
            in("x1") &raw mut found,
            in("x2") until.0,
            inout("x3") control.fpcr => control_found.fpcr,
            inout("x4") control.fpsr => control_found.fpsr,
            clobber_abi("C"),
            options(nostack),
        );
    }
    (found, control_found)
}

/// Returns whether FPCR still has the value of `control` after a call of `call_fn`. Restores
/// FPCR.
pub fn keeps_rounding_over(control: &Control, call_fn: extern "C" fn()) -> bool {
    let found: u64;
    // SAFETY: a function of the C ABI keeps x20 to x22, and `clobber_abi` gives up what
    // it doesn't keep; FPCR is what it was at the end.
    unsafe {
        asm!(
            "mrs x21, fpcr",
            "msr fpcr, x20",
            "blr {call_fn}",
            "mrs x20, fpcr",
            "msr fpcr, x21",
            call_fn = in(reg) call_fn,
            inout("x20") control.fpcr => found,
            out("x21") _,
            clobber_abi("C"),
        );
    }
    found == control.fpcr
}

/// Puts `values` into d8 to d15, calls `call_fn`, and returns the registers' values then.
pub fn keep_over(values: &Low, call_fn: extern "C" fn()) -> Low {
    let mut found = Low([0; 8]);
    // SAFETY: reads 64 bytes at x20 and writes 64 at x21, which are the two
    // values; a function of the C ABI keeps x20 and x21, and `clobber_abi` gives
    // up what it doesn't keep, and all of v8 to v15.
    unsafe {
        asm!(
            "ldp d8, d9, [x20]",
            "ldp d10, d11, [x20, #16]",
            "ldp d12, d13, [x20, #32]",
            "ldp d14, d15, [x20, #48]",
            "blr {call_fn}",
            "stp d8, d9, [x21]",
            "stp d10, d11, [x21, #16]",
            "stp d12, d13, [x21, #32]",
            "stp d14, d15, [x21, #48]",
            call_fn = in(reg) call_fn,
            in("x20") &raw const *values,
            in("x21") &raw mut found,
            clobber_abi("C"),
        );
    }
    found
}

/// Writes other values into every vector register.
pub fn scramble() {
    let values = Vectors::new(0xdead_beef);
    // SAFETY: reads 512 bytes at x0, which are the values; every vector register
    // is given up by `clobber_abi`.
    unsafe {
        asm!(
            all_vectors!("ldp", "x0"),
            in("x0") &raw const values,
            clobber_abi("C"),
            options(nostack, readonly),
        );
    }
}
