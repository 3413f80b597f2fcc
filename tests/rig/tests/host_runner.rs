//! Tests the verdicts of the test kernels' runner: a kernel passes only if it should, and a
//! failure has the right reason. A script stands for QEMU: it prints the kernel's output
//! and ends with the status that a test asks for.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

const RIG: &str = env!("CARGO_BIN_EXE_stillpoint-rig");

/// The script in the place of QEMU. `FAKE_END` is its exit status, or `hang`: then the script
/// goes on, and has no monitor.
const FAKE_QEMU: &str = r#"#!/bin/bash
if [ "$1" = --version ]; then
    echo "QEMU emulator version $FAKE_VERSION (Debian)"
    exit
fi
printf '%s\r\n' "$FAKE_OUTPUT"
[ "$FAKE_END" = hang ] || exit "$FAKE_END"
for word; do
    case $word in
        socket,id=monitor,*)
            path=${word#*path=}
            : >"${path%%,*}"
            ;;
    esac
done
exec sleep 600
"#;

/// A directory with the script, and a kernel with the name `qemu_fake`.
struct Fake {
    dir: PathBuf,
}

/// How the runner ended, and its last line.
type Verdict = (i32, String);

impl Fake {
    /// Makes the directory `name`, with a kernel that has `directives`.
    fn new(name: &str, directives: &[&str]) -> Fake {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("runner-{name}"));
        let _was_there = fs::remove_dir_all(&dir);
        let sources = dir.join("tests/kernels/src/bin");
        fs::create_dir_all(&sources).expect("a directory");
        let source: String = directives
            .iter()
            .map(|line| format!("//@ {line}\n"))
            .collect();
        fs::write(sources.join("qemu_fake.rs"), source).expect("a source");
        // The rig takes this for the root of the tree.
        fs::write(dir.join("Makefile"), "").expect("a Makefile");
        // The Image is newer than the file `qemu_fake`, which isn't an ELF file, so the rig
        // makes no Image of it.
        let elf = fs::File::create(dir.join("qemu_fake")).expect("an ELF");
        elf.set_modified(SystemTime::UNIX_EPOCH).expect("its time");
        fs::write(dir.join("qemu_fake.Image"), "").expect("an Image");
        let qemu = dir.join("qemu-system-aarch64");
        fs::write(&qemu, FAKE_QEMU).expect("a script");
        fs::set_permissions(&qemu, fs::Permissions::from_mode(0o755)).expect("executable");
        Fake { dir }
    }

    /// Has the runner judge a kernel that prints `output` and ends as `end` says.
    fn run(&self, output: &str, end: &str, version: &str) -> Verdict {
        let path = std::env::var("PATH").expect("a path");
        let ran = Command::new(RIG)
            .args(["runner", "qemu_fake"])
            .current_dir(&self.dir)
            .env("PATH", format!("{}:{path}", self.dir.display()))
            .env("CARGO_TARGET_DIR", self.dir.join("target"))
            .env("TIMEOUT", "1")
            .env("FAKE_OUTPUT", output)
            .env("FAKE_END", end)
            .env("FAKE_VERSION", version)
            .output()
            .expect("the runner runs");
        let text = String::from_utf8_lossy(&ran.stdout).into_owned();
        let last = text.lines().last().unwrap_or_default().to_owned();
        (ran.status.code().unwrap_or(-1), last)
    }
}

/// Returns the verdict on a kernel without directives.
fn verdict(name: &str, output: &str, end: &str) -> Verdict {
    Fake::new(name, &[]).run(output, end, "10.0.2")
}

const HALF: &str = "1..3\nok 1 - one\nnot ok 2 - two\n# why";

#[test]
fn a_kernel_whose_results_are_whole_passes() {
    let (status, last) = verdict("whole", "1..2\nok 1 - one\nok 2 - two", "0");
    assert_eq!(
        (status, last.as_str()),
        (
            0,
            "runner: ok 2 passed, 0 failed, 0 skipped, 0 not applicable"
        )
    );
}

#[test]
fn a_time_out_hides_no_result() {
    let (status, last) = verdict("time-out", HALF, "hang");
    assert_eq!(status, 124);
    assert!(
        last.starts_with("runner: FAIL timed out after 1 s"),
        "{last}"
    );
    assert!(last.ends_with("; not ok 2 - two"), "{last}");
}

#[test]
fn a_status_hides_no_result() {
    let (status, last) = verdict("status", HALF, "101");
    let wanted = "runner: FAIL ended with status 101 instead of 0; not ok 2 - two";
    assert_eq!((status, last.as_str()), (101, wanted));
}

#[test]
fn a_wrong_result_fails_a_kernel_that_ends_well() {
    let (status, last) = verdict("wrong", "1..2\nok 1 - one\nnot ok 2 - two", "0");
    let wanted = "runner: FAIL 1 of the results; not ok 2 - two";
    assert_eq!((status, last.as_str()), (1, wanted));
}

