//! Tests what `check` prints, in a tree of fakes: scripts stand for cargo, for programs of tests
//! and for QEMU; the Makefile and the rig are the real ones. For each kind of stage a failure is
//! planted, and the command that `check` prints is typed: it must find that failure and no other,
//! and pass when the fault is mended.

#[path = "host_check/shown.rs"]
mod shown;
#[path = "host_check/tree.rs"]
mod tree;

use std::fs;

use tree::Tree;

/// Plants the fault `broken` in `stage`; `name` is what must be told to have failed, `repeat` the
/// command, `log` the file of the output. Then types the command, once with the fault and once
/// without. `alone` is how many tests it runs; 0 for a stage without tests.
fn repeats(stage: &str, broken: &str, name: &str, repeat: &str, log: &str, alone: u64) {
    let tree = Tree::new(&format!("{stage}-{name}").replace([' ', ':', '/'], "-"));
    let ran = tree.check(stage, broken);
    let text = &ran.text;
    assert_eq!(ran.status, 1, "{text}");
    assert_eq!(ran.failures("    ").first(), Some(&name), "{text}");
    assert_eq!(ran.failures("        repeat: "), [repeat], "{text}");
    assert_eq!(ran.failures("        log: "), [log], "{text}");
    assert!(tree.root.join(log).is_file(), "no {log}: {text}");
    let summary = fs::read_to_string(tree.root.join("target/check/summary")).expect("a summary");
    assert!(
        summary.ends_with(" passed, 1 failed, 0 skipped\n"),
        "{summary}"
    );
    let end = text.trim_end_matches(|char| char != '\n');
    assert!(end.ends_with(&summary), "{text}");
    assert!(!text.contains('\x1b'), "{text}");

    let again = tree.run(repeat, broken);
    assert_ne!(again.status, 0, "{}", again.text);
    let mended = tree.run(repeat, "");
    assert_eq!(mended.status, 0, "{repeat}: {}", mended.text);
    if alone != 0 {
        assert_eq!(again.counts(), (alone - 1, 1), "{}", again.text);
        assert_eq!(mended.counts(), (alone, 0), "{}", mended.text);
    }
}

#[test]
fn a_stage_without_tests_is_repeated_by_its_name() {
    let clippy = "cargo clippy --release --lib --test loom_*";
    let log = "target/check/clippy-loom.log";
    let repeat = "cargo rig stage clippy-loom";
    repeats("clippy-loom", clippy, "clippy-loom", repeat, log, 0);
    let log = "target/check/fmt.log";
    repeats(
        "fmt",
        "cargo fmt --check --all",
        "fmt",
        "cargo rig stage fmt",
        log,
        0,
    );
}

#[test]
fn a_host_test_is_repeated_alone() {
    let repeat = "make test-host TEST=host_a CASE=part::one";
    let log = "target/check/host-tests.log";
    let broken = "host_a part::one";
    repeats(
        "host-tests",
        broken,
        "host_a, in host-tests",
        repeat,
        log,
        1,
    );
}

#[test]
fn a_unit_test_is_repeated_alone() {
    let repeat = "make test-host CASE=good";
    let tree = Tree::new("unit");
    let ran = tree.check("host-tests", "stillpoint_rig good");
    assert_eq!(ran.failures("        repeat: "), [repeat], "{}", ran.text);
    // The scripts all have tests of the same names.
    assert_eq!(tree.run(repeat, "stillpoint_rig good").counts(), (2, 1));
}

#[test]
fn a_program_that_dies_is_repeated_whole() {
    let log = "target/check/host-tests.log";
    let name = "host_a, in host-tests";
    let tree = Tree::new("dies");
    let ran = tree.check("host-tests", "host_a");
    let repeat = ["make test-host TEST=host_a"];
    assert_eq!(ran.failures("        repeat: "), repeat, "{}", ran.text);
    assert_eq!(ran.failures("        log: "), [log]);
    assert_eq!(ran.failures("    ")[0], name);
    assert_ne!(tree.run(repeat[0], "host_a").status, 0);
    assert_eq!(tree.run(repeat[0], "").counts(), (3, 0));
}

#[test]
fn a_model_is_repeated_alone() {
    let repeat = "make loom TEST=loom_a CASE=part::one_more";
    let log = "target/check/loom.log";
    repeats(
        "loom",
        "loom_a part::one_more",
        "loom_a, in loom",
        repeat,
        log,
        1,
    );
}

