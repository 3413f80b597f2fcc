//! Realtime threads leave a part of each CPU to ordinary threads.

use core::time::Duration;

use stillpoint::api::thread::{self, Builder, Class};
use stillpoint::api::{cpu_down, cpu_up};
use stillpoint::cpu::CpuId;
use stillpoint::println;

use crate::team::{Team, as_boss, fifo, ms, on};
use kernel_support::coming::Coming;
use kernel_support::ktap::Ktap;
use kernel_support::machine::last_cpu;

/// The period of the bound.
const SECOND: Duration = Duration::from_secs(1);

/// What is left of a period by default.
const REST: Duration = Duration::from_millis(50);

/// By how much what a thread has may differ from what it should have.
const MARGIN: Duration = Duration::from_millis(3);

pub(crate) fn bound(ktap: &mut Ktap) {
    let [left, unbound, again, came, coming] = as_boss(|| {
        let team = hog_and_ordinary(last_cpu());
        let left = is_left(&team, REST, MARGIN);
        thread::set_realtime_runtime(None);
        thread::sleep(SECOND);
        let unbound = is_left(&team, Duration::ZERO, MARGIN);
        thread::set_realtime_runtime(Some(ms(700)));
        thread::sleep(ms(10));
        let again = is_left(&team, ms(300), MARGIN);
        thread::set_realtime_runtime(Some(SECOND - REST));
        team.end();

        let came = cpu_down(last_cpu()).is_ok() && cpu_up(last_cpu()).is_ok();
        let team = hog_and_ordinary(last_cpu());
        let came = came && is_left(&team, REST, MARGIN);
        team.end();

        let team = hog_and_ordinary(CpuId::BOOT);
        let walks = Coming::start();
        // What the walks take isn't realtime threads' time, and comes out of the rest.
        let coming = is_left(&team, REST, ms(15));
        let walks = walks.end();
        println!("# {walks:?} walks");
        team.end();
        [left, unbound, again, came, coming && walks.is_some()]
    });
    ktap.check("an ordinary thread has 5 % beside a realtime one", left);
    ktap.check("without a bound it has nothing", unbound);
    ktap.check("it has what another bound leaves", again);
    ktap.check("it has 5 % on a CPU that went and came", came);
    ktap.check("it has 5 % while other CPUs come and go", coming);
}

/// Starts an ordinary thread on `cpu`, and a realtime thread that never waits.
fn hog_and_ordinary(cpu: CpuId) -> Team {
    let start = |class: Class| -> Builder { on(cpu).class(class) };
    Team::start([Class::Normal, fifo(50)].map(start))
}

/// Returns whether the ordinary thread of `team` has its CPU for `rest` of a second, but for
/// `margin` at most, and the realtime thread for what is left.
fn is_left(team: &Team, rest: Duration, margin: Duration) -> bool {
    let times = team.times_in(SECOND);
    println!(
        "# ordinary {:?} of {rest:?}, realtime {:?}",
        times[0], times[1]
    );
    times[0].abs_diff(rest) < margin && times[1].abs_diff(SECOND - rest) < ms(40)
}
