//! The threads of QEMU that execute the virtual CPUs, and the time that the host gives them.

use std::fs;
use std::io;
use std::time::Duration;

use serde_json::{Value, json};

use crate::monitor::{Monitor, bad};

/// A thread of the host that executes a virtual CPU; all of them, under `thread=single`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vcpu {
    /// Its number in QEMU.
    pub cpu: u32,
    /// The thread's number on the host.
    pub thread: u32,
}

impl Monitor {
    /// Returns the threads of the virtual CPUs, in the order of the CPUs' numbers.
    ///
    /// # Errors
    ///
    /// QEMU doesn't answer.
    pub fn vcpus(&mut self) -> io::Result<Vec<Vcpu>> {
        let answer = self.execute("query-cpus-fast", json!({}))?;
        let mut all = vcpus(&answer).ok_or_else(|| bad(&answer))?;
        all.sort_unstable_by_key(|vcpu| vcpu.cpu);
        Ok(all)
    }
}

fn vcpus(answer: &Value) -> Option<Vec<Vcpu>> {
    let number = |value: &Value| u32::try_from(value.as_u64()?).ok();
    let one = |each: &Value| {
        Some(Vcpu {
            cpu: number(&each["cpu-index"])?,
            thread: number(&each["thread-id"])?,
        })
    };
    answer.as_array()?.iter().map(one).collect()
}

impl Vcpu {
    /// Returns the CPU time that the host has given to the thread, which is one of `process`, so
    /// far: the first field of /proc/PID/task/TID/schedstat, in nanoseconds
    /// (Documentation/scheduler/sched-stats.rst of Linux).
    ///
    /// # Errors
    ///
    /// There is no such thread, or the host's kernel keeps no such time.
    pub fn cpu_time(self, process: u32) -> io::Result<Duration> {
        cpu_time_of(process, self.thread)
    }
}

/// Returns the CPU time that the host has given to the threads of `process` that are alive, so
/// far.
///
/// # Errors
///
/// There is no such process, or the host's kernel keeps no such time.
pub fn cpu_time(process: u32) -> io::Result<Duration> {
    let mut sum = Duration::ZERO;
    for entry in fs::read_dir(format!("/proc/{process}/task"))? {
        let name = entry?.file_name();
        if let Some(thread) = name.to_str().and_then(|name| name.parse().ok()) {
            // A thread may end before it is read.
            sum += cpu_time_of(process, thread).unwrap_or_default();
        }
    }
    Ok(sum)
}

fn cpu_time_of(process: u32, thread: u32) -> io::Result<Duration> {
    let name = format!("/proc/{process}/task/{thread}/schedstat");
    let text = fs::read_to_string(&name)?;
    let first = text.split_whitespace().next();
    let time = first.and_then(|first| first.parse().ok());
    let time = time.ok_or_else(|| io::Error::other(format!("{name}: {text}")))?;
    Ok(Duration::from_nanos(time))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::tests::talk;

    #[test]
    fn each_cpu_has_its_thread() {
        let answer = "{\"return\": [{\"cpu-index\": 1, \"thread-id\": 31, \"props\": {}}, \
                      {\"cpu-index\": 0, \"thread-id\": 30}]}\n{\"return\": [{}]}\n";
        talk(answer, |monitor| {
            let vcpus = monitor.vcpus().expect("an answer");
            assert_eq!(
                vcpus,
                [(0, 30), (1, 31)].map(|(cpu, thread)| Vcpu { cpu, thread })
            );
            assert!(monitor.vcpus().is_err());
        });
    }

    #[test]
    fn the_time_of_a_thread_passes_while_it_works() {
        let process = std::process::id();
        let thread = rustix::thread::gettid().as_raw_nonzero().get();
        let us = Vcpu {
            cpu: 0,
            thread: thread.cast_unsigned(),
        };
        let before = us.cpu_time(process).expect("a time");
        while us.cpu_time(process).expect("a time") == before {}
        assert!(Vcpu { cpu: 0, thread: 0 }.cpu_time(process).is_err());
    }
}
