//! The service on a machine in QEMU, under load, while CPUs go and come.

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::commands::app;
use crate::commands::httpd::client::{ask, send, status};
use crate::config::Config;
use crate::counts::Counts;
use crate::machine::Machine;
use crate::one_check::one;
use crate::paths::log_dir;
use crate::process::{output_of, succeed};
use crate::qemu::{self, card};
use crate::report::{Progress, print, skipped};
use crate::stages::done;

/// The name of its checks, and the command that makes them.
const STAGE: (&str, &str) = ("httpd", "cargo rig stage httpd-served");

/// How long the machine may take until it serves, and its governor until a CPU goes.
const LIMIT: Duration = Duration::from_secs(60);

/// For how many seconds `wrk` asks.
const SECONDS: u64 = 10;

/// The time between two changes of the CPUs by hand.
const PAUSE: Duration = Duration::from_millis(30);

/// How many half requests are there beside whole ones. Each is ended after ten seconds.
const HALVES: usize = 8;

/// Which CPUs are online one after the other.
const LISTS: [&str; 6] = ["0", "0-3", "1-3", "0,2", "0-3", "3"];

/// What is seen of the service at a port of this host.
type Check = (&'static str, fn(u16) -> Result<()>);

const CHECKS: &[Check] = &[
    ("each resource answers", resources),
    ("wrk, while CPUs go and come by hand", by_hand),
    ("ab, while a governor has CPUs go and come", by_governor),
    ("wrong and half requests harm no other", wrong),
];

/// Boots the service, and looks at it as a client.
///
/// # Errors
///
/// It doesn't compile or boot, or a check fails.
pub fn on_machine(config: &Config) -> Result<()> {
    if succeed(Command::new("tests/setup.sh").arg("load")).is_err() {
        skipped("httpd on a machine", "wrk and ab can't be installed");
        return Ok(());
    }
    let image = app::build("httpd")?;
    let port = card::free_port("")?;
    let config = Config {
        smp: "4".into(),
        append: "loglevel=6".into(),
        ..config.clone()
    };
    let mut vm = qemu::command(&config, &image)?;
    vm.args(card::forwarding(port));
    let mut machine = Machine::boot(&vm, &log_dir()?.join("httpd.log"), false)?;
    let deadline = Instant::now() + LIMIT;
    machine.session().expect("by DHCP", deadline)?;
    let progress = Progress::new(CHECKS.len() + 1);
    let mut counts = Counts::default();
    for (what, check_fn) in CHECKS {
        counts += one(&progress, STAGE, what, || check_fn(port));
    }
    counts += one(&progress, STAGE, "its console has no complaint", || {
        machine.quit()?;
        let printed = machine.session().printed();
        for word in ["BUG:", "warning", "is lost"] {
            ensure!(!printed.contains(word), "{word} on the console:\n{printed}");
        }
        Ok(())
    });
    print(&format!("{counts}\n"));
    done(i32::from(counts.failed > 0))
}

fn resources(port: u16) -> Result<()> {
    for (path, wanted, part) in [
        ("/", 200, "<!doctype html>"),
        ("/metrics", 200, "stillpoint_cpu_online{cpu=\"3\"} 1"),
        ("/work?ms=5", 200, "worked for 5 ms"),
        ("/cpus", 200, "0-3"),
        ("/governor", 200, "userspace"),
        ("/none", 404, "nothing"),
    ] {
        let (status, body) = ask(port, "GET", path, "")?;
        ensure!(
            status == wanted && body.contains(part),
            "{path}: {status} {body}"
        );
    }
    let (status, body) = ask(port, "PUT", "/cpus", "0-99")?;
    ensure!(status == 400 && body.contains("EINVAL"), "{status} {body}");
    let (status, body) = ask(port, "PUT", "/governor", "none")?;
    ensure!(status == 400 && body.contains("EINVAL"), "{status} {body}");
    Ok(())
}

/// Puts `value` there.
fn put(port: u16, path: &str, value: &str) -> Result<()> {
    let (status, body) = ask(port, "PUT", path, value)?;
    ensure!(status == 200, "PUT {path} {value}: {status} {body}");
    ensure!(body.trim_end() == value, "PUT {path} {value}: {body}");
    Ok(())
}

fn by_hand(port: u16) -> Result<()> {
    let is_over = AtomicBool::new(false);
    let (report, changes) = scope(|scope| {
        let changes = scope.spawn(|| -> Result<usize> {
            let mut changes = 0;
            // Relaxed: nothing else is told by it.
            while !is_over.load(Ordering::Relaxed) {
                put(port, "/cpus", LISTS[changes % LISTS.len()])?;
                changes += 1;
                sleep(PAUSE);
            }
            put(port, "/cpus", "0-3")?;
            Ok(changes)
        });
        let mut wrk = Command::new("wrk");
        wrk.args(["-t1", "-c16", "--timeout", "10s", &format!("-d{SECONDS}s")]);
        let report = output_of(wrk.arg(format!("http://127.0.0.1:{port}/work?ms=0")));
        is_over.store(true, Ordering::Relaxed);
        (report, changes.join())
    });
    let changes = changes.map_err(|_| anyhow::anyhow!("the thread has panicked"))??;
    let report = String::from_utf8_lossy(&report?).into_owned();
    let failed = ["Socket errors", "Non-2xx"];
    ensure!(!failed.iter().any(|word| report.contains(word)), "{report}");
    ensure!(report.contains(" requests in "), "{report}");
    ensure!(changes > 10, "only {changes} changes of the CPUs");
    print(&format!("{changes} changes of the CPUs\n{report}"));
    Ok(())
}

fn by_governor(port: u16) -> Result<()> {
    put(port, "/governor", "ondemand")?;
    for _ in 0..3 {
        let mut ab = Command::new("ab");
        ab.args(["-q", "-k", "-n", "300", "-c", "8"]);
        let report = output_of(ab.arg(format!("http://127.0.0.1:{port}/work?ms=3")))?;
        let report = String::from_utf8_lossy(&report);
        let is_0 = |line: &str| line.split_whitespace().last() == Some("0");
        let failed = report
            .lines()
            .find(|line| line.starts_with("Failed requests:"));
        ensure!(
            failed.is_some_and(is_0) && !report.contains("Non-2xx"),
            "{report}"
        );
        sleep(Duration::from_millis(500));
    }
    let deadline = Instant::now() + LIMIT;
    while ask(port, "GET", "/cpus", "")?.1.trim_end() == "0-3" {
        ensure!(
            Instant::now() < deadline,
            "no CPU goes although there is no work"
        );
        sleep(Duration::from_millis(100));
    }
    put(port, "/governor", "userspace")?;
    put(port, "/cpus", "0-3")
}

fn wrong(port: u16) -> Result<()> {
    let mut halves = Vec::new();
    for count in 1..=HALVES {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.write_all(b"GET /cpus HTTP/1.1\r\nHo")?;
        halves.push(stream);
        // One after the other: QEMU's forwarding drops connections that come together, and the
        // host tries again a second later, then two.
        let deadline = Instant::now() + LIMIT;
        while open(port)? <= count {
            ensure!(Instant::now() < deadline, "connection {count} isn't open");
            sleep(Duration::from_millis(10));
        }
    }
    for (request, wanted) in [
        ("GET /\n\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (
            "PUT /cpus HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0",
            400,
        ),
        (
            "PUT /cpus HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\n\r\n0",
            413,
        ),
    ] {
        let got = status(&send(port, request.as_bytes())?)?;
        ensure!(got == wanted, "{got} instead of {wanted}: {request:?}");
    }
    let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(4000));
    let got = status(&send(port, long.as_bytes())?)?;
    ensure!(got == 414, "{got} instead of 414");
    let left = open(port)?;
    ensure!(
        left > halves.len(),
        "{left} connections are open, with this one"
    );
    Ok(())
}

/// Returns how many connections the service says are open, with the one that asks.
fn open(port: u16) -> Result<usize> {
    let (_, metrics) = ask(port, "GET", "/metrics", "")?;
    let open = metrics
        .lines()
        .find_map(|line| line.strip_prefix("httpd_connections "));
    Ok(open.context("no such metric")?.parse()?)
}
