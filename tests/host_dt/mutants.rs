//! Every truncation and 20,000 mutants of each tree, or as many as `DT_MUTANTS` says. Each
//! gives an error or a consistent view, and never a panic, an endless loop or a read outside
//! the blob.
//!
//! `dt` and `fdt` use no `unsafe` here, so a read outside the blob is a panic:
//! `support/dt_view.rs` puts each blob into an allocation of exactly its size. A watchdog
//! finds endless loops: a mutant takes microseconds, and may take a minute. The mutants are
//! the same in every run, a longer run begins with those of a shorter one, and a failure names
//! the mutant.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;
use std::{fs, thread};

use stillpoint::dt::{DtError, check};

use crate::blobs::{
    RESERVED_AT, STRINGS_AT, STRINGS_SIZE, STRUCT_AT, STRUCT_SIZE, TOTAL, TREES, blob, index,
    length, set_word, word,
};
use crate::dt_view::examine;
use crate::mutate::mutate;
use crate::xorshift::Random;

/// How many mutants of each tree `make test-host` tries.
const MUTANTS: usize = 20_000;

/// The seed of the first mutant. Each other one has the next number.
const SEED: u64 = 0x5711_1901;

/// How long the check of one blob may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Declares the tests of each tree, so that they run in parallel.
macro_rules! trees {
    ($($test:ident: $source:expr;)*) => {$(
        #[test]
        fn $test() {
            attack(stringify!($test), &$source);
        }
    )*};
}

trees! {
    bcm2711_rpi_4_b: blob("bcm2711-rpi-4-b");
    bcm2711_rpi_4_b_mini_uart: blob("bcm2711-rpi-4-b-mini-uart");
    board_spintable: blob("board-spintable");
    console_16550: blob("console-16550");
    console_absent: blob("console-absent");
    console_alias: blob("console-alias");
    console_disabled: blob("console-disabled");
    console_missing: blob("console-missing");
    console_sbsa: blob("console-sbsa");
    console_unknown: blob("console-unknown");
    cpus_disabled: blob("cpus-disabled");
    cpus_one_cell: blob("cpus-one-cell");
    cpus_two_cells: blob("cpus-two-cells");
    habits_alone: blob("habits-alone");
    habits_memory: blob("habits-memory");
    habits_redistributors: blob("habits-redistributors");
    habits_texts: blob("habits-texts");
    psci_0_2: blob("psci-0.2");
    psci_old_numbers: blob("psci-old-numbers");
    ram_8g: blob("ram-8g");
    ram_at_0: blob("ram-at-0");
    ram_at_2g: blob("ram-at-2g");
    virt_gicv2_smp4: blob("virt-gicv2-smp4");
    virt_gicv2_ten: blob("virt-gicv2-ten");
    virt_gicv3_smp20: blob("virt-gicv3-smp20");
    virt_gicv3_smp4: blob("virt-gicv3-smp4");
    virt_gicv3_smp4_el2: blob("virt-gicv3-smp4-el2");
    virt_gicv3_smp4_ghost: blob("virt-gicv3-smp4-ghost");
    qemu_smp1: qemu("gic-version=3", "1");
    qemu_smp4: qemu("gic-version=3", "4");
    qemu_smp4_gicv2: qemu("gic-version=2", "4");
    qemu_smp4_el2: qemu("gic-version=3,virtualization=on", "4");
    qemu_smp20_el2: qemu("gic-version=3,virtualization=on", "20");
}

#[test]
fn every_source_is_attacked() {
    let sources = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/dts")).unwrap();
    let names = sources.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names
        .filter_map(|name| Some(name.strip_suffix(".dts")?.to_owned()))
        .collect();
    names.sort();
    assert_eq!(names, TREES, "a tree without tests");
}

