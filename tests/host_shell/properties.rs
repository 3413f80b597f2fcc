//! Properties that hold for all CPU lists and all input.

use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::shell::{PROMPT, Shell, parse_cpu_list};

use crate::OK;
use crate::fake::Fake;

// Miri is a thousand times slower, and checks for undefined behaviour only.
const SEEDS: u64 = if cfg!(miri) { 2 } else { 64 };
const KEYS: usize = if cfg!(miri) { 300 } else { 10_000 };

/// Marsaglia's xorshift64: the same numbers for the same seed, on every run.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Random {
        // Spreads small seeds over all bits.
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).expect("below a usize")
    }
}

#[test]
fn every_printed_mask_parses_to_itself() {
    for seed in 1..=SEEDS * 30 {
        let mut random = Random::new(seed);
        let limit = 1 + random.below(512);
        let single = (0..=random.below(64)).map(|_| random.below(limit));
        let single: Vec<usize> = single.collect();
        let start = random.below(512);
        let range = start..start + random.below(80);
        let mask: CpuMask = range.chain(single).filter_map(CpuId::new).collect();
        assert_eq!(
            parse_cpu_list(&mask.to_string()),
            Ok(mask),
            "seed {seed}: {mask}"
        );
    }
}

#[test]
fn random_lists_parse_or_fail_inside_the_text() {
    let alphabet = b"0123456789,-:/ x";
    let mut random = Random::new(1);
    for _ in 0..KEYS {
        let text: String = (0..random.below(12))
            .map(|_| char::from(alphabet[random.below(alphabet.len())]))
            .collect();
        match parse_cpu_list(&text) {
            Ok(mask) => assert!(!mask.is_empty(), "{text}"),
            Err(error) => assert!(error.at <= text.len(), "{text}"),
        }
    }
}

/// The content of the second column of a wide character.
const SECOND_HALF: char = '\0';

/// One row of a terminal, with what ECMA-48 sequences the editor draws.
#[derive(Default)]
struct Row {
    text: Vec<char>,
    cursor: usize,
}

impl Row {
    fn show(&mut self, drawn: &str) {
        let mut rest = drawn;
        while let Some(c) = rest.chars().next() {
            if let Some(sequence) = rest.strip_prefix("\x1b[") {
                let end = sequence.find(|c: char| c.is_ascii_alphabetic() || c == '@');
                let end = end.expect("a final byte");
                match &sequence[..=end] {
                    "C" => self.cursor += 1,
                    "D" => self.cursor = self.cursor.checked_sub(1).expect("inside the row"),
                    "P" => drop(self.text.remove(self.cursor)),
                    "@" => self.text.insert(self.cursor, ' '),
                    "2K" => self.text.fill(' '),
                    "2J" => self.text.clear(),
                    "H" => self.cursor = 0,
                    other => panic!("unexpected sequence {other:?}"),
                }
                rest = &sequence[end + 1..];
                continue;
            }
            match c {
                '\r' => self.cursor = 0,
                '\n' => *self = Row::default(),
                '\x07' => {}
                c => self.put(c),
            }
            rest = &rest[c.len_utf8()..];
        }
    }

    /// Puts a character where the cursor is. One that takes two columns fills the second
    /// with [`SECOND_HALF`].
    fn put(&mut self, c: char) {
        let halves: &[char] = if c == '日' { &[c, SECOND_HALF] } else { &[c] };
        for half in halves {
            if self.cursor >= self.text.len() {
                self.text.resize(self.cursor + 1, ' ');
            }
            self.text[self.cursor] = *half;
            self.cursor += 1;
        }
    }

    /// Returns the text of the row without the blanks at its end.
    fn text(&self) -> String {
        let characters = self.text.iter().filter(|c| **c != SECOND_HALF);
        characters.collect::<String>().trim_end().into()
    }
}

#[test]
fn what_is_drawn_is_what_runs() {
    let keys = [
        "a", "b", "é", "c", "\x7f", "\x04", "\x1b[D", "\x1b[D", "\x1b[C", "\x1b[A", "\x1b[B",
        "\x01", "\x05", "\x0b", "\x15", "\x17", "\x0c", "\x03", "\n", "日", " ", "\x1bb", "\x1bf",
    ];
    for seed in 1..=SEEDS {
        let mut random = Random::new(seed);
        let fake = Fake::new(1, "0");
        let mut shell = Shell::new(&fake);
        let mut row = Row::default();
        row.show(&fake.console.take());
        for _ in 0..KEYS {
            // Mostly text, or the line would always be empty.
            let limit = if random.below(3) == 0 { keys.len() } else { 7 };
            let key = keys[random.below(limit)];
            let before = row.text();
            let ended = key.bytes().filter_map(|byte| shell.feed(byte)).count();
            let drawn = fake.console.take();
            row.show(&drawn);
            let line = before
                .strip_prefix(PROMPT.trim_end())
                .expect("a prompt")
                .trim_start();
            if ended == 1 && !line.is_empty() {
                let hint = "Try 'help' for a list of the commands.";
                let name = line.split(' ').next().expect("one word");
                let message = format!("\n{name}: command not found\n{hint}\n{PROMPT}");
                assert_eq!(drawn, message, "seed {seed}");
            }
        }
    }
}

#[test]
fn random_bytes_never_panic_and_never_wedge() {
    let fragments: [&[u8]; 16] = [
        b"chcpu -e 1-3",
        b"chcpu -d ",
        b"echo \"",
        b"'",
        b";",
        b"\n",
        b"\r\n",
        b"\x1b[A",
        b"\x1b[B",
        b"\x1b[D",
        b"\x1b[",
        b"\x7f",
        b"\x15",
        b"\x17",
        "é€".as_bytes(),
        b"\x03",
    ];
    for seed in 1..=SEEDS {
        let mut random = Random::new(seed);
        let fake = Fake::new(4, "0-3");
        let mut shell = Shell::new(&fake);
        let mut fed = 0;
        while fed < KEYS {
            let noise = [u8::try_from(random.below(256)).unwrap()];
            let bytes = match random.below(3) {
                0 => fragments[random.below(fragments.len())],
                _ => &noise,
            };
            for byte in bytes {
                let _ = shell.feed(*byte);
            }
            fed += bytes.len();
        }
        // Whatever came before, the next line works.
        for byte in b"\x03" {
            let _ = shell.feed(*byte);
        }
        fake.console.take();
        let outcomes: Vec<_> = b"echo ok\n"
            .iter()
            .filter_map(|byte| shell.feed(*byte))
            .collect();
        assert_eq!(outcomes, [OK], "seed {seed}");
        let text = fake.console.take();
        assert!(
            text.ends_with(&format!("echo ok\nok\n{PROMPT}")),
            "seed {seed}: {text:?}"
        );
    }
}
