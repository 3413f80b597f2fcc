//! Reads the events of a trace.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::trace::{Counter, End, Flow, Instant, Ns, Slice, Trace, Track};

/// The numbers of a group and of a track in it.
type Key = (u64, u64);

/// What was read so far.
#[derive(Default)]
pub struct Reader {
    groups: BTreeMap<u64, String>,
    cpus: BTreeMap<Key, u32>,
    slices: BTreeMap<Key, Vec<Slice>>,
    instants: BTreeMap<Key, Vec<Instant>>,
    /// The ends of each flow, by its number.
    flows: BTreeMap<String, Vec<FlowEvent>>,
    counters: Vec<Counter>,
    counter_events: usize,
}

struct FlowEvent {
    kind: char,
    name: String,
    key: Key,
    at: Ns,
}

impl Reader {
    /// Reads one event.
    ///
    /// # Errors
    ///
    /// It isn't of the format.
    pub fn read(&mut self, event: &Value) -> Result<()> {
        let text = |field: &str| event[field].as_str().with_context(|| format!("no {field}"));
        let (kind, name) = (text("ph")?, text("name")?.to_owned());
        let group = event["pid"].as_u64().context("no pid")?;
        if kind == "M" {
            return self.name(event, &name, group);
        }
        if kind == "C" {
            return self.counter(event, &name);
        }
        let key = (group, event["tid"].as_u64().context("no tid")?);
        let at = time(event, "ts")?;
        match kind {
            "X" => {
                let arguments = &event["args"];
                let on = arguments["on"].as_u64().map(u32::try_from).transpose()?;
                self.slices.entry(key).or_default().push(Slice {
                    name,
                    from: at,
                    to: at + time(event, "dur")?,
                    on,
                    ok: arguments["ok"] != false,
                    depth: 0,
                });
            }
            "i" => self
                .instants
                .entry(key)
                .or_default()
                .push(Instant { name, at }),
            "s" | "t" | "f" => {
                let id = &event["id"];
                if id.is_null() {
                    bail!("no id");
                }
                let kind = kind.chars().next().unwrap_or_default();
                let event = FlowEvent {
                    kind,
                    name,
                    key,
                    at,
                };
                self.flows.entry(id.to_string()).or_default().push(event);
            }
            other => bail!("it is of the kind {other}, which the kernel doesn't write"),
        }
        Ok(())
    }

    /// Reads the values of a counter.
    fn counter(&mut self, event: &Value, name: &str) -> Result<()> {
        let at = time(event, "ts")?;
        let values = event["args"].as_object().context("no args")?;
        for (what, value) in values {
            self.counters.push(Counter {
                name: name.to_owned(),
                what: what.clone(),
                at,
                value: value.as_f64().context("a value is no number")?,
            });
        }
        self.counter_events += 1;
        Ok(())
    }

    /// Reads an event that names a group or a track.
    fn name(&mut self, event: &Value, what: &str, group: u64) -> Result<()> {
        let name = || event["args"]["name"].as_str().context("no args.name");
        match what {
            "process_name" => {
                self.groups.insert(group, name()?.to_owned());
            }
            "thread_name" => {
                let cpu = name()?
                    .strip_prefix("CPU ")
                    .and_then(|cpu| cpu.parse().ok());
                let track = event["tid"].as_u64().context("no tid")?;
                let cpu = cpu.with_context(|| format!("{} is no CPU", event["args"]))?;
                if self.cpus.insert((group, track), cpu).is_some() {
                    bail!("the track has a name");
                }
            }
            _ => (),
        }
        Ok(())
    }

    /// Returns the trace of all events that were read.
    ///
    /// # Errors
    ///
    /// A track has no name, slices overlap, or a flow has no beginning or no end.
    pub fn finish(mut self) -> Result<Trace> {
        for key in self.slices.keys().chain(self.instants.keys()) {
            self.has_name(*key)?;
        }
        // Sorting keeps the order of those at the same time.
        self.counters.sort_by_key(|counter| counter.at);
        let mut trace = Trace {
            counters: std::mem::take(&mut self.counters),
            counter_events: self.counter_events,
            ..Trace::default()
        };
        for (key, cpu) in &self.cpus {
            let group = self.groups.get(&key.0);
            let group =
                group.with_context(|| format!("group {} of the trace has no name", key.0))?;
            let mut slices = self.slices.remove(key).unwrap_or_default();
            nest(&mut slices).with_context(|| format!("{group} of CPU {cpu}"))?;
            trace.tracks.push(Track {
                group: group.clone(),
                cpu: *cpu,
                slices,
                instants: self.instants.remove(key).unwrap_or_default(),
            });
        }
        for (id, events) in &mut self.flows {
            // Sorting keeps the order of those at the same time.
            events.sort_by_key(|event| event.at);
            let kinds: String = events.iter().map(|event| event.kind).collect();
            let inner = kinds
                .strip_prefix('s')
                .and_then(|rest| rest.strip_suffix('f'));
            if inner.is_none_or(|inner| inner.chars().any(|kind| kind != 't')) {
                bail!("flow {id} has the events {kinds}, not s, some t, and f");
            }
            for pair in events.windows(2) {
                let end = |event: &FlowEvent| {
                    let track = self.cpus.keys().position(|key| *key == event.key);
                    let track = track.with_context(|| format!("flow {id} has no track"))?;
                    anyhow::Ok(End {
                        track,
                        at: event.at,
                    })
                };
                trace.flows.push(Flow {
                    name: pair[0].name.clone(),
                    from: end(&pair[0])?,
                    to: end(&pair[1])?,
                });
            }
        }
        Ok(trace)
    }

    fn has_name(&self, key: Key) -> Result<()> {
        if self.cpus.contains_key(&key) {
            return Ok(());
        }
        bail!(
            "track {} of group {} of the trace has no name",
            key.1,
            key.0
        )
    }
}

/// Returns a time that `event` has in microseconds.
fn time(event: &Value, field: &str) -> Result<Ns> {
    let time = event[field].as_f64().filter(|time| *time >= 0.0);
    let time = time.with_context(|| format!("{field} is no time"))?;
    // Thousandths are exact far beyond any machine's uptime.
    Ok((time * 1000.0).round() as Ns)
}

/// Sorts the slices of a track, and counts in how many others each lies.
fn nest(slices: &mut [Slice]) -> Result<()> {
    slices.sort_by_key(|slice| (slice.from, std::cmp::Reverse(slice.to)));
    let mut around: Vec<(Ns, &str)> = Vec::new();
    for slice in slices {
        around.retain(|(to, _)| *to > slice.from);
        if let Some((to, outer)) = around.last()
            && *to < slice.to
        {
            bail!(
                "the slices {outer} and {} overlap at {} ns",
                slice.name,
                slice.from
            );
        }
        slice.depth = around.len();
        around.push((slice.to, &slice.name));
    }
    Ok(())
}
