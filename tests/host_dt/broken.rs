//! Blobs that are no tree, or that `fdt` couldn't read.

use stillpoint::dt::{Block, DeviceTree, DtError, MAX_DEPTH, MAX_SIZE, check, total_size};

use crate::blobs::{
    LAST_COMPATIBLE, RESERVED_AT, STRINGS_AT, STRINGS_SIZE, STRUCT_AT, STRUCT_SIZE, TOTAL, TREES,
    VERSION, assemble, blob, checked, index, length, set_word, tokens, word,
};
use crate::dt_view::examine;

/// Returns the result of [`check`] for a blob with these tokens and the property name "x".
fn verdict(short: &str) -> Result<usize, DtError> {
    checked(&assemble(&tokens(short), b"x\0")).map(|copy| copy.len())
}

/// Returns the blob with NOPs before every token.
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
    // Reservations that begin in the header: its last words come before the terminator.
    assert_eq!(verdict(&[(RESERVED_AT, 24)]), reserved_overlap);
    // Without properties no name is read, wherever the strings block is.
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
    examine(&assemble(&tokens(&nested(MAX_DEPTH)), b"")).unwrap();
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
