//! A trace as `trace export` prints it, read and checked.
//!
//! # Invariants
//! - **nested**: the slices of a track are either one after the other or one in the other. Those
//!   that aren't make a trace that is refused.
//! - **counted**: the slices and flows are as many as the kernel says that it has written.
//!
//! # Sources
//! The Chrome project's "Trace Event Format": complete events (`X`), instant events (`i`), flows
//! (`s`, `t`, `f`), counters (`C`), names of processes and threads (`M`); times in microseconds.

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::reader::Reader;

/// A time or a duration, in nanoseconds.
pub type Ns = u64;

/// What the rings of a kernel held.
#[derive(Debug, Default)]
pub struct Trace {
    /// In the order of the groups and CPUs.
    pub tracks: Vec<Track>,
    pub flows: Vec<Flow>,
    /// In the order of their times.
    pub counters: Vec<Counter>,
    /// How many events those are: one has several values.
    pub counter_events: usize,
}

/// What one CPU did, of one kind.
#[derive(Debug)]
pub struct Track {
    /// The kind, such as `walks`.
    pub group: String,
    pub cpu: u32,
    /// In the order of their beginnings, the outer ones first.
    pub slices: Vec<Slice>,
    pub instants: Vec<Instant>,
}

/// Something that took time.
#[derive(Clone, Debug)]
pub struct Slice {
    pub name: String,
    pub from: Ns,
    pub to: Ns,
    /// The CPU that it ran on, if it isn't that of the track.
    pub on: Option<u32>,
    /// Whether it succeeded.
    pub ok: bool,
    /// In how many slices it lies.
    pub depth: usize,
}

/// Something that took no time.
#[derive(Clone, Debug)]
pub struct Instant {
    pub name: String,
    pub at: Ns,
}

/// The value that a counter has from a time on.
#[derive(Clone, Debug, PartialEq)]
pub struct Counter {
    pub name: String,
    /// What of it.
    pub what: String,
    pub at: Ns,
    pub value: f64,
}

/// One thing that led to another.
#[derive(Clone, Debug)]
pub struct Flow {
    pub name: String,
    pub from: End,
    pub to: End,
}

/// A place in a track, by its number in [`Trace::tracks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    pub track: usize,
    pub at: Ns,
}

impl Track {
    /// Returns the depth of the innermost slice around a time; 0 if there is none.
    #[must_use]
    pub fn depth_at(&self, at: Ns) -> usize {
        let around = self
            .slices
            .iter()
            .filter(|slice| slice.from <= at && at <= slice.to);
        around.map(|slice| slice.depth).max().unwrap_or(0)
    }
}

impl Trace {
    /// Reads the trace in `json`.
    ///
    /// # Errors
    ///
    /// An event isn't of the format, its track has no name, slices overlap, or there are more or
    /// fewer than the kernel has counted.
    pub fn read(json: &Value) -> Result<Trace> {
        let events = json["traceEvents"].as_array();
        let events = events.context("the trace has no list traceEvents")?;
        let mut reader = Reader::default();
        for (number, event) in events.iter().enumerate() {
            let read = reader.read(event);
            read.with_context(|| format!("event {number} of the trace, {event}"))?;
        }
        let trace = reader.finish()?;
        trace.is_counted(&json["otherData"])?;
        Ok(trace)
    }

    /// Returns how many slices there are.
    #[must_use]
    pub fn slices(&self) -> usize {
        self.tracks.iter().map(|track| track.slices.len()).sum()
    }

    /// Returns how many instants there are.
    #[must_use]
    pub fn instants(&self) -> usize {
        self.tracks.iter().map(|track| track.instants.len()).sum()
    }

    /// Returns the tracks of a group, in the order of their CPUs.
    pub fn group<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Track> {
        self.tracks.iter().filter(move |track| track.group == name)
    }

