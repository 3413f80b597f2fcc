//! The steps of an act as a picture: a line for each CPU, a column for each step.
//!
//! ```text
//!          1     2     3     4     5     6     7
//!   CPU 0  .     .     call  fn####back  .     .
//!   CPU 1  read--takes-------######------sleep-STALE
//! ```

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::cpu::{CpuId, CpuMask};
use crate::lab::act::Act;
use crate::lab::record::{Event, Scene, Then};

/// The width of a column.
const WIDTH: usize = 6;

/// The most columns that fit into 80 characters; a longer act goes on below.
const COLUMNS: usize = 11;

/// The most CPUs that have a line each, if nothing happens on them.
const LINES: usize = 8;

/// What fills a column in a state.
fn filler(then: Then) -> &'static str {
    match then {
        Then::Runs => "------",
        Then::Waits => "~~~~~~",
        Then::Idle => ".     ",
    }
}

const STILL: &str = "######";
const OFF: &str = "      ";

/// An act, to be printed as a timeline.
pub(super) struct Timeline<'a> {
    act: &'a Act,
}

impl Timeline<'_> {
    pub(super) fn of(act: &Act) -> Timeline<'_> {
        Timeline { act }
    }

    /// Returns the CPUs with a line of their own, and how many share one.
    fn lines(&self) -> (CpuMask, CpuMask) {
        let act = self.act;
        if act.cpus.count() <= LINES {
            return (act.cpus, CpuMask::EMPTY);
        }
        let mut seen = act.away;
        for event in &act.events {
            seen.insert(event.cpu);
        }
        (seen, act.cpus.without(&seen))
    }

    /// Returns the columns of the line of CPU `cpu`; `None` stands for a CPU on which nothing
    /// is said.
    fn line(&self, cpu: Option<CpuId>) -> Vec<String> {
        let is_away = cpu.is_some_and(|cpu| self.act.away.contains(cpu));
        let mut state = Some(Then::Idle).filter(|_| !is_away);
        let mut columns = Vec::with_capacity(self.act.events.len());
        for event in &self.act.events {
            columns.push(column(event, cpu, &mut state));
        }
        if let Some(first) = columns.first_mut().filter(|first| *first == OFF) {
            *first = marked("(off)", OFF);
        }
        columns
    }
}

/// Returns the column of `event` in the line of `cpu`, whose state is `state`: `None` if it is
/// offline. Changes the state to that behind the event.
fn column(event: &Event, cpu: Option<CpuId>, state: &mut Option<Then>) -> String {
    let Event { cpu: at, line } = event;
    let changed = match line.scene {
        Scene::Comes(it) if cpu == Some(it) && state.is_none() => Some(("(on)", Some(Then::Idle))),
        Scene::Goes(it) if cpu == Some(it) => Some(("(off)", None)),
        _ => None,
    };
    let fill = match line.scene {
        Scene::Still => STILL,
        _ => filler(line.then),
    };
    if cpu == Some(*at) {
        *state = Some(line.then);
        return marked(line.mark, fill);
    }
    if let Some((mark, then)) = changed {
        *state = then;
        return marked(mark, OFF);
    }
    match (line.scene, *state) {
        (_, None) => OFF.into(),
        (Scene::Still, Some(_)) => STILL.into(),
        (_, Some(then)) => filler(then).into(),
    }
}

/// Returns a column that begins with `mark` and goes on as `fill` does.
fn marked(mark: &str, fill: &str) -> String {
    let fill = if fill.starts_with('.') { OFF } else { fill };
    let rest = fill.get(mark.len()..).unwrap_or_default();
    alloc::format!("{mark}{rest}")
}

impl fmt::Display for Timeline<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (own, shared) = self.lines();
        let mut lines: Vec<(String, Vec<String>)> = own
            .iter()
            .map(|cpu| (alloc::format!("CPU {cpu}"), self.line(Some(cpu))))
            .collect();
        if !shared.is_empty() {
            lines.push((String::from("others"), self.line(None)));
        }
        let steps = self.act.events.len();
        for begin in (0..steps).step_by(COLUMNS) {
            let end = steps.min(begin + COLUMNS);
            let numbers = (begin..end).map(|at| alloc::format!("{:<WIDTH$}", at + 1));
            let numbers: String = numbers.collect();
            writeln!(f, "{:9}{}", "", numbers.trim_end())?;
            for (name, columns) in &lines {
                let columns = columns[begin..end].concat();
                writeln!(f, "  {name:<7}{}", columns.trim_end())?;
            }
        }
        Ok(())
    }
}
