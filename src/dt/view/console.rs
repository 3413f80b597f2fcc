//! The serial console.

use super::DeviceTree;
use super::address::{PhysRange, mmio};
use super::cells::cell_property;
use super::interrupt::InterruptSpec;
use super::text::Text;
use super::walk::{Node, Path, is_compatible};
use crate::device::{EarlyCon, EarlyConKind, Layout, Model, RegisterWidth};
use crate::dt::error::{DtError, NodeKind};

/// What a console is driven as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsoleKind {
    /// Arm's PL011.
    Pl011,
    /// The part of a PL011 that Arm's Server Base System Architecture asks for:
    /// what sets the line up isn't there.
    SbsaUart,
    /// A 16550 or a relative, such as the mini UART of the BCM2835 family.
    Ns16550(Layout),
    /// Something else.
    Other,
}

/// What 16550s call themselves, and their ancestors, which have no FIFO.
const PLAIN: [&str; 7] = [
    "ns16550a",
    "ns16550",
    "ns16750",
    "ns16850",
    "ns16450",
    "ns8250",
    "nvidia,tegra20-uart",
];

/// What a DesignWare UART calls itself, often behind its chip's name.
const DESIGN_WARE: &str = "snps,dw-apb-uart";

/// What the mini UART calls itself.
const MINI_UART: &str = "brcm,bcm2835-aux-uart";

/// The console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsoleDesc {
    /// What it is driven as.
    pub kind: ConsoleKind,
    /// Its registers, as the CPU addresses them.
    pub registers: PhysRange,
    /// Its interrupt. A console without one can still be written to and polled,
    /// so what is wrong with it is no error of the whole.
    pub interrupt: Result<InterruptSpec, DtError>,
    /// Whether it is the one that `stdout-path` names.
    pub named: bool,
}

impl ConsoleDesc {
    /// Returns it as a console that needs no memory, if it is of a known kind.
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
    /// Returns the console: what `stdout-path` names if it is enabled and of a known kind,
    /// else the first usable one of the tree, else what `stdout-path` names after all.
    /// `None` if there is nothing of all that.
    ///
    /// # Errors
    /// What is wrong with the node that `stdout-path` names, if there is no
    /// other to take instead.
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

    /// Returns the first console of a known kind that can be used.
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
        // Options such as ":115200n8" follow the path; no path has a colon.
        let name = self
            .stdout_path()?
            .bytes()
            .split(|byte| *byte == b':')
            .next()?;
        // Names of nodes and properties are ASCII: another one names nothing.
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

    /// Returns what `/chosen` says that the console is, if it does: a path or an alias,
    /// and options.
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

/// Returns what `node` is driven as.
fn kind(node: Node<'_, '_>) -> Result<ConsoleKind, DtError> {
    // A PL011 says that it is one even where it says more.
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

/// How the registers of a 16550 lie (`8250.yaml`).
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

/// `registers` from the UART's first on: others may lie in front of it.
fn without_offset(registers: PhysRange, node: Node<'_, '_>) -> Result<PhysRange, DtError> {
    let name = "reg-offset";
    let offset = cell_property(node, NodeKind::Console, name)?.map_or(0, u64::from);
    registers
        .size()
        .checked_sub(offset)
        .and_then(|size| PhysRange::new(registers.start() + offset, size))
        .ok_or(DtError::BadProperty(NodeKind::Console, name))
}
