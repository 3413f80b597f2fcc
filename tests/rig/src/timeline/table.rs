//! The rows of the picture of a walk: the steps of the table, and what lies between them.

use super::chart::{Rank, Row};
use super::trace::Slice;

/// A walk, and its parts in the order of their time.
pub struct Walk<'a> {
    pub whole: &'a Slice,
    pub parts: Vec<&'a Slice>,
}

/// Returns whether a part of a walk is a step of the table, and not what lies between two.
pub fn is_step(part: &Slice) -> bool {
    part.name.contains(':') && !part.name.starts_with("stop:")
}

/// The rows of the picture.
pub struct Table {
    /// The names of the steps, in the table's order.
    steps: Vec<String>,
    /// The places between steps that have something, by how many steps come before, with its names.
    between: Vec<(usize, Vec<String>)>,
}

impl Table {
    /// Returns the rows that `walks` pass.
    pub fn of(walks: &[Walk]) -> Table {
        let mut table = Table {
            steps: Vec::new(),
            between: Vec::new(),
        };
        // A walk up passes the steps in the table's order, and one that went back passes them
        // twice.
        let ups_first = walks.iter().rev();
        for walk in ups_first {
            let steps = walk
                .parts
                .iter()
                .filter(|part| is_step(part))
                .map(|part| part.name.clone());
            let mut steps: Vec<String> = steps.collect();
            if walk.whole.name == "down" {
                steps.reverse();
            }
            for (number, step) in steps.iter().enumerate() {
                if table.steps.contains(step) {
                    continue;
                }
                let before = &steps[..number];
                let place = before
                    .iter()
                    .rev()
                    .find_map(|before| table.position(before));
                table
                    .steps
                    .insert(place.map_or(0, |place| place + 1), step.clone());
            }
        }
        for walk in walks {
            for (number, part) in walk
                .parts
                .iter()
                .enumerate()
                .filter(|(_, part)| !is_step(part))
            {
                let place = table.place_between(walk, number);
                let short = short(&part.name).to_owned();
                match table.between.iter_mut().find(|(at, _)| *at == place) {
                    Some((_, names)) if names.contains(&short) => (),
                    Some((_, names)) => names.push(short),
                    None => table.between.push((place, vec![short])),
                }
            }
        }
        table.between.sort();
        table
    }

    fn position(&self, step: &str) -> Option<usize> {
        self.steps.iter().position(|known| known == step)
    }

    /// Returns how many steps of the table come before a part that is no step: those before the
    /// nearest step on the side of the table's beginning.
    fn place_between(&self, walk: &Walk, number: usize) -> usize {
        let step = |part: &&Slice| is_step(part).then(|| self.position(&part.name)).flatten();
        let before = walk.parts[..number].iter().rev().find_map(step);
        let after = walk.parts[number..].iter().find_map(step);
        match (before, after, walk.whole.name.as_str()) {
            (Some(before), Some(after), _) => before.max(after),
            (None, Some(after), "down") => after + 1,
            (Some(before), None, "up") => before + 1,
            (Some(step), None, _) | (None, Some(step), _) => step,
            (None, None, _) => 0,
        }
    }

    /// Returns the row of a part of a walk.
    pub fn row(&self, walk: &Walk, number: usize) -> usize {
        let between_before =
            |place: usize| self.between.iter().filter(|(at, _)| *at < place).count();
        let Some(part) = walk.parts.get(number) else {
            return 0;
        };
        match self.position(&part.name).filter(|_| is_step(part)) {
            Some(step) => step + between_before(step + 1),
            None => {
                let place = self.place_between(walk, number);
                place + between_before(place)
            }
        }
    }

    /// Returns the rows.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for place in 0..=self.steps.len() {
            if let Some((_, names)) = self.between.iter().find(|(at, _)| *at == place) {
                let is_end = place == 0 || place == self.steps.len();
                let rank = if is_end { Rank::Strong } else { Rank::Quiet };
                let label = match place {
                    0 => "offline".to_owned(),
                    _ if place == self.steps.len() => "online".to_owned(),
                    _ if names.iter().any(|name| name == "request") => {
                        "to the still point".to_owned()
                    }
                    _ => "hand-over".to_owned(),
                };
                rows.push(Row {
                    label,
                    lanes: 1,
                    rank,
                    ..Row::default()
                });
            }
            rows.extend(self.steps.get(place).map(|step| Row {
                label: step.clone(),
                lanes: 1,
                ..Row::default()
            }));
        }
        rows
    }
}

/// Returns the name of a part without that of its group, which the row has.
pub fn short(name: &str) -> &str {
    name.strip_prefix("stop:").unwrap_or(name)
}
