//! Whole trees: those of QEMU, and that of a spin-table board.

use stillpoint::cpu::Mpidr;
use stillpoint::device::Layout;
use stillpoint::dt::{
    ConsoleKind, CpuStatus, DeviceTree, DtError, EnableMethod, GicDesc, InterruptSpec, PhysRange,
    PsciBinding, Text,
};
use stillpoint::platform::{Conduit, Irq, Trigger};

use crate::blobs::{blob, checked};

pub(crate) fn range(start: u64, size: u64) -> PhysRange {
    PhysRange::new(start, size).unwrap()
}

/// Returns the text as a string, after a check that its form has no error.
pub(crate) fn said(text: Option<Text<'_>>) -> String {
    let text = text.unwrap();
    assert_eq!(text.flaw(), None);
    text.to_string()
}

pub(crate) fn spi(intid: u32) -> Result<InterruptSpec, DtError> {
    Ok(InterruptSpec {
        irq: Irq::Spi(intid),
        trigger: Trigger::Level,
    })
}

#[test]
fn qemu_virt_is_read() {
    let expected = [
        ("virt-gicv3-smp4", 4, Conduit::Hvc),
        ("virt-gicv3-smp4-el2", 4, Conduit::Smc),
        ("virt-gicv3-smp4-ghost", 5, Conduit::Hvc),
        ("virt-gicv3-smp20", 20, Conduit::Hvc),
    ];
    for (name, cpus, conduit) in expected {
        let copy = checked(&blob(name)).unwrap();
        let tree = DeviceTree::new(&copy).unwrap();
        assert_eq!(said(tree.model()), "linux,dummy-virt");
        assert_eq!(tree.bootargs(), None);
        let ram = [Ok(range(0x4000_0000, 0x4000_0000))];
        assert_eq!(tree.memory().collect::<Vec<_>>(), ram);
        assert_eq!(tree.reserved().count(), 0);
        let psci = tree.psci().unwrap().unwrap();
        assert_eq!((psci.conduit, psci.version), (conduit, PsciBinding::V1_0));
        let console = tree.console().unwrap().unwrap();
        assert_eq!(console.kind, ConsoleKind::Pl011);
        assert_eq!(console.registers, range(0x900_0000, 0x1000));
        assert_eq!(console.interrupt, spi(33));
        let timer = tree.timer().unwrap();
        assert_eq!((timer.virtual_ppi, timer.clock_frequency), (27, None));
        assert_eq!(timer.trigger, Trigger::Level);
        let GicDesc::V3 {
            distributor,
            redistributors,
            stride,
        } = tree.gic().unwrap()
        else {
            panic!("{name} has a GICv3");
        };
        assert_eq!(distributor, range(0x800_0000, 0x1_0000));
        let mut regions = vec![range(0x80a_0000, 0xf6_0000)];
        if cpus == 5 {
            regions.push(range(0x980_0000, 0x2_0000));
        }
        assert_eq!(redistributors.as_slice(), regions);
        assert_eq!(stride, None);
        let found: Vec<_> = tree.cpus().map(Result::unwrap).collect();
        assert_eq!(found.len(), cpus);
        for (number, cpu) in (0_u64..).zip(&found) {
            let affinity = ((number / 16) << 8) | (number % 16);
            assert_eq!(Some(cpu.mpidr), Mpidr::from_reg(affinity));
            assert_eq!(cpu.enable_method, EnableMethod::Psci);
            assert_eq!(cpu.status, CpuStatus::Okay);
        }
    }
}

#[test]
fn gicv2_is_read() {
    let copy = checked(&blob("virt-gicv2-smp4")).unwrap();
    let gic = GicDesc::V2 {
        distributor: range(0x800_0000, 0x1_0000),
        cpu_interface: range(0x801_0000, 0x1_0000),
    };
    let tree = DeviceTree::new(&copy).unwrap();
    assert_eq!(tree.gic(), Ok(gic));
    assert_eq!(tree.timer().map(|timer| timer.virtual_ppi), Ok(27));
}

#[test]
fn a_spin_table_board_behind_a_bus_is_read() {
    let copy = checked(&blob("board-spintable")).unwrap();
    let tree = DeviceTree::new(&copy).unwrap();
    assert_eq!(said(tree.model()), "Stillpoint spin-table board");
    assert_eq!(said(tree.bootargs()), "maxcpus=2 init=\"lscpu; exit\"");
    let ram = [
        range(0, 0x3b40_0000),
        range(0x4000_0000, 0xbc00_0000),
        range(0x1_0000_0000, 0x4000_0000),
    ];
    assert_eq!(tree.memory().collect::<Vec<_>>(), ram.map(Ok));
    let reserved = [
        range(0, 0x1000),
        range(0x3b40_0000, 0x4c0_0000),
        range(0x3b00_0000, 0x1_0000),
        range(0x3b20_0000, 0x2_0000),
    ];
    assert_eq!(tree.reserved().collect::<Vec<_>>(), reserved.map(Ok));
    let console = tree.console().unwrap().unwrap();
    assert_eq!(console.kind, ConsoleKind::Ns16550(Layout::MINI_UART));
    assert_eq!(console.registers, range(0xfe21_5040, 0x40));
    assert_eq!(console.interrupt, spi(125));
    let gic = GicDesc::V2 {
        distributor: range(0xff84_1000, 0x1000),
        cpu_interface: range(0xff84_2000, 0x2000),
    };
    assert_eq!(tree.gic(), Ok(gic));
    assert_eq!(tree.psci(), Ok(None));
    assert_eq!(tree.timer().unwrap().clock_frequency, Some(54_000_000));
    let cpus: Vec<_> = tree.cpus().map(Result::unwrap).collect();
    let facts = cpus.iter().map(|cpu| {
        let EnableMethod::SpinTable { release_addr } = cpu.enable_method else {
            panic!("{cpu:?} is started by spin-table");
        };
        (cpu.mpidr.raw(), release_addr, cpu.status)
    });
    let expected = [
        (0, 0xd8, CpuStatus::Okay),
        (1, 0xe0, CpuStatus::Okay),
        (0x1_0000_0100, 0xe8, CpuStatus::Quiescent),
    ];
    assert_eq!(facts.collect::<Vec<_>>(), expected);
}
