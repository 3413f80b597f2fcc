//! The name of a step, as errors and the log have it.

use core::fmt;

/// The name of a step: its group, and its name in the group. Prints as `group:name`. The two
/// ends of the table, `offline` and `online`, have no group, and print as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepName {
    group: &'static str,
    name: &'static str,
}

impl StepName {
    /// Returns the name of a step of `group`.
    pub(super) const fn new(group: &'static str, name: &'static str) -> StepName {
        StepName { group, name }
    }

    /// Returns the group, such as `prep`.
    pub const fn group(self) -> &'static str {
        self.group
    }

    /// Returns the name within the group.
    pub const fn name(self) -> &'static str {
        self.name
    }
}

/// The name of a row of the table, from its text `group:name`.
impl From<&'static str> for StepName {
    fn from(row: &'static str) -> Self {
        let (group, name) = row.split_once(':').unwrap_or(("", row));
        StepName { group, name }
    }
}

impl fmt::Display for StepName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() {
            return f.pad(self.name);
        }
        let Some(width) = f.width() else {
            return write!(f, "{}:{}", self.group, self.name);
        };
        // As a column of a table, on the left.
        let name = width.saturating_sub(self.group.len() + 1);
        write!(f, "{}:{:<name$}", self.group, self.name)
    }
}
