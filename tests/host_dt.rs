//! Device trees on the host: QEMU's own, one of ours, broken ones.
//!
//! Trees are kept as sources in `dts/` and compiled here, so `dtc` is needed.
#![allow(clippy::unwrap_used)] // A test's panic is its verdict.

use std::io::Write;
use std::process::{Command, Stdio};

use stillpoint::cpu::Mpidr;
use stillpoint::dt::{
    Block, Conduit, ConsoleKind, DeviceTree, DtError, EnableMethod, GicDesc, InterruptSpec,
    MAX_DEPTH, MAX_SIZE, NodeKind, PhysRange, PsciVersion, check, total_size,
};
use stillpoint::platform::{Irq, Trigger};

const TREES: [&str; 6] = [
    "board-spintable",
    "virt-gicv2-smp4",
    "virt-gicv3-smp20",
    "virt-gicv3-smp4",
    "virt-gicv3-smp4-el2",
    "virt-gicv3-smp4-ghost",
];

// Making blobs.

/// Compiles a source.
fn dtc(source: &[u8]) -> Vec<u8> {
    let mut child = Command::new("dtc")
        .args(["-q", "-q", "-f", "-I", "dts", "-O", "dtb", "-o", "-", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("these tests need `dtc`: install the package device-tree-compiler");
    child.stdin.take().unwrap().write_all(source).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "dtc refuses the source");
    output.stdout
}

fn blob(name: &str) -> Vec<u8> {
    let path = format!("{}/dts/{name}.dts", env!("CARGO_MANIFEST_DIR"));
    dtc(&std::fs::read(path).unwrap())
}

/// The copy that [`check`] makes; panics if it writes more than it says.
fn checked(blob: &[u8]) -> Result<Vec<u8>, DtError> {
    const CANARY: u8 = 0xa5;
    let mut out = vec![CANARY; blob.len() + 64];
    let room = blob.len() + 8;
    let result = check(blob, &mut out[..room]);
    let written = *result.as_ref().unwrap_or(&0);
    assert!(out[written..].iter().all(|byte| *byte == CANARY));
    out.truncate(written);
    result.map(|_| out)
}

/// The copy of a tree with `body` in its root.
fn tree(body: &str) -> Vec<u8> {
    checked(&dtc(format!("/dts-v1/; / {{ {body} }};").as_bytes())).unwrap()
}

fn word(blob: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(blob[at..at + 4].try_into().unwrap())
}

fn set_word(blob: &mut [u8], at: usize, word: u32) {
    blob[at..at + 4].copy_from_slice(&word.to_be_bytes());
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap()
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap()
}

// Offsets of header fields.
const TOTAL: usize = 4;
const STRUCT_AT: usize = 8;
const STRINGS_AT: usize = 12;
const RESERVED_AT: usize = 16;
const VERSION: usize = 20;
const LAST_COMPATIBLE: usize = 24;
const STRINGS_SIZE: usize = 32;
const STRUCT_SIZE: usize = 36;

/// A blob around a structure and a strings block.
fn assemble(structure: &[u8], strings: &[u8]) -> Vec<u8> {
    let mut blob = vec![0; 56];
    set_word(&mut blob, 0, 0xd00d_feed);
    set_word(&mut blob, STRUCT_AT, 56);
    set_word(&mut blob, STRINGS_AT, 56 + length(structure));
    set_word(&mut blob, RESERVED_AT, 40);
    set_word(&mut blob, VERSION, 17);
    set_word(&mut blob, LAST_COMPATIBLE, 16);
    set_word(&mut blob, STRINGS_SIZE, length(strings));
    set_word(&mut blob, STRUCT_SIZE, length(structure));
    blob.extend(structure);
    blob.extend(strings);
    let total = length(&blob);
    set_word(&mut blob, TOTAL, total);
    blob
}

/// Tokens in short: `{name` begins a node, `}` ends one, `p` is an empty
/// property with the name at 0, `n` a NOP, `.` the end.
fn tokens(short: &str) -> Vec<u8> {
    let mut block = Vec::new();
    for part in short.split_whitespace() {
        let words: &[u32] = match part {
            "}" => &[2],
            "p" => &[3, 0, 0],
            "n" => &[4],
            "." => &[9],
            name => {
                block.extend([0, 0, 0, 1]);
                block.extend(name.strip_prefix('{').unwrap().bytes());
                block.push(0);
                block.resize(block.len().next_multiple_of(4), 0);
                continue;
            }
        };
        block.extend(words.iter().flat_map(|word| word.to_be_bytes()));
    }
    block
}

/// What [`check`] says of a blob with these tokens and the property name "x".
fn verdict(short: &str) -> Result<usize, DtError> {
    checked(&assemble(&tokens(short), b"x\0")).map(|copy| copy.len())
}

/// Calls every method and uses up every iterator.
fn exercise(tree: &DeviceTree<'_>) {
    let _ = (tree.bootargs(), tree.model(), tree.console(), tree.psci());
    let _ = (tree.gic(), tree.timer());
    let _ = (tree.memory().count(), tree.reserved().count());
    let _ = tree.cpus().count();
}

fn range(start: u64, size: u64) -> PhysRange {
    PhysRange::new(start, size).unwrap()
}

fn spi(intid: u32) -> Result<InterruptSpec, DtError> {
    Ok(InterruptSpec {
        irq: Irq::Spi(intid),
        trigger: Trigger::Level,
    })
}

// What the trees say.

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
    assert_eq!(console.kind, ConsoleKind::MiniUart);
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
fn the_console_falls_back_to_a_usable_pl011() {
    let uart = |extra: &str| {
        format!(
            "#address-cells = <1>; #size-cells = <1>;
             off@100 {{ compatible = \"arm,pl011\"; reg = <0x100 0x10>; status = \"disabled\"; }};
             nowhere {{ compatible = \"arm,pl011\"; }};
             on@200 {{ compatible = \"arm,pl011\"; reg = <0x200 0x10>; }};
             other@300 {{ compatible = \"ns16550a\"; reg = <0x300 0x10>; }}; {extra}"
        )
    };
    let choices = [
        "",
        "chosen { stdout-path = \"/other@300:9600\"; };",
        "chosen { stdout-path = \"/off@100\"; };",
        "chosen { stdout-path = \"/missing\"; };",
        "chosen { stdout-path = \"alias\"; };",
        "chosen { stdout-path = \"/on:115200n8\"; };",
        "chosen { stdout-path = [2f 6f 6e]; };",
    ];
    for chosen in choices {
        let copy = tree(&uart(chosen));
        let console = DeviceTree::new(&copy).unwrap().console().unwrap().unwrap();
        assert_eq!(console.kind, ConsoleKind::Pl011, "{chosen}");
        assert_eq!(console.registers, range(0x200, 0x10), "{chosen}");
        let name = "interrupts";
        let error = DtError::PropertyMissing(NodeKind::Console, name);
        assert_eq!(console.interrupt, Err(error));
    }
    let copy = tree("chosen { stdout-path = \"/u\"; }; u { compatible = \"ns16550a\"; };");
    let error = DtError::PropertyMissing(NodeKind::Console, "reg");
    assert_eq!(DeviceTree::new(&copy).unwrap().console(), Err(error));
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

// What is no tree.

#[test]
fn every_truncation_is_an_error() {
    for name in TREES {
        let whole = blob(name);
        for size in 0..whole.len() {
            assert!(checked(&whole[..size]).is_err(), "{name} cut to {size}");
            if size >= 8 {
                let mut cut = whole[..size].to_vec();
                set_word(&mut cut, TOTAL, length(&whole[..size]));
                assert!(checked(&cut).is_err(), "{name} said to have {size}");
            }
        }
    }
}

#[test]
fn no_mutant_panics() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |limit: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % u64::try_from(limit).unwrap()).unwrap()
    };
    const WORDS: [u32; 12] = [0, 1, 2, 3, 4, 5, 9, 16, 0x7fff_ffff, 0x8000_0000, !3, !0];
    let mut survivors = 0;
    for name in TREES {
        let original = blob(name);
        let compact = checked(&original).unwrap();
        for round in 0..4000 {
            let mut mutant = if round % 2 == 0 {
                original.clone()
            } else {
                compact.clone()
            };
            for _ in 0..=random(6) {
                // The header is small: hit it often enough.
                let end = if random(8) == 0 { 56 } else { mutant.len() };
                let at = random(end);
                match random(3) {
                    0 => mutant[at] ^= 1 << random(8),
                    1 => set_word(&mut mutant, at / 4 * 4 % (end - 4), WORDS[random(12)]),
                    _ => mutant[at] = 0,
                }
            }
            if let Ok(copy) = checked(&mutant) {
                let tree = DeviceTree::new(&copy).expect("what `check` wrote is good");
                exercise(&tree);
                assert_eq!(
                    checked(&copy).as_ref(),
                    Ok(&copy),
                    "a copy's copy is itself"
                );
                survivors += 1;
            }
            if let Ok(tree) = DeviceTree::new(&mutant) {
                exercise(&tree);
            }
        }
    }
    assert!(survivors > 1000, "mutants are too broken to test the view");
}

/// The blob with NOPs before every token.
fn with_nops(blob: &[u8]) -> Vec<u8> {
    let start = index(word(blob, STRUCT_AT));
    let old = &blob[start..start + index(word(blob, STRUCT_SIZE))];
    let mut new = Vec::new();
    let mut at = 0;
    while at < old.len() {
        let size = match word(old, at) {
            1 => {
                let name = old[at + 4..].iter().position(|byte| *byte == 0).unwrap();
                4 + name + 1
            }
            3 => 12 + index(word(old, at + 4)),
            _ => 4,
        };
        new.extend([0, 0, 0, 4, 0, 0, 0, 4]);
        new.extend(&old[at..at + size.next_multiple_of(4)]);
        at += size.next_multiple_of(4);
    }
    let strings = index(word(blob, STRINGS_AT));
    let strings = &blob[strings..strings + index(word(blob, STRINGS_SIZE))];
    assemble(&new, strings)
}

#[test]
fn nops_and_padding_are_dropped() {
    for name in TREES {
        let mut plain = blob(name);
        let (structure, strings) = (word(&plain, STRUCT_AT), word(&plain, STRINGS_AT));
        let (structure, strings) = (index(structure), index(strings));
        let plain_blocks = assemble(
            &plain[structure..structure + index(word(&plain, STRUCT_SIZE))],
            &plain[strings..strings + index(word(&plain, STRINGS_SIZE))],
        );
        let nops = with_nops(&plain);
        assert_eq!(DeviceTree::new(&nops).err(), Some(DtError::NotCompact));
        assert_eq!(checked(&nops), checked(&plain_blocks));
        let copy = checked(&plain);
        plain.resize(0x2_0000, 0);
        assert_eq!(checked(&plain), copy, "bytes behind the blob");
        set_word(&mut plain, TOTAL, 0x2_0000);
        assert_eq!(checked(&plain), copy, "padding inside, as QEMU makes it");
        set_word(&mut plain, VERSION, 16);
        set_word(&mut plain, STRUCT_SIZE, 0xdead_beef);
        let version_16 = checked(&plain);
        assert_eq!(version_16, copy, "without the structure block's size");
    }
}

#[test]
fn headers_are_checked() {
    let good = assemble(&tokens("{ p }  ."), b"x\0");
    assert!(checked(&good).is_ok());
    let start: &[u8; 8] = good.first_chunk().unwrap();
    assert_eq!(total_size(start), Ok(good.len()));
    let verdict = |changes: &[(usize, u32)]| {
        let mut blob = good.clone();
        for (at, word) in changes {
            set_word(&mut blob, *at, *word);
        }
        checked(&blob).map(|copy| copy.len())
    };
    let out_of_bounds = |block| Err(DtError::BlockOutOfBounds(block));
    let misaligned = |block| Err(DtError::BlockMisaligned(block));
    let overlap = |a, b| Err(DtError::BlocksOverlap(a, b));
    let size = length(&good);
    let large = u32::try_from(MAX_SIZE).unwrap() + 1;
    assert_eq!(
        verdict(&[(0, 0xedfe_0dd0)]),
        Err(DtError::BadMagic(0xedfe_0dd0))
    );
    assert_eq!(
        verdict(&[(TOTAL, large)]),
        Err(DtError::BadTotalSize(large))
    );
    assert_eq!(verdict(&[(TOTAL, 8)]), Err(DtError::BadTotalSize(8)));
    let short = DtError::Truncated {
        needed: good.len() + 1,
        got: good.len(),
    };
    assert_eq!(verdict(&[(TOTAL, size + 1)]), Err(short));
    for (version, last_compatible) in [(15, 15), (18, 18), (3, 1)] {
        let error = DtError::UnsupportedVersion {
            version,
            last_compatible,
        };
        let changes = [(VERSION, version), (LAST_COMPATIBLE, last_compatible)];
        assert_eq!(verdict(&changes), Err(error));
    }
    assert!(verdict(&[(VERSION, 18)]).is_ok(), "compatible with 16");
    for (field, block) in [
        (STRUCT_AT, Block::Structure),
        (STRUCT_SIZE, Block::Structure),
        (STRINGS_AT, Block::Strings),
        (STRINGS_SIZE, Block::Strings),
        (RESERVED_AT, Block::Reservations),
    ] {
        assert_eq!(verdict(&[(field, 0xffff_fff8)]), out_of_bounds(block));
    }
    assert_eq!(verdict(&[(STRUCT_AT, 57)]), misaligned(Block::Structure));
    assert_eq!(verdict(&[(STRUCT_SIZE, 13)]), misaligned(Block::Structure));
    assert_eq!(
        verdict(&[(RESERVED_AT, 44)]),
        misaligned(Block::Reservations)
    );
    let reserved_overlap = overlap(Block::Header, Block::Reservations);
    // From there the terminator comes after what the header ends with.
    assert_eq!(verdict(&[(RESERVED_AT, 24)]), reserved_overlap);
    // Without properties no name is looked up, wherever the strings are.
    let strings_at = |at| {
        let mut blob = assemble(&tokens("{ } ."), b"x\0");
        set_word(&mut blob, STRINGS_AT, at);
        checked(&blob).map(|copy| copy.len())
    };
    assert_eq!(strings_at(0), overlap(Block::Header, Block::Strings));
    assert_eq!(strings_at(39), overlap(Block::Header, Block::Strings));
    assert_eq!(strings_at(41), overlap(Block::Reservations, Block::Strings));
    assert_eq!(strings_at(71), overlap(Block::Structure, Block::Strings));
    assert!(strings_at(72).is_ok());
    let mut open = good.clone();
    open[40..].fill(0xff);
    assert_eq!(checked(&open), Err(DtError::ReservationsUnterminated));
}

#[test]
fn structures_are_checked() {
    assert!(verdict("n { n p n p n {a n } n } n .").is_ok());
    assert_eq!(verdict("."), Err(DtError::NoRoot));
    assert_eq!(
        verdict("{ } { } ."),
        Err(DtError::SecondRoot { offset: 68 })
    );
    assert_eq!(
        verdict("{root } ."),
        Err(DtError::BadNodeName { offset: 56 })
    );
    assert_eq!(
        verdict("{ { } } ."),
        Err(DtError::BadNodeName { offset: 64 })
    );
    assert_eq!(
        verdict("{ {a/b } } ."),
        Err(DtError::BadNodeName { offset: 64 })
    );
    assert_eq!(
        verdict("{ {é } } ."),
        Err(DtError::BadNodeName { offset: 64 })
    );
    let long = format!("{{ {{{} }} }} .", "a".repeat(256));
    assert_eq!(verdict(&long), Err(DtError::BadNodeName { offset: 64 }));
    assert_eq!(verdict("}  ."), Err(DtError::Unbalanced { offset: 56 }));
    assert_eq!(verdict("{ } } ."), Err(DtError::Unbalanced { offset: 68 }));
    assert_eq!(verdict("{ ."), Err(DtError::Unbalanced { offset: 64 }));
    assert_eq!(
        verdict("{ }"),
        Err(DtError::StructureTruncated { offset: 68 })
    );
    assert_eq!(
        verdict("p { } ."),
        Err(DtError::MisplacedProperty { offset: 56 })
    );
    let late = DtError::MisplacedProperty { offset: 76 };
    assert_eq!(verdict("{ {a } p } ."), Err(late));
    assert_eq!(
        verdict("{ } . ."),
        Err(DtError::TrailingData { offset: 72 })
    );
    assert_eq!(
        verdict("{ } . n"),
        Err(DtError::TrailingData { offset: 72 })
    );
    let unknown = |token, bytes: &[u8]| {
        let error = DtError::UnknownToken { offset: 56, token };
        assert_eq!(checked(&assemble(bytes, b"")), Err(error));
    };
    unknown(5, &[0, 0, 0, 5]);
    unknown(0, &[0, 0, 0, 0]);
    let open_name = assemble(b"\0\0\0\x01name", b"");
    assert_eq!(
        checked(&open_name),
        Err(DtError::BadNodeName { offset: 56 })
    );
}

#[test]
fn properties_are_checked() {
    let verdict = |size: u32, name: u32, strings: &[u8]| {
        let mut block = tokens("{ p } .");
        set_word(&mut block, 12, size);
        set_word(&mut block, 16, name);
        checked(&assemble(&block, strings)).map(|copy| copy.len())
    };
    assert!(verdict(0, 1, b"xyz\0").is_ok(), "names may share an ending");
    let bad_name = Err(DtError::BadPropertyName { offset: 64 });
    assert_eq!(verdict(0, 0, b"xyz"), bad_name);
    assert_eq!(verdict(0, 3, b"xyz\0"), bad_name, "empty");
    assert_eq!(verdict(0, 4, b"xyz\0"), bad_name, "outside");
    assert_eq!(verdict(0, u32::MAX, b"xyz\0"), bad_name);
    assert_eq!(verdict(0, 0, b"\xff\0"), bad_name, "not UTF-8");
    assert_eq!(verdict(0, 0, &[b'x'; 4096]), bad_name);
    let too_long = Err(DtError::PropertyTooLong { offset: 64 });
    assert_eq!(verdict(9, 0, b"x\0"), too_long);
    assert_eq!(verdict(u32::MAX, 0, b"x\0"), too_long);
    let ate_the_rest = Err(DtError::StructureTruncated { offset: 84 });
    assert_eq!(verdict(8, 0, b"x\0"), ate_the_rest);
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| {
        let inner = depth - 1;
        format!("{{ {} {} }} .", "{a ".repeat(inner), "} ".repeat(inner))
    };
    let copy = checked(&assemble(&tokens(&nested(MAX_DEPTH)), b"")).unwrap();
    exercise(&DeviceTree::new(&copy).unwrap());
    let offset = 56 + 8 * MAX_DEPTH;
    let too_deep = Err(DtError::TooDeep { offset });
    assert_eq!(verdict(&nested(MAX_DEPTH + 1)), too_deep);
    let bomb = assemble(&tokens(&"{a ".repeat(100_000)).split_off(8), b"");
    assert!(checked(&bomb).is_err());
    let bomb = assemble(&tokens(&format!("{{ {}", "{a ".repeat(100_000))), b"");
    assert_eq!(checked(&bomb), Err(DtError::TooDeep { offset }));
}

#[test]
fn a_small_buffer_is_named_with_what_it_takes() {
    let blob = blob("virt-gicv3-smp4");
    let needed = checked(&blob).unwrap().len();
    let mut out = vec![0; needed];
    assert_eq!(check(&blob, &mut out), Ok(needed));
    let limit = needed - 1;
    let error = DtError::OutputTooSmall { needed, limit };
    assert_eq!(check(&blob, &mut out[..limit]), Err(error));
    assert_eq!(
        error.to_string(),
        format!("too large: {needed} bytes, room for {limit}")
    );
    assert_eq!(
        check(&blob, &mut []),
        Err(DtError::OutputTooSmall { needed, limit: 0 })
    );
}
