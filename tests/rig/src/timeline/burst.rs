//! A burst: the load and the CPUs online over time, from the governor's counters.
//!
//! The kernel measures the load from one sample to the next: each value is that of the time before
//! it. The number of CPUs is that of the time behind it. Where the governor rests there is no sample,
//! and no load is drawn.

use super::scale::Scale;
use super::svg::{Anchor, Svg, number};
use super::trace::{Counter, Ns, Trace};

const WIDTH: f64 = 880.0;
const HEIGHT: f64 = 330.0;
/// The edges of the curves.
const LEFT: f64 = 60.0;
const RIGHT: f64 = WIDTH - 30.0;
const TOP: f64 = 60.0;
const BOTTOM: f64 = HEIGHT - 75.0;
/// The least place between two ticks of the axis.
const TICKS: f64 = 64.0;
/// How much time is shown before CPUs come, and after they have gone.
const BEFORE: Ns = 3_000_000;
const AFTER: Ns = 4_000_000;
/// For how long a load is drawn at most: the time of a sample, and some more.
const SAMPLE: Ns = 1_200_000;

/// The time of the first sample after a rest, which begins when a thread waits.
const FIRST_SAMPLE: Ns = 500_000;

/// A value over a stretch of time.
type Stretch = (Ns, Ns, f64);

/// Returns the picture of the last burst that the trace has whole, as the text of an SVG file: CPUs
/// come, because threads wait, and go, because they are idle.
#[must_use]
pub fn picture(trace: &Trace) -> Option<String> {
    let (up, down) = last_burst(trace)?;
    let (from, to) = (up.saturating_sub(BEFORE), down + AFTER);
    let online = online(trace, to);
    let load = loads(trace);
    let inside = |stretches: Vec<Stretch>| -> Vec<Stretch> {
        let seen = stretches
            .into_iter()
            .filter(|(begin, end, _)| *end > from && *begin < to);
        seen.map(|(begin, end, value)| (begin.max(from), end.min(to), value))
            .collect()
    };
    let (online, load) = (inside(online), inside(load));
    let values = online.iter().chain(&load).map(|stretch| stretch.2);
    let most = values.fold(1.0, f64::max).ceil();
    let scale = Scale {
        from,
        to,
        left: LEFT,
        per_ns: (RIGHT - LEFT) / (to - from) as f64,
    };
    let title = "CPUs follow the load: a burst";
    let description = "The load, which is how many CPUs are busy and how many threads wait for one, \
                       and the number of CPUs online, over time";
    let mut svg = Svg::new(WIDTH, HEIGHT, title, description);
    svg.rectangle("ground", [0.5, 0.5, WIDTH - 1.0, HEIGHT - 1.0], "");
    svg.text("title", (16.0, 26.0), Anchor::Start, None, title);
    let y = |value: f64| BOTTOM - value / most * (BOTTOM - TOP);
    for value in 0..=most as u32 {
        let at = y(value.into());
        let line = format!("M{} {}H{}", number(LEFT), number(at), number(RIGHT));
        svg.path("grid", &line, "", "");
        let at = (LEFT - 18.0, at + 4.0);
        svg.text("quiet", at, Anchor::Start, None, &value.to_string());
    }
    for (at, label) in scale.ticks(up, TICKS) {
        let x = scale.x(at);
        let line = format!("M{} {}V{}", number(x), number(TOP), number(BOTTOM + 4.0));
        svg.path("grid", &line, "", "");
        svg.text("quiet", (x, BOTTOM + 18.0), Anchor::Middle, None, &label);
    }
    for (begin, end, value) in &load {
        let (x, width) = (scale.x(*begin), scale.x(*end) - scale.x(*begin));
        let about = format!("load {value:.2}");
        svg.rectangle(
            "bar band",
            [x, y(*value), width, BOTTOM - y(*value)],
            &about,
        );
    }
    let mut line = String::new();
    for (begin, end, value) in &online {
        let command = if line.is_empty() { 'M' } else { 'L' };
        let (x, at) = (number(scale.x(*begin)), number(y(*value)));
        line.push_str(&format!("{command}{x} {at}H{}", number(scale.x(*end))));
    }
    svg.path("arrow", &line, " stroke-width=\"2\"", "CPUs online");
    legend(&mut svg);
    Some(svg.finish())
}

/// Says what is what.
fn legend(svg: &mut Svg) {
    let y = BOTTOM + 46.0;
    svg.path(
        "arrow",
        &format!("M{} {}h18", LEFT, y - 4.0),
        " stroke-width=\"2\"",
        "",
    );
    svg.text(
        "plain",
        (LEFT + 26.0, y),
        Anchor::Start,
        None,
        "CPUs online",
    );
    svg.rectangle("band", [LEFT + 130.0, y - 11.0, 18.0, 12.0], "");
    let load = "the load: CPUs that are busy, and threads that wait for one";
    svg.text("plain", (LEFT + 156.0, y), Anchor::Start, None, load);
    let zero = "Time counts from the decision to take CPUs.";
    svg.text("quiet", (LEFT, y + 18.0), Anchor::Start, None, zero);
}

