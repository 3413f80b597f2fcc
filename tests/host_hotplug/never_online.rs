//! A CPU that has arrived, is wanted, and doesn't say ONLINE. From its release on nothing can
//! fail, so control waits for it and tells so; the other CPUs work on; and whenever the CPU goes
//! on, the operation ends well.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use stillpoint::cpu::CpuId;
use stillpoint::hotplug::{
    Awaited, CpuDownError, CpuHealth, Handshake, HotplugHost, SyncState, UP_TO_ALIVE, UP_TO_ONLINE,
};
use stillpoint::platform::Platform;
use stillpoint::sched::{SchedHost, ThreadName};
use stillpoint::trace::Direction;

use crate::affinity::{log_lines, spawn, start_log};
use crate::failures::step;
use crate::sim::{NEVER, Sim};

/// The number of the CPU that doesn't say ONLINE. No other test has the log speak of it so.
const STUCK: usize = 3;
/// The row in which it stops. At [`UP_TO_ALIVE`] less one it doesn't take note of its release.
static ROW: AtomicUsize = AtomicUsize::new(0);

fn stuck() -> CpuId {
    CpuId::from_index(STUCK)
}

fn sleep(time: Duration) {
    Sim::sched().sleep_until(Sim::deadline(time));
}

/// Has the CPU stop, before the step in [`ROW`] or as soon as it has said ALIVE.
fn stop(row: usize, direction: Direction) {
    let at = ROW.load(Ordering::Relaxed);
    if direction == Direction::Down {
        return;
    }
    if at >= UP_TO_ALIVE && row == at {
        Sim::hold_cpu(Sim::this_cpu(), NEVER);
    }
    // Control is in the last step before it waits for the CPU.
    if at < UP_TO_ALIVE && row == step("prep:threads") {
        let word = Handshake(Sim::handshake_word(stuck()));
        while word.state() != SyncState::Alive {
            sleep(Duration::from_micros(1));
        }
        Sim::hold_cpu(stuck(), NEVER);
    }
}

/// Returns what the log says of the wait.
fn told() -> Vec<String> {
    log_lines(&format!("CPU{STUCK} was released "))
}

#[test]
fn a_cpu_that_never_says_online_is_waited_for() {
    start_log();
    Sim::run(STUCK + 1, || {
        let hotplug = Sim::hotplug();
        let other = CpuId::from_index(1);
        assert_eq!(hotplug.cpu_up(other), Ok(()));
        // An empty slot is passed over.
        let is_step = |row: &usize| !hotplug.steps()[*row].is_slot();
        for row in (UP_TO_ALIVE - 1..UP_TO_ONLINE).filter(is_step) {
            ROW.store(row, Ordering::Relaxed);
            Sim::script(|script| script.before_step = Some(stop));
            let before = told().len();
            let is_up = Arc::new(AtomicBool::new(false));
            let theirs = Arc::clone(&is_up);
            spawn("brings", CpuId::BOOT, move || {
                assert_eq!(Sim::hotplug().cpu_up(stuck()), Ok(()));
                theirs.store(true, Ordering::Relaxed);
            });
            // Longer than any limit of control.
            sleep(Duration::from_secs(25));
            assert!(!is_up.load(Ordering::Relaxed), "row {row}");
            let said = format!("10 s ago and is not online; it is at step {}", row + 1);
            assert_eq!(told()[before..], [said.clone(), said], "row {row}");
            assert_eq!(
                hotplug.health(stuck()),
                CpuHealth::HalfWay(row + 1),
                "row {row}"
            );
            assert!(!Sim::masks().is_active(stuck()));
            // Another operation can't begin, and says for which it waits.
            let late = CpuDownError::Late {
                cpu: other,
                awaited: Awaited::Operation(ThreadName::new(format_args!("brings"))),
            };
            let limit = Sim::deadline(Duration::from_millis(10));
            assert_eq!(hotplug.cpu_down_before(other, limit), Err(late));
            // The other CPU's threads run.
            let ran = Arc::new(AtomicBool::new(false));
            let theirs = Arc::clone(&ran);
            spawn("runs", other, move || theirs.store(true, Ordering::Relaxed));
            sleep(Duration::from_millis(10));
            assert!(ran.load(Ordering::Relaxed), "row {row}");
            // It goes on.
            Sim::heal();
            sleep(Duration::from_millis(10));
            assert!(is_up.load(Ordering::Relaxed), "row {row}");
            assert_eq!(hotplug.health(stuck()), CpuHealth::Online);
            assert_eq!(hotplug.cpu_down(stuck()), Ok(()));
            assert_eq!(hotplug.cpu_up(stuck()), Ok(()));
            assert_eq!(hotplug.cpu_down(stuck()), Ok(()));
            assert!(hotplug.is_balanced(stuck()));
        }
    });
}
