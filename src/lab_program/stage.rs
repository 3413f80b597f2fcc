//! Where an act is played: its threads, from the first to the last.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use crate::api::cpu::{CpuId, CpuMask};
use crate::api::thread::{Builder, Class, JoinHandle, OnOffline};
use crate::api::time;
use crate::lab::Event;
use crate::lab_program::Console;
use crate::lab_program::trouble::Trouble;
use crate::lab_program::turns::{GivenUp, Turns};

/// How often the console is asked for a Ctrl-C.
const ASKED: Duration = Duration::from_millis(50);

/// The threads of an act. They have ended when it is dropped (`left-as-found` of
/// [`lab_program`](crate::lab_program)).
pub(super) struct Stage {
    turns: Arc<Turns>,
    threads: Vec<JoinHandle<()>>,
}

impl Stage {
    /// Returns a stage without a thread.
    pub(super) fn new() -> Stage {
        Stage {
            turns: Arc::new(Turns::new()),
            threads: Vec::new(),
        }
    }

    /// Returns the order of the steps.
    pub(super) fn turns(&self) -> Arc<Turns> {
        Arc::clone(&self.turns)
    }

    /// Starts a thread that does its part on `cpu`, when the act begins.
    ///
    /// # Errors
    /// [`Trouble::Spawn`].
    pub(super) fn cast(
        &mut self,
        name: &'static str,
        cpu: CpuId,
        class: Class,
        body: impl FnOnce(&Turns) -> Result<(), GivenUp> + Send + 'static,
    ) -> Result<(), Trouble> {
        let turns = Arc::clone(&self.turns);
        let builder = Builder::new().name(format_args!("lab/{name}")).class(class);
        let builder = builder.affinity(CpuMask::of(cpu));
        let thread = builder.on_offline(OnOffline::Refuse).spawn(move || {
            // What was given up is known to the turns.
            let _given_up = body(&turns);
            turns.end();
        });
        self.threads.push(thread.map_err(Trouble::Spawn)?);
        Ok(())
    }

    /// Has the threads begin, and waits until all have ended. Returns the steps that they said.
    ///
    /// # Errors
    /// [`Trouble`]: the act was given up.
    pub(super) fn play(mut self, console: &dyn Console) -> Result<Vec<Event>, Trouble> {
        let turns = &self.turns;
        turns.begin();
        loop {
            if console.is_interrupted() {
                turns.give_up(Trouble::Interrupted);
                break;
            }
            if turns.wait_ended(self.threads.len(), time::deadline(ASKED)) {
                break;
            }
        }
        self.join();
        self.turns.finish()
    }

    fn join(&mut self) {
        for thread in self.threads.drain(..) {
            thread.join();
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.turns.give_up(Trouble::Interrupted);
        self.join();
    }
}