/// Returns the tree that QEMU makes for a machine, without its random seeds. It has 1 MiB,
/// most of which is padding.
fn qemu(machine: &str, cpus: &str) -> Vec<u8> {
    let file = std::env::temp_dir().join(format!(
        // A comma would end the file's name for QEMU.
        "stillpoint-{}-{cpus}-{}.dtb",
        std::process::id(),
        machine.replace(',', "-")
    ));
    let output = Command::new("qemu-system-aarch64")
        .arg("-M")
        .arg(format!(
            "virt,{machine},dtb-randomness=off,dumpdtb={}",
            file.display()
        ))
        .args(["-cpu", "max", "-smp", cpus, "-m", "1G"])
        .args(["-nic", "none", "-display", "none"])
        .output()
        .expect("these tests need `qemu-system-aarch64`: run `make setup`");
    assert!(output.status.success(), "QEMU dumps no tree: {output:?}");
    let blob = fs::read(&file).expect("QEMU said that it had written it");
    fs::remove_file(&file).unwrap();
    blob
}

/// The number of the current blob, for the watchdog and for the message of a failure.
struct Attack {
    tree: &'static str,
    what: &'static str,
    number: AtomicUsize,
}

impl Drop for Attack {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{self}");
        }
    }
}

impl std::fmt::Display for Attack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let number = self.number.load(Ordering::Relaxed);
        write!(f, "{}: {} {number}", self.tree, self.what)
    }
}

/// Runs `try_one` with every number below `count`; ends all tests if one of
/// them goes on for longer than [`LIMIT`].
fn watched(tree: &'static str, what: &'static str, count: usize, mut try_one: impl FnMut(usize)) {
    let attack = Attack {
        tree,
        what,
        number: AtomicUsize::new(0),
    };
    thread::scope(|scope| {
        // It is dropped when this thread ends, also by a panic.
        let (_done, at_work) = channel::<()>();
        let attack = &attack;
        scope.spawn(move || {
            let mut last = usize::MAX;
            while at_work.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
                let now = attack.number.load(Ordering::Relaxed);
                if now == last {
                    eprintln!("{attack}: goes on for ever");
                    std::process::exit(101);
                }
                last = now;
            }
        });
        for number in 0..count {
            attack.number.store(number, Ordering::Relaxed);
            try_one(number);
        }
    });
}

/// Returns the end of the last block of `blob`. All bytes behind it are padding.
fn content(blob: &[u8]) -> usize {
    let end = |at, size| index(word(blob, at)) + index(word(blob, size));
    end(STRUCT_AT, STRUCT_SIZE)
        .max(end(STRINGS_AT, STRINGS_SIZE))
        .max(index(word(blob, RESERVED_AT)) + 16)
}

fn attack(tree: &'static str, whole: &[u8]) {
    let compact = examine(whole).expect("the tree itself is good").into_vec();
    let content = content(whole);
    watched(tree, "cut to the size", whole.len(), |size| {
        let error = check(&whole[..size], &mut []);
        assert!(matches!(error, Err(DtError::Truncated { .. })), "{error:?}");
    });
    // The header gives the shortened length, so the blob is valid until a block is cut.
    let mut cut = whole.to_vec();
    cut.resize(content + 64, 0);
    let total = length(&cut);
    set_word(&mut cut, TOTAL, total);
    watched(tree, "said to have the size", cut.len(), |size| {
        let mut short = cut[..size].to_vec();
        if size >= 8 {
            set_word(&mut short, TOTAL, length(&cut[..size]));
        }
        assert_eq!(examine(&short).is_ok(), size >= content);
    });

    let mutants = std::env::var("DT_MUTANTS").map_or(MUTANTS, |text| text.parse().unwrap());
    println!("{tree}: {mutants} mutants, seeds from {SEED:#x}");
    let (mut good, mut refused) = (0, 0);
    watched(tree, "mutant", mutants, |number| {
        let seed = SEED + u64::try_from(number).unwrap();
        let mut mutant = if number % 2 == 0 { &cut } else { &compact }.clone();
        mutate(&mut mutant, &mut Random::new(seed));
        match examine(&mutant) {
            Ok(_) => good += 1,
            Err(_) => refused += 1,
        }
    });
    println!("{tree}: {good} are trees, {refused} are not");
    assert!(good > mutants / 10, "too broken to test the view: {good}");
    assert!(refused > mutants / 10, "hardly changed: {refused} refused");
}
