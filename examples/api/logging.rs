use stillpoint::api::log::{self, Level, LevelFilter};

/// Logs how a link is, each line at the level of its readers.
pub(crate) fn report(link: &str, speed: u32, errors: u32) {
    log::trace!("{link}: registers read"); // For a look at each turn of a loop.
    log::debug!("{link}: speed {speed}, errors {errors}"); // For its author.
    log::info!("{link} is up"); // For its user.
    if errors > 0 {
        log::warn!("{link} has lost {errors} packets"); // It goes on, with a loss.
    }
    if speed == 0 {
        log::error!("{link} does not work");
    }
    // What is costly to make isn't made if no line comes of it.
    if log::log_enabled!(Level::Debug) {
        let bits = (0..32).filter(|bit| errors >> bit & 1 == 1).count();
        log::debug!("{link}: {bits} kinds of error");
    }
}

/// Calls `call_fn` with all that is logged shown, the kernel's own lines too.
pub(crate) fn in_detail<R>(call_fn: impl FnOnce() -> R) -> R {
    let before = log::max_level();
    log::set_max_level(LevelFilter::Trace);
    let value = call_fn();
    log::set_max_level(before);
    value
}