#[test]
fn a_kernel_that_bails_out_says_why_and_what_failed() {
    let output = format!("{HALF}\nBail out! no memory");
    let (status, last) = verdict("bail", &output, "0");
    assert_eq!(status, 1);
    assert!(last.contains("Bail out! no memory"), "{last}");
    assert!(last.ends_with("; not ok 2 - two"), "{last}");
}

#[test]
fn a_kernel_that_hangs_as_announced_passes_and_no_other() {
    let hangs = ["hangs: ^now$", "output: ^now$"];
    let fake = Fake::new("hangs", &hangs);
    let passes = "runner: ok 1 passed, 0 failed, 0 skipped, 0 not applicable";
    assert_eq!(fake.run("now", "hang", "10.0.2"), (0, passes.to_owned()));
    let (status, last) = fake.run("not yet", "hang", "10.0.2");
    assert_eq!(
        (status, last.as_str()),
        (1, "runner: FAIL no line matches: ^now$")
    );
    let (status, last) = fake.run("now", "0", "10.0.2");
    assert_eq!(status, 1, "{last}");
}

#[test]
fn a_kernel_is_skipped_on_the_version_that_it_names_only() {
    let fake = Fake::new("version", &["not-on: 7.2 it stalls"]);
    let skipped = "runner: ok 0 passed, 0 failed, 1 skipped, 0 not applicable";
    let passes = "runner: ok 1 passed, 0 failed, 0 skipped, 0 not applicable";
    let output = "1..1\nok 1 - one";
    assert_eq!(fake.run(output, "0", "7.2.22"), (0, skipped.to_owned()));
    for version in ["7.20.1", "8.2.0", "10.0.2"] {
        assert_eq!(fake.run(output, "0", version), (0, passes.to_owned()));
    }
}

/// Returns the last line that `stillpoint-rig run` prints with the variable `name` set to
/// `value`.
fn booted(fake: &Fake, name: &str, value: &str) -> Verdict {
    let path = std::env::var("PATH").expect("a path");
    let ran = Command::new(RIG)
        .args(["run", "qemu_fake.Image"])
        .current_dir(&fake.dir)
        .env("PATH", format!("{}:{path}", fake.dir.display()))
        .env("FAKE_OUTPUT", "booted")
        .env("FAKE_END", "0")
        .env(name, value)
        .output()
        .expect("the script runs");
    let text = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
    let last = text.lines().last().unwrap_or_default().trim().to_owned();
    (ran.status.code().unwrap_or(-1), last)
}

#[test]
fn a_switch_that_is_neither_on_nor_off_is_refused() {
    let fake = Fake::new("switch", &[]);
    for name in ["VIRT", "SECURE"] {
        for good in ["", "on", "off"] {
            assert_eq!(booted(&fake, name, good), (0, "booted".to_owned()));
        }
        for bad in ["1", "yes", "ON", "on "] {
            let said = format!("{name} may be on or off");
            assert_eq!(booted(&fake, name, bad), (1, said));
        }
    }
    for good in ["", "single", "multi"] {
        assert_eq!(booted(&fake, "TCG", good), (0, "booted".to_owned()));
    }
    let said = "TCG may be single or multi".to_owned();
    assert_eq!(booted(&fake, "TCG", "1"), (1, said));
    let said = "ICOUNT may be 1 or 0".to_owned();
    assert_eq!(booted(&fake, "ICOUNT", "on"), (1, said));
}

/// If a source is edited, cargo replaces the rig's program while it runs: the first file is
/// then deleted.
#[test]
fn a_check_goes_on_with_the_program_that_began_it() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("rebuilt");
    let _was_there = fs::remove_dir_all(&dir);
    fs::create_dir_all(dir.join("tests")).expect("a directory");
    fs::write(dir.join("Makefile"), "").expect("a Makefile");
    let rig = dir.join("rig");
    fs::copy(RIG, &rig).expect("a copy");
    // The first stage, and what the second one calls.
    let scripts = [
        ("tests/setup.sh", "#!/bin/bash\nrm rig\n"),
        ("cargo", "#!/bin/bash\necho this is cargo\nexit 3\n"),
    ];
    for (name, text) in scripts {
        let script = dir.join(name);
        fs::write(&script, text).expect("a script");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("executable");
    }
    let path = std::env::var("PATH").expect("a path");
    let ran = Command::new(&rig)
        .arg("check")
        .current_dir(&dir)
        .env("PATH", format!("{}:{path}", dir.display()))
        .env("CARGO", dir.join("cargo"))
        .output()
        .expect("the rig runs");
    let text = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
    assert!(!rig.exists(), "{text}");
    assert!(text.contains("this is cargo"), "{text}");
    assert!(text.ends_with("0 passed, 1 failed, 0 skipped\n"), "{text}");
}
