use stillpoint::api::stop::{CancelToken, Stop, StopError};
use stillpoint::println;

/// Work that may stop the machine as long as nothing urgent comes.
pub(crate) struct Maintenance {
    token: CancelToken,
}

impl Maintenance {
    pub(crate) fn new() -> Maintenance {
        Maintenance {
            token: CancelToken::new(),
        }
    }

    /// For the interrupt handler that has something urgent. CPUs that wait for others to stop go
    /// on at once.
    pub(crate) fn urgent(&self) -> CancelToken {
        self.token.clone()
    }

    /// Does a piece of the work; returns whether there may be another one.
    pub(crate) fn go_on(&self, piece_fn: impl FnOnce() + Send) -> bool {
        match Stop::new().cancelled_by(&self.token).run(piece_fn) {
            Ok(()) => !self.token.is_cancelled(),
            // The piece has not been begun.
            Err(StopError::Cancelled(missing)) => {
                println!("{} CPUs had still to come", missing.len());
                false
            }
            Err(error) => panic!("no deadline was asked for: {error}"),
        }
    }
}

/// What such a handler calls.
pub(crate) fn on_interrupt(urgent: &CancelToken) {
    urgent.cancel();
}
