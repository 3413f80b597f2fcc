//! Logical CPU numbers and hardware affinities, which are never the same thing.

use core::fmt;

use crate::config::MAX_CPUS;

/// The logical number of a CPU: its place in the device tree's `/cpus`, with the boot
/// CPU moved to 0. Users type this number and masks are indexed by it. Firmware and the
/// interrupt controller know only `Mpidr`.
///
/// ```no_run
/// use stillpoint::api::cpu::CpuId;
///
/// // A number that is typed may be any; one that stands in the program is checked when it is built.
/// # let typed = "7";
/// let wanted = CpuId::new(typed.parse()?).ok_or("there is no such CPU")?;
/// const HELPER: CpuId = CpuId::from_index(1);
/// let of_three = [CpuId::BOOT, HELPER, wanted];
/// // Each is a name on the console, an index of an array, and a word for other programs.
/// let words = of_three.map(|cpu| (cpu.index(), cpu.as_u32()));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CpuId(u16);

impl CpuId {
    /// The CPU on which the machine was started.
    pub const BOOT: CpuId = CpuId(0);

    /// Returns CPU number `index`, or `None` if it is not below
    /// `MAX_CPUS`.
    pub const fn new(index: usize) -> Option<CpuId> {
        if index < MAX_CPUS {
            #[allow(clippy::cast_possible_truncation)] // MAX_CPUS fits.
            Some(CpuId(index as u16))
        } else {
            None
        }
    }

    /// Returns CPU number `index`, for a number that is written in a program or a test.
    /// In a constant it is checked at compile time.
    ///
    /// # Panics
    /// If `index` is not below `MAX_CPUS`. Use [`CpuId::new`] for a number that isn't
    /// known to be.
    #[must_use]
    pub const fn from_index(index: usize) -> CpuId {
        match CpuId::new(index) {
            Some(cpu) => cpu,
            None => panic!("a CPU number is not below MAX_CPUS"),
        }
    }

    /// Returns the number, to index with.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Returns the number in the form that words shared between CPUs use.
    pub const fn as_u32(self) -> u32 {
        self.0 as u32
    }
}

impl fmt::Display for CpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for CpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cpu{}", self.0)
    }
}

const _: () = assert!(MAX_CPUS <= u16::MAX as usize);

/// The affinity fields of `MPIDR_EL1`: Aff3 in bits 39:32, Aff2, Aff1, Aff0 in
/// bits 23:0, all others zero (Arm ARM, MPIDR_EL1; the form that PSCI's
/// `target_affinity` and the device tree's CPU `reg` use).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mpidr(u64);

impl Mpidr {
    /// Mask of the affinity bits of `MPIDR_EL1`.
    pub const AFFINITY: u64 = 0xff_00ff_ffff;

    /// Returns the affinity in `raw`, a value of `MPIDR_EL1`, without its flag bits.
    pub const fn from_register(raw: u64) -> Mpidr {
        Mpidr(raw & Self::AFFINITY)
    }

    /// Returns the affinity of `raw`, in the form of a device tree's `reg`, or `None`
    /// if bits are set that are not affinity.
    pub const fn from_reg(raw: u64) -> Option<Mpidr> {
        if raw & !Self::AFFINITY == 0 {
            Some(Mpidr(raw))
        } else {
            None
        }
    }

    /// Returns the value in the form that firmware takes.
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// Returns affinity level `level` (0 to 3).
    ///
    /// # Panics
    /// If `level` is above 3.
    #[allow(clippy::cast_possible_truncation)] // That is the point.
    pub const fn aff(self, level: u32) -> u8 {
        match level {
            0 => self.0 as u8,
            1 => (self.0 >> 8) as u8,
            2 => (self.0 >> 16) as u8,
            3 => (self.0 >> 32) as u8,
            _ => panic!("BUG: an MPIDR has four affinity levels"),
        }
    }
}

impl fmt::Display for Mpidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for Mpidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mpidr {:#x}", self.0)
    }
}
