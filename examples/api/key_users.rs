use stillpoint::api::static_key::{Change, KeyError, StaticKey, change};
use stillpoint::{println, static_branch_unlikely};

static TRACING: StaticKey = StaticKey::new();
static CHECKING: StaticKey = StaticKey::new();

pub(crate) fn step(number: u32) {
    if static_branch_unlikely!(TRACING) {
        println!("step {number}");
    }
    if static_branch_unlikely!(CHECKING) {
        assert!(number < 1000);
    }
}

/// What looks at the steps. There may be several: when the last one has ended, the code is as it
/// was.
pub(crate) struct Observer;

/// What an observer changes, all in one still point.
const fn changes(begin: bool) -> [Change; 2] {
    match begin {
        true => [TRACING.enabling(), CHECKING.enabling()],
        false => [TRACING.disabling(), CHECKING.disabling()],
    }
}

impl Observer {
    pub(crate) fn begin() -> Result<Observer, KeyError> {
        change(&changes(true))?;
        println!("{} observers", TRACING.count_racy());
        Ok(Observer)
    }

    pub(crate) fn end(self) {
        match change(&changes(false)) {
            Ok(()) => {}
            Err(KeyError::WouldDeadlock) => println!("not in a callback of hotplug"),
            Err(error) => println!("{error}: {}", error.errno().name()),
        }
    }
}
