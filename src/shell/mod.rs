//! The shell: CPUs up and down by hand, in the words that people know from Linux.
//!
//! ```text
//!   console ──byte──▶ editor ──line──▶ syntax ──words──▶ command ──▶ Machine
//!                (keys, history, painter) (quotes, ;) (table, options)   │
//!   init="…" ───────────────line──────▶                                  │
//!   console ◀──────────────────────── text ──────────────────────────────┘
//! ```
//!
//! A line means the same, whether it was typed or stood in `init=`: both go
//! through [`run_line`]. The kernel is behind one small trait, [`Machine`], so
//! that all of this is tested on the host.
//!
//! # Invariants
//! - **judged-whole**: the shell checks a whole line, a whole command and a whole CPU
//!   list before it carries out any part of it. So if one is wrong the shell prints a
//!   message, and nothing has changed.
//! - **shell-returns**: the shell doesn't turn the machine off; it returns an
//!   [`Outcome`].
//! - **no-input-lost**: no input makes the shell panic, and the shell drops no input
//!   without a bell or a message.
//!
//! # Concurrency
//! Thread context only; a command may sleep. The shell takes no lock, so the state of
//! the machine that a command prints may have changed since the command asked for it.

#![forbid(unsafe_code)]

mod affinity;
mod again;
mod around;
mod builtin;
mod chcpu;
mod command;
mod complete;
mod cpulist;
mod ctrl_c;
mod date;
mod editor;
mod faults;
mod features;
mod files;
mod governor;
mod help;
mod history;
mod keys;
mod line;
mod lscpu;
mod machine;
mod midr;
mod numbers;
mod options;
mod painter;
mod program;
mod ps;
mod small;
mod status;
mod stress;
mod syntax;
mod sysctl;
mod table;
mod texts;
mod typing;
mod words;

pub use command::{check_commands, run_line, run_shown};
pub use cpulist::{CpuListError, CpuListErrorKind, parse_cpu_list};
pub use editor::{LINE_LIMIT, LineError, PROMPT};
pub use machine::{
    CpuInfo, CpuState, Failure, GovernorReport, InterruptRow, IrqRow, Machine, Masks, MemoryReport,
    StepRow, StopCost, ThreadRow, Typed,
};
pub use program::{Call, CommandError, ShellCommand};
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
        let mut editor = Editor::new(machine);
        editor.draw();
        Shell { machine, editor }
    }

    /// Marks the current line as incomplete because the console has lost some of its
    /// bytes: the line is refused at its end (no-input-lost).
    pub fn lose(&mut self) {
        self.editor.lose();
    }

    /// Takes a byte that came from the console. If the byte ends a line, runs the line,
    /// prompts for the next one and returns how the line ended; otherwise returns `None`.
    /// There is no prompt after a line that turns the machine off or resets it.
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
            self.editor.draw();
        }
        Some(outcome)
    }
}
