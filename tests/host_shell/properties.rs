//! What must hold for all lists and all input.

use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::shell::{PROMPT, Shell, parse_cpu_list};

use crate::OK;
use crate::fake::Fake;

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
    for seed in 1..=2000 {
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
    for _ in 0..20_000 {
        let text: String = (0..random.below(12))
            .map(|_| char::from(alphabet[random.below(alphabet.len())]))
            .collect();
        match parse_cpu_list(&text) {
            Ok(mask) => assert!(!mask.is_empty(), "{text}"),
            Err(error) => assert!(error.at <= text.len(), "{text}"),
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
    for seed in 1..=64 {
        let mut random = Random::new(seed);
        let fake = Fake::new(4, "0-3");
        let mut shell = Shell::new(&fake);
        let mut fed = 0;
        while fed < 10_000 {
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
