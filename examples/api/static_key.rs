use stillpoint::api::static_key::{KeyError, StaticKey, change};
use stillpoint::{println, static_branch_likely, static_branch_unlikely};

/// Whether each request is printed.
static VERBOSE: StaticKey = StaticKey::new();
/// Whether requests are served in their order.
static IN_ORDER: StaticKey<true> = StaticKey::new();

pub(crate) fn serve(requests: &mut [u32]) {
    if static_branch_unlikely!(VERBOSE) {
        println!("# requests {requests:?}");
    }
    if static_branch_likely!(IN_ORDER) {
        requests.sort_unstable();
    }
}

pub(crate) fn debug() -> Result<(), KeyError> {
    // One still point for both.
    change(&[VERBOSE.enabling(), IN_ORDER.disabling()])
}

pub(crate) fn debug_no_more() -> Result<(), KeyError> {
    VERBOSE.disable()?;
    IN_ORDER.enable()
}
