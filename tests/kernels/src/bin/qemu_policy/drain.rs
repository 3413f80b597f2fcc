//! Threads that are pushed off a CPU that goes are spread over the others, and come back with
//! it.

use stillpoint::api::thread::{self, Builder};
use stillpoint::api::{cpu_down, cpu_up};
use stillpoint::cpu::CpuMask;
use stillpoint::kernel::kernel;
use stillpoint::println;

use crate::team::{Team, all_cpus, as_boss, ms, on};
use kernel_support::ktap::Ktap;
use kernel_support::machine::{last_cpu, secondaries};

pub(crate) fn drain(ktap: &mut Ktap) {
    let name = "threads that may run on the CPU that goes only are spread";
    if all_cpus().count() < 3 {
        ktap.inapplicable(name, "one other CPU: it gets all of them");
    } else {
        ktap.check(name, as_boss(bound_are_spread));
    }
    let [going, coming] = as_boss(going_and_coming);
    ktap.check(
        "as CPUs go, one by one, all threads are spread over the rest",
        going,
    );
    ktap.check("as CPUs come back, the threads come back with them", coming);
}

/// Returns whether two threads for each CPU that stays, bound to the one that goes, are put
/// on all of those that stay.
fn bound_are_spread() -> bool {
    let stay = all_cpus().without(&CpuMask::of(last_cpu()));
    let busy = Team::bound(stay.iter());
    let bound = Team::equals(2 * stay.count(), &on(last_cpu()));
    thread::sleep(ms(5));
    let down = cpu_down(last_cpu());
    let on_each = bound.on_each(&stay);
    println!("# {down:?}: the threads are {on_each:?}");
    bound.end();
    busy.end();
    let up = cpu_up(last_cpu());
    down.is_ok() && up.is_ok() && on_each.iter().all(|count| (1..=3).contains(count))
}

fn going_and_coming() -> [bool; 2] {
    // So many that they differ by more than two if a CPU that comes takes one only.
    let count = (2 * all_cpus().count()).max(6);
    let team = Team::equals(count, &Builder::new());
    thread::sleep(ms(20));
    let going = secondaries().into_iter().rev().all(|cpu| {
        let went = cpu_down(cpu).is_ok();
        went && are_spread(&team)
    });
    let coming = secondaries().into_iter().all(|cpu| {
        let came = cpu_up(cpu).is_ok();
        // They come one by one, at the ends of slices.
        let spread = (0..30).any(|_| {
            thread::sleep(ms(10));
            imbalance(&team) <= 2
        });
        came && (spread || are_spread(&team))
    });
    team.end();
    [going, coming]
}

/// Returns whether no CPU has two threads more than another, give or take one that moves
/// just now.
fn are_spread(team: &Team) -> bool {
    let spread = imbalance(team) <= 2;
    if !spread {
        println!(
            "# threads on each CPU: {:?}",
            team.on_each(&kernel().masks.online())
        );
    }
    spread
}

/// Returns how many threads of `team` more than another the CPU has that has the most.
fn imbalance(team: &Team) -> usize {
    let on_each = team.on_each(&kernel().masks.online());
    let most = on_each.iter().max().copied().unwrap_or(0);
    let least = on_each.iter().min().copied().unwrap_or(0);
    most - least
}
