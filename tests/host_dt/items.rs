//! Texts, CPUs, banks of memory and reservations, of which some may be invalid.

use stillpoint::dt::{DeviceTree, DtError, EnableMethod, NodeKind, TextFlaw};
use stillpoint::platform::Conduit;

use crate::blobs::{STRUCT_AT, STRUCT_SIZE, index, tree, word};
use crate::trees::range;

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
