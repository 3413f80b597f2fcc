//! Programs that are started, have a limit, and are never left running.

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Mutex;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{
    Pid, Signal, WaitOptions, kill_process, kill_process_group, set_parent_process_death_signal,
    wait,
};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// How often a wait checks whether its program has ended.
const LOOK: Duration = Duration::from_millis(20);

/// How long a program that was asked to end may take before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// The running program's file, even if cargo has replaced it since because a source has changed
/// (proc_pid_exe(5)).
pub const THIS_PROGRAM: &str = "/proc/self/exe";

/// Returns a command that runs this program.
#[must_use]
pub fn this_program() -> Command {
    let mut command = Command::new(THIS_PROGRAM);
    command.arg0("stillpoint-rig");
    command
}

/// A running program. It ends when this is dropped or when the rig dies, with its process group
/// if it has one of its own.
pub struct Running {
    child: Child,
    has_group: bool,
    ended: Option<ExitStatus>,
}

impl Running {
    /// Starts `command`, and all programs that it will start, in a process group of its own. The
    /// caller sets its standard input and output. It can't read from a terminal, because its
    /// group isn't the foreground group.
    ///
    /// # Errors
    ///
    /// The program can't be started.
    pub fn start(command: &mut Command) -> Result<Running> {
        command.process_group(0);
        Running::start_with(command, true)
    }

    /// Starts `command` in the process group of this program, so that it may use the
    /// terminal.
    ///
    /// # Errors
    ///
    /// The program can't be started.
    pub fn start_in_front(command: &mut Command) -> Result<Running> {
        Running::start_with(command, false)
    }

    fn start_with(command: &mut Command, has_group: bool) -> Result<Running> {
        let command = ends_with_us(command);
        let child = command
            .spawn()
            .with_context(|| command.get_program().display().to_string())?;
        Ok(Running {
            child,
            has_group,
            ended: None,
        })
    }

    /// Returns the program's own process.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Returns the status of the program if it has ended.
    ///
    /// # Errors
    ///
    /// The system can't tell the status of the program.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait()?;
        }
        Ok(self.ended)
    }

    /// Returns the status of the program if it has been collected.
    #[must_use]
    pub fn status(&self) -> Option<ExitStatus> {
        self.ended
    }

    /// Leaves the program to another part of this one, which ends it and collects its status.
    pub fn forget(self) {
        std::mem::forget(self);
    }

    /// Waits until the program ends, and returns its status; `None` if it still runs at
    /// `deadline`.
    ///
    /// # Errors
    ///
    /// The system can't tell the status of the program.
    pub fn wait_until(&mut self, deadline: Instant) -> Result<Option<ExitStatus>> {
        loop {
            if let Some(status) = self.ended()? {
                return Ok(Some(status));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            sleep(left.min(LOOK));
        }
    }

    /// Waits until the program ends, however long that takes, and returns its status.
    ///
    /// # Errors
    ///
    /// The system can't tell the status of the program.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        let status = self.child.wait()?;
        self.ended = Some(status);
        Ok(status)
    }

    /// Ends the program and all of its group: asks it to end first, and then kills it.
    ///
    /// # Errors
    ///
    /// The system doesn't say how the program ended.
    pub fn end(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::TERM);
        let status = match self.wait_until(Instant::now() + GRACE)? {
            Some(status) => status,
            None => {
                self.signal(Signal::KILL);
                self.child.wait()?
            }
        };
        self.ended = Some(status);
        Ok(status)
    }

    fn signal(&self, signal: Signal) {
        // Its number can't be reused before its status was collected. An error means that the
        // group has ended already.
        if self.ended.is_none()
            && let Some(process) = Pid::from_raw(self.child.id().cast_signed())
        {
            let _nothing_to_end = if self.has_group {
                kill_process_group(process, signal)
            } else {
                kill_process(process, signal)
            };
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        if self.ended.is_none() {
            let _status = self.child.wait();
        }
    }
}

/// Collects the status of each process that has ended and whose parent this program is, or has
/// become as a subreaper, and keeps those of the programs `all`. No thread may wait for another
/// program meanwhile.
///
/// # Errors
///
/// The system can't tell the status of a program.
pub fn collect_all<'a>(all: impl Iterator<Item = &'a mut Running>) -> Result<()> {
    let mut all: Vec<&mut Running> = all.collect();
    // While one of them has not ended, there is a process to wait for.
    while all.iter().any(|running| running.ended.is_none()) {
        let Some((process, status)) = wait(WaitOptions::NOHANG)? else {
            break;
        };
        let process = process.as_raw_nonzero().get();
        let its = |running: &&mut &mut Running| running.child.id().cast_signed() == process;
        if let Some(running) = all.iter_mut().find(its) {
            running.ended = Some(ExitStatus::from_raw(status.as_raw()));
        }
    }
    Ok(())
}

