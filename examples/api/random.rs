use stillpoint::api::random::{self, RandomError};
use stillpoint::println;

/// Returns a key that nobody can guess, or why there is none.
pub(crate) fn key() -> Result<[u8; 32], RandomError> {
    let mut key = [0; 32];
    random::fill(&mut key)
        .inspect_err(|error| println!("no key: {error} ({})", error.errno().name()))?;
    Ok(key)
}
