//! A machine of QEMU's that is looked at while it runs: its console, its monitor, and its
//! gdbstub.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::gdb::Gdb;
use crate::monitor::Monitor;
use crate::session::{End, Session};

/// How long QEMU may take until it listens.
const STARTS: Duration = Duration::from_secs(5);

/// How long it may take to end when its monitor says so.
const ENDS: Duration = Duration::from_secs(5);

/// How often it is looked whether QEMU listens yet.
const LOOK: Duration = Duration::from_millis(20);

/// A machine that was booted. It is ended when this is dropped.
pub struct Machine {
    session: Session,
    sockets: Sockets,
    monitor: Option<Monitor>,
}

impl Machine {
    /// Boots what `vm`, a command of QEMU's, describes. Its serial port goes to `log`; with
    /// `echo` to this program's standard output too.
    ///
    /// # Errors
    ///
    /// QEMU can't be started, or `log` not be written.
    pub fn boot(vm: &Command, log: &Path, echo: bool) -> Result<Machine> {
        Machine::boot_typed(vm, log, echo, Vec::new())
    }

    /// As [`Machine::boot`]; `typed` is typed on its serial port, from the first moment.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn boot_typed(vm: &Command, log: &Path, echo: bool, typed: Vec<u8>) -> Result<Machine> {
        let sockets = Sockets::new()?;
        let mut command = Command::new(vm.get_program());
        command.args(vm.get_args());
        command.args(["-serial", "stdio"]);
        for (name, option) in [(MONITOR, "-qmp"), (STUB, "-gdb")] {
            let path = sockets.path(name);
            let device = format!(
                "socket,id={name},path={},server=on,wait=off",
                path.display()
            );
            command.args(["-chardev", &device]);
            command.args([option, &format!("chardev:{name}")]);
        }
        let mut session = Session::start(&mut command, log, echo)?;
        session.type_all(typed);
        Ok(Machine {
            session,
            sockets,
            monitor: None,
        })
    }

    /// Returns whether QEMU still runs.
    ///
    /// # Errors
    ///
    /// The system doesn't say.
    pub fn runs(&mut self) -> Result<bool> {
        Ok(self.session.running().ended()?.is_none())
    }

    /// Returns its console.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Returns its monitor.
    ///
    /// # Errors
    ///
    /// QEMU has ended, or doesn't answer.
    pub fn monitor(&mut self) -> Result<&mut Monitor> {
        let monitor = match self.monitor.take() {
            Some(monitor) => monitor,
            None => self.connect(MONITOR, Monitor::connect)?,
        };
        Ok(self.monitor.insert(monitor))
    }

    /// Connects to its gdbstub: the machine stands still from here on.
    ///
    /// # Errors
    ///
    /// QEMU has ended, or doesn't answer.
    pub fn gdb(&mut self) -> Result<Gdb> {
        self.connect(STUB, Gdb::connect)
    }

    /// Has QEMU end, if it hasn't yet, and returns how it did.
    ///
    /// # Errors
    ///
    /// The system doesn't say.
    pub fn quit(&mut self) -> Result<End> {
        let mut ends = Instant::now() + ENDS;
        if self.runs()? {
            let asked = self.monitor().map(|monitor| {
                let _may_be_dead = monitor.quit();
            });
            // One that still prints and doesn't listen won't end by itself.
            if asked.is_err() && !self.session.is_whole() {
                ends = Instant::now();
            }
        }
        self.session.finish(ends)
    }

    /// Connects to the socket `name` as soon as QEMU listens there.
    fn connect<T>(
        &mut self,
        name: &str,
        connect_fn: impl FnOnce(&Path) -> std::io::Result<T>,
    ) -> Result<T> {
        let path = self.sockets.path(name);
        let deadline = Instant::now() + STARTS;
        while !path.exists() {
            if !self.runs()? {
                bail!("QEMU has ended");
            }
            if Instant::now() >= deadline {
                bail!("QEMU does not begin within {} s", STARTS.as_secs());
            }
            sleep(LOOK);
        }
        connect_fn(&path).with_context(|| format!("QEMU's {name}"))
    }
}

/// Runs `vm`, a command of QEMU's, until it ends or `limit` is over, and returns how it ended
/// and what it printed. Its serial port goes to `log`; what is typed there is `input`.
///
/// # Errors
///
/// QEMU can't be started, or `log` not be written.
pub fn run_to_end(
    mut vm: Command,
    input: &[u8],
    log: &Path,
    limit: Duration,
) -> Result<(End, String)> {
    vm.args(["-serial", "stdio", "-monitor", "none"]);
    let mut session = Session::start(&mut vm, log, false)?;
    session.type_all(input.to_vec());
    let end = session.finish(Instant::now() + limit)?;
    Ok((end, session.printed()))
}

/// The names of a machine's sockets, and of QEMU's devices that they are.
const MONITOR: &str = "monitor";
const STUB: &str = "gdbstub";

/// A directory for the sockets of one machine, which goes with this. A path of a socket
/// has room for about a hundred characters, fewer than that of a target directory may have.
struct Sockets {
    dir: PathBuf,
}

impl Sockets {
    fn new() -> Result<Sockets> {
        // A number of its own for each machine; it orders nothing.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("stillpoint-{}-{number}", process::id());
        let dir = std::env::temp_dir().join(name);
        fs::create_dir(&dir).with_context(|| dir.display().to_string())?;
        Ok(Sockets { dir })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        // What can't be removed is left for the system's own cleaning.
        let _left_there = fs::remove_dir_all(&self.dir);
    }
}
