//! The GIC, the interrupts of the timer, and the translation of addresses by buses.

use stillpoint::dt::{DeviceTree, DtError, GicDesc, MAX_REDISTRIBUTOR_REGIONS, NodeKind};
use stillpoint::platform::{Irq, Trigger};

use crate::blobs::tree;
use crate::trees::range;

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
fn places_for_virtio_devices_are_found_in_their_order() {
    let copy = tree(
        "#address-cells = <1>; #size-cells = <1>; interrupt-parent = <&gic>;
         gic: gic { compatible = \"arm,gic-v3\"; #interrupt-cells = <3>; };
         virtio@a000 { compatible = \"virtio,mmio\"; reg = <0xa000 0x200>;
                       interrupts = <0 16 1>; dma-coherent; };
         virtio@b000 { compatible = \"virtio,mmio\"; reg = <0xb000 0x80>; };
         virtio@c000 { compatible = \"virtio,mmio\"; reg = <0xc000 0x200>;
                       status = \"disabled\"; };
         bus { #address-cells = <1>; #size-cells = <1>; ranges = <0 0x10000 0x10000>;
               dma-coherent;
               virtio@0 { compatible = \"virtio,mmio\"; reg = <0 0x200>; dma-noncoherent; };
               virtio@1000 { compatible = \"virtio,mmio\"; reg = <0x1000 0x200>; }; };",
    );
    let tree = DeviceTree::new(&copy).unwrap();
    let places: Vec<_> = tree.virtio_mmio().collect();
    let [Ok(first), short, Ok(second), Ok(third)] = places[..] else {
        panic!("{places:?}");
    };
    assert_eq!(first.registers, range(0xa000, 0x200));
    assert!(first.coherent);
    let line = first.interrupt.unwrap();
    assert_eq!((line.irq, line.trigger), (Irq::Spi(48), Trigger::Edge));
    assert_eq!(
        short,
        Err(DtError::BadProperty(NodeKind::Virtio, "reg")),
        "less than the registers"
    );
    assert_eq!(second.registers, range(0x10000, 0x200));
    assert!(!second.coherent, "its own word counts");
    let none = DtError::PropertyMissing(NodeKind::Virtio, "interrupts");
    assert_eq!(second.interrupt, Err(none));
    assert_eq!(third.registers, range(0x11000, 0x200));
    assert!(third.coherent, "as its bus says");
}

#[test]
fn a_pci_host_has_a_window_and_lines() {
    let with = |facts: &str| {
        tree(&format!(
            "#address-cells = <2>; #size-cells = <2>;
             gic: gic {{ compatible = \"arm,gic-v3\"; #interrupt-cells = <3>;
                        #address-cells = <2>; }};
             pcie {{ compatible = \"pci-host-ecam-generic\"; #address-cells = <3>;
                    #size-cells = <2>; reg = <0x40 0x10000000 0 0x10000000>; {facts} }};"
        ))
    };
    let ranges = "ranges = <0x1000000 0 0 0 0x3eff0000 0 0x10000
                            0x42000000 0 0x70000000 0 0x70000000 0 0x1000
                            0x2000000 0 0x10000000 0 0x20000000 0 0x2eff0000
                            0x3000000 0x80 0 0x80 0 0x80 0>; dma-coherent;";
    let map = "interrupt-map-mask = <0x1800 0 0 7>;
               interrupt-map = <0 0 0 1 &gic 0 0 0 3 4>, <0 0 0 2 &gic 0 0 0 4 4>,
                               <0x800 0 0 1 &gic 0 0 0 4 4>, <0x800 0 0 2 &gic 0 0 9 4 4>;";
    let copy = with(&format!("{ranges} {map}"));
    let whole = DeviceTree::new(&copy).unwrap();
    let host = whole.pci_host().unwrap().unwrap();
    assert_eq!(host.config, range(0x40_1000_0000, 0x10_0000));
    assert_eq!(host.window, range(0x2000_0000, 0x2eff_0000));
    assert_eq!((host.bus_start, host.coherent), (0x1000_0000, true));
    let line = |device, pin| whole.pci_line(device, pin).map(|line| line.irq);
    assert_eq!(line(0, 2), Ok(Irq::Spi(36)));
    // The mask leaves two bits of the device.
    assert_eq!(line(5, 1), Ok(Irq::Spi(36)));
    let bad = Err(DtError::BadProperty(NodeKind::Pci, "interrupt-map"));
    assert_eq!(line(0, 3), bad, "no entry");
    assert_eq!(line(1, 2), bad, "one of no GIC's");
    for (facts, wrong) in [
        ("ranges = <0x2000000 0 0x10000000 0>;", "ranges"),
        (
            "ranges = <0x2000000 0 0xf0000000 0 0 0 0x20000000>;",
            "ranges",
        ),
        ("ranges = <0x1000000 0 0 0 0 0 0x10000>;", "ranges"),
    ] {
        let copy = with(facts);
        let bad = Err(DtError::BadProperty(NodeKind::Pci, wrong));
        assert_eq!(DeviceTree::new(&copy).unwrap().pci_host(), bad, "{facts}");
    }
}

#[test]
fn the_power_key_is_found_on_its_controller() {
    let with = |key: &str, line: u32, flags: u32| {
        tree(&format!(
            "#address-cells = <1>; #size-cells = <1>; interrupt-parent = <&gic>;
             gic: gic {{ compatible = \"arm,gic-v3\"; #interrupt-cells = <3>; }};
             gpio: gpio@3000 {{ compatible = \"arm,pl061\", \"arm,primecell\";
                               reg = <0x3000 0x1000>; interrupts = <0 7 4>; }};
             clock@2000 {{ compatible = \"arm,pl031\"; reg = <0x2000 0x1000>; }};
             keys {{ compatible = \"gpio-keys\";
                    sleep {{ linux,code = <142>; gpios = <&gpio 1 0>; }};
                    {key} {{ linux,code = <116>; gpios = <&gpio {line} {flags}>; }}; }};"
        ))
    };
    let copy = with("power", 3, 1);
    let whole = DeviceTree::new(&copy).unwrap();
    assert_eq!(whole.rtc(), Ok(Some(range(0x2000, 0x1000))));
    let key = whole.power_key().unwrap().unwrap();
    assert_eq!(key.registers, range(0x3000, 0x1000));
    assert_eq!((key.line, key.active_low), (3, true));
    assert_eq!(key.interrupt.irq, Irq::Spi(39));
    let copy = with("power", 8, 0);
    let bad = Err(DtError::BadProperty(NodeKind::PowerKey, "gpios"));
    assert_eq!(DeviceTree::new(&copy).unwrap().power_key(), bad);
    let copy = tree("keys { compatible = \"gpio-keys\"; p { linux,code = <1>; }; };");
    let none = DeviceTree::new(&copy).unwrap();
    assert_eq!((none.power_key(), none.rtc()), (Ok(None), Ok(None)));
}
