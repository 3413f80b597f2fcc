//! `/metrics`: the counters in the text format of Prometheus, version 0.0.4.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Display, Write as _};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::http::{Answer, Status};
use crate::machine::Machine;
use crate::site::Site;
use crate::site::counters::BOUNDS_US;

pub(super) fn answer(site: &Site<impl Machine>, text: &mut String) -> Answer {
    let _always_ok = write(site, text);
    Answer {
        content_type: "text/plain; version=0.0.4; charset=utf-8",
        ..Answer::text(Status::Ok)
    }
}

fn write(site: &Site<impl Machine>, text: &mut String) -> fmt::Result {
    let counters = &site.counters;
    head(
        text,
        "httpd_requests_total",
        "counter",
        "Answers, by resource and status.",
    )?;
    for (path, code, count) in counters.answers() {
        writeln!(
            text,
            r#"httpd_requests_total{{path="{path}",code="{code}"}} {count}"#
        )?;
    }
    durations(site, text)?;
    for (name, help, counter) in [
        (
            "httpd_connections_accepted_total",
            "Connections that were taken.",
            &counters.accepted,
        ),
        (
            "httpd_connections_refused_total",
            "Connections above the limit.",
            &counters.refused,
        ),
        (
            "httpd_connections_timed_out_total",
            "Connections that were ended because the client took too long.",
            &counters.timed_out,
        ),
        (
            "httpd_connections_broken_total",
            "Connections that ended in the middle of a request or an answer.",
            &counters.broken,
        ),
        (
            "httpd_requests_throttled_total",
            "Requests that waited because of the limit of a connection.",
            &counters.throttled,
        ),
        (
            "httpd_received_bytes_total",
            "Bytes received.",
            &counters.received,
        ),
        ("httpd_sent_bytes_total", "Bytes sent.", &counters.sent),
    ] {
        single(text, name, "counter", help, load(counter))?;
    }
    let gauge = |counter: &AtomicU32| counter.load(Ordering::Relaxed);
    single(
        text,
        "httpd_connections",
        "gauge",
        "Connections now.",
        gauge(&counters.open),
    )?;
    single(
        text,
        "httpd_streams",
        "gauge",
        "Streams of events now.",
        gauge(&counters.streams),
    )?;
    cpus(&site.machine, text)
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn durations(site: &Site<impl Machine>, text: &mut String) -> fmt::Result {
    const NAME: &str = "httpd_request_duration_seconds";
    let (up_to, count, sum_ns) = site.counters.durations();
    head(
        text,
        NAME,
        "histogram",
        "Time from the end of a request to its answer.",
    )?;
    for (bound, count) in BOUNDS_US.iter().zip(up_to) {
        let seconds = *bound as f64 / 1e6;
        writeln!(text, r#"{NAME}_bucket{{le="{seconds}"}} {count}"#)?;
    }
    writeln!(text, r#"{NAME}_bucket{{le="+Inf"}} {count}"#)?;
    writeln!(text, "{NAME}_sum {}", sum_ns as f64 / 1e9)?;
    writeln!(text, "{NAME}_count {count}")
}

fn cpus(machine: &impl Machine, text: &mut String) -> fmt::Result {
    let online = machine.online();
    head(
        text,
        "stillpoint_cpu_online",
        "gauge",
        "Whether the CPU is online.",
    )?;
    for cpu in machine.possible().iter() {
        let is_online = u8::from(online.contains(cpu));
        writeln!(text, r#"stillpoint_cpu_online{{cpu="{cpu}"}} {is_online}"#)?;
    }
    let mut times = Vec::new();
    machine.cpu_times(&mut times);
    if !times.is_empty() {
        let help = "Time for which threads had the CPU.";
        head(text, "stillpoint_cpu_busy_seconds_total", "counter", help)?;
    }
    for times in times {
        let (cpu, busy) = (times.cpu, times.busy.as_secs_f64());
        writeln!(
            text,
            r#"stillpoint_cpu_busy_seconds_total{{cpu="{cpu}"}} {busy}"#
        )?;
    }
    if let Some(governor) = machine.governor() {
        head(
            text,
            "stillpoint_governor_info",
            "gauge",
            "The governor, by its name.",
        )?;
        writeln!(
            text,
            r#"stillpoint_governor_info{{name="{}"}} 1"#,
            governor.name
        )?;
    }
    let up = machine.now().as_secs_f64();
    single(
        text,
        "stillpoint_uptime_seconds",
        "gauge",
        "Time since boot.",
        up,
    )
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

fn single(
    text: &mut String,
    name: &str,
    kind: &str,
    help: &str,
    value: impl Display,
) -> fmt::Result {
    head(text, name, kind, help)?;
    writeln!(text, "{name} {value}")
}
