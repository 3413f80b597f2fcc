//! The shell: CPUs up and down by hand, in the words that people know from Linux.
//!
//! ```text
//!   console ──byte──▶ editor ──line──▶ syntax ──words──▶ command ──▶ Machine
//!                    (keys, history)   (quotes, ;)    (table, options)   │
//!   init="…" ───────────────line──────▶                                  │
//!   console ◀──────────────────────── text ──────────────────────────────┘
//! ```
//!
//! A line means the same, whether it was typed or stood in `init=`: both go
//! through [`run_line`]. The kernel is behind one small trait, [`Machine`], so
//! that all of this is tested on the host.
//!
//! # Invariants
//! - **judged-whole**: a line, a command or a CPU list that is wrong gets a message,
//!   and has changed nothing: each is judged whole before any of it is carried out.
//! - **shell-returns**: the shell doesn't turn the machine off; it returns an
//!   [`Outcome`].
//! - **no-input-lost**: no input makes it panic, and none is dropped without a sign.
//!
//! # Concurrency
//! Thread context only; a command may sleep. The shell takes no lock. What it
//! prints is as old as the call that it asked the machine with.

#![forbid(unsafe_code)]

mod builtin;
mod chcpu;
mod command;
mod complete;
mod cpulist;
mod editor;
mod help;
mod keys;
mod lscpu;
mod machine;
mod midr;
mod options;
mod screen;
mod status;
mod syntax;

pub use command::{run_line, run_shown};
pub use cpulist::{CpuListError, CpuListErrorKind, parse_cpu_list};
pub use editor::{LINE_LIMIT, LineError, PROMPT};
pub use machine::{CpuInfo, CpuState, Failure, Machine, Masks, MemoryReport, StepRow, StopCost};
pub use status::{Outcome, Report, Status};

use editor::Editor;

/// An interactive session on a console.
pub struct Shell<'m, M: Machine> {
    machine: &'m M,
    editor: Editor<'m, M>,
}

impl<'m, M: Machine> Shell<'m, M> {
    /// Returns a session on `machine`'s console. Prints the first prompt.
    pub fn new(machine: &'m M) -> Shell<'m, M> {
        let editor = Editor::new(machine);
        editor.prompt();
        Shell { machine, editor }
    }

    /// Takes note that the console has lost some bytes here: the line that they
    /// belong to is refused at its end (no-input-lost).
    pub fn lose(&mut self) {
        self.editor.lose();
    }

    /// Takes a byte that came from the console; at the end of a line it runs the
    /// line, and prompts for the next. Tells how the line ended, and `None`
    /// within one.
    ///
    /// # Context
    /// Thread; sleeps as the line's commands do.
    pub fn feed(&mut self, byte: u8) -> Option<Outcome> {
        let outcome = match self.editor.feed(byte) {
            Ok(None) => return None,
            Ok(Some(line)) => run_line(self.machine, &line).outcome,
            Err(error) => {
                self.machine.write(format_args!("sh: {error}\n"));
                Outcome::Continue(Status::SYNTAX)
            }
        };
        if let Outcome::Continue(_) = outcome {
            self.editor.prompt();
        }
        Some(outcome)
    }
}
