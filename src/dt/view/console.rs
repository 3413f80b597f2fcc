//! The serial console.

use super::DeviceTree;
use super::address::{PhysRange, mmio};
use super::cells::cell_property;
use super::interrupt::InterruptSpec;
use super::text::Text;
use super::walk::{Node, Path, is_compatible};
use crate::device::{EarlyCon, EarlyConKind, Layout, Model, RegisterWidth};
use crate::dt::error::{DtError, NodeKind};

/// The programming model of a console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsoleKind {
    /// Arm's PL011.
    Pl011,
    /// The subset of a PL011 that Arm's Server Base System Architecture requires. It lacks
    /// the registers that set up the line.
    SbsaUart,
    /// A 16550 or a relative, such as the mini UART of the BCM2835 family.
    Ns16550(Layout),
    /// A model that this kernel has no driver for.
    Other,
}

/// The `compatible` of 16550s, and of their predecessors, which have no FIFO.
const PLAIN: [&str; 7] = [
    "ns16550a",
    "ns16550",
    "ns16750",
    "ns16850",
    "ns16450",
    "ns8250",
    "nvidia,tegra20-uart",
];

/// The `compatible` of a DesignWare UART, which often follows the name of its chip.
const DESIGN_WARE: &str = "snps,dw-apb-uart";

/// The `compatible` of the mini UART.
const MINI_UART: &str = "brcm,bcm2835-aux-uart";

/// The console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsoleDesc {
    /// Its programming model.
    pub kind: ConsoleKind,
    /// Its registers, as the CPU addresses them.
    pub registers: PhysRange,
    /// Its interrupt. A console without an interrupt can still be written to and polled, so
    /// an error here doesn't make the console unusable.
    pub interrupt: Result<InterruptSpec, DtError>,
    /// Whether `stdout-path` names this console.
    pub named: bool,
}

impl ConsoleDesc {
    /// Returns the description of the same UART as an early console, which needs no memory;
    /// `None` if its kind is [`ConsoleKind::Other`].
    pub fn early(&self) -> Option<EarlyCon> {
        let kind = match self.kind {
            ConsoleKind::Pl011 => EarlyConKind::Pl011,
            ConsoleKind::SbsaUart => EarlyConKind::SbsaUart,
            ConsoleKind::Ns16550(layout) => EarlyConKind::Ns16550(layout),
            ConsoleKind::Other => return None,
        };
        let base = self.registers.start();
        Some(EarlyCon { kind, base })
    }
}

impl<'a> DeviceTree<'a> {
    /// Returns the console: the node that `stdout-path` names, if it is enabled and of a
    /// known kind; else the first usable console of the tree; else the node that
    /// `stdout-path` names, although its kind is unknown. `None` if the tree has none of
    /// these.
    ///
    /// # Errors
    /// The node that `stdout-path` names can't be decoded, and the tree has no usable
    /// console.
    pub fn console(&self) -> Result<Option<ConsoleDesc>, DtError> {
        let named = self.stdout();
        if let Some(Ok(console)) = &named
            && console.kind != ConsoleKind::Other
        {
            return Ok(Some(*console));
        }
        match self.first_console() {
            Some(console) => Ok(Some(console)),
            None => named.transpose(),
        }
    }

    /// Returns the first console of a known kind that is enabled and can be decoded.
    #[inline(never)] // A walk has a frame of 4 KiB, and the boot stack isn't large.
    fn first_console(&self) -> Option<ConsoleDesc> {
        self.find_map(|path| {
            let known = kind(path.node()) != Ok(ConsoleKind::Other);
            if !known || !path.is_enabled() {
                return None;
            }
            self.read_console(path).ok()
        })
    }

