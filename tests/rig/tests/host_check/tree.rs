//! A tree of fakes, in which the rig runs.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

const RIG: &str = env!("CARGO_BIN_EXE_stillpoint-rig");

/// The scripts: the path of each in the tree, and its text.
const SCRIPTS: [(&str, &str); 7] = [
    ("tests/setup.sh", "#!/bin/sh\n"),
    ("bin/cargo", include_str!("cargo.sh")),
    ("bin/qemu-system-aarch64", include_str!("qemu.sh")),
    ("host_a-0123456789abcdef", include_str!("tests.sh")),
    ("host_a_b-0123456789abcdef", include_str!("tests.sh")),
    ("loom_a-0123456789abcdef", include_str!("tests.sh")),
    ("stillpoint_rig-0123456789abcdef", include_str!("tests.sh")),
];

/// The other files. None is newer than the rig, so that make doesn't build it.
const FILES: [(&str, &str); 12] = [
    ("Makefile", include_str!("../../../../Makefile")),
    ("Cargo.toml", ""),
    ("Cargo.lock", ""),
    ("tests/rig/Cargo.toml", ""),
    ("tests/rig/tests/none", ""),
    ("tests/host_a.rs", ""),
    ("tests/host_a_b.rs", ""),
    ("tests/loom_a.rs", ""),
    ("tests/kernels/src/bin/qemu_a.rs", "//@ cases: one two\n"),
    ("tests/kernels/src/bin/qemu_a_b.rs", ""),
    ("qemu_a", ""),
    ("qemu_a_b", ""),
];

/// How long a rig may take.
const LIMIT: Duration = Duration::from_secs(60);

/// A tree of fakes.
pub struct Tree {
    pub root: PathBuf,
}

/// What a program has printed, and its status.
pub struct Ran {
    pub status: i32,
    pub text: String,
}

impl Tree {
    pub fn new(name: &str) -> Tree {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("check-{name}"));
        let _was_there = fs::remove_dir_all(&root);
        let tree = Tree { root };
        for (path, text) in SCRIPTS.iter().chain(&FILES) {
            tree.write(path, text);
        }
        for (path, _) in SCRIPTS {
            let mode = fs::Permissions::from_mode(0o755);
            fs::set_permissions(tree.root.join(path), mode).expect("executable");
        }
        // An Image that is newer than its ELF is taken as it is.
        for image in ["qemu_a.Image", "qemu_a_b.Image", "target/Image"] {
            fs::create_dir_all(tree.root.join("target/debug")).expect("a directory");
            fs::write(tree.root.join(image), "").expect("an Image");
        }
        symlink(RIG, tree.root.join("target/debug/stillpoint-rig")).expect("the rig");
        tree
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(&path, text).expect("a file");
        let file = File::options().write(true).open(&path).expect("the file");
        file.set_modified(SystemTime::UNIX_EPOCH).expect("its time");
    }

    /// Returns the command `line` of a shell, with a fault that is planted by `broken`.
    pub fn shell(&self, line: &str, broken: &str) -> Command {
        let path = std::env::var("PATH").expect("a path");
        let bin = self.root.join("bin");
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).current_dir(&self.root);
        // The variables of a make or cargo that runs this test are none of its own.
        shell.env_clear();
        shell.env("PATH", format!("{}:{path}", bin.display()));
        shell.env("FAKE_BROKEN", broken);
        shell.stdin(Stdio::null());
        shell
    }

    pub fn run(&self, line: &str, broken: &str) -> Ran {
        let output = self.shell(line, broken).output().expect("a shell");
        let text = [output.stdout, output.stderr].concat();
        Ran {
            status: output.status.code().unwrap_or(-1),
            text: String::from_utf8_lossy(&text).into_owned(),
        }
    }

    /// Has `check` run `stage` with a fault, and returns what it has printed.
    pub fn check(&self, stage: &str, broken: &str) -> Ran {
        self.run(&format!("cargo rig check {stage}"), broken)
    }
}

impl Ran {
    /// Returns the parts behind `before` of the lines in the list of failures.
    pub fn failures(&self, before: &str) -> Vec<&str> {
        let list = self.text.split_once("\nfailed\n");
        let lines = list.map_or("", |(_, list)| list).lines();
        lines.filter_map(|line| line.strip_prefix(before)).collect()
    }

    /// Returns how many tests have passed and failed: the sum of the counts of all programs.
    pub fn counts(&self) -> (u64, u64) {
        let number = |word: Option<&str>| word.and_then(|word| word.parse().ok()).unwrap_or(0);
        let mut sum = (0, 0);
        for line in self.text.lines() {
            let counts = line.strip_prefix("test result: ");
            let counts = counts.and_then(|line| line.split_once(". "));
            let counts = counts.map_or(line, |(_, counts)| counts);
            let mut words = counts
                .split([' ', ';', ','])
                .filter(|word| !word.is_empty());
            let (passed, first) = (words.next(), words.next());
            let (failed, second) = (words.next(), words.next());
            if (first, second) == (Some("passed"), Some("failed")) {
                sum.0 += number(passed);
                sum.1 += number(failed);
            }
        }
        sum
    }
}

/// Waits until `seen_fn` returns something.
pub fn wait_for<T>(what: &str, seen_fn: impl Fn() -> Option<T>) -> T {
    let until = Instant::now() + LIMIT;
    loop {
        if let Some(seen) = seen_fn() {
            return seen;
        }
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
