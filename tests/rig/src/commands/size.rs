//! `size ELF IMAGE`: prints how much memory the kernel needs: the sections of the ELF, the
//! Image as a file and in memory, and the memory for each further CPU, which is measured by
//! booting with 4 CPUs and with 8.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::config::Config;
use crate::machine::run_to_end;
use crate::paths::log_dir;
use crate::process::succeed;
use crate::qemu;
use crate::report::print;
use crate::tools::llvm;

pub fn run(_config: &Config, arguments: &[OsString]) -> Result<i32> {
    let [elf, image] = arguments else {
        bail!("size ELF IMAGE");
    };
    let image = Path::new(image);
    succeed(llvm("size")?.args(["-A", "-x"]).arg(elf))?;
    let bytes = fs::read(image).with_context(|| image.display().to_string())?;
    let in_memory = image_size(&bytes).context("the Image has no header")?;
    print(&format!(
        "Image: {} bytes as a file, {in_memory} in memory\n",
        bytes.len()
    ));
    let (few, more) = (used(image, 4)?, used(image, 8)?);
    print(&format!(
        "Each CPU: {} KiB of heap, {} KiB of stacks with their guards\n",
        (more.heap - few.heap) / 4,
        (more.stacks - few.stacks) / 4
    ));
    Ok(0)
}

/// Returns the size in memory that an Image's header has (Linux,
/// Documentation/arch/arm64/booting.rst).
fn image_size(image: &[u8]) -> Option<u64> {
    let size = image.get(16..24)?.try_into().ok()?;
    Some(u64::from_le_bytes(size))
}

/// The memory in use, in KiB.
struct Used {
    heap: i64,
    stacks: i64,
}

/// How long a machine may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Returns the memory in use with `cpus` CPUs.
fn used(image: &Path, cpus: u32) -> Result<Used> {
    let config = Config {
        init: "free; poweroff".into(),
        smp: cpus.to_string(),
        ..Config::default()
    };
    let vm = qemu::command(&config, image)?;
    let log = log_dir()?.join(format!("size-smp{cpus}.log"));
    let (_, printed) = run_to_end(vm, b"", &log, LIMIT)?;
    in_table(&printed).with_context(|| format!("no table of `free` in {}", log.display()))
}

/// Parses the table that `free` prints.
fn in_table(log: &str) -> Option<Used> {
    let used = |name: &str| {
        let mut rows = log.lines().map(str::split_whitespace);
        let mut row = rows.find(|row| row.clone().next() == Some(name))?;
        row.nth(2)?.parse().ok()
    };
    Some(Used {
        heap: used("Mem:")?,
        stacks: used("Stacks:")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_column_is_what_is_used() {
        let log = "       total  used  free\nMem:   1000   20  980\nStacks: 64  16  48\n";
        let used = in_table(log).expect("a table");
        assert_eq!((used.heap, used.stacks), (20, 16));
        assert!(in_table("Mem: 1000 20").is_none());
    }

    #[test]
    fn an_image_says_its_size() {
        let mut image = vec![0; 64];
        image[17] = 1;
        assert_eq!(image_size(&image), Some(256));
        assert_eq!(image_size(&image[..20]), None);
    }
}
