//! Errors in a device tree.

use core::fmt;

/// A part of the blob, as an error names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// The header itself.
    Header,
    /// The memory reservation block.
    Reservations,
    /// The structure block: nodes and properties.
    Structure,
    /// The strings block: the names of properties.
    Strings,
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Reservations => "memory reservation block",
            Self::Structure => "structure block",
            Self::Strings => "strings block",
        })
    }
}

/// The purpose of a node, as an error names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// A node with `device_type = "memory"`.
    Memory,
    /// `/reserved-memory` or a child of it.
    ReservedMemory,
    /// `/cpus` or a child of it.
    Cpu,
    /// The interrupt controller.
    Gic,
    /// The generic timer.
    Timer,
    /// The serial console.
    Console,
    /// The firmware interface.
    Psci,
    /// The device that turns the board off.
    PowerManager,
    /// A place for a virtio device.
    Virtio,
    /// The host of a PCI bus.
    Pci,
    /// The clock with the time of day.
    Rtc,
    /// The key that turns the machine off, or the controller that it is on.
    PowerKey,
    /// A bus between the root and a device.
    Bus,
    /// The controller that a device's interrupts go to.
    InterruptParent,
}

impl fmt::Display for NodeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::ReservedMemory => "reserved-memory",
            Self::Cpu => "CPU",
            Self::Gic => "GIC",
            Self::Timer => "timer",
            Self::Console => "console",
            Self::Psci => "PSCI",
            Self::PowerManager => "power manager",
            Self::Virtio => "virtio",
            Self::Pci => "PCI host",
            Self::Rtc => "clock",
            Self::PowerKey => "power key",
            Self::Bus => "bus",
            Self::InterruptParent => "interrupt parent",
        })
    }
}

