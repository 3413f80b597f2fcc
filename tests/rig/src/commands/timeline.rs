//! `timeline [--perfetto] (IMAGE | --log FILE)`: boots a machine, has it export what its trace
//! rings hold, and draws it; or draws what was exported into a file, as the log of a board's
//! console.
//!
//! In target/timeline are then `trace.json`, for ui.perfetto.dev and chrome://tracing, and as
//! pictures `overview.svg`, all of it, `stop.svg`, a still point, and `walk.svg`, a CPU that goes
//! and comes. One that the trace has nothing for isn't there. `lab-2006.svg` and so on are the labs
//! that the machine has replayed, and `burst.svg` is the last burst for which the governor has had CPUs
//! come and go.
//!
//! INIT says what the machine does; the export is added if it isn't in it. Time is the instruction
//! count, so that two runs make the same pictures, unless ICOUNT is 0. With `--perfetto` Perfetto's
//! trace processor reads the file too, and must count what the kernel has counted; the status is 77
//! if it can't be had.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::config::Config;
use crate::guest::or_skip;
use crate::machine::run_to_end;
use crate::paths::target_dir;
use crate::qemu;
use crate::report::print;
use crate::timeline::chart::Chart;
use crate::timeline::draw::draw;
use crate::timeline::exported::exported;
use crate::timeline::trace::Trace;
use crate::timeline::{burst, lab, overview, perfetto, stop, walk};

/// Seconds that the machine may take.
const LIMIT: u64 = 60;

/// The command of the kernel's shell.
const EXPORT: &str = "trace export";

/// What a picture says of its times if they are counts.
const COUNTED: &str =
    "QEMU counts instructions here: one takes a nanosecond, and the CPUs run by turns.";

/// A picture: the name of its file, what the trace lacks if it can't be drawn, and its chart.
type Picture = (&'static str, &'static str, fn(&Trace) -> Option<Chart>);

const PICTURES: [Picture; 3] = [
    ("overview.svg", "the trace is empty", overview::chart),
    ("stop.svg", "the trace has no still point", stop::chart),
    ("walk.svg", "the trace has no walk of a CPU", walk::chart),
];

pub fn run(config: &Config, arguments: &[OsString]) -> Result<i32> {
    let (with_perfetto, from) = match arguments {
        [option, from @ ..] if option == "--perfetto" => (true, from),
        from => (false, from),
    };
    let dir = target_dir().join("timeline");
    fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    let mut is_counted = false;
    let (printed, log) = match from {
        [option, log] if option == "--log" => {
            let log = PathBuf::from(log);
            let printed = fs::read(&log).with_context(|| log.display().to_string())?;
            (String::from_utf8_lossy(&printed).into_owned(), log)
        }
        [image] => {
            let machine = machine(config)?;
            is_counted = machine.icount == "1";
            boot(&machine, Path::new(image), &dir)?
        }
        _ => bail!("timeline [--perfetto] (IMAGE | --log FILE)"),
    };
    let (json, trace) = read(&printed, &dir).with_context(|| format!("see {}", log.display()))?;
    for (name, lacks, chart) in PICTURES {
        let file = dir.join(name);
        match chart(&trace) {
            Some(mut chart) => {
                if is_counted {
                    chart.note = format!("{}\n{COUNTED}", chart.note).trim().to_owned();
                }
                write(&file, &draw(&chart))?;
                print(&format!("{}: {}\n", file.display(), chart.title));
            }
            None => {
                // One of an earlier run would be taken for this run's.
                let _there_was_none = fs::remove_file(&file);
                print(&format!("{}: not drawn, {lacks}\n", file.display()));
            }
        }
    }
    draw_burst(&trace, &dir)?;
    draw_labs(&printed, &dir)?;
    if !with_perfetto {
        return Ok(0);
    }
    or_skip(perfetto::check(&json, &trace).map(|told| {
        print(&format!("{told}\n"));
        0
    }))
}

/// Draws the last burst that the governor has met, if there is one, and removes an earlier picture.
fn draw_burst(trace: &Trace, dir: &Path) -> Result<()> {
    let file = dir.join("burst.svg");
    match burst::picture(trace) {
        Some(text) => {
            write(&file, &text)?;
            print(&format!("{}: CPUs follow the load\n", file.display()));
        }
        None => drop(fs::remove_file(&file)),
    }
    Ok(())
}

