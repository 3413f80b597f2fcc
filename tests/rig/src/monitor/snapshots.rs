//! Snapshots of a running machine, in a qcow2 file: QEMU's savevm and loadvm, by the commands of
//! QMP (`snapshot-save` and `snapshot-load` of its qapi/migration.json), which are jobs.

use std::fs::File;
use std::io;
use std::path::Path;

use serde_json::{Value, json};

use crate::monitor::Monitor;

/// The name of the jobs. They run one after the other.
const JOB: &str = "rig";

/// The names of the block nodes: the file, and the image in it.
const FILE: &str = "snapshots-file";
const STORE: &str = "snapshots";

/// The size of the empty disk. The snapshots lie beside it, and may be larger.
const DISK: u64 = 1 << 20;

impl Monitor {
    /// Makes `file` the store of this machine's snapshots: a new qcow2 image, which is no disk of
    /// the guest.
    ///
    /// # Errors
    ///
    /// The file can't be written, or the machine has such a store.
    pub fn make_snapshot_store(&mut self, file: &Path) -> io::Result<()> {
        File::create(file)?;
        let name = file.display().to_string();
        let node = json!({"driver": "file", "filename": name, "node-name": FILE});
        self.execute("blockdev-add", node)?;
        let options = json!({"driver": "qcow2", "file": FILE, "size": DISK});
        self.job(
            "blockdev-create",
            json!({"job-id": JOB, "options": options}),
        )?;
        let image = json!({"driver": "qcow2", "file": FILE, "node-name": STORE});
        self.execute("blockdev-add", image).map(drop)
    }

    /// Saves the whole state of the machine as the snapshot `name`. The machine stands still
    /// meanwhile, and goes on if it ran before.
    ///
    /// # Errors
    ///
    /// There is no store, or a snapshot of this name; QEMU takes too long.
    pub fn save_snapshot(&mut self, name: &str) -> io::Result<()> {
        self.job("snapshot-save", snapshot(name))
    }

    /// Gives the machine the state of the snapshot `name`. It goes on if it ran before.
    ///
    /// # Errors
    ///
    /// There is no such snapshot, or it is one of another machine. The machine stands still then.
    pub fn load_snapshot(&mut self, name: &str) -> io::Result<()> {
        self.job("snapshot-load", snapshot(name))
    }

    /// Begins a job and waits for its end.
    fn job(&mut self, command: &str, arguments: Value) -> io::Result<()> {
        self.execute(command, arguments)?;
        let ended = self.wait_until(command, |monitor| {
            let jobs = monitor.execute("query-jobs", json!({}))?;
            let mut all = jobs.as_array().into_iter().flatten();
            let ours = all.find(|job| job["id"] == JOB && job["status"] == "concluded");
            Ok(ours.cloned())
        })?;
        self.execute("job-dismiss", json!({"id": JOB}))?;
        match ended["error"].as_str() {
            None => Ok(()),
            Some(why) => Err(io::Error::other(format!("QEMU's {command}: {why}"))),
        }
    }
}

fn snapshot(name: &str) -> Value {
    json!({"job-id": JOB, "tag": name, "vmstate": STORE, "devices": [STORE]})
}

#[cfg(test)]
mod tests {
    use crate::monitor::tests::talk;

    /// What QEMU answers to a job that ends with `more` in what it says of it.
    fn answers(more: &str) -> String {
        let job = |status, more| format!("{{\"id\": \"rig\", \"status\": \"{status}\"{more}}}");
        format!(
            "{{\"return\": {{}}}}\n{{\"return\": [{}]}}\n{{\"return\": [{}]}}\n{{\"return\": {{}}}}\n",
            job("running", ""),
            job("concluded", more)
        )
    }

    #[test]
    fn a_job_is_waited_for_and_dismissed() {
        let heard = talk(&answers(""), |monitor| {
            monitor.save_snapshot("one").expect("it ends well");
        });
        assert!(heard.contains("\"tag\":\"one\""), "{heard}");
        assert_eq!(heard.matches("query-jobs").count(), 2);
        assert!(heard.contains("job-dismiss"), "{heard}");
    }

    #[test]
    fn a_job_that_fails_says_why() {
        talk(&answers(", \"error\": \"no such tag\""), |monitor| {
            let error = monitor.load_snapshot("two").expect_err("an error");
            assert_eq!(error.to_string(), "QEMU's snapshot-load: no such tag");
        });
    }
}