/// Why a device tree can't be used. Offsets count bytes from the blob's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DtError {
    /// The blob doesn't start with the magic number, but with this word.
    BadMagic(u32),
    /// The total size, in bytes, is less than a header or more than
    /// [`MAX_SIZE`](super::MAX_SIZE).
    BadTotalSize(u32),
    /// The blob is shorter than the tree in it.
    Truncated {
        /// How many bytes the tree has.
        needed: usize,
        /// How many bytes the blob has.
        got: usize,
    },
    /// The format is older than version 16, or not compatible with version 17.
    UnsupportedVersion {
        /// The version of the blob's format.
        version: u32,
        /// The oldest version that the blob's format is compatible with.
        last_compatible: u32,
    },
    /// A block is not inside the blob.
    BlockOutOfBounds(Block),
    /// A block doesn't begin at a multiple of its alignment, or its size isn't a multiple
    /// of a word.
    BlockMisaligned(Block),
    /// Two blocks share bytes.
    BlocksOverlap(Block, Block),
    /// The memory reservations don't end with an empty entry.
    ReservationsUnterminated,
    /// The structure block ends in the token at this offset, or before it.
    StructureTruncated {
        /// Where the token is.
        offset: usize,
    },
    /// A token that the format doesn't have.
    UnknownToken {
        /// Where the token is.
        offset: usize,
        /// The token.
        token: u32,
    },
    /// A node's name isn't terminated, is too long, is empty (or not empty, for
    /// the root) or has characters that no name has.
    BadNodeName {
        /// Where the node begins.
        offset: usize,
    },
    /// A property's name is outside the strings block, isn't terminated, is
    /// empty, too long, or has characters that no name has.
    BadPropertyName {
        /// Where the property begins.
        offset: usize,
    },
    /// A property's value goes past the end of the structure block.
    PropertyTooLong {
        /// Where the property begins.
        offset: usize,
    },
    /// A property outside the root, or after a child of its node.
    MisplacedProperty {
        /// Where the property begins.
        offset: usize,
    },
    /// Nodes nest deeper than [`MAX_DEPTH`](super::MAX_DEPTH).
    TooDeep {
        /// Where the innermost node begins.
        offset: usize,
    },
    /// The tree ends without a root node.
    NoRoot,
    /// A second root node.
    SecondRoot {
        /// Where the second root begins.
        offset: usize,
    },
    /// A node ends that has not begun, or the tree ends inside a node.
    Unbalanced {
        /// Where the token is.
        offset: usize,
    },
    /// The structure block goes on after the end of the tree.
    TrailingData {
        /// Where the rest begins.
        offset: usize,
    },
    /// The buffer for the compact copy is too small.
    OutputTooSmall {
        /// Bytes that the copy takes.
        needed: usize,
        /// Bytes that the buffer has.
        limit: usize,
    },
    /// The blob is no copy that [`check`](super::check()) has written.
    NotCompact,
    /// There is no such node, or it is disabled.
    NodeMissing(NodeKind),
    /// A node lacks a property.
    PropertyMissing(NodeKind, &'static str),
    /// A property has a length or a value that it can't have.
    BadProperty(NodeKind, &'static str),
    /// A cell count that isn't supported.
    BadCellCount(NodeKind, &'static str, u32),
    /// A range goes past the end of the address space.
    AddressOverflow(NodeKind),
    /// An address of the node can't be translated to the CPU's: a bus above it has no
    /// `ranges` that covers it.
    NotTranslatable(NodeKind),
    /// A CPU's `reg` has bits that are not affinity.
    BadAffinity(u64),
}

impl fmt::Display for DtError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadMagic(magic) => write!(f, "not a device tree: magic {magic:#010x}"),
            Self::BadTotalSize(size) => write!(f, "impossible total size {size:#x}"),
            Self::Truncated { needed, got } => {
                write!(f, "cut short: {got} bytes of {needed}")
            }
            Self::UnsupportedVersion {
                version,
                last_compatible,
            } => write!(
                f,
                "format version {version} (compatible with {last_compatible}) is not supported"
            ),
            Self::BlockOutOfBounds(block) => write!(f, "the {block} is out of bounds"),
            Self::BlockMisaligned(block) => write!(f, "the {block} is misaligned"),
            Self::BlocksOverlap(a, b) => write!(f, "the {a} overlaps the {b}"),
            Self::ReservationsUnterminated => {
                f.write_str("the memory reservations are not terminated")
            }
            Self::StructureTruncated { offset } => {
                write!(f, "the structure block ends early at {offset:#x}")
            }
            Self::UnknownToken { offset, token } => {
                write!(f, "unknown token {token:#x} at {offset:#x}")
            }
            Self::BadNodeName { offset } => write!(f, "bad node name at {offset:#x}"),
            Self::BadPropertyName { offset } => {
                write!(f, "bad name of the property at {offset:#x}")
            }
            Self::PropertyTooLong { offset } => {
                write!(f, "the property at {offset:#x} is out of bounds")
            }
            Self::MisplacedProperty { offset } => {
                write!(f, "the property at {offset:#x} is out of place")
            }
            Self::TooDeep { offset } => write!(f, "nodes nest too deep at {offset:#x}"),
            Self::NoRoot => f.write_str("no root node"),
            Self::SecondRoot { offset } => write!(f, "a second root node at {offset:#x}"),
            Self::Unbalanced { offset } => {
                write!(f, "beginnings and ends of nodes don't match at {offset:#x}")
            }
            Self::TrailingData { offset } => {
                write!(
                    f,
                    "the structure block goes on at {offset:#x}, after its end"
                )
            }
            Self::OutputTooSmall { needed, limit } => {
                write!(f, "too large: {needed} bytes, room for {limit}")
            }
            Self::NotCompact => f.write_str("not a checked copy"),
            Self::NodeMissing(node) => write!(f, "no usable {node} node"),
            Self::PropertyMissing(node, name) => write!(f, "the {node} node has no `{name}`"),
            Self::BadProperty(node, name) => write!(f, "the {node} node has a bad `{name}`"),
            Self::BadCellCount(node, name, count) => {
                write!(f, "the {node} node has a `{name}` of {count}")
            }
            Self::AddressOverflow(node) => {
                write!(f, "a range of the {node} node leaves the address space")
            }
            Self::NotTranslatable(node) => {
                write!(f, "no `ranges` leads from the {node} node to the CPU")
            }
            Self::BadAffinity(reg) => write!(f, "{reg:#x} is not the affinity of a CPU"),
        }
    }
}

impl core::error::Error for DtError {}