/// Draws the labs that were replayed, and removes the pictures of others.
fn draw_labs(printed: &str, dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().as_bytes();
        if name.starts_with(b"lab-") {
            fs::remove_file(&path).with_context(|| path.display().to_string())?;
        }
    }
    for (name, chart) in lab::charts(printed)? {
        let file = dir.join(format!("lab-{name}.svg"));
        write(&file, &draw(&chart))?;
        print(&format!("{}: {}\n", file.display(), chart.title));
    }
    Ok(())
}

/// Boots the machine, and returns what it has printed, and the file with it.
fn boot(machine: &Config, image: &Path, dir: &Path) -> Result<(String, PathBuf)> {
    let limit = Duration::from_secs(machine.timeout_or(LIMIT)?);
    let log = dir.join("console.log");
    let (end, printed) = run_to_end(qemu::command(machine, image)?, b"", &log, limit)?;
    end.is(0, limit)
        .with_context(|| format!("the machine, see {}", log.display()))?;
    Ok((printed, log))
}

/// Returns the trace in what was `printed`, and the file with its JSON.
fn read(printed: &str, dir: &Path) -> Result<(PathBuf, Trace)> {
    let (text, value) = exported(printed)?;
    let json = dir.join("trace.json");
    write(&json, &format!("{text}\n"))?;
    let trace = Trace::read(&value)?;
    print(&format!(
        "{}: {} slices, as the kernel has counted; to be opened at ui.perfetto.dev\n",
        json.display(),
        trace.slices(),
    ));
    Ok((json, trace))
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| file.display().to_string())
}

/// Returns the machine that is booted.
fn machine(config: &Config) -> Result<Config> {
    let mut machine = config.clone();
    if machine.icount.is_empty() {
        machine.icount = "1".into();
    }
    if machine.init.is_empty() {
        machine.init = shown(config.cpus()?).into();
    }
    if !contains(&machine.init, EXPORT) {
        machine.init.push(format!("; {EXPORT}; poweroff"));
    }
    Ok(machine)
}

fn contains(commands: &OsStr, part: &str) -> bool {
    let mut windows = commands.as_bytes().windows(part.len());
    windows.any(|window| window == part.as_bytes())
}

/// Has scheduling events recorded too.
const RECORD: &str = "echo 1 > /sys/kernel/tracing/events/enable";

/// Returns the commands that are shown on a machine of `cpus` CPUs: a stop, and the last CPU goes
/// and comes. It does so before scheduling events are recorded, which takes time, and again after
/// that.
fn shown(cpus: u32) -> String {
    match cpus {
        0 | 1 => format!("{RECORD}; stop"),
        more => {
            let last = more - 1;
            let walks = format!("chcpu -d {last}; chcpu -e {last}");
            format!("{walks}; {RECORD}; stop; {walks}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn init(of: &str, cpus: &str) -> String {
        let config = Config {
            init: of.into(),
            smp: cpus.into(),
            ..Config::default()
        };
        let machine = machine(&config).expect("a machine");
        machine.init.into_string().expect("text")
    }

    #[test]
    fn the_machine_exports_whatever_it_does() {
        let end = "; trace export; poweroff";
        let walks = "chcpu -d 3; chcpu -e 3";
        assert_eq!(
            init("", ""),
            format!("{walks}; {RECORD}; stop; {walks}{end}")
        );
        assert_eq!(init("", "1"), format!("{RECORD}; stop{end}"));
        assert_eq!(init("stress 3", "2"), format!("stress 3{end}"));
        assert_eq!(init("trace export; exit 2", ""), "trace export; exit 2");
    }

    #[test]
    fn time_is_counted_in_instructions_unless_told() {
        let icount = |of: &str| {
            let config = Config {
                icount: of.into(),
                ..Config::default()
            };
            machine(&config).expect("a machine").icount
        };
        assert_eq!(["", "1", "0"].map(icount), ["1", "1", "0"]);
    }
}
