//! Linux's error numbers, names and texts, for the errors that users see.
//!
//! Kernel operations fail with typed errors of their own, which know far more
//! than a number. Each of them also has the [`Errno`] that Linux would have
//! returned, because that is what people search for.

#![forbid(unsafe_code)]

use core::fmt;

/// An error as Linux numbers it (asm-generic `errno-base.h` and `errno.h`). Prints as the C
/// library's `strerror` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Errno {
    /// EPERM: a policy forbids it.
    NotPermitted = 1,
    /// ENOENT: no such file.
    NoEntry = 2,
    /// ESRCH: no such thread.
    NoProcess = 3,
    /// EIO: firmware or hardware failed.
    Io = 5,
    /// EBADF: it is closed.
    BadFile = 9,
    /// EAGAIN: it may work when tried again.
    Again = 11,
    /// ENOMEM.
    NoMemory = 12,
    /// EACCES: it may not be written, or not by this caller.
    Access = 13,
    /// EBUSY: something in use stands against it.
    Busy = 16,
    /// ENODEV: no such CPU.
    NoDevice = 19,
    /// ENOTDIR: something stands below what is no directory.
    NotDirectory = 20,
    /// EISDIR: a directory stands where a file should.
    IsDirectory = 21,
    /// EINVAL.
    Invalid = 22,
    /// ENOSPC: no room is left.
    NoSpace = 28,
    /// EPIPE: nothing can be written any more.
    BrokenPipe = 32,
    /// ERANGE: a number is too large.
    Range = 34,
    /// EDEADLK: waiting would never end.
    Deadlock = 35,
    /// ENOSYS.
    NotImplemented = 38,
    /// EOVERFLOW: a value has more bits than there is room for.
    Overflow = 75,
    /// EMSGSIZE: longer than one message can be.
    MessageSize = 90,
    /// EOPNOTSUPP: this machine can't do that.
    NotSupported = 95,
    /// EAFNOSUPPORT: an address of another kind.
    NoAddressFamily = 97,
    /// EADDRINUSE.
    AddressInUse = 98,
    /// EADDRNOTAVAIL: not an address of this machine.
    AddressNotAvailable = 99,
    /// ENETDOWN: this machine has lost its address.
    NetworkDown = 100,
    /// ENETUNREACH: no way leads there.
    NetworkUnreachable = 101,
    /// ECONNABORTED.
    ConnectionAborted = 103,
    /// ECONNRESET: the peer has ended it by force.
    ConnectionReset = 104,
    /// ENOBUFS: a limit is reached.
    NoBuffers = 105,
    /// ENOTCONN.
    NotConnected = 107,
    /// ETIMEDOUT: a time limit has passed.
    TimedOut = 110,
    /// ECONNREFUSED: nothing listens there.
    ConnectionRefused = 111,
    /// EHOSTUNREACH: another machine says so.
    HostUnreachable = 113,
    /// ECANCELED: the caller has given up.
    Canceled = 125,
}

impl Errno {
    /// Returns the number, as Linux has it on arm64.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Returns the name, such as `EBUSY`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotPermitted => "EPERM",
            Self::NoEntry => "ENOENT",
            Self::NoProcess => "ESRCH",
            Self::Io => "EIO",
            Self::BadFile => "EBADF",
            Self::Again => "EAGAIN",
            Self::NoMemory => "ENOMEM",
            Self::Access => "EACCES",
            Self::Busy => "EBUSY",
            Self::NoDevice => "ENODEV",
            Self::NotDirectory => "ENOTDIR",
            Self::IsDirectory => "EISDIR",
            Self::Invalid => "EINVAL",
            Self::NoSpace => "ENOSPC",
            Self::BrokenPipe => "EPIPE",
            Self::Range => "ERANGE",
            Self::Deadlock => "EDEADLK",
            Self::NotImplemented => "ENOSYS",
            Self::Overflow => "EOVERFLOW",
            Self::MessageSize => "EMSGSIZE",
            Self::NotSupported => "EOPNOTSUPP",
            Self::NoAddressFamily => "EAFNOSUPPORT",
            Self::AddressInUse => "EADDRINUSE",
            Self::AddressNotAvailable => "EADDRNOTAVAIL",
            Self::NetworkDown => "ENETDOWN",
            Self::NetworkUnreachable => "ENETUNREACH",
            Self::ConnectionAborted => "ECONNABORTED",
            Self::ConnectionReset => "ECONNRESET",
            Self::NoBuffers => "ENOBUFS",
            Self::NotConnected => "ENOTCONN",
            Self::TimedOut => "ETIMEDOUT",
            Self::ConnectionRefused => "ECONNREFUSED",
            Self::HostUnreachable => "EHOSTUNREACH",
            Self::Canceled => "ECANCELED",
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotPermitted => "Operation not permitted",
            Self::NoEntry => "No such file or directory",
            Self::NoProcess => "No such process",
            Self::Io => "Input/output error",
            Self::BadFile => "Bad file descriptor",
            Self::Again => "Resource temporarily unavailable",
            Self::NoMemory => "Cannot allocate memory",
            Self::Access => "Permission denied",
            Self::Busy => "Device or resource busy",
            Self::NoDevice => "No such device",
            Self::NotDirectory => "Not a directory",
            Self::IsDirectory => "Is a directory",
            Self::Invalid => "Invalid argument",
            Self::NoSpace => "No space left on device",
            Self::BrokenPipe => "Broken pipe",
            Self::Range => "Numerical result out of range",
            Self::Deadlock => "Resource deadlock avoided",
            Self::NotImplemented => "Function not implemented",
            Self::Overflow => "Value too large for defined data type",
            Self::MessageSize => "Message too long",
            Self::NotSupported => "Operation not supported",
            Self::NoAddressFamily => "Address family not supported by protocol",
            Self::AddressInUse => "Address already in use",
            Self::AddressNotAvailable => "Cannot assign requested address",
            Self::NetworkDown => "Network is down",
            Self::NetworkUnreachable => "Network is unreachable",
            Self::ConnectionAborted => "Software caused connection abort",
            Self::ConnectionReset => "Connection reset by peer",
            Self::NoBuffers => "No buffer space available",
            Self::NotConnected => "Transport endpoint is not connected",
            Self::TimedOut => "Connection timed out",
            Self::ConnectionRefused => "Connection refused",
            Self::HostUnreachable => "No route to host",
            Self::Canceled => "Operation canceled",
        })
    }
}
