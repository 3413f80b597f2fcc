//! The stops of a trace: which CPUs were in each.

use super::chart::Band;
use super::scale::duration;
use super::trace::{Flow, Ns, Slice, Trace};

/// The group of tracks with a slice for each CPU in each stop.
pub const STOPS: &str = "still points";

/// A stop: the CPUs that were in it, each with its slice, and the slices of their states.
pub struct Stop<'a> {
    pub stays: Vec<(u32, &'a Slice)>,
    pub states: Vec<&'a Slice>,
}

impl Stop<'_> {
    /// Returns the first of those stops that had the most CPUs. Of them those that no walk was part
    /// of come first, and then those with the most states: the stop by which a kernel begins to record
    /// states has not all of its own. `None` if the trace has no stop.
    pub fn choose(trace: &Trace) -> Option<Stop<'_>> {
        let is_of_walk = |stop: &Stop| {
            let mut walks = trace.group("walks").flat_map(|track| &track.slices);
            walks.any(|walk| walk.depth == 0 && walk.from <= stop.begin() && stop.end() <= walk.to)
        };
        let rank = |stop: &Stop| (stop.stays.len(), !is_of_walk(stop), stop.states.len());
        // The first of the best, not the last.
        all(trace).into_iter().rev().max_by_key(rank)
    }

    /// Returns when the first CPU arrives.
    pub fn begin(&self) -> Ns {
        let arrivals = self.stays.iter().map(|(_, stay)| stay.from);
        arrivals.min().unwrap_or(0)
    }

    /// Returns when the last CPU leaves.
    pub fn end(&self) -> Ns {
        let departures = self.stays.iter().map(|(_, stay)| stay.to);
        departures.max().unwrap_or(0)
    }

    /// Returns when the first CPU leaves.
    fn leaves(&self) -> Ns {
        let departures = self.stays.iter().map(|(_, stay)| stay.to);
        departures.min().unwrap_or(0)
    }

    /// Returns when what led to the stop began: at most as long before it as it took.
    pub fn asked(&self, trace: &Trace) -> Ns {
        let (begin, end) = (self.begin(), self.end());
        let earliest = begin.saturating_sub(end - begin);
        let led = |flow: &&Flow| flow.from.at >= earliest && flow.to.at <= end;
        let began = trace.flows.iter().filter(led).map(|flow| flow.from.at);
        began.min().map_or(begin, |asked| asked.min(begin))
    }

    /// Returns when nothing else moved: from the last CPU's masking, or its arrival if the trace has
    /// no states, until the first CPU leaves.
    pub fn all_masked(&self) -> Option<Band> {
        let running = self.states.iter().filter(|state| state.name == "run");
        let arrived = self.stays.iter().map(|(_, stay)| stay.from).max();
        let (from, label) = match running.map(|state| state.from).max() {
            Some(from) => (from, "the still point: interrupts are off on all CPUs"),
            None => (arrived?, "all CPUs have stopped"),
        };
        let ran = self.states.iter().filter(|state| state.name == "run");
        let to = ran.map(|state| state.to).min().unwrap_or(self.leaves());
        (from < to).then(|| Band {
            from,
            to,
            label: label.to_owned(),
        })
    }

    /// Says when each CPU was in the stop.
    pub fn description(&self) -> String {
        let mut text = String::from("A row for each CPU, time from left to right.");
        let begin = self.begin();
        for (cpu, stay) in &self.stays {
            let (after, long) = (duration(stay.from - begin), duration(stay.to - stay.from));
            text.push_str(&format!(
                " CPU {cpu} arrives at {after} and stays for {long}."
            ));
        }
        text
    }
}

/// Returns all stops, in the order of their time.
fn all(trace: &Trace) -> Vec<Stop<'_>> {
    let mut stays: Vec<(u32, &Slice)> = Vec::new();
    for track in trace.group(STOPS) {
        let outer = track.slices.iter().filter(|slice| slice.depth == 0);
        stays.extend(outer.map(|slice| (track.cpu, slice)));
    }
    stays.sort_by_key(|(_, slice)| slice.from);
    let mut stops: Vec<Stop> = Vec::new();
    for (cpu, stay) in stays {
        match stops.last_mut() {
            // All CPUs of a stop are in it at one time.
            Some(stop) if stay.from < stop.leaves() => stop.stays.push((cpu, stay)),
            _ => stops.push(Stop {
                stays: vec![(cpu, stay)],
                states: Vec::new(),
            }),
        }
    }
    for stop in &mut stops {
        stop.stays.sort_by_key(|(cpu, _)| *cpu);
        let (from, to) = (stop.begin(), stop.end());
        for track in trace.group(STOPS) {
            let inner = track.slices.iter().filter(|slice| slice.depth > 0);
            let of_stop = inner.filter(|slice| slice.from >= from && slice.to <= to);
            stop.states.extend(of_stop);
        }
    }
    stops
}