#[test]
fn a_test_kernel_is_repeated_in_its_case_and_at_its_size() {
    let repeat = "make test-qemu TEST=qemu_a CASE=two SMP=20";
    let log = "target/qemu/qemu_a-two-smp20.log";
    let name = "qemu_a two SMP=20, in qemu-tests";
    let tree = Tree::new("kernel");
    // Both words are in the arguments of this run only.
    let script = include_str!("host_check/qemu.sh").replace(
        "\"$* \" = *\"$FAKE_BROKEN\"*",
        "\"$*\" = *\"-smp 20\"* && \"$*\" = *\"case=$FAKE_BROKEN\"*",
    );
    fs::write(tree.root.join("bin/qemu-system-aarch64"), script).expect("a script");
    let ran = tree.check("qemu-tests", "two");
    let text = &ran.text;
    assert_eq!(ran.status, 1, "{text}");
    assert_eq!(ran.failures("    ")[0], name, "{text}");
    assert_eq!(ran.failures("        repeat: "), [repeat], "{text}");
    assert_eq!(ran.failures("        log: "), [log], "{text}");
    // The output of the run that failed is shown, and none of the others'.
    assert_eq!(text.matches("not ok 1 - it works").count(), 2, "{text}");
    assert_eq!(text.matches("    ok 1 - it works").count(), 0, "{text}");
    let again = tree.run(repeat, "two");
    assert_ne!(again.status, 0, "{}", again.text);
    assert_eq!(again.counts(), (0, 1), "{}", again.text);
    assert_eq!(tree.run(repeat, "").counts(), (1, 0));
}

#[test]
fn a_test_kernel_in_a_debug_build_is_repeated_so() {
    let tree = Tree::new("debug");
    tree.write("tests/kernels/src/bin/qemu_storm.rs", "");
    tree.write("qemu_storm", "");
    fs::write(tree.root.join("qemu_storm.Image"), "").expect("an Image");
    let ran = tree.check("qemu-debug", "qemu_storm");
    let repeat = "make test-qemu TEST=qemu_storm SMP=4 PROFILE=dev APPEND='rounds=10 seconds=10'";
    assert_eq!(ran.failures("        repeat: "), [repeat], "{}", ran.text);
    assert_eq!(tree.run(repeat, "qemu_storm").counts(), (0, 1));
    let mended = tree.run(repeat, "");
    assert_eq!(mended.counts(), (1, 0), "{}", mended.text);
}

#[test]
fn a_machine_is_repeated_by_its_name() {
    let tree = Tree::new("machine");
    let ran = tree.check("matrix", "-smp 20");
    let text = &ran.text;
    let repeats = ran.failures("        repeat: ");
    assert!(!repeats.is_empty(), "{text}");
    for repeat in repeats {
        assert!(repeat.starts_with("CASE="), "{repeat}");
        assert!(
            repeat.ends_with(" cargo rig matrix target/Image"),
            "{repeat}"
        );
        assert_eq!(tree.run(repeat, "-smp 20").counts(), (0, 1), "{repeat}");
        assert_eq!(tree.run(repeat, "").counts(), (1, 0), "{repeat}");
    }
}

#[test]
fn all_that_pass_are_told_in_a_line_each_with_the_slowest() {
    let tree = Tree::new("passes");
    let ran = tree.check("fmt host-tests qemu-tests", "");
    let text = &ran.text;
    assert_eq!(ran.status, 0, "{text}");
    let lines: Vec<&str> = text.lines().collect();
    for (line, head) in lines
        .iter()
        .zip(["1/3 fmt ", "2/3 host-tests ", "3/3 qemu-tests "])
    {
        assert!(line.starts_with(head) && line.contains(" ok "), "{text}");
    }
    assert!(lines[1].ends_with("  9 passed"), "{text}");
    assert_eq!(lines[3], "slowest stages", "{text}");
    assert_eq!(lines[7], "slowest tests", "{text}");
    assert_eq!(lines.len(), 3 + 4 + 6 + 1, "{text}");
    assert_eq!(
        lines.last(),
        Some(&"21 passed, 0 failed, 0 skipped"),
        "{text}"
    );
    // The next check knows how long each took.
    let times = fs::read_to_string(tree.root.join("target/check.times")).expect("times");
    assert!(times.contains("\nhost-tests "), "{times}");
}

#[test]
fn a_stage_that_is_not_there_is_refused() {
    let ran = Tree::new("none").check("fmt nonsense", "");
    assert_eq!(ran.status, 1);
    assert!(
        ran.text.starts_with("no stage of that name: nonsense"),
        "{}",
        ran.text
    );
}
