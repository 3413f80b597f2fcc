//! Trees that can't be read, or that describe an impossible machine.

use std::fs;

use anyhow::{Result, ensure};

use super::{BAD_ADDRESS_MAP, BAD_DEVICE_TREE, Case, NO_MEMORY, NOWHERE, PANICKED, TREE_AT};
use crate::tools::compile_forced;

/// The source from which some of the damaged trees are made.
const SOURCE: &str = "dts/virt-gicv3-smp4.dts";

/// Returns the cases; `good` is a tree without a mistake.
pub fn cases(good: &[u8]) -> Result<Vec<Case>> {
    // The words of the header are in the Devicetree Specification, 5.2.
    let with = |words: &[(usize, u32)]| doctored(good, words);
    let mut cases = Vec::new();
    let mut ours = |name: &str, tree: &[u8], x0, reason, line| {
        let tree = tree.to_vec();
        cases.push(Case {
            name: name.into(),
            mute: false,
            tree,
            x0,
            reason,
            line: Some(line),
        });
    };
    ours(
        "no_tree",
        good,
        0,
        BAD_DEVICE_TREE,
        "no device tree: x0 is 0 at entry",
    );
    ours(
        "misaligned",
        good,
        TREE_AT + 4,
        BAD_DEVICE_TREE,
        "bad device tree: its address 0x44001004 is not a multiple of 8",
    );
    let mut bad = |name, tree: Vec<u8>, line| ours(name, &tree, TREE_AT, BAD_DEVICE_TREE, line);
    let bad_magic = with(&[(0, 0xd00d_feee)]);
    let truncated = truncated(good);
    bad(
        "bad_magic",
        bad_magic.clone(),
        "bad device tree: not a device tree: magic 0xd00dfeee",
    );
    bad(
        "no_size",
        with(&[(4, 0)]),
        "bad device tree: impossible total size 0x0",
    );
    bad(
        "too_large",
        with(&[(4, 2 * 1024 * 1024 + 1)]),
        "bad device tree: impossible total size 0x200001",
    );
    bad(
        "truncated",
        truncated.clone(),
        "bad device tree: bad name of the property at 0x[0-9a-f]+",
    );
    bad(
        "structure_elsewhere",
        with(&[(8, 0x7fff_ffff)]),
        "bad device tree: the structure block is out of bounds",
    );
    bad(
        "strings_elsewhere",
        with(&[(12, 0xffff_fff0)]),
        "bad device tree: the strings block is out of bounds",
    );
    let device_in_memory = compiled(
        "reg = <0x00 0x9000000 0x00 0x1000>",
        "reg = <0x00 0x41000000 0x00 0x1000>",
    )?;
    ours(
        "device_in_memory",
        &device_in_memory,
        TREE_AT,
        BAD_ADDRESS_MAP,
        "bad device tree: a device at 0x41000000, where it has memory",
    );
    // All addresses are memory in this tree, also those of its only console. The kernel
    // reports that on this console, even without an early console.
    let all_is_memory = compiled(
        "reg = <0x00 0x40000000 0x00 0x40000000>",
        "reg = <0x00 0x00 0x00 0x80000000>",
    )?;
    let console_in_memory = "bad device tree: a device at 0x9000000, where it has memory";
    ours(
        "all_is_memory-Image",
        &all_is_memory,
        TREE_AT,
        BAD_ADDRESS_MAP,
        console_in_memory,
    );
    ours(
        "no_memory",
        &empty(),
        TREE_AT,
        NO_MEMORY,
        "no free memory of [0-9]+ bytes for the stacks of 1 CPUs",
    );
    let mute = |name: &str, tree: &[u8], x0, reason, line| Case {
        name: name.into(),
        mute: true,
        tree: tree.to_vec(),
        x0,
        reason,
        line,
    };
    cases.extend([
        mute("no_tree-mute", good, 0, BAD_DEVICE_TREE, None),
        mute("bad_magic-mute", &bad_magic, TREE_AT, BAD_DEVICE_TREE, None),
        mute("truncated-mute", &truncated, TREE_AT, BAD_DEVICE_TREE, None),
        mute(
            "all_is_memory-stillpoint.Image",
            &all_is_memory,
            TREE_AT,
            BAD_ADDRESS_MAP,
            Some(console_in_memory),
        ),
        mute("no_memory-mute", &empty(), TREE_AT, NO_MEMORY, None),
        // An early console would have the whole report of a fault and not one line, so only
        // the reason is checked.
        mute("nothing_there-mute", good, NOWHERE, PANICKED, None),
    ]);
    Ok(cases)
}

/// Returns `tree` with `words` replaced. Each is given with its offset in bytes.
fn doctored(tree: &[u8], words: &[(usize, u32)]) -> Vec<u8> {
    let mut tree = tree.to_vec();
    for (at, word) in words {
        tree[*at..at + 4].copy_from_slice(&word.to_be_bytes());
    }
    tree
}

/// Returns `tree` as a loader leaves it that has copied only the header: the rest is zero.
fn truncated(tree: &[u8]) -> Vec<u8> {
    let mut left = tree.to_vec();
    left[256..].fill(0);
    left
}

/// Returns a tree with an empty root.
fn empty() -> Vec<u8> {
    const HEADER: [u32; 10] = [0xd00d_feed, 0x48, 0x38, 0x48, 0x28, 0x11, 0x10, 0, 0, 0x10];
    const RESERVATIONS: [u32; 4] = [0; 4];
    // FDT_BEGIN_NODE, its empty name, FDT_END_NODE, FDT_END.
    const STRUCTURE: [u32; 4] = [1, 0, 2, 9];
    let words = HEADER.into_iter().chain(RESERVATIONS).chain(STRUCTURE);
    words.flat_map(u32::to_be_bytes).collect()
}

/// Returns the tree of [`SOURCE`] with `new` where `old` stands.
fn compiled(old: &str, new: &str) -> Result<Vec<u8>> {
    let source = fs::read_to_string(SOURCE)?;
    ensure!(source.contains(old), "{SOURCE} has no {old}");
    let file = super::log_of("doctored")?.with_extension("dtb");
    compile_forced(source.replace(old, new).as_bytes(), &file)?;
    Ok(fs::read(file)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_big_endian() {
        let tree = doctored(&[0xff; 12], &[(4, 0x1234)]);
        assert_eq!(tree[3..9], [0xff, 0, 0, 0x12, 0x34, 0xff]);
    }

    #[test]
    fn an_empty_tree_is_as_long_as_it_says() {
        let tree = empty();
        assert_eq!(tree[..4], [0xd0, 0x0d, 0xfe, 0xed]);
        assert_eq!(tree.len(), 0x48);
    }
}
