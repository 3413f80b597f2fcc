//! What is known of a stage that runs: a sum of its [events](crate::events), and the words in
//! which a person is told of it.

use std::time::Duration;

use crate::counts::{Counts, clock};
use crate::events::Event;

/// The state of a stage.
#[derive(Default)]
pub struct View {
    /// How many runs there will be; 0 if that isn't known.
    planned: u64,
    done: u64,
    counts: Counts,
    /// The names of the runs under way, in the order of their beginning.
    running: Vec<String>,
    /// The last line that the stage has printed.
    line: String,
}

impl View {
    /// Takes in an event.
    pub fn take(&mut self, event: &Event) {
        match event {
            Event::Planned(runs) => self.planned += runs,
            Event::Begun(name) => self.running.push(name.clone()),
            Event::Ended(outcome) => {
                let name = &outcome.name;
                if let Some(at) = self.running.iter().position(|running| running == name) {
                    self.running.remove(at);
                }
                self.done += 1;
                self.counts += outcome.counts;
            }
        }
    }

    /// Takes in a line that the stage has printed.
    pub fn said(&mut self, line: &str) {
        if !line.trim().is_empty() {
            line.trim().clone_into(&mut self.line);
        }
    }

    /// Returns how many runs have ended.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.done
    }

    /// Returns how far it is. `last` is how many runs there were the last time, 0 if that isn't
    /// known: a stage may plan its runs in several parts. Without a run this is empty.
    #[must_use]
    pub fn progress(&self, last: u64) -> String {
        let all = self.planned.max(last);
        if all == 0 && self.done == 0 && self.running.is_empty() {
            return String::new();
        }
        let done = self.done;
        let far = match all {
            0 => format!("[{done}]"),
            all => format!("[{done}/{}]", all.max(done)),
        };
        match self.counts.told() {
            counts if counts.is_empty() => far,
            counts => format!("{far} {counts}"),
        }
    }

    /// Returns what runs now: the names of the runs, or the last line that was printed.
    #[must_use]
    pub fn now(&self) -> String {
        match self.running.is_empty() {
            true => self.line.clone(),
            false => self.running.join(", "),
        }
    }
}

/// What the driver knows of a stage beside its events.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The stage's number, from 1, and how many there are.
    pub number: usize,
    pub all: usize,
    pub name: &'a str,
    /// How long the stage took the last time, and how many runs it had.
    pub last: Option<(Duration, u64)>,
}

impl Place<'_> {
    /// Returns the beginning of the stage's lines.
    #[must_use]
    pub fn head(&self) -> String {
        let (number, all, name) = (self.number, self.all, self.name);
        let width = all.to_string().len();
        format!("{number:>width$}/{all} {name:<16}")
    }

    /// Returns the line of the stage after the time `elapsed`.
    #[must_use]
    pub fn line(&self, view: &View, elapsed: Duration) -> String {
        let mut line = format!("{} {}", self.head(), clock(elapsed));
        let mut runs = 0;
        if let Some((took, had)) = self.last {
            line.push_str(&format!(" of {}", clock(took)));
            runs = had;
        }
        for part in [view.progress(runs), view.now()] {
            if !part.is_empty() {
                line.push_str("  ");
                line.push_str(&part);
            }
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Outcome;

    fn begun(name: &str) -> Event {
        Event::Begun(name.to_owned())
    }

    fn ended(name: &str, passed: u64, failed: u64) -> Event {
        Event::Ended(Box::new(Outcome {
            name: name.to_owned(),
            counts: Counts {
                passed,
                failed,
                ..Counts::default()
            },
            ..Outcome::default()
        }))
    }

    fn view(events: &[Event]) -> View {
        let mut view = View::default();
        events.iter().for_each(|event| view.take(event));
        view
    }

    const PLACE: Place = Place {
        number: 8,
        all: 19,
        name: "host-tests",
        last: None,
    };

    #[test]
    fn a_stage_without_runs_shows_its_last_line() {
        let mut view = View::default();
        let elapsed = Duration::from_secs(3);
        assert_eq!(PLACE.line(&view, elapsed), " 8/19 host-tests       0:03");
        view.said("   Compiling spin v0.10.0\n");
        view.said("\n");
        assert_eq!(
            PLACE.line(&view, elapsed),
            " 8/19 host-tests       0:03  Compiling spin v0.10.0"
        );
    }

    #[test]
    fn a_stage_with_runs_shows_how_far_it_is_and_which_are_under_way() {
        let mut events = vec![Event::Planned(3), begun("a"), begun("b"), begun("c")];
        assert_eq!(view(&events).progress(0), "[0/3]");
        events.extend([ended("b", 5, 0), ended("not begun", 0, 0)]);
        let place = Place {
            last: Some((Duration::from_secs(250), 3)),
            ..PLACE
        };
        assert_eq!(
            place.line(&view(&events), Duration::from_secs(83)),
            " 8/19 host-tests       1:23 of 4:10  [2/3] 5 passed  a, c"
        );
        events.push(ended("a", 1, 2));
        assert_eq!(view(&events).progress(0), "[3/3] 6 passed, 2 failed");
        assert_eq!(view(&events).now(), "c");
        assert_eq!(view(&events).done(), 3);
    }

    #[test]
    fn a_stage_that_plans_in_parts_goes_by_the_last_time() {
        let events = [Event::Planned(3), ended("a", 1, 0)];
        assert_eq!(view(&events).progress(10), "[1/10] 1 passed");
        assert_eq!(view(&events).progress(2), "[1/3] 1 passed");
        assert_eq!(view(&events[1..]).progress(0), "[1] 1 passed");
        assert_eq!(view(&[]).progress(0), "");
    }
}
