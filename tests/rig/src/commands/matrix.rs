//! `matrix IMAGE [all]`: boots the same Image on every machine.
//!
//! It boots the Image that is shipped with init="selftest; poweroff" on each machine of a
//! table, and prints the Image's checksum, because it is the same file everywhere. For any
//! two settings that QEMU can combine, one of the first twelve rows of the table has both.
//! The last row has many CPUs and little memory. With `all`, it boots on every combination.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::cases::{Cases, judge_selftest};
use crate::config::Config;
use crate::machine::run_to_end;
use crate::paths::log_dir;
use crate::process::output_of;
use crate::qemu;
use crate::tools::qemu_has_rpi4;

/// Seconds that a machine may take.
const LIMIT: u64 = 60;

#[rustfmt::skip]
const TABLE: [&str; 13] = [
//   name           board  gic  entered  cpu         threads  memory  cpus
    "v2-alone       virt   2    el1      max         single   64M     1",
    "v2-secure-8    virt   2    secure   cortex-a72  single   8G      8",
    "v2-secure      virt   2    secure   cortex-a53  multi    1G      1",
    "v3-small       virt   3    el1      cortex-a72  single   64M     4",
    "v3-large       virt   3    el1      max         multi    1G      20",
    "v3-alone       virt   3    el1      cortex-a53  single   8G      1",
    "v3-el2         virt   3    el2      cortex-a53  single   1G      4",
    "v3-secure      virt   3    secure   max         single   64M     4",
    "v4-el2         virt   4    el2      max         multi    8G      4",
    "v4-alone       virt   4    el2      cortex-a72  single   1G      1",
    "v4-el2-large   virt   4    el2      cortex-a53  multi    64M     20",
    "rpi4           rpi4   2    el2      cortex-a72  multi    2G      4",
    "v3-crowded     virt   3    el1      max         multi    16M     64",
];

/// A machine of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    name: String,
    board: String,
    gic: String,
    entered: String,
    cpu: String,
    threads: String,
    memory: String,
    cpus: String,
}

impl Row {
    fn parse(line: &str) -> Option<Row> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let [name, board, gic, entered, cpu, threads, memory, cpus] = words.try_into().ok()?;
        Some(Row {
            name,
            board,
            gic,
            entered,
            cpu,
            threads,
            memory,
            cpus,
        })
    }

    /// Returns the machine of this row. `config` has the settings that no row has.
    fn machine(&self, config: &Config) -> Config {
        let on_if = |entered: &str| String::from(if self.entered == entered { "on" } else { "" });
        Config {
            board: self.board.clone(),
            gic: self.gic.clone(),
            virt: on_if("el2"),
            secure: on_if("secure"),
            cpu: self.cpu.clone(),
            tcg: self.threads.clone(),
            mem: self.memory.clone(),
            smp: self.cpus.clone(),
            init: "selftest; poweroff".into(),
            ..config.clone()
        }
    }

    fn text(&self, took: &str, checksum: &str) -> String {
        let Row {
            name,
            gic,
            entered,
            cpu,
            threads,
            memory,
            cpus,
            ..
        } = self;
        format!(
            "{name:<14} GICv{gic} {entered:<6} {cpu:<10} {threads:<6} {memory:>4} \
             SMP={cpus:<3} {took:>6}  {checksum}"
        )
    }
}

pub fn run(config: &Config, arguments: &[OsString]) -> Result<i32> {
    let (image, rows) = match arguments {
        [image] => (image, TABLE.map(str::to_owned).into()),
        [image, all] if all == "all" => (image, every_combination()),
        _ => bail!("matrix IMAGE [all]"),
    };
    let checksum = checksum(Path::new(image))?;
    let has_rpi4 = qemu_has_rpi4()?;
    let limit = Duration::from_secs(config.timeout_or(LIMIT)?);
    let mut cases = Cases::new("matrix", arguments, config);
    for row in rows {
        let row = Row::parse(&row).with_context(|| format!("not a machine: {row}"))?;
        if row.board == "rpi4" && !has_rpi4 {
            let why = "this QEMU has no raspi4b (it comes with version 9)";
            cases.skip(&row.name, &format!("{}: {why}", row.name));
            continue;
        }
        let log = log_dir()?.join(format!("matrix-{}.log", row.name));
        cases.run(
            &row.name,
            &log,
            |took| row.text(took, &checksum),
            || {
                let vm = qemu::command(&row.machine(config), Path::new(image))?;
                let (end, printed) = run_to_end(vm, b"", &log, limit)?;
                end.is(0, limit)?;
                judge_selftest(&printed)
            },
        );
    }
    Ok(cases.finish())
}

/// Returns the first digits of the SHA-256 sum of the file `image`.
fn checksum(image: &Path) -> Result<String> {
    let sum = output_of(Command::new("sha256sum").arg(image))?;
    Ok(String::from_utf8_lossy(&sum).chars().take(16).collect())
}

/// Returns a row for every combination that QEMU has: GICv4 needs EL2, and GICv2 has at most
/// eight CPUs.
fn every_combination() -> Vec<String> {
    let mut rows = Vec::new();
    let mut each = |gic, entered, cpu, threads| {
        for memory in ["64M", "1G", "8G"] {
            for cpus in [1, 4, 8, 20] {
                if gic != 2 || cpus <= 8 {
                    let name = format!("v{gic}-{entered}-{cpu}-{threads}-{memory}-{cpus}");
                    rows.push(format!(
                        "{name} virt {gic} {entered} {cpu} {threads} {memory} {cpus}"
                    ));
                }
            }
        }
    };
    for gic in [2, 3, 4] {
        for entered in ["el1", "el2", "secure"] {
            if gic == 4 && entered != "el2" {
                continue;
            }
            for cpu in ["cortex-a53", "cortex-a72", "max"] {
                for threads in ["single", "multi"] {
                    each(gic, entered, cpu, threads);
                }
            }
        }
    }
    rows.push("rpi4 rpi4 2 el2 cortex-a72 multi 2G 4".into());
    rows.push("rpi4-single rpi4 2 el2 cortex-a72 single 2G 4".into());
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_row_is_a_machine() {
        let row = Row::parse(TABLE[1]).expect("a row");
        let machine = row.machine(&Config::default());
        assert_eq!((machine.gic.as_str(), machine.secure.as_str()), ("2", "on"));
        assert_eq!((machine.virt.as_str(), machine.smp.as_str()), ("", "8"));
        assert_eq!(
            row.text("2.3s", "0123"),
            "v2-secure-8    GICv2 secure cortex-a72 single   8G SMP=8     2.3s  0123"
        );
        assert_eq!(Row::parse("too few words"), None);
        assert!(TABLE.iter().all(|row| Row::parse(row).is_some()));
    }

    #[test]
    fn every_combination_is_there_once() {
        let rows = every_combination();
        let names: BTreeSet<_> = rows
            .iter()
            .filter_map(|row| row.split(' ').next())
            .collect();
        assert_eq!(names.len(), rows.len());
        // GICv2 has three exception levels at entry and three sizes, GICv3 three and four,
        // GICv4 one and four. The last 2 are the rows of the Raspberry Pi 4.
        assert_eq!(rows.len(), 3 * 18 * 3 + 3 * 18 * 4 + 18 * 4 + 2);
        assert!(rows.iter().all(|row| Row::parse(row).is_some()));
    }
}