/// Returns when CPUs were decided to come, and when the last of them had gone.
fn last_burst(trace: &Trace) -> Option<(Ns, Ns)> {
    let mut slices: Vec<_> = trace
        .group("governor")
        .flat_map(|track| &track.slices)
        .collect();
    slices.sort_by_key(|slice| slice.from);
    let is_up = |slice: &&&super::trace::Slice| slice.name.starts_with("up");
    let down = slices
        .iter()
        .rposition(|slice| slice.name.starts_with("down"))?;
    let last = slices[..down].iter().rposition(|slice| is_up(&slice))?;
    let first = slices[..=last].iter().rposition(|slice| !is_up(&slice));
    let up = slices[first.map_or(0, |before| before + 1)..=last].first()?;
    Some((up.from, slices[down].to))
}

fn of<'a>(trace: &'a Trace, name: &'a str) -> impl Iterator<Item = &'a Counter> {
    trace
        .counters
        .iter()
        .filter(move |counter| counter.name == name)
}

/// Returns how many CPUs are online from each change to the next, the last one until `to`.
fn online(trace: &Trace, to: Ns) -> Vec<Stretch> {
    let all: Vec<_> = of(trace, "CPUs").collect();
    let ends = all.iter().skip(1).map(|next| next.at).chain([to]);
    let stretch =
        |(counter, end): (&&Counter, Ns)| (counter.at, end.max(counter.at), counter.value);
    all.iter().zip(ends).map(stretch).collect()
}

/// Returns the load of each sample.
fn loads(trace: &Trace) -> Vec<Stretch> {
    let mut loads: Vec<Stretch> = Vec::new();
    for counter in of(trace, "load") {
        match loads.last_mut() {
            Some(last) if last.1 == counter.at => last.2 += counter.value,
            last => {
                let before = last.map_or(0, |last| last.1);
                let rested = counter.at - before > 2 * SAMPLE;
                let most = if rested { FIRST_SAMPLE } else { SAMPLE };
                let begin = before.max(counter.at.saturating_sub(most));
                loads.push((begin, counter.at, counter.value));
            }
        }
    }
    loads
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const MS: Ns = 1_000_000;

    fn counter(name: &str, at: f64, args: &Value) -> Value {
        json!({"ph": "C", "name": name, "pid": 5, "ts": at * 1000.0, "args": args})
    }

    /// Two CPUs come at 10 ms, and go at 30 ms.
    fn burst() -> Trace {
        let slice = |name: &str, at: f64, from: u32, to: u32| {
            json!({"ph": "X", "name": name, "pid": 5, "tid": 5000, "ts": at * 1000.0, "dur": 100,
                   "args": {"ok": true, "from": from, "to": to}})
        };
        let mut events = vec![
            json!({"ph": "M", "name": "process_name", "pid": 5, "args": {"name": "governor"}}),
            json!({"ph": "M", "name": "thread_name", "pid": 5, "tid": 5000,
                   "args": {"name": "CPU 0"}}),
            slice("down: idle", 1.0, 3, 1),
            slice("up: waiting", 10.0, 1, 3),
            slice("down: idle", 30.0, 3, 1),
            counter("CPUs", 1.1, &json!({"online": 1})),
            counter("CPUs", 10.1, &json!({"online": 3})),
            counter("CPUs", 30.1, &json!({"online": 1})),
        ];
        for ms in 10..25 {
            let load = json!({"busy": 1.0, "waiting": 1.5});
            events.push(counter("load", ms.into(), &load));
        }
        let counts = json!({"slices": 3, "flows": 0, "counters": 18});
        let json = json!({"traceEvents": events, "otherData": counts});
        Trace::read(&json).expect("a trace")
    }

    #[test]
    fn a_burst_is_found_and_drawn() {
        let trace = burst();
        assert_eq!(last_burst(&trace), Some((10 * MS, 30 * MS + 100_000)));
        let loads = loads(&trace);
        assert_eq!(loads[0], (10 * MS - FIRST_SAMPLE, 10 * MS, 2.5));
        assert_eq!(loads[1], (10 * MS, 11 * MS, 2.5));
        let online = online(&trace, 40 * MS);
        assert_eq!(online.last(), Some(&(30_100_000, 40 * MS, 1.0)));
        let text = picture(&trace).expect("a burst");
        let tree = roxmltree::Document::parse(&text).expect("well-formed");
        let bands = tree
            .descendants()
            .filter(|node| node.attribute("class") == Some("bar band"));
        assert_eq!(bands.count(), 15, "a bar for each sample");
    }

    #[test]
    fn without_a_burst_there_is_no_picture() {
        assert!(picture(&Trace::default()).is_none());
    }
}
