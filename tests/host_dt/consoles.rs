//! The choice of the console, and its programming model.

use stillpoint::device::{Layout, Model, RegisterWidth};
use stillpoint::dt::{ConsoleDesc, ConsoleKind, DeviceTree, DtError, NodeKind};

use crate::blobs::{blob, checked, dtc, tree};
use crate::trees::{range, spi};

fn console(copy: &[u8]) -> ConsoleDesc {
    DeviceTree::new(copy).unwrap().console().unwrap().unwrap()
}

const fn layout(model: Model, shift: u32, width: RegisterWidth) -> ConsoleKind {
    ConsoleKind::Ns16550(Layout {
        model,
        shift,
        width,
    })
}

#[test]
fn every_way_to_name_it_ends_at_the_one_that_is_there() {
    let names = ["alias", "missing", "disabled", "unknown", "sbsa"];
    for name in names {
        let copy = checked(&blob(&format!("console-{name}"))).unwrap();
        let found = console(&copy);
        let kind = match name {
            "sbsa" => ConsoleKind::SbsaUart,
            _ => ConsoleKind::Pl011,
        };
        assert_eq!(found.kind, kind, "{name}");
        assert_eq!(found.registers, range(0x900_0000, 0x1000), "{name}");
        assert_eq!(found.interrupt, spi(33), "{name}");
    }
}

#[test]
fn the_first_usable_one_of_any_kind_is_taken() {
    let uarts = |extra: &str| {
        format!(
            "#address-cells = <1>; #size-cells = <1>;
             off@100 {{ compatible = \"arm,pl011\"; reg = <0x100 0x10>; status = \"disabled\"; }};
             nowhere {{ compatible = \"arm,pl011\"; }};
             strange@180 {{ compatible = \"stillpoint,typewriter\"; reg = <0x180 0x10>; }};
             on@200 {{ compatible = \"ns16550a\"; reg = <0x200 0x10>; }};
             bus {{ #address-cells = <1>; #size-cells = <1>; ranges; status = \"disabled\";
                 below@280 {{ compatible = \"arm,pl011\"; reg = <0x280 0x10>; }};
             }};
             other@300 {{ compatible = \"arm,pl011\"; reg = <0x300 0x10>; }}; {extra}"
        )
    };
    let choices = [
        "",
        "chosen { stdout-path = \"/off@100\"; };",
        "chosen { stdout-path = \"/strange@180:9600\"; };",
        "chosen { stdout-path = \"/nowhere\"; };",
        "chosen { stdout-path = \"/bus/below@280\"; };",
        "chosen { stdout-path = \"/missing\"; };",
        "chosen { stdout-path = \"alias\"; };",
        "chosen { stdout-path = \"\"; };",
        "chosen { stdout-path = \"/on:115200n8\"; };",
        "chosen { stdout-path = [2f 6f 6e]; };",
        "chosen { stdout-path = \"loop\"; }; aliases { loop = \"loop\"; };",
    ];
    for chosen in choices {
        let found = console(&tree(&uarts(chosen)));
        let kind = layout(Model::Plain, 0, RegisterWidth::Byte);
        assert_eq!(found.kind, kind, "{chosen}");
        assert_eq!(found.registers, range(0x200, 0x10), "{chosen}");
        let error = DtError::PropertyMissing(NodeKind::Console, "interrupts");
        assert_eq!(found.interrupt, Err(error));
    }
    let found = console(&tree(&uarts("chosen { stdout-path = \"/other@300\"; };")));
    assert_eq!(found.kind, ConsoleKind::Pl011);
    assert_eq!(found.registers, range(0x300, 0x10));
}

#[test]
fn what_is_wrong_with_the_only_one_is_said() {
    let only = |node: &str| {
        let chosen = "chosen { stdout-path = \"/u\"; };";
        let cells = "#address-cells = <1>; #size-cells = <1>;";
        let copy = tree(&format!("{cells} {chosen} u {{ {node} }};"));
        DeviceTree::new(&copy).unwrap().console()
    };
    let kind = NodeKind::Console;
    let missing = Err(DtError::PropertyMissing(kind, "reg"));
    assert_eq!(only("compatible = \"ns16550a\";"), missing);
    let bad = |name| Err(DtError::BadProperty(kind, name));
    let ns16550 = |how: &str| only(&format!("compatible = \"ns16550a\"; {how}"));
    assert_eq!(ns16550("reg = <0x100 0x5>;"), bad("reg"));
    assert_eq!(ns16550("reg = <0x100 0x8>; reg-shift = <2>;"), bad("reg"));
    let wide = "reg-io-width = <4>; reg-shift = <2>;";
    assert_eq!(ns16550(&format!("reg = <0x102 0x100>; {wide}")), bad("reg"));
    let whole = "reg = <0x100 0x100>;";
    let none = format!("{whole} reg-shift = <2>; reg-io-width = <8>;");
    assert_eq!(ns16550(&none), bad("reg-io-width"));
    let near = format!("{whole} reg-shift = <1>; reg-io-width = <4>;");
    assert_eq!(ns16550(&near), bad("reg-shift"));
    let far = format!("{whole} reg-shift = <0xffffffff>;");
    assert_eq!(ns16550(&far), bad("reg-shift"));
    assert_eq!(ns16550(&format!("{whole} big-endian;")), bad("big-endian"));
    let behind = format!("{whole} reg-offset = <0x101>;");
    assert_eq!(ns16550(&behind), bad("reg-offset"));
    let unknown = only("compatible = \"stillpoint,typewriter\"; reg = <0x100 0x10>;");
    assert_eq!(unknown.unwrap().unwrap().kind, ConsoleKind::Other);
    assert_eq!(only("status = \"disabled\";"), Ok(None));
}

#[test]
fn a_16550_says_how_its_registers_lie() {
    let source = std::fs::read_to_string("dts/console-16550.dts").unwrap();
    let named = |alias: &str| {
        let chosen = format!("stdout-path = \"{alias}\"");
        let source = source.replace("stdout-path = \"serial2:1500000n8\"", &chosen);
        console(&checked(&dtc(source.as_bytes())).unwrap())
    };
    let words = layout(Model::Plain, 2, RegisterWidth::Word);
    let expected = [
        ("serial0", words, range(0x1000_0000, 0x100)),
        (
            "serial1",
            layout(Model::Plain, 0, RegisterWidth::Byte),
            range(0x1000_1000, 8),
        ),
        (
            "serial2:115200",
            layout(Model::DesignWare, 2, RegisterWidth::Word),
            range(0x1000_2000, 0x100),
        ),
        (
            "serial3",
            layout(Model::Plain, 1, RegisterWidth::Byte),
            range(0x1000_4000, 0x100),
        ),
        // Neither of these can be used, so the first usable console is chosen.
        ("serial4", words, range(0x1000_0000, 0x100)),
        ("serial5", words, range(0x1000_0000, 0x100)),
    ];
    for (alias, kind, registers) in expected {
        let found = named(alias);
        assert_eq!((found.kind, found.registers), (kind, registers), "{alias}");
    }
}
