//! Properties that hold for all CPU lists and all input.

use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::shell::{PROMPT, Shell, parse_cpu_list};

use crate::OK;
use crate::fake::Fake;
use crate::term::Term;

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

/// Feeds `bytes` to `shell`, and what `term` answers to what is drawn. Returns what was drawn, and
/// how many lines have ended.
pub(crate) fn press(
    shell: &mut Shell<Fake>,
    fake: &Fake,
    term: &mut Term,
    bytes: &str,
) -> (String, usize) {
    let mut all = String::new();
    let mut ended = 0;
    let mut next = Some(String::from(bytes));
    while let Some(bytes) = next {
        ended += bytes.bytes().filter_map(|byte| shell.feed(byte)).count();
        let drawn = fake.console.take();
        term.show(&drawn);
        all += &drawn;
        next = term.answers.pop();
    }
    (all, ended)
}

#[test]
fn what_is_drawn_is_what_runs() {
    let keys = [
        "a", "b", "é", "c", "日", " ", "\x7f", "\x04", "\x1b[D", "\x1b[D", "\x1b[C", "\x1b[A",
        "\x1b[B", "\x01", "\x05", "\x0b", "\x15", "\x17", "\x0c", "\x03", "\n", "\x1bb", "\x1bf",
        "\x1bd",
    ];
    let mut longest = 0;
    for seed in 1..=SEEDS {
        let mut random = Random::new(seed);
        let fake = Fake::new(1, "0");
        let mut shell = Shell::new(&fake);
        // The width is asked for when a line is about to reach the end of such a row.
        let mut term = Term::new(41 + random.below(40));
        term.show(&fake.console.take());
        for _ in 0..KEYS {
            // Mostly text, or the line would always be empty.
            let limit = match random.below(40) {
                0 => keys.len(),
                1..10 => 11,
                _ => 6,
            };
            let mut key = keys[random.below(limit)];
            if random.below(2000) == 0 {
                term.resize(20 + random.below(80));
                key = "\x0c";
            }
            let before = (key == "\n").then(|| term.from(PROMPT));
            let (drawn, ended) = press(&mut shell, &fake, &mut term, key);
            let Some(before) = before else { continue };
            let line = before.strip_prefix(PROMPT.trim_end()).expect("a prompt");
            let line = line.trim_start();
            longest = longest.max(line.len());
            if ended == 1 && !line.is_empty() && !drawn.contains("line ignored") {
                let hint = "Try 'help' for a list of the commands.";
                let name = line.split(' ').next().expect("one word");
                let message = format!("\n{name}: command not found\n{hint}\n{PROMPT}");
                assert!(
                    drawn.ends_with(&message),
                    "seed {seed}: {drawn:?} for {line:?}"
                );
            }
        }
    }
    assert!(
        cfg!(miri) || longest > 300,
        "lines of several rows: {longest}"
    );
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
