use alloc::string::String;

use stillpoint::api::rcu::{RcuBox, ReadGuard, call_rcu, read};
use stillpoint::println;

/// Where requests are sent. Each request reads it, and it changes once a day.
pub(crate) struct Routes {
    hosts: RcuBox<(String, String)>,
}

impl Routes {
    pub(crate) fn new(usual: String, quick: String) -> Routes {
        Routes {
            hosts: RcuBox::new((usual, quick)),
        }
    }

    /// For all requests, on every CPU at the same time: none waits for another.
    pub(crate) fn send(&self, urgent: bool) -> usize {
        read(|guard| self.host(urgent, guard).len())
    }

    /// Returns the host. It is there as long as the section of `guard`, even if it is replaced.
    fn host<'a>(&'a self, urgent: bool, guard: &'a ReadGuard) -> &'a str {
        let (usual, quick) = self.hosts.read(guard);
        if urgent { quick } else { usual }
    }

    /// Several looks at the same hosts: the section lasts from the first to the last.
    pub(crate) fn is_one_host(&self) -> bool {
        let guard = ReadGuard::new();
        self.host(false, &guard) == self.host(true, &guard)
    }

    /// Replaces the hosts, and returns the old ones when no request uses them any more.
    pub(crate) fn replace(&self, usual: String, quick: String) -> (String, String) {
        self.hosts.replace((usual, quick))
    }

    /// For a caller that may not wait, such as an interrupt handler: the old ones are dropped later.
    pub(crate) fn replace_later(&self, usual: String, quick: String) {
        self.hosts.replace_later((usual, quick));
        call_rcu(|| println!("no request goes to the old hosts any more"));
    }
}
