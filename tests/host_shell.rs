//! The shell on the host, over a machine that records what was done to it.

#[path = "host_shell/commands.rs"]
mod commands;
#[path = "host_shell/editor.rs"]
mod editor;
#[path = "host_shell/fake.rs"]
mod fake;
#[path = "host_shell/files.rs"]
mod files;
#[path = "host_shell/governor.rs"]
mod governor;
#[path = "host_shell/nested.rs"]
mod nested;
#[path = "host_shell/properties.rs"]
mod properties;
#[path = "host_shell/running.rs"]
mod running;
#[path = "host_shell/sequences.rs"]
mod sequences;
#[path = "host_shell/term.rs"]
mod term;

use stillpoint::shell::{Outcome, Status};

/// All went well.
const OK: Outcome = Outcome::Continue(Status::SUCCESS);