    /// Returns the console that `stdout-path` names, if it names one that is enabled.
    #[inline(never)] // As above.
    fn stdout(&self) -> Option<Result<ConsoleDesc, DtError>> {
        // Options such as ":115200n8" may follow the path, and no path has a colon.
        let name = self
            .stdout_path()?
            .bytes()
            .split(|byte| *byte == b':')
            .next()?;
        // All names of nodes and properties are ASCII (names-are-printable).
        let name = str::from_utf8(name).ok()?;
        let path = if name.starts_with('/') {
            name
        } else {
            let alias = self.find("/aliases")?.property(name)?;
            str::from_utf8(Text::new(alias.value).bytes()).ok()?
        };
        let named = self.at_path(path, |path| {
            path.is_enabled().then(|| self.read_console(path))
        })??;
        Some(named.map(|console| ConsoleDesc {
            named: true,
            ..console
        }))
    }

    /// Returns the property `stdout-path` in `/chosen`, if the tree has one: a path or an
    /// alias of the console, and options.
    pub fn stdout_path(&self) -> Option<Text<'a>> {
        let chosen = self.find("/chosen")?;
        let path = chosen
            .property("stdout-path")
            .or_else(|| chosen.property("linux,stdout-path"))?;
        Some(Text::new(path.value))
    }

    fn read_console(&self, path: &Path<'_, 'a>) -> Result<ConsoleDesc, DtError> {
        let kind = kind(path.node())?;
        let mut registers = mmio(path, NodeKind::Console, 0)?;
        if let ConsoleKind::Ns16550(layout) = kind {
            registers = without_offset(registers, path.node())?;
            let needed = layout.size().map(u64::from);
            let aligned = registers
                .start()
                .is_multiple_of(u64::from(layout.width.bytes()));
            if !aligned || needed.is_none_or(|needed| needed > registers.size()) {
                return Err(DtError::BadProperty(NodeKind::Console, "reg"));
            }
        }
        Ok(ConsoleDesc {
            kind,
            registers,
            interrupt: self.interrupt(path, NodeKind::Console, 0),
            named: false,
        })
    }
}

/// Returns the programming model of the console `node`.
fn kind(node: Node<'_, '_>) -> Result<ConsoleKind, DtError> {
    // A PL011 may name other models in `compatible` too.
    if is_compatible(node, &["arm,pl011"]) {
        Ok(ConsoleKind::Pl011)
    } else if is_compatible(node, &["arm,sbsa-uart"]) {
        Ok(ConsoleKind::SbsaUart)
    } else if is_compatible(node, &[MINI_UART]) {
        Ok(ConsoleKind::Ns16550(Layout::MINI_UART))
    } else if is_compatible(node, &[DESIGN_WARE]) {
        Ok(ConsoleKind::Ns16550(layout(node, Model::DesignWare)?))
    } else if is_compatible(node, &PLAIN) {
        Ok(ConsoleKind::Ns16550(layout(node, Model::Plain)?))
    } else {
        Ok(ConsoleKind::Other)
    }
}

/// Returns the register layout of the 16550 `node` (`8250.yaml`).
fn layout(node: Node<'_, '_>, model: Model) -> Result<Layout, DtError> {
    let number = |name| cell_property(node, NodeKind::Console, name);
    let bad = |name| Err(DtError::BadProperty(NodeKind::Console, name));
    let width = match number("reg-io-width")? {
        None | Some(1) => RegisterWidth::Byte,
        Some(4) => RegisterWidth::Word,
        Some(_) => return bad("reg-io-width"),
    };
    if node.property("big-endian").is_some() {
        return bad("big-endian");
    }
    let layout = Layout {
        model,
        shift: number("reg-shift")?.unwrap_or(0),
        width,
    };
    match layout.size() {
        Some(_) => Ok(layout),
        None => bad("reg-shift"),
    }
}

/// Returns `registers` from the UART's first register on, without those of other devices
/// that may lie in front of it (`reg-offset`).
fn without_offset(registers: PhysRange, node: Node<'_, '_>) -> Result<PhysRange, DtError> {
    let name = "reg-offset";
    let offset = cell_property(node, NodeKind::Console, name)?.map_or(0, u64::from);
    registers
        .size()
        .checked_sub(offset)
        .and_then(|size| PhysRange::new(registers.start() + offset, size))
        .ok_or(DtError::BadProperty(NodeKind::Console, name))
}