/// Has the program of `command` end when the thread that starts it dies.
pub fn ends_with_us(command: &mut Command) -> &mut Command {
    // SAFETY: between fork and exec the closure makes one system call, by which a parent's
    // death ends the child, and touches no memory.
    unsafe {
        command.pre_exec(|| {
            set_parent_process_death_signal(Some(Signal::TERM)).map_err(io::Error::from)
        })
    }
}

/// Has the program of `command`, and all that it starts, run on one CPU: the first of those
/// that this thread may run on.
///
/// # Errors
///
/// The system doesn't say which CPUs those are.
pub fn on_one_cpu(command: &mut Command) -> Result<&mut Command> {
    let cpus = sched_getaffinity(None)?;
    let first = (0..CpuSet::MAX_CPU).find(|cpu| cpus.is_set(*cpu));
    let mut one = CpuSet::new();
    one.set(first.context("there is a CPU")?);
    // SAFETY: between fork and exec the closure makes one system call, which reads the set
    // that the closure owns.
    Ok(unsafe { command.pre_exec(move || sched_setaffinity(None, &one).map_err(io::Error::from)) })
}

/// Returns the number that stands for `status` in a shell: 128 and more for a signal.
#[must_use]
pub fn code(status: ExitStatus) -> i32 {
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// Runs `command` to its end, with the input and output of the rig, and returns its status as a
/// shell does.
///
/// # Errors
///
/// The program can't be started.
pub fn status(command: &mut Command) -> Result<i32> {
    let status = ends_with_us(command)
        .status()
        .with_context(|| command.get_program().display().to_string())?;
    Ok(code(status))
}

/// Runs `command` to its end, as [`status`] does.
///
/// # Errors
///
/// The program can't be started, or fails.
pub fn succeed(command: &mut Command) -> Result<()> {
    match status(command)? {
        0 => Ok(()),
        status => bail!(
            "{} ended with status {status}",
            command.get_program().display()
        ),
    }
}

/// Runs `command` to its end and returns what it printed to standard output.
///
/// # Errors
///
/// The program can't be started, or fails.
pub fn output_of(command: &mut Command) -> Result<Vec<u8>> {
    let program = command.get_program().display().to_string();
    let Output { status, stdout, .. } = ends_with_us(command)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| program.clone())?;
    if !status.success() {
        bail!("{program} ended with status {}", code(status));
    }
    Ok(stdout)
}

