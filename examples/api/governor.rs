use core::time::Duration;

use stillpoint::api::cpu;
use stillpoint::api::governor::{
    Governor, GovernorError, Statistics, Tunables, TunablesError, given_back, governor, set_cpus,
    set_governor, set_tunables, statistics, tunables,
};
use stillpoint::println;

/// Has the CPUs follow the load, one of them at least, and `most` at most.
pub(crate) fn follow_the_load(most: usize) -> Result<(), GovernorError> {
    let before: Tunables = tunables()?;
    let wanted = Tunables {
        max_cpus: most,
        up_wait: Duration::from_micros(500),
        ..before
    };
    match set_tunables(wanted) {
        Ok(()) => {}
        Err(GovernorError::Tunables(TunablesError::Ceiling)) => println!("{most} CPUs?"),
        Err(error) => return Err(error),
    }
    set_governor(Governor::Ondemand)
}

/// Settings for a machine that works by batches, and pays for each CPU that is on: CPUs come when
/// threads have waited for long, and go at once.
pub(crate) fn frugal() -> Result<Tunables, TunablesError> {
    let cpus = cpu::possible().count();
    let mut frugal = Tunables::new(cpus);
    frugal.up_wait = Duration::from_millis(20);
    frugal.target_busy = 90;
    frugal.down_delay = Duration::from_millis(1);
    frugal.down_delay_max = Duration::from_millis(1);
    frugal.sampling_rate = Duration::from_millis(1);
    frugal.rate_limit = Duration::from_millis(10);
    frugal.min_cpus = 1;
    frugal.check(cpus)?;
    Ok(frugal)
}

/// Has all CPUs online while `urgent_fn` runs, and then what there was before.
pub(crate) fn with_all(urgent_fn: impl FnOnce()) -> Result<(), GovernorError> {
    let before = governor()?;
    set_governor(Governor::Performance)?;
    urgent_fn();
    set_governor(before)
}

/// Has `count` CPUs online until something else is said.
pub(crate) fn keep(count: usize) {
    let kept = set_governor(Governor::Userspace).and_then(|()| set_cpus(count));
    match kept {
        Ok(()) => {}
        Err(GovernorError::Short { online, .. }) => {
            println!("{online} CPUs: an operator has taken others down");
        }
        Err(error) => println!("{}: {error}", error.errno().name()),
    }
}

/// Says what it has done.
pub(crate) fn report() -> Result<(), GovernorError> {
    let Statistics {
        ups,
        come,
        downs,
        gone,
        refused,
        looks,
        hold,
    } = statistics()?;
    println!("{ups} times {come} CPUs came, {downs} times {gone} went, {refused} did not");
    println!("it has looked {looks} times; CPUs go after {hold:?}");
    println!("CPUs {} are given back", given_back());
    Ok(())
}
