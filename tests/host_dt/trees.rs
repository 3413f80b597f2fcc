//! What well-formed trees say, and what their content can have wrong.

use stillpoint::cpu::Mpidr;
use stillpoint::device::Layout;
use stillpoint::dt::{
    Conduit, ConsoleKind, DeviceTree, DtError, EnableMethod, GicDesc, InterruptSpec, NodeKind,
    PhysRange, PsciVersion,
};
use stillpoint::platform::{Irq, Trigger};

use crate::blobs::{blob, checked, tree};

pub(crate) fn range(start: u64, size: u64) -> PhysRange {
    PhysRange::new(start, size).unwrap()
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
        assert_eq!(tree.model(), Some("linux,dummy-virt"));
        assert_eq!(tree.bootargs(), None);
        let ram = [Ok(range(0x4000_0000, 0x4000_0000))];
        assert_eq!(tree.memory().collect::<Vec<_>>(), ram);
        assert_eq!(tree.reserved().count(), 0);
        let psci = tree.psci().unwrap().unwrap();
        assert_eq!((psci.conduit, psci.version), (conduit, PsciVersion::V1_0));
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
        assert_eq!(redistributors.as_slice(), [range(0x80a_0000, 0xf6_0000)]);
        assert_eq!(stride, None);
        let found: Vec<_> = tree.cpus().map(Result::unwrap).collect();
        assert_eq!(found.len(), cpus);
        for (number, cpu) in (0_u64..).zip(&found) {
            let affinity = ((number / 16) << 8) | (number % 16);
            assert_eq!(Some(cpu.mpidr), Mpidr::from_reg(affinity));
            assert_eq!(cpu.enable_method, EnableMethod::Psci);
            assert!(cpu.enabled);
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
fn a_gicv2_is_known_by_each_of_its_names() {
    let gic = GicDesc::V2 {
        distributor: range(0x1000, 0x1000),
        cpu_interface: range(0x2000, 0x100),
    };
    for name in [
        "gic-400",
        "cortex-a15-gic",
        "cortex-a9-gic",
        "cortex-a7-gic",
    ] {
        let copy = tree(&format!(
            "#address-cells = <1>; #size-cells = <1>;
             gic@1000 {{ compatible = \"vendor,gic\", \"arm,{name}\";
                        reg = <0x1000 0x1000>, <0x2000 0x100>; }};"
        ));
        assert_eq!(DeviceTree::new(&copy).unwrap().gic(), Ok(gic), "{name}");
    }
}

#[test]
fn a_gicv2_that_is_disabled_is_not_used() {
    let missing = Err(DtError::NodeMissing(NodeKind::Gic));
    for status in ["disabled", "fail", "reserved"] {
        let copy = tree(&format!(
            "#address-cells = <1>; #size-cells = <1>;
             gic@1000 {{ compatible = \"arm,gic-400\"; status = \"{status}\";
                        reg = <0x1000 0x1000>, <0x2000 0x2000>; }};"
        ));
        assert_eq!(DeviceTree::new(&copy).unwrap().gic(), missing, "{status}");
    }
}

#[test]
fn a_gicv2_without_a_cpu_interface_is_an_error() {
    let copy = tree(
        "#address-cells = <1>; #size-cells = <1>;
         gic@1000 { compatible = \"arm,gic-400\"; reg = <0x1000 0x1000>; };",
    );
    let bad = Err(DtError::BadProperty(NodeKind::Gic, "reg"));
    assert_eq!(DeviceTree::new(&copy).unwrap().gic(), bad);
}

#[test]
fn a_spin_table_board_behind_a_bus_is_read() {
    let copy = checked(&blob("board-spintable")).unwrap();
    let tree = DeviceTree::new(&copy).unwrap();
    assert_eq!(tree.model(), Some("Stillpoint spin-table board"));
    assert_eq!(tree.bootargs(), Some("maxcpus=2 init=\"lscpu; exit\""));
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
        (cpu.mpidr.raw(), release_addr, cpu.enabled)
    });
    let expected = [
        (0, 0xd8, true),
        (1, 0xe0, true),
        (0x1_0000_0100, 0xe8, false),
    ];
    assert_eq!(facts.collect::<Vec<_>>(), expected);
}

#[test]
fn interrupts_are_found_however_they_are_written() {
    let timer = |how: &str| {
        let copy = tree(&format!(
            "v4: gic {{ compatible = \"arm,gic-v3\"; #interrupt-cells = <4>; }};
             other: pic {{ #interrupt-cells = <1>; }};
             timer {{ compatible = \"arm,armv8-timer\"; {how} }};"
        ));
        let timer = DeviceTree::new(&copy).unwrap().timer();
        timer.map(|timer| (timer.virtual_ppi, timer.trigger))
    };
    let four = "interrupt-parent = <&v4>; interrupts = <1 13 4 0 1 14 4 0 1 11 1 0 1 10 4 0>;";
    assert_eq!(timer(four), Ok((27, Trigger::Edge)));
    let named = "interrupt-parent = <&v4>; interrupts = <1 14 4 0 1 11 8 0>;
                 interrupt-names = \"phys\", \"virt\";";
    assert_eq!(timer(named), Ok((27, Trigger::Level)));
    let extended = "interrupts-extended = <&v4 1 13 4 0 &other 7 &v4 1 11 4 0>;";
    assert_eq!(timer(extended), Ok((27, Trigger::Level)));
    let bad = Err(DtError::BadProperty(NodeKind::Timer, "interrupts"));
    let shared = "interrupt-parent = <&v4>; interrupts = <1 13 4 0 1 14 4 0 0 11 4 0>;";
    assert_eq!(timer(shared), bad);
    let short = "interrupt-parent = <&v4>; interrupts = <1 13 4 0 1 14 4 0 1 11>;";
    assert_eq!(timer(short), bad);
    let beyond = "interrupt-parent = <&v4>; interrupts = <1 13 4 0 1 14 4 0 1 16 4 0>;";
    assert_eq!(timer(beyond), bad);
    let alien = "interrupt-parent = <&other>; interrupts = <1 2 3>;";
    assert_eq!(timer(alien), bad);
    let lost = DtError::NodeMissing(NodeKind::InterruptParent);
    assert_eq!(
        timer("interrupt-parent = <99>; interrupts = <1 2 3>;"),
        Err(lost)
    );
    let none = DtError::PropertyMissing(NodeKind::InterruptParent, "interrupt-parent");
    assert_eq!(timer("interrupts = <1 2 3>;"), Err(none));
    let off = DtError::NodeMissing(NodeKind::Timer);
    assert_eq!(timer("status = \"disabled\";"), Err(off));
}

#[test]
fn redistributor_regions_are_counted() {
    let gic = |facts: &str| {
        let copy = tree(&format!(
            "#address-cells = <2>; #size-cells = <2>;
             gic {{ compatible = \"arm,gic-v3\"; {facts} }};"
        ));
        DeviceTree::new(&copy).unwrap().gic()
    };
    let regs = "reg = <0 0x8000000 0 0x10000 0 0x80a0000 0 0xf60000 0x40 0 0 0x4000000>;";
    let two = format!("{regs} #redistributor-regions = <2>; redistributor-stride = <0 0x40000>;");
    let Ok(GicDesc::V3 {
        redistributors,
        stride,
        ..
    }) = gic(&two)
    else {
        panic!("a GICv3 with two regions");
    };
    let regions = [
        range(0x80a_0000, 0xf6_0000),
        range(0x40_0000_0000, 0x400_0000),
    ];
    assert_eq!(redistributors.as_slice(), regions);
    assert_eq!(stride, Some(0x4_0000));
    let bad = |name| Err(DtError::BadProperty(NodeKind::Gic, name));
    assert_eq!(
        gic(&format!("{regs} #redistributor-regions = <3>;")),
        bad("reg")
    );
    let none = format!("{regs} #redistributor-regions = <0>;");
    assert_eq!(gic(&none), bad("#redistributor-regions"));
    let many = format!("{regs} #redistributor-regions = <0xffffffff>;");
    let error = DtError::TooManyRanges(NodeKind::Gic, u32::MAX);
    assert_eq!(gic(&many), Err(error));
    let odd = format!("{regs} redistributor-stride = <0x1000>;");
    assert_eq!(gic(&odd), bad("redistributor-stride"));
    assert_eq!(gic(""), Err(DtError::PropertyMissing(NodeKind::Gic, "reg")));
}

#[test]
fn addresses_that_lead_nowhere_are_errors() {
    let gic = |bus: &str, reg: &str| {
        let copy = tree(&format!(
            "#address-cells = <2>; #size-cells = <2>;
             bus {{ {bus} gic {{ compatible = \"arm,gic-400\"; reg = <{reg}>; }}; }};"
        ));
        DeviceTree::new(&copy).unwrap().gic()
    };
    let one = "#address-cells = <1>; #size-cells = <1>;";
    let regs = "0x100 0x10 0x200 0x20";
    let Ok(GicDesc::V2 { cpu_interface, .. }) = gic(&format!("{one} ranges;"), regs) else {
        panic!("an empty `ranges` changes nothing");
    };
    assert_eq!(cpu_interface, range(0x200, 0x20));
    let nowhere = Err(DtError::NotTranslatable(NodeKind::Gic));
    assert_eq!(gic(one, regs), nowhere);
    let beside = format!("{one} ranges = <0 1 0 0x10f 0x1000 1 0 0x1000>;");
    assert_eq!(gic(&beside, regs), nowhere);
    let ragged = format!("{one} ranges = <0 1 0>;");
    let bad = |kind, name| Err(DtError::BadProperty(kind, name));
    assert_eq!(gic(&ragged, regs), bad(NodeKind::Bus, "ranges"));
    let high = format!("{one} ranges = <0 0xffffffff 0xffffff00 0x1000>;");
    assert_eq!(
        gic(&high, regs),
        Err(DtError::AddressOverflow(NodeKind::Bus))
    );
    let wide = "#address-cells = <3>; #size-cells = <2>; ranges;";
    let error = DtError::BadCellCount(NodeKind::Gic, "#address-cells", 3);
    assert_eq!(gic(wide, "0 0 0 0 0"), Err(error));
    let bytes = "#address-cells = [01]; #size-cells = <1>; ranges;";
    assert_eq!(gic(bytes, regs), bad(NodeKind::Gic, "#address-cells"));
    let top = "#address-cells = <2>; #size-cells = <2>; ranges;";
    let end = "0xffffffff 0xffffffff 0 1";
    assert_eq!(gic(top, end), Err(DtError::AddressOverflow(NodeKind::Gic)));
    let off = format!("{one} ranges; status = \"disabled\";");
    assert_eq!(gic(&off, regs), Err(DtError::NodeMissing(NodeKind::Gic)));
}

#[test]
fn bad_items_do_not_hide_good_ones() {
    let copy = tree(
        "#address-cells = <2>; #size-cells = <1>;
         memory@1 { device_type = \"memory\"; reg = <0 1 2 3>; };
         memory@2 { device_type = \"memory\"; };
         memory@3 { device_type = \"memory\"; reg = <0xffffffff 0xffffffff 1 0 0x4000 0x1000>; };
         cpus {
             #address-cells = <1>;
             cpu@0 { device_type = \"cpu\"; reg = <0>; enable-method = \"other\"; };
             cpu@1 { device_type = \"cpu\"; reg = <0x1000000>; };
             cpu@2 { device_type = \"cpu\"; reg = <2 2>; };
             cpu@3 { device_type = \"cpu\"; };
             cpu@4 { device_type = \"cpu\"; reg = <4>; enable-method = \"spin-table\"; };
             cpu@5 { device_type = \"cpu\"; reg = <5>; };
         };",
    );
    let tree = DeviceTree::new(&copy).unwrap();
    let memory = [
        Err(DtError::BadProperty(NodeKind::Memory, "reg")),
        Err(DtError::PropertyMissing(NodeKind::Memory, "reg")),
        Err(DtError::AddressOverflow(NodeKind::Memory)),
        Ok(range(0x4000, 0x1000)),
    ];
    assert_eq!(tree.memory().collect::<Vec<_>>(), memory);
    let cpus: Vec<_> = tree
        .cpus()
        .map(|cpu| cpu.map(|cpu| cpu.mpidr.raw()))
        .collect();
    let missing = |name| Err(DtError::PropertyMissing(NodeKind::Cpu, name));
    let expected = [
        Ok(0),
        Err(DtError::BadAffinity(0x100_0000)),
        Err(DtError::BadProperty(NodeKind::Cpu, "reg")),
        missing("reg"),
        missing("cpu-release-addr"),
        Ok(5),
    ];
    assert_eq!(cpus, expected);
    assert_eq!(tree.gic(), Err(DtError::NodeMissing(NodeKind::Gic)));
    assert_eq!(tree.console(), Ok(None));
}
