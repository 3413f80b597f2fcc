//! A running machine in QEMU, with its console, its monitor and its gdbstub.

use std::io::ErrorKind::{ConnectionRefused, NotFound};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::gdb::Gdb;
use crate::monitor::Monitor;
use crate::session::{End, Session};

/// How long QEMU may take to listen on a socket.
const STARTS: Duration = Duration::from_secs(5);

/// How long QEMU may take to end after its monitor was told to.
const ENDS: Duration = Duration::from_secs(5);

/// How often a connection to QEMU is tried.
const LOOK: Duration = Duration::from_millis(20);

/// A machine that was booted. Dropping this ends the machine.
pub struct Machine {
    session: Session,
    sockets: Sockets,
    monitor: Option<Monitor>,
}

impl Machine {
    /// Boots the machine of `vm`, a command of QEMU. The output of its serial port goes to
    /// `log`, and with `echo` also to this program's standard output.
    ///
    /// # Errors
    ///
    /// QEMU can't be started, or `log` can't be written.
    pub fn boot(vm: &Command, log: &Path, echo: bool) -> Result<Machine> {
        Machine::boot_typed(vm, log, echo, Vec::new())
    }

    /// Boots as [`Machine::boot`] does, and types `typed` on the serial port from the start.
    ///
    /// # Errors
    ///
    /// The errors of [`Machine::boot`].
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
    /// The system can't tell the status of QEMU.
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

    /// Connects to its gdbstub, which stops the machine.
    ///
    /// # Errors
    ///
    /// QEMU has ended, or doesn't answer.
    pub fn gdb(&mut self) -> Result<Gdb> {
        self.connect(STUB, Gdb::connect)
    }

    /// Ends QEMU, unless it has ended, and returns how it ended.
    ///
    /// # Errors
    ///
    /// The system can't tell the status of QEMU.
    pub fn quit(&mut self) -> Result<End> {
        let mut ends = Instant::now() + ENDS;
        if self.runs()? {
            let asked = self.monitor().map(|monitor| {
                let _may_be_dead = monitor.quit();
            });
            // QEMU still runs and doesn't listen, so it won't end by itself.
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
        connect_fn: impl Fn(&Path) -> std::io::Result<T>,
    ) -> Result<T> {
        let path = self.sockets.path(name);
        let deadline = Instant::now() + STARTS;
        loop {
            match connect_fn(&path) {
                // QEMU binds the socket before it listens.
                Err(error) if matches!(error.kind(), NotFound | ConnectionRefused) => {
                    if !self.runs()? {
                        bail!("QEMU has ended");
                    }
                    if Instant::now() >= deadline {
                        bail!("QEMU does not begin within {} s", STARTS.as_secs());
                    }
                    sleep(LOOK);
                }
                connected => return connected.with_context(|| format!("QEMU's {name}")),
            }
        }
    }
}

/// Runs `vm`, a command of QEMU, until it ends or `limit` has passed, and returns how it ended
/// and its output. `input` is typed on its serial port, whose output also goes to `log`.
///
/// # Errors
///
/// QEMU can't be started, or `log` can't be written.
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

/// The names of a machine's sockets and of the QEMU devices behind them.
const MONITOR: &str = "monitor";
const STUB: &str = "gdbstub";

/// A temporary directory for the sockets of a machine, with a name that nothing else has, whatever
/// a killed rig left behind. Dropping this removes it. It isn't in the target directory, whose
/// path may be too long: the path of a socket has at most about a hundred characters.
struct Sockets {
    dir: TempDir,
}

impl Sockets {
    fn new() -> Result<Sockets> {
        let dir = tempfile::Builder::new().prefix("stillpoint-").tempdir();
        let dir = dir.context("a directory for a machine's sockets")?;
        Ok(Sockets { dir })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}
