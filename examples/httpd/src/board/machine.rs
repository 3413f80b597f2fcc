//! The machine as the service needs it.

use alloc::vec::Vec;
use core::future::Future;
use core::time::Duration;

use httpd::{Change, CpuTimes, Governor, Machine, Walk};
use stillpoint::api::cpu::{self, CpuMask};
use stillpoint::api::governor::{self, Governor as Kind};
use stillpoint::api::hotplug::{Direction, last_walks};
use stillpoint::api::task::sleep_until;
use stillpoint::api::time::{self, Instant};

use crate::board::{cpus, work};

/// For how long a walk is one of the last.
const RECENTLY: Duration = Duration::from_secs(60);

/// This machine.
#[derive(Debug)]
pub(super) struct Board;

/// Returns the instant that is `time` after the first one of the system counter, from which the
/// service counts.
pub(super) fn instant(time: Duration) -> Instant {
    Instant(0) + time
}

impl Machine for Board {
    fn now(&self) -> Duration {
        Instant(0).elapsed()
    }

    fn unix_time(&self) -> Option<u64> {
        time::unix_time().map(|time| time.as_secs())
    }

    fn sleep_until(&self, at: Duration) -> impl Future<Output = ()> + Send {
        sleep_until(instant(at))
    }

    fn work(&self, time: Duration) -> impl Future<Output = ()> + Send {
        work::work(time)
    }

    fn possible(&self) -> CpuMask {
        cpu::possible()
    }

    fn online(&self) -> CpuMask {
        cpu::online_racy()
    }

    fn set_online(&self, wanted: &CpuMask) -> Change {
        cpus::set_online(wanted)
    }

    fn cpu_times(&self, into: &mut Vec<CpuTimes>) {
        let of = |cpu| CpuTimes {
            cpu,
            busy: cpu::run_time(cpu).unwrap_or_default(),
        };
        into.extend(cpu::possible().iter().map(of));
    }

    fn walks(&self, into: &mut Vec<Walk>) {
        let since = instant(self.now().saturating_sub(RECENTLY));
        into.extend(last_walks(since).into_iter().map(|walk| Walk {
            what: match (walk.direction, walk.is_done) {
                (Direction::Up, true) => "up",
                (Direction::Down, true) => "down",
                (Direction::Up, false) => "up, failed",
                (Direction::Down, false) => "down, failed",
            },
            cpu: walk.cpu,
            at: walk.ended.duration_since(Instant(0)),
            took: walk.ended.duration_since(walk.began),
            stopped: walk.irqs_off,
        }));
    }

    fn governor(&self) -> Option<Governor> {
        let kind = governor::governor().ok()?;
        Some(Governor {
            name: kind.name(),
            available: "performance ondemand userspace",
        })
    }

    fn set_governor(&self, name: &str) -> Result<(), &'static str> {
        let kind = Kind::from_name(name).ok_or("EINVAL")?;
        governor::set_governor(kind).map_err(|error| error.errno().name())
    }

    fn is_ending(&self) -> bool {
        false
    }
}
