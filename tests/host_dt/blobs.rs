//! Makes blobs from sources and from tokens.

use std::io::Write;
use std::process::{Command, Stdio};

use stillpoint::dt::{DtError, check};

/// The sources in `dts/`.
pub(crate) const TREES: [&str; 28] = [
    "bcm2711-rpi-4-b",
    "bcm2711-rpi-4-b-mini-uart",
    "board-spintable",
    "console-16550",
    "console-absent",
    "console-alias",
    "console-disabled",
    "console-missing",
    "console-sbsa",
    "console-unknown",
    "cpus-disabled",
    "cpus-one-cell",
    "cpus-two-cells",
    "habits-alone",
    "habits-memory",
    "habits-redistributors",
    "habits-texts",
    "psci-0.2",
    "psci-old-numbers",
    "ram-8g",
    "ram-at-0",
    "ram-at-2g",
    "virt-gicv2-smp4",
    "virt-gicv2-ten",
    "virt-gicv3-smp20",
    "virt-gicv3-smp4",
    "virt-gicv3-smp4-el2",
    "virt-gicv3-smp4-ghost",
];

/// Compiles a source.
pub(crate) fn dtc(source: &[u8]) -> Vec<u8> {
    let mut child = Command::new("dtc")
        .args([
            "-q", "-q", "-f", "-i", "dts", "-I", "dts", "-O", "dtb", "-o", "-", "-",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("these tests need `dtc`: install the package device-tree-compiler");
    child.stdin.take().unwrap().write_all(source).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "dtc refuses the source");
    output.stdout
}

pub(crate) fn blob(name: &str) -> Vec<u8> {
    let path = format!("{}/dts/{name}.dts", env!("CARGO_MANIFEST_DIR"));
    dtc(&std::fs::read(path).unwrap())
}

/// Returns the copy that [`check`] makes; panics if it writes more bytes than it returns.
pub(crate) fn checked(blob: &[u8]) -> Result<Vec<u8>, DtError> {
    const CANARY: u8 = 0xa5;
    let mut out = vec![CANARY; blob.len() + 64];
    let room = blob.len() + 8;
    let result = check(blob, &mut out[..room]);
    let written = *result.as_ref().unwrap_or(&0);
    assert!(out[written..].iter().all(|byte| *byte == CANARY));
    out.truncate(written);
    result.map(|_| out)
}

/// Returns the copy of a tree with `body` in its root.
pub(crate) fn tree(body: &str) -> Vec<u8> {
    checked(&dtc(format!("/dts-v1/; / {{ {body} }};").as_bytes())).unwrap()
}

pub(crate) fn word(blob: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(blob[at..at + 4].try_into().unwrap())
}

pub(crate) fn set_word(blob: &mut [u8], at: usize, word: u32) {
    blob[at..at + 4].copy_from_slice(&word.to_be_bytes());
}

pub(crate) fn index(number: u32) -> usize {
    usize::try_from(number).unwrap()
}

pub(crate) fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap()
}

// Offsets of header fields.
pub(crate) const TOTAL: usize = 4;
pub(crate) const STRUCT_AT: usize = 8;
pub(crate) const STRINGS_AT: usize = 12;
pub(crate) const RESERVED_AT: usize = 16;
pub(crate) const VERSION: usize = 20;
pub(crate) const LAST_COMPATIBLE: usize = 24;
pub(crate) const STRINGS_SIZE: usize = 32;
pub(crate) const STRUCT_SIZE: usize = 36;

/// Returns a blob with the given structure and strings blocks.
pub(crate) fn assemble(structure: &[u8], strings: &[u8]) -> Vec<u8> {
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

/// Returns the tokens that `short` stands for: `{name` begins a node, `}` ends one, `p` is an
/// empty property whose name is at offset 0, `n` is a NOP, `.` is the end.
pub(crate) fn tokens(short: &str) -> Vec<u8> {
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