    fn is_counted(&self, counts: &Value) -> Result<()> {
        let said = count(counts, "slices")?.context("the trace has no otherData.slices")?;
        if said != self.slices() {
            bail!(
                "the kernel has counted {said} slices, the trace has {}",
                self.slices()
            );
        }
        if let Some(said) = count(counts, "instants")?
            && said != self.instants()
        {
            bail!(
                "the kernel has counted {said} instants, the trace has {}",
                self.instants()
            );
        }
        if let Some(said) = count(counts, "counters")?
            && said != self.counter_events
        {
            bail!(
                "the kernel has counted {said} counters, the trace has {}",
                self.counter_events
            );
        }
        // A kernel without flows doesn't count them.
        match count(counts, "flows")? {
            Some(said) if said != self.flows.len() => bail!(
                "the kernel has counted {said} flows, the trace has {}",
                self.flows.len()
            ),
            None if !self.flows.is_empty() => bail!("the trace has no otherData.flows"),
            _ => Ok(()),
        }
    }
}

/// Returns one of the kernel's counts, a number or a text.
fn count(counts: &Value, name: &str) -> Result<Option<usize>> {
    let text = match &counts[name] {
        Value::Null => return Ok(None),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let count = text.parse();
    Ok(Some(count.with_context(|| {
        format!("otherData.{name} of the trace is {text}")
    })?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::samples;
    use super::*;

    fn error(json: &Value) -> String {
        format!("{:#}", Trace::read(json).expect_err("it is refused"))
    }

    #[test]
    fn slices_are_counted_and_nested() {
        let trace = Trace::read(&samples::stop()).expect("a trace");
        assert_eq!(trace.group("still points").count(), 4);
        let first = trace.group("still points").next().expect("a track");
        assert_eq!(first.cpu, 0);
        let depths: Vec<_> = first.slices.iter().map(|slice| slice.depth).collect();
        assert_eq!(depths, [0, 1, 1, 1]);
        assert_eq!(trace.flows.len(), 3);
        assert_eq!(trace.tracks[trace.flows[2].to.track].cpu, 3);
    }

    #[test]
    fn counts_that_differ_are_told() {
        let mut json = samples::stop();
        json["otherData"]["slices"] = json!("17");
        assert_eq!(
            error(&json),
            "the kernel has counted 17 slices, the trace has 16"
        );
        json["otherData"]["slices"] = json!("some");
        assert!(error(&json).starts_with("otherData.slices of the trace is some"));
        json["otherData"] = json!({"slices": 16, "flows": 2});
        assert_eq!(
            error(&json),
            "the kernel has counted 2 flows, the trace has 3"
        );
        json["otherData"] = json!({"slices": 16, "flows": 3, "instants": 1});
        let told = error(&json);
        assert_eq!(told, "the kernel has counted 1 instants, the trace has 0");
        json["otherData"] = json!({"slices": 16});
        assert_eq!(error(&json), "the trace has no otherData.flows");
        json["otherData"] = json!({});
        assert_eq!(error(&json), "the trace has no otherData.slices");
    }

    #[test]
    fn events_out_of_the_format_are_told_with_their_number() {
        let with = |event: Value| {
            let mut json = samples::stop();
            let events = json["traceEvents"].as_array_mut().expect("a list");
            events.insert(0, event);
            error(&json)
        };
        let told = with(json!({"ph": "B", "name": "x", "pid": 2, "tid": 2000, "ts": 1}));
        assert!(told.starts_with("event 0 of the trace, {"), "{told}");
        assert!(
            told.ends_with("of the kind B, which the kernel doesn't write"),
            "{told}"
        );
        let told = with(json!({"ph": "X", "name": "x", "pid": 2, "tid": 2000, "ts": 1}));
        assert!(told.ends_with("dur is no time"), "{told}");
        let told = with(json!({"ph": "X", "name": "x", "pid": 2, "tid": 7, "ts": 1, "dur": 1}));
        assert_eq!(told, "track 7 of group 2 of the trace has no name");
        let told = with(json!({"ph": "f", "name": "x", "pid": 2, "tid": 2000, "ts": 1, "id": 9}));
        assert_eq!(told, "flow 9 has the events f, not s, some t, and f");
        assert_eq!(error(&json!([])), "the trace has no list traceEvents");
    }

    #[test]
    fn slices_that_overlap_are_refused() {
        let mut json = samples::stop();
        let overlap =
            json!({"ph": "X", "name": "late", "pid": 2, "tid": 2000, "ts": 101, "dur": 99});
        let events = json["traceEvents"].as_array_mut().expect("a list");
        events.push(overlap);
        let told = error(&json);
        assert!(
            told.starts_with("still points of CPU 0: the slices"),
            "{told}"
        );
        assert!(told.contains("and late overlap at 101000 ns"), "{told}");
    }
}
