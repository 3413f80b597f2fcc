//! Whether a machine runs: stop, cont, and its power button.

use std::io;

use serde_json::json;

use crate::monitor::{Monitor, bad};

impl Monitor {
    /// Stops the machine: no virtual CPU executes, and under TCG the guest's time stands still.
    ///
    /// # Errors
    ///
    /// QEMU doesn't answer.
    pub fn stop(&mut self) -> io::Result<()> {
        self.execute("stop", json!({})).map(drop)
    }

    /// Lets the machine go on.
    ///
    /// # Errors
    ///
    /// QEMU doesn't answer, or the machine can't go on.
    pub fn cont(&mut self) -> io::Result<()> {
        self.execute("cont", json!({})).map(drop)
    }

    /// Presses the power button. What comes of it is up to the guest, so this doesn't wait.
    ///
    /// # Errors
    ///
    /// QEMU doesn't answer.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "no kernel has a power button yet")
    )]
    pub fn power_down(&mut self) -> io::Result<()> {
        self.execute("system_powerdown", json!({})).map(drop)
    }

    /// Returns QEMU's word for the state of the machine (`RunState` of its qapi/run-state.json),
    /// such as `running`, `paused`, `inmigrate` or `postmigrate`.
    ///
    /// # Errors
    ///
    /// QEMU doesn't answer.
    pub fn run_state(&mut self) -> io::Result<String> {
        let answer = self.execute("query-status", json!({}))?;
        let state = answer["status"].as_str().ok_or_else(|| bad(&answer))?;
        Ok(state.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use crate::monitor::tests::talk;

    #[test]
    fn commands_and_the_state_are_those_of_qmp() {
        let answers = "{\"return\": {}}\n{\"event\": \"RESUME\"}\n{\"return\": {}}\n\
                       {\"return\": {}}\n{\"return\": {\"status\": \"paused\"}}\n";
        let heard = talk(answers, |monitor| {
            monitor.stop().expect("an answer");
            monitor.cont().expect("an answer");
            monitor.power_down().expect("an answer");
            assert_eq!(monitor.run_state().expect("a state"), "paused");
        });
        let names = [
            "\"stop\"",
            "\"cont\"",
            "\"system_powerdown\"",
            "\"query-status\"",
        ];
        for name in names {
            assert!(heard.contains(name), "{name} {heard}");
        }
    }
}
