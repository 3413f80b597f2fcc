//! Mutants of a blob, as flipped bits, a careless boot loader or an attacker would make them.

use crate::blobs::{
    RESERVED_AT, STRINGS_AT, STRINGS_SIZE, STRUCT_AT, STRUCT_SIZE, TOTAL, length, set_word, word,
};
use crate::xorshift::Random;

/// Words with a meaning in a blob: tokens, the numbers next to them, limits.
const WORDS: [u32; 16] = [
    0,
    1,
    2,
    3,
    4,
    5,
    9,
    16,
    17,
    40,
    0xffff,
    0x1f_ffff,
    0x7fff_ffff,
    0x8000_0000,
    !3,
    !0,
];

/// The size below which a blob isn't shortened, so that it has room for a header and a span.
const SMALLEST: usize = 192;

/// The fields of the header that are offsets or sizes.
const PLACES: [usize; 6] = [
    TOTAL,
    STRUCT_AT,
    STRINGS_AT,
    RESERVED_AT,
    STRINGS_SIZE,
    STRUCT_SIZE,
];

/// Changes `blob` in one to six ways.
pub(crate) fn mutate(blob: &mut Vec<u8>, random: &mut Random) {
    // Most mutants have few changes, because those pass the most checks.
    let changes = 1 + random.below(6).min(random.below(6));
    for _ in 0..changes {
        if blob.len() < SMALLEST {
            return;
        }
        change(blob, random);
    }
}

fn change(blob: &mut Vec<u8>, random: &mut Random) {
    // The header is small, so it is chosen often enough on purpose.
    let end = if random.below(10) == 0 {
        64
    } else {
        blob.len()
    };
    let at = random.below(end);
    let word_at = random.below(end / 4) * 4;
    match random.below(16) {
        0..=2 => blob[at] ^= 1 << random.below(8),
        3 => blob[at] = u8::try_from(random.below(256)).unwrap(),
        4 => blob[at] = 0,
        5 => set_word(blob, word_at, WORDS[random.below(WORDS.len())]),
        // An offset or a length that lies inside the blob, aligned or not.
        6 => {
            let inside = u32::try_from(random.below(blob.len() + 8)).unwrap();
            set_word(blob, word_at, inside >> random.below(8));
        }
        7 => {
            let near = word(blob, word_at)
                .wrapping_add(8)
                .wrapping_sub(random_word(random, 17));
            set_word(blob, word_at, near);
        }
        8 => {
            let swapped = word(blob, word_at).swap_bytes();
            set_word(blob, word_at, swapped);
        }
        9 => {
            let other = random.below(blob.len() / 4) * 4;
            let (a, b) = (word(blob, word_at), word(blob, other));
            set_word(blob, word_at, b);
            set_word(blob, other, a);
        }
        10 => {
            let field = PLACES[random.below(PLACES.len())];
            let moved = match random.below(3) {
                0 => word(blob, field).wrapping_add(4),
                1 => word(blob, field).wrapping_sub(4),
                _ => random_word(random, blob.len() + 8),
            };
            set_word(blob, field, moved);
        }
        // Replaces a token by another one, or by a word that is no token.
        11 => {
            let from = random.below(blob.len() / 4);
            let token = (from..blob.len() / 4)
                .find(|index| matches!(word(blob, index * 4), 1..=4 | 9))
                .unwrap_or(from);
            set_word(blob, token * 4, WORDS[random.below(8)]);
        }
        // Copies a span of words or bytes over another one, inserts it, or removes it.
        12 => {
            let (from, size) = span(blob, random);
            let to = random.below(blob.len() - 64) / 4 * 4;
            blob.copy_within(from..from + size, to);
        }
        13 => {
            let (from, size) = span(blob, random);
            let copy = blob[from..from + size].to_vec();
            let to = random.below(blob.len()) / 4 * 4;
            blob.splice(to..to, copy);
            mend(blob, random, i64::try_from(size).unwrap());
        }
        14 => {
            let (from, size) = span(blob, random);
            blob.drain(from..from + size);
            mend(blob, random, -i64::try_from(size).unwrap());
        }
        // Cuts the blob short. The header may give the new size.
        _ => {
            let most = blob.len() / (1 + random.below(64));
            blob.truncate(blob.len() - random.below(most));
            if blob.len() >= SMALLEST && random.below(2) == 0 {
                let total = length(blob);
                set_word(blob, TOTAL, total);
            }
        }
    }
}

fn random_word(random: &mut Random, limit: usize) -> u32 {
    u32::try_from(random.below(limit)).unwrap()
}

/// Returns the start and the length of a span of at most 64 bytes, mostly of whole words.
fn span(blob: &[u8], random: &mut Random) -> (usize, usize) {
    let size = 1 + random.below(64);
    let at = random.below(blob.len() - 64);
    if random.below(4) == 0 {
        (at, size)
    } else {
        (at / 4 * 4, size.next_multiple_of(4))
    }
}

/// Adapts the header, in most cases, to a blob that has grown by `by`, most likely in its
/// structure block. Otherwise the check of the header would refuse most mutants.
fn mend(blob: &mut [u8], random: &mut Random, by: i64) {
    if random.below(4) == 0 {
        return;
    }
    let total = length(blob);
    set_word(blob, TOTAL, total);
    let by = u32::try_from(by.rem_euclid(1 << 32)).unwrap();
    // `dtc` and `check` both write the strings behind the structure.
    for field in [STRUCT_SIZE, STRINGS_AT] {
        set_word(blob, field, word(blob, field).wrapping_add(by));
    }
}
