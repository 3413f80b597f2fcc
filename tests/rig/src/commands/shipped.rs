//! `shipped IMAGE`: boots the Image that is shipped, as a user would, and checks its output.
//!
//! Each case has a machine, shell commands, and patterns of lines that must be printed, in
//! order. It must end with status 0, as `poweroff` does after commands without a failure,
//! unless the case names another status.

mod exported;
mod labs;
mod table;
mod tour;
mod walks;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};

use crate::cases::{Cases, find_lines};
use crate::config::Config;
use crate::machine::run_to_end;
use crate::paths::log_dir;
use crate::qemu;
use crate::tools::qemu_has_rpi4;

use table::Case;

/// Seconds that a machine may take.
const LIMIT: u64 = 20;

/// The kernel, the variables and the limit, which every case needs.
struct Setting<'a> {
    config: &'a Config,
    image: &'a Path,
    logs: PathBuf,
}

pub fn run(config: &Config, arguments: &[OsString]) -> Result<i32> {
    let [image] = arguments else {
        bail!("shipped IMAGE");
    };
    let setting = Setting {
        config,
        image: Path::new(image),
        logs: log_dir()?,
    };
    let mut cases = Cases::new("shipped", arguments, config);
    let run = |cases: &mut Cases, name: &str, cpus: u32, run_fn: &dyn Fn() -> Result<()>| {
        let line = |took: &str| format!("{name:<24} SMP={cpus:<3} {took:>6}");
        cases.run(name, &setting.log(name), line, run_fn);
    };
    run(&mut cases, "the_tour", 4, &|| tour::the_tour(&setting));
    run(&mut cases, "walks_add_up", 4, &|| {
        walks::walks_add_up(&setting)
    });
    run(&mut cases, "trace_is_exported", 4, &|| {
        exported::trace_is_exported(&setting)
    });
    run(&mut cases, "lab_is_drawn", 4, &|| {
        exported::lab_is_drawn(&setting)
    });
    for case in table::everywhere() {
        run(&mut cases, case.name, case.cpus, &|| setting.judge(&case));
    }
    let has_rpi4 = qemu_has_rpi4()?;
    for case in table::on_a_pi() {
        if has_rpi4 {
            run(&mut cases, case.name, case.cpus, &|| setting.judge(&case));
        } else {
            let why = "this QEMU has no raspi4b (it comes with version 9)";
            cases.skip(
                case.name,
                &format!("{:<24} SMP={:<3} {:>6}  {why}", case.name, 4, "-"),
            );
        }
    }
    Ok(cases.finish())
}

impl Setting<'_> {
    fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("shipped-{name}.log"))
    }

    /// Boots a machine, checks that it ends with `status`, and returns the console's output.
    fn boot(&self, name: &str, machine: &Config, status: i32) -> Result<String> {
        let vm = qemu::command(machine, self.image)?;
        let limit = Duration::from_secs(self.config.timeout_or(LIMIT)?);
        let (end, printed) = run_to_end(vm, b"", &self.log(name), limit)?;
        end.is(status, limit)?;
        Ok(printed)
    }

    fn judge(&self, case: &Case) -> Result<()> {
        let printed = self.boot(case.name, &case.machine(self.config), case.status)?;
        find_lines(&printed, case.lines)
    }
}
