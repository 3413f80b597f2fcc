//! Xen's console, which has the lines of its guest's console too.

use crate::guest::LAST;

/// The prefix of the guest's lines.
const MARK: &str = "(XEN) DOM1: ";

/// The guest's output so far, and its state as Xen has last listed it.
#[derive(Default)]
pub struct Console {
    guest: String,
    has_said_its_last: bool,
    /// The virtual CPUs in the listing so far; `paused` counts those that are paused.
    cpus: u32,
    paused: u32,
    is_off: bool,
}

impl Console {
    /// Reads a line of Xen's console.
    pub fn take(&mut self, line: &str) {
        let line = line.split('\r').next().unwrap_or_default();
        if let Some(line) = line.strip_prefix(MARK) {
            self.guest.push_str(line);
            self.guest.push('\n');
            self.has_said_its_last |= line == LAST;
        } else if line.contains("General information for domain 1:") {
            (self.cpus, self.paused) = (0, 0);
        } else if line.contains("pause_count=") && line.contains(" pause_flags=") {
            // A line of a virtual CPU. The line of the whole domain begins with the same word.
            self.cpus += 1;
            self.paused += u32::from(!line.contains("pause_count=0 "));
        } else if line.contains("Notifying guest 1:") {
            // A line after the listing.
            self.is_off |= self.cpus != 0 && self.paused == self.cpus;
        }
    }

    /// Returns the guest's output.
    #[must_use]
    pub fn of_guest(&self) -> &str {
        &self.guest
    }

    /// Returns whether the guest has printed its last line, and so turns itself off.
    #[must_use]
    pub fn has_said_its_last(&self) -> bool {
        self.has_said_its_last
    }

    /// Returns whether Xen has listed all virtual CPUs of the guest as paused.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.is_off
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(counts: [u32; 2]) -> Console {
        let mut console = Console::default();
        console.take("(XEN) General information for domain 1:");
        console.take("(XEN)     refcnt=3 dying=0 pause_count=0");
        for count in counts {
            console.take(&format!("(XEN)     pause_count={count} pause_flags=1"));
        }
        console.take("(XEN) Notifying guest 1:0 (virq 1, port 0)");
        console
    }

    #[test]
    fn lines_of_the_guest_have_a_mark() {
        let mut console = Console::default();
        console.take("(XEN) DOM1: hello\r");
        console.take("hello");
        assert!(!console.has_said_its_last());
        console.take("(XEN) DOM1: rig: done");
        assert!(console.has_said_its_last());
        assert_eq!(console.of_guest(), "hello\nrig: done\n");
    }

    #[test]
    fn a_guest_is_off_when_all_its_cpus_are_paused() {
        assert!(listed([1, 1]).is_off());
        assert!(!listed([1, 0]).is_off());
        let mut none = Console::default();
        none.take("(XEN) Notifying guest 1:0");
        assert!(!none.is_off());
        let mut next = listed([1, 0]);
        next.take("(XEN) General information for domain 1:");
        next.take("(XEN)     pause_count=1 pause_flags=1");
        next.take("(XEN) Notifying guest 1:0");
        assert!(next.is_off());
    }
}
