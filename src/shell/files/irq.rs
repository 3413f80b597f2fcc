//! The files of `/proc/irq`: where each interrupt of a device goes.
//!
//! | Path in `/proc/irq/N` | Read | Written |
//! |---|---|---|
//! | `smp_affinity` | the CPUs that it may go to, as a mask | changes them |
//! | `smp_affinity_list` | the same, as a list | changes them |
//! | `effective_affinity`, `effective_affinity_list` | the CPU that it goes to | |
//! | `spurious` | how often it came, and without a reason, since it was last judged | |
//!
//! # Sources
//! Linux `Documentation/core-api/irq/irq-affinity.rst`; `kernel/irq/proc.c` for what is written and
//! its errors, and for `spurious`; `lib/bitmap-str.c` for masks and lists.

use alloc::format;
use alloc::string::String;

use crate::config::MAX_CPUS;
use crate::cpu::{CpuId, CpuMask};
use crate::errno::Errno;
use crate::shell::cpulist::{CpuListErrorKind, parse_cpu_list};
use crate::shell::machine::{IrqRow, Machine};

/// A file of one interrupt.
#[derive(Clone, Copy)]
pub(super) enum IrqFile {
    Affinity,
    AffinityList,
    Effective,
    EffectiveList,
    Spurious,
}

impl IrqFile {
    /// All of them, with their names.
    pub(super) const ALL: [(&str, IrqFile); 5] = [
        ("effective_affinity", IrqFile::Effective),
        ("effective_affinity_list", IrqFile::EffectiveList),
        ("smp_affinity", IrqFile::Affinity),
        ("smp_affinity_list", IrqFile::AffinityList),
        ("spurious", IrqFile::Spurious),
    ];

    /// Returns the content for the interrupt `number`; nothing if that has been given back.
    pub(super) fn read<M: Machine>(self, machine: &M, number: u32) -> String {
        let mut rows = machine.irqs().into_iter();
        let Some(row) = rows.find(|row| row.number == number) else {
            return String::new();
        };
        let cpus = machine.masks().possible.iter().last();
        let digits = cpus.map_or(1, |last| last.index() / 4 + 1);
        match self {
            IrqFile::Affinity => format!("{}\n", hex(&row.affinity, digits)),
            IrqFile::AffinityList => format!("{}\n", row.affinity),
            IrqFile::Effective => format!("{}\n", hex(&effective(&row), digits)),
            IrqFile::EffectiveList => format!("{}\n", effective(&row)),
            IrqFile::Spurious => format!(
                "count {}\nunhandled {}\nlast_unhandled {} ms\n",
                row.seen, row.unhandled, row.last_unhandled_ms
            ),
        }
    }

    /// Returns the CPUs that `value`, which is written to the file, stands for; `None` if it may
    /// not be written.
    ///
    /// # Errors
    /// What Linux returns for a value that it doesn't understand.
    pub(super) fn cpus(self, value: &str) -> Option<Result<CpuMask, Errno>> {
        match self {
            IrqFile::Affinity => Some(from_hex(value)),
            IrqFile::AffinityList => {
                Some(parse_cpu_list(value).map_err(|error| match error.kind {
                    CpuListErrorKind::TooLarge => Errno::Range,
                    _ => Errno::Invalid,
                }))
            }
            IrqFile::Effective | IrqFile::EffectiveList | IrqFile::Spurious => None,
        }
    }
}

/// Returns the CPU that it goes to, as a set.
fn effective(row: &IrqRow) -> CpuMask {
    row.effective.map_or(CpuMask::EMPTY, CpuMask::of)
}

/// Returns `cpus` in `digits` hexadecimal digits, with a comma before each eight.
fn hex(cpus: &CpuMask, digits: usize) -> String {
    let mut text = String::new();
    for at in (0..digits).rev() {
        let bits = (4 * at..4 * at + 4).filter_map(CpuId::new);
        let bits = bits.filter(|cpu| cpus.contains(*cpu));
        let digit = bits.map(|cpu| 1 << (cpu.index() % 4)).sum::<u32>();
        text.extend(char::from_digit(digit, 16));
        if at != 0 && at % 8 == 0 {
            text.push(',');
        }
    }
    text
}

/// Returns the CPUs of a mask in hexadecimal digits, with commas between groups of at most eight.
fn from_hex(text: &str) -> Result<CpuMask, Errno> {
    let mut cpus = CpuMask::EMPTY;
    let mut first = 0;
    for group in text.rsplit(',') {
        if group.is_empty() || group.len() > 8 {
            return Err(if group.is_empty() {
                Errno::Invalid
            } else {
                Errno::Overflow
            });
        }
        for (at, digit) in group.chars().rev().enumerate() {
            let digit = digit.to_digit(16).ok_or(Errno::Invalid)?;
            for bit in (0..4).filter(|bit| digit & (1 << bit) != 0) {
                let cpu = first + 4 * at + bit;
                cpus.insert(
                    CpuId::new(cpu)
                        .filter(|_| cpu < MAX_CPUS)
                        .ok_or(Errno::Overflow)?,
                );
            }
        }
        first += 32;
    }
    Ok(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_written_as_they_are_read() {
        let list = |text: &str| parse_cpu_list(text).unwrap();
        for (mask, cpus, digits) in [
            ("f", "0-3", 1),
            ("01", "0", 2),
            ("1,00000000", "32", 9),
            ("80000000,00000001", "0,63", 16),
        ] {
            assert_eq!(hex(&list(cpus), digits), mask);
            assert_eq!(from_hex(mask), Ok(list(cpus)));
        }
        assert_eq!(from_hex("F"), Ok(list("0-3")));
        assert_eq!(from_hex("0"), Ok(CpuMask::EMPTY));
    }

    #[test]
    fn what_is_no_mask_has_the_error_of_linux() {
        for text in ["", "x", "1,", ",1", "0x1", "-1"] {
            assert_eq!(from_hex(text), Err(Errno::Invalid), "{text}");
        }
        for text in [
            "100000000",
            &("1,".to_owned() + &"0,".repeat(MAX_CPUS / 32) + "0"),
        ] {
            assert_eq!(from_hex(text), Err(Errno::Overflow), "{text}");
        }
        let far = IrqFile::AffinityList.cpus("1000000");
        assert_eq!(far, Some(Err(Errno::Range)));
        assert_eq!(IrqFile::AffinityList.cpus("a"), Some(Err(Errno::Invalid)));
        assert_eq!(IrqFile::Spurious.cpus("1"), None);
    }
}
