//! The reason why a CPU stopped before it could print on a console.
//!
//! A CPU that can't go on writes one byte and sleeps in `boot_halt`. The byte of the boot
//! CPU is at the symbol `boot_failure_reason`, for a debugger or a memory dump. That of a
//! started CPU is in its boot record. It is a single byte, because a byte reads the same
//! on a core whose data accesses are big-endian.

use core::fmt;

/// Why a CPU stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum BootFailure {
    /// Entered at EL3, where only firmware may run.
    EnteredAtEl3 = 1,
    /// `HCR_EL2.E2H` can't be cleared: EL2 is laid out for a host.
    HostOnlyEl2 = 2,
    /// The core's data accesses are big-endian and stay so.
    BigEndian = 3,
    /// The Image does not lie on a page boundary.
    MisplacedImage = 4,
    /// A relocation is not `R_AARCH64_RELATIVE`.
    UnknownRelocation = 5,
    /// No 4 KiB translation granule (`ID_AA64MMFR0_EL1.TGran4`).
    NoSmallPages = 6,
    /// Fewer physical address bits than the address map uses
    /// (`ID_AA64MMFR0_EL1.PARange`).
    PhysicalRange = 7,
    /// No floating point or SIMD (`ID_AA64PFR0_EL1`).
    NoFloatingPoint = 8,
    /// An exception before the vectors were in place.
    EarlyException = 9,
    /// An exception taken to EL2, after the CPU has left it.
    ExceptionAtEl2 = 10,
    /// The overflow stack has overflowed.
    DoubleStackOverflow = 11,
    /// A fault inside the report of a fault.
    NestedFault = 12,
    /// A function returned that never does.
    Returned = 13,
    /// A panic, or an unexpected exception, while the boot CPU set the kernel up. The
    /// early console has the details, if there is one.
    Panicked = 14,
    /// No device tree, or an unusable one.
    BadDeviceTree = 15,
    /// The device tree leaves no usable memory.
    NoMemory = 16,
    /// The address map can't be built.
    BadAddressMap = 17,
    /// A device that the kernel needs is missing or unusable.
    NoDevice = 18,
}

impl BootFailure {
    /// All reasons.
    const ALL: [BootFailure; 18] = [
        Self::EnteredAtEl3,
        Self::HostOnlyEl2,
        Self::BigEndian,
        Self::MisplacedImage,
        Self::UnknownRelocation,
        Self::NoSmallPages,
        Self::PhysicalRange,
        Self::NoFloatingPoint,
        Self::EarlyException,
        Self::ExceptionAtEl2,
        Self::DoubleStackOverflow,
        Self::NestedFault,
        Self::Returned,
        Self::Panicked,
        Self::BadDeviceTree,
        Self::NoMemory,
        Self::BadAddressMap,
        Self::NoDevice,
    ];

    /// Returns the byte that stands for the reason; never 0.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Returns the reason that `code` stands for, or `None` if it stands for none.
    pub fn from_code(code: u8) -> Option<BootFailure> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }
}

impl fmt::Display for BootFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EnteredAtEl3 => "entered at EL3",
            Self::HostOnlyEl2 => "HCR_EL2.E2H can not be cleared",
            Self::BigEndian => "data accesses are big-endian",
            Self::MisplacedImage => "the Image is not on a page boundary",
            Self::UnknownRelocation => "a relocation of unknown type",
            Self::NoSmallPages => "no 4 KiB pages",
            Self::PhysicalRange => "too few physical address bits",
            Self::NoFloatingPoint => "no floating point",
            Self::EarlyException => "an exception before the vectors were in place",
            Self::ExceptionAtEl2 => "an exception taken to EL2",
            Self::DoubleStackOverflow => "the overflow stack has overflowed",
            Self::NestedFault => "a fault inside the report of a fault",
            Self::Returned => "a function returned that never does",
            Self::Panicked => "a panic while booting",
            Self::BadDeviceTree => "no usable device tree",
            Self::NoMemory => "no usable memory",
            Self::BadAddressMap => "the address map can not be built",
            Self::NoDevice => "a device is missing",
        })
    }
}