/// Calls `work_fn` for each of `items` in their order, up to `jobs` at a time, and returns the
/// results, in any order. An error ends its worker; the other workers go on to the last item.
///
/// # Errors
///
/// An error of `work_fn`.
///
/// # Panics
///
/// If `work_fn` does.
pub fn in_parallel<T: Send, R: Send>(
    jobs: usize,
    items: impl IntoIterator<Item = T, IntoIter: Send>,
    work_fn: impl Fn(T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    one_of_some_in_parallel(jobs, Vec::new(), items, work_fn)
}

/// Calls `work_fn` for each of `large` and of `small`, up to `jobs` at a time, as
/// [`in_parallel`] does. Of `large` only one is at work at any time: one worker begins with
/// them, and takes of `small` when they are done.
///
/// # Errors
///
/// An error of `work_fn`.
///
/// # Panics
///
/// If `work_fn` does.
pub fn one_of_some_in_parallel<T: Send, R: Send>(
    jobs: usize,
    large: Vec<T>,
    small: impl IntoIterator<Item = T, IntoIter: Send>,
    work_fn: impl Fn(T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let small = Mutex::new(small.into_iter());
    let next_small = || small.lock().expect("taking the next doesn't panic").next();
    let worker = |large: Vec<T>| -> Result<Vec<R>> {
        let items = large.into_iter().chain(std::iter::from_fn(next_small));
        items.map(&work_fn).collect()
    };
    thread::scope(|scope| {
        let mut large = Some(large);
        let begin = |_| {
            let large = large.take().unwrap_or_default();
            scope.spawn(|| worker(large))
        };
        let workers: Vec<_> = (0..jobs).map(begin).collect();
        let mut results = Vec::new();
        for worker in workers {
            results.extend(worker.join().expect("no worker panics")?);
        }
        Ok(results)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(text: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", text]);
        command
    }

    fn alive(process: u32) -> bool {
        rustix::process::test_kill_process(Pid::from_raw(process.cast_signed()).expect("a number"))
            .is_ok()
    }

    #[test]
    fn a_program_that_ends_is_not_waited_for_longer() {
        let mut running = Running::start(&mut shell("exit 3")).expect("a shell");
        let far = Instant::now() + Duration::from_secs(60);
        let status = running.wait_until(far).expect("a status");
        assert_eq!(status.map(code), Some(3));
    }

    #[test]
    fn a_program_that_runs_on_is_ended_with_what_it_started() {
        let mut command = shell("sleep 600 & echo $!; wait");
        let mut running = Running::start(command.stdout(Stdio::piped())).expect("a shell");
        let mut line = String::new();
        let stdout = running.child().stdout.take().expect("a pipe");
        io::BufRead::read_line(&mut io::BufReader::new(stdout), &mut line).expect("a line");
        let sleeper = line.trim().parse().expect("a process");
        assert_eq!(running.wait_until(Instant::now()).expect("no error"), None);
        assert!(alive(sleeper));
        drop(running);
        // Its parent is dead too, so init collects its status.
        let until = Instant::now() + Duration::from_secs(60);
        while alive(sleeper) && Instant::now() < until {
            sleep(LOOK);
        }
        assert!(!alive(sleeper) || is_zombie(sleeper));
    }

    /// Returns whether `process` has ended and its status was not collected.
    fn is_zombie(process: u32) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        stat.rsplit(") ")
            .next()
            .is_some_and(|rest| rest.starts_with('Z'))
    }

    #[test]
    fn a_program_dies_with_the_thread_that_waits_for_it() {
        let mut command = shell("exec sleep 600");
        command.stdout(Stdio::null());
        let starts = move || ends_with_us(&mut command).spawn().expect("a shell");
        let mut orphan = std::thread::spawn(starts).join().expect("a child");
        assert_eq!(code(orphan.wait().expect("a status")), 128 + 15);
    }

    #[test]
    fn a_program_and_what_it_starts_run_on_one_cpu() {
        let mut command = shell("sh -c 'nproc'");
        let command = on_one_cpu(&mut command).expect("a CPU");
        let cpus = output_of(command).expect("a number");
        assert_eq!(String::from_utf8_lossy(&cpus).trim(), "1");
    }

    #[test]
    fn a_signal_is_a_status_as_a_shell_has_it() {
        let status = shell("kill -9 $$").status().expect("a shell");
        assert_eq!(code(status), 137);
    }

    #[test]
    fn all_is_done_by_as_many_as_are_asked_for_and_an_error_comes_out() {
        let mut doubled = in_parallel(3, 0..100, |number| Ok(2 * number)).expect("no error");
        doubled.sort_unstable();
        assert_eq!(
            doubled,
            (0..100).map(|number| 2 * number).collect::<Vec<_>>()
        );
        let refuses = |number: i32| if number == 7 { bail!("seven") } else { Ok(()) };
        assert!(in_parallel(2, 0..20, refuses).is_err());
    }

    #[test]
    fn one_large_item_at_a_time_is_worked_at_beside_small_ones() {
        let at_work = Mutex::new((0, 0, false));
        let work = |size: u32| {
            let mut now = at_work.lock().expect("no panic");
            let other = if size > 1 { &mut now.0 } else { &mut now.1 };
            *other += 1;
            assert!(now.0 < 2, "two large ones");
            now.2 |= now.0 == 1 && now.1 > 0;
            drop(now);
            sleep(Duration::from_millis(5));
            let mut now = at_work.lock().expect("no panic");
            let other = if size > 1 { &mut now.0 } else { &mut now.1 };
            *other -= 1;
            Ok(size)
        };
        let sizes = one_of_some_in_parallel(3, vec![2; 5], [1; 40], work).expect("no error");
        assert_eq!(sizes.len(), 45);
        assert!(at_work.lock().expect("no panic").2, "none beside another");
        let alone = one_of_some_in_parallel(1, vec![2; 2], [1; 2], work).expect("no error");
        assert_eq!(alone, [2, 2, 1, 1]);
    }
}
