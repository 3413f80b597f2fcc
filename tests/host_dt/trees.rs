//! What well-formed trees say, and what their content can have wrong.

use stillpoint::cpu::Mpidr;
use stillpoint::device::Layout;
use stillpoint::dt::{
    ConsoleKind, CpuStatus, DeviceTree, DtError, EnableMethod, GicDesc, InterruptSpec, NodeKind,
    PhysRange, PsciBinding, Text,
};
use stillpoint::dt::{MAX_REDISTRIBUTOR_REGIONS, TextFlaw};
use stillpoint::platform::Conduit;
use stillpoint::platform::{Irq, Trigger};

use crate::blobs::{STRUCT_AT, STRUCT_SIZE, blob, checked, index, tree, word};

pub(crate) fn range(start: u64, size: u64) -> PhysRange {
    PhysRange::new(start, size).unwrap()
}

/// The text, whose form has no flaw.
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
fn a_gicv2_is_known_by_each_of_its_names() {
    let gic = GicDesc::V2 {
        distributor: range(0x1000, 0x1000),
        cpu_interface: range(0x2000, 0x100),
    };
    for name in [
        "arm,gic-400",
        "arm,cortex-a15-gic",
        "arm,cortex-a9-gic",
        "arm,cortex-a7-gic",
        "qcom,msm-qgic2",
        "qcom,msm-8660-qgic",
    ] {
        let copy = tree(&format!(
            "#address-cells = <1>; #size-cells = <1>;
             gic@1000 {{ compatible = \"vendor,gic\", \"{name}\";
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

#[test]
fn interrupts_are_found_however_they_are_written() {
    let timer_of = |name: &str, how: &str| {
        let copy = tree(&format!(
            "v4: gic {{ compatible = \"arm,gic-v3\"; #interrupt-cells = <4>; }};
             other: pic {{ #interrupt-cells = <1>; }};
             timer {{ compatible = \"{name}\"; {how} }};"
        ));
        let timer = DeviceTree::new(&copy).unwrap().timer();
        timer.map(|timer| (timer.virtual_ppi, timer.trigger))
    };
    let timer = |how: &str| timer_of("arm,armv8-timer", how);
    let armv7 = timer_of(
        "arm,armv7-timer",
        "interrupt-parent = <&v4>; interrupts = <1 13 4 0 1 14 4 0 1 11 4 0>;",
    );
    assert_eq!(
        armv7,
        Ok((27, Trigger::Level)),
        "as 32-bit software says it"
    );
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
    assert_eq!(gic(&many), bad("reg"), "there aren't so many");
    let seventeen: String = (0..18)
        .map(|n| format!(" 0 {} 0 0x20000", n * 0x2_0000))
        .collect();
    let all = format!("reg = <{seventeen}>; #redistributor-regions = <17>;");
    let Ok(GicDesc::V3 { redistributors, .. }) = gic(&all) else {
        panic!("a GICv3 with more regions than are kept");
    };
    assert_eq!(redistributors.as_slice().len(), MAX_REDISTRIBUTOR_REGIONS);
    assert_eq!(redistributors.left_out(), 1);
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
fn texts_are_read_as_far_as_they_go() {
    let bootargs = |value: &str| {
        let copy = tree(&format!("chosen {{ bootargs = {value}; }};"));
        let text = DeviceTree::new(&copy).unwrap().bootargs().unwrap();
        (text.bytes().to_vec(), text.flaw())
    };
    let open = Some(TextFlaw::Unterminated);
    for (value, bytes, flaw) in [
        ("\"a b\"", &b"a b"[..], None),
        ("[61 62]", b"ab", open),
        ("[61 00 00 00]", b"a", None),
        ("\"a\", \"bc\"", b"a", Some(TextFlaw::MoreBehind(3))),
        ("[61 fc 62 00]", b"a\xfcb", None),
        ("\"\"", b"", None),
        ("[]", b"", None),
    ] {
        assert_eq!(bootargs(value), (bytes.to_vec(), flaw), "{value}");
    }
    let copy = tree("model = [4a fc 72 67];");
    let model = DeviceTree::new(&copy).unwrap().model().unwrap();
    assert_eq!(model.to_string(), "J\u{fffd}rg");
}

#[test]
fn texts_without_an_end_mean_what_they_say() {
    // "cpu", "psci", "memory", "arm,psci", "smc", "okay" without their NULs.
    let copy = tree(
        "#address-cells = <1>; #size-cells = <1>;
         memory@1000 { device_type = [6d 65 6d 6f 72 79]; reg = <0x1000 0x1000>; };
         psci { compatible = [61 72 6d 2c 70 73 63 69]; method = [73 6d 63]; status = [6f 6b 61 79]; };
         cpus { processor@7 { device_type = [63 70 75]; reg = <7>; enable-method = [70 73 63 69]; }; };",
    );
    let tree = DeviceTree::new(&copy).unwrap();
    assert_eq!(
        tree.memory().collect::<Vec<_>>(),
        [Ok(range(0x1000, 0x1000))]
    );
    assert_eq!(tree.psci().unwrap().unwrap().conduit, Conduit::Smc);
    let cpus: Vec<_> = tree.cpus().map(Result::unwrap).collect();
    assert_eq!(cpus.len(), 1);
    assert_eq!(
        (cpus[0].mpidr.raw(), cpus[0].enable_method),
        (7, EnableMethod::Psci)
    );
}

#[test]
fn a_name_that_is_not_utf8_does_not_move_the_others() {
    let copy = tree(
        "v3: gic { compatible = \"arm,gic-v3\"; #interrupt-cells = <3>; };
         timer { compatible = \"arm,armv8-timer\"; interrupt-parent = <&v3>;
                 interrupts = <1 14 4 1 11 4>; interrupt-names = [ff 00 76 69 72 74 00]; };",
    );
    let timer = DeviceTree::new(&copy).unwrap().timer().unwrap();
    assert_eq!(timer.virtual_ppi, 27);
}

#[test]
fn cpus_are_known_by_their_name_and_count_their_own_cells() {
    let affinities = |cpus: &str| {
        let copy = tree(&format!("cpus {{ {cpus} }};"));
        let tree = DeviceTree::new(&copy).unwrap();
        let found: Result<Vec<_>, _> = tree
            .cpus()
            .map(|cpu| cpu.map(|cpu| cpu.mpidr.raw()))
            .collect();
        found
    };
    let named = "cpu@0 { reg = <0>; }; cpu { reg = <1>; }; cpu-map { }; l2-cache { };";
    assert_eq!(affinities(named), Ok(vec![0, 1]));
    let two = "cpu@0 { reg = <0 0>; }; cpu@100000001 { reg = <1 1>; };";
    assert_eq!(affinities(two), Ok(vec![0, 0x1_0000_0001]));
    let bad = Err(DtError::BadProperty(NodeKind::Cpu, "reg"));
    assert_eq!(affinities("cpu@0 { reg = <0 0 0>; };"), bad);
    assert_eq!(affinities("cpu@0 { reg; };"), bad);
    let method = Err(DtError::BadProperty(NodeKind::Cpu, "enable-method"));
    assert_eq!(affinities("cpu@0 { reg = <0>; enable-method; };"), method);
}

#[test]
fn a_bad_bank_costs_itself() {
    let memory = |cells: &str, reg: &str| {
        let copy = tree(&format!(
            "{cells} memory@1 {{ device_type = \"memory\"; reg = <{reg}>; }};"
        ));
        DeviceTree::new(&copy).unwrap().memory().collect::<Vec<_>>()
    };
    let two = "#address-cells = <2>; #size-cells = <2>;";
    let bad = Err(DtError::BadProperty(NodeKind::Memory, "reg"));
    let bank = Ok(range(0x4000_0000, 0x4000_0000));
    assert_eq!(memory(two, "0 0x40000000 0 0x40000000 0"), [bank, bad]);
    // Three entries of one cell each way, and one and a half of three cells: their
    // numbers make no bank that an Arm CPU could address.
    assert_eq!(
        memory(two, "0x40000000 0x1000 0x50000000 0x1000 0x60000000 0x1000"),
        [bad]
    );
    assert_eq!(
        memory(two, "0 0x40000000 0x40000000 0 0x80000000 0x40000000"),
        [bad]
    );
    let three = "#address-cells = <3>; #size-cells = <2>;";
    let count = Err(DtError::BadCellCount(NodeKind::Memory, "#address-cells", 3));
    assert_eq!(memory(three, "0 0 0x40000000 0 0x1000"), [count]);
}

#[test]
fn a_reservation_that_can_not_be_understood_is_an_error() {
    let copy = tree(
        "#address-cells = <2>; #size-cells = <2>;
         reserved-memory { #address-cells = <2>; #size-cells = <2>; ranges;
             x@60000000 { reg = <0x60000000 0x10000 0>; }; y@1000 { reg = <0 0x1000 0 0x1000>; }; };",
    );
    let reserved: Vec<_> = DeviceTree::new(&copy).unwrap().reserved().collect();
    let bad = Err(DtError::BadProperty(NodeKind::ReservedMemory, "reg"));
    assert_eq!(reserved, [bad, Ok(range(0x1000, 0x1000))]);
}

#[test]
fn what_is_for_overlays_is_not_in_the_copy() {
    let cells = "#address-cells = <1>; #size-cells = <1>;";
    let nodes = "a { x = <1>; }; memory@1000 { device_type = \"memory\"; reg = <0x1000 0x1000>; };";
    let deep = "b { __symbols__ { kept = <1>; }; };";
    let symbols: String = (0..40_000)
        .map(|n| format!("s{n} = \"/memory@1000/a/b/c\"; "))
        .collect();
    let plain = tree(&format!("{cells} {nodes} {deep}"));
    let copy = tree(&format!(
        "{cells} {nodes} {deep} __symbols__ {{ {symbols} }};
         __local_fixups__ {{ memory@1000 {{ x = <0>; y {{ }}; }}; }}; __fixups__ {{ }};"
    ));
    let structure = |copy: &[u8]| {
        let at = index(word(copy, STRUCT_AT));
        copy[at..at + index(word(copy, STRUCT_SIZE))].to_vec()
    };
    assert!(copy.len() > plain.len(), "the names are");
    assert_eq!(structure(&copy).len(), structure(&plain).len());
    let tree = DeviceTree::new(&copy).unwrap();
    assert_eq!(
        tree.memory().collect::<Vec<_>>(),
        [Ok(range(0x1000, 0x1000))]
    );
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
        Ok(range(1, 2)),
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
