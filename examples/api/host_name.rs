use alloc::string::String;

use stillpoint::api::args::var;
use stillpoint::api::sync::Once;

/// The name of the machine, made of the boot argument `host=` when it is asked for.
static NAME: Once<String> = Once::new();

/// Returns the name. The first caller makes it; callers that come meanwhile wait for that.
pub(crate) fn name() -> &'static str {
    NAME.call_once(|| var("host").unwrap_or("nameless").into())
}

/// Returns the name if it has been made: for a caller that may not wait.
pub(crate) fn name_if_made() -> Option<&'static str> {
    NAME.get().map(String::as_str)
}
