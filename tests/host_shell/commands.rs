//! Every command, and every wrong form of it, which must change nothing.

use stillpoint::shell::{Outcome, Report, Status, run_shown};

use crate::OK;
use crate::fake::{Did, Fake};

const FAILED: Outcome = Outcome::Continue(Status::FAILURE);

#[test]
fn chcpu_enables_and_disables() {
    let fake = Fake::new(4, "0-1");
    let (text, report) = fake.run("chcpu -e 1-3");
    assert_eq!(
        text,
        "CPU 1 is already enabled\nCPU 2 enabled\nCPU 3 enabled\n"
    );
    assert_eq!(report.outcome, OK);
    assert_eq!(fake.did(), [Did::Up(2), Did::Up(3)]);

    let (text, report) = fake.run("chcpu --disable=0,3");
    assert_eq!(text, "CPU 0 disabled\nCPU 3 disabled\n");
    assert_eq!(report.outcome, OK);
    let (text, _) = fake.run("chcpu -d3");
    assert_eq!(text, "CPU 3 is already disabled\n");
    assert_eq!(fake.did(), [Did::Down(0), Did::Down(3)]);
}

#[test]
fn chcpu_says_why_and_how_much_failed() {
    let fake = Fake::new(4, "0-3").with_stuck("2");
    let (text, report) = fake.run("chcpu -d 1-2");
    assert_eq!(
        text,
        "CPU 1 disabled\n\
         chcpu: CPU 2 disable failed: Device or resource busy (EBUSY: enable:pmu refused)\n"
    );
    assert_eq!(report.outcome, Outcome::Continue(Status::PARTIAL));
    assert_eq!((Status::PARTIAL.code(), report.failed), (64, 1));
    assert_eq!(fake.run("chcpu -d 2").1.outcome, FAILED);

    let fake = Fake::new(4, "0").with_stuck("1");
    let (text, report) = fake.run("chcpu -e 1");
    assert_eq!(
        text,
        "chcpu: CPU 1 enable failed: Device or resource busy (EBUSY: enable:pmu refused)\n"
    );
    assert_eq!(report.outcome, FAILED);
}

#[test]
fn chcpu_leaves_one_cpu() {
    let fake = Fake::new(3, "0-2");
    let (text, report) = fake.run("chcpu -d 0-2");
    assert_eq!(
        text,
        "CPU 0 disabled\nCPU 1 disabled\n\
         chcpu: CPU 2 disable failed: Device or resource busy (EBUSY: last enabled CPU)\n"
    );
    assert_eq!(report.outcome, Outcome::Continue(Status::PARTIAL));
    assert_eq!(fake.did(), [Did::Down(0), Did::Down(1)]);
}

#[test]
fn chcpu_wrong_forms_change_nothing() {
    const TRY: &str = "Try 'chcpu --help' for more information.\n";
    for (args, message, hint) in [
        ("", "bad usage", TRY),
        ("1", "bad usage", TRY),
        ("-e 1 2", "bad usage", TRY),
        ("-x", "invalid option -- 'x'", TRY),
        ("-e 1 -x", "invalid option -- 'x'", TRY),
        ("-e", "option requires an argument -- 'e'", TRY),
        ("--enable", "option '--enable' requires an argument", TRY),
        ("--foo", "unrecognized option '--foo'", TRY),
        (
            "-e 1 -d 2",
            "mutually exclusive arguments: --disable --enable",
            "",
        ),
        (
            "-e abc",
            "failed to parse CPU list: abc (column 1: not a CPU number)",
            "",
        ),
        (
            "-e ''",
            "failed to parse CPU list:  (column 1: a CPU number is missing)",
            "",
        ),
        (
            "-e 1,,2",
            "failed to parse CPU list: 1,,2 (column 3: a CPU number is missing)",
            "",
        ),
        (
            "-d 3-1",
            "failed to parse CPU list: 3-1 (column 1: the range ends before it starts)",
            "",
        ),
        (
            "-d 1,9999",
            "invalid CPU number in CPU list: 1,9999 (column 3: the highest CPU number is 511)",
            "",
        ),
        ("-d 1,9", "CPU 9 does not exist (EINVAL)", ""),
    ] {
        let fake = Fake::new(4, "0-3");
        let (text, report) = fake.run(&format!("chcpu {args}"));
        assert_eq!(text, format!("chcpu: {message}\n{hint}"), "{args}");
        assert_eq!(
            report,
            Report {
                outcome: FAILED,
                failed: 1
            },
            "{args}"
        );
        assert_eq!(fake.did(), [], "{args}");
    }
    let fake = Fake::new(2, "0");
    let (text, _) = fake.run("chcpu -e 1-3");
    assert_eq!(
        text,
        "chcpu: CPU 2 does not exist (EINVAL)\nchcpu: CPU 3 does not exist (EINVAL)\n"
    );
    assert_eq!(fake.did(), []);
}

#[test]
fn lscpu_prints_what_is_known() {
    let fake = Fake::new(4, "0-1");
    assert_eq!(
        fake.run("lscpu").0,
        "\
Architecture:           aarch64
  Byte Order:           Little Endian
CPU(s):                 4
  On-line CPU(s) list:  0-1
  Off-line CPU(s) list: 2-3
Vendor ID:              ARM
  Model name:           Cortex-A72
    Model:              3
    Stepping:           r0p3
"
    );
}

#[test]
fn lscpu_lists_each_model_once() {
    let fake = Fake::new(6, "0-5");
    let (text, _) = fake.run("lscpu");
    assert!(!text.contains("Off-line"));
    assert_eq!(text.matches("Vendor ID:").count(), 1);
    let models: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("Model name"))
        .collect();
    assert_eq!(models.len(), 2, "{text}");
    assert!(models[0].ends_with(" Cortex-A72") && models[1].ends_with(" Cortex-A53"));
}

#[test]
fn lscpu_extended_has_a_line_for_each_cpu() {
    let (text, _) = Fake::new(5, "0,4").run("lscpu -e");
    assert_eq!(
        text,
        "\
CPU ONLINE ADDRESS       STATE       MODEL
  0    yes 0x00000000000 online      Cortex-A72
  1     no 0x00000000001 offline     Cortex-A72
  2     no 0x00000000002 offline     Cortex-A72
  3     no 0x00000000003 offline     -
  4    yes 0x00000000100 online      Cortex-A53
CPU2 offline: out of reach
"
    );
}

#[test]
fn states_shows_the_table() {
    let (text, report) = Fake::new(4, "0-1").run("states");
    assert_eq!(
        text,
        "  0: offline
 14: sched:drain            up 5      down 3      past 0-1; rest
     no startup: nothing to do
 30: init:online            up 0      down 0      past none
 31: prep:drain             up 0      down 0      past none
 32: enable:pmu             up 0      down 0      past 0-1; UNBALANCED on 0
 33: online\n"
    );
    assert_eq!(report.outcome, OK);
}

#[test]
fn stop_is_timed_or_says_why_not() {
    let fake = Fake::new(2, "0-1");
    let (text, report) = fake.run("stop");
    assert_eq!(
        text,
        "Time to fn:              131.204 us
Whole:                  2000.007 us
SGI writes:                1 for the request, 3 to wake
IRQs off:                 98.113 us at most, on CPU 1\n"
    );
    assert_eq!(report.outcome, OK);
    assert!(fake.run("stop -v").0.ends_with(
        "to wake\nIRQs off CPU 0            98.112 us\nIRQs off CPU 1            98.113 us\n"
    ));
    let (text, report) = Fake::new(2, "0-1").with_stuck("1").run("stop");
    assert_eq!(
        text,
        "stop: Connection timed out (ETIMEDOUT: CPU 1 did not come)\n"
    );
    assert_eq!(report.outcome, FAILED);
}

#[test]
fn trace_takes_a_cpu_that_exists() {
    let fake = Fake::new(4, "0");
    assert_eq!(fake.run("trace; trace 3; trace export").1.failed, 0);
    assert_eq!(
        fake.did(),
        [Did::Trace(None), Did::Trace(Some(3)), Did::ExportTrace]
    );
    for word in ["4", "512", "99999999999999999999"] {
        let (text, report) = fake.run(&format!("trace {word}"));
        let message = format!("trace: No such device (ENODEV: CPU {word} does not exist)\n");
        assert_eq!(text, message);
        assert_eq!(report.outcome, FAILED);
    }
    for word in ["x", "+1", "", "1-2"] {
        let (text, report) = fake.run(&format!("trace '{word}'"));
        assert_eq!(
            text,
            format!("trace: Invalid argument (EINVAL: '{word}' is not a CPU number)\n")
        );
        assert_eq!(report.outcome, FAILED);
    }
    assert_eq!(fake.did(), []);
}

#[test]
fn what_was_typed_is_said_without_control_characters() {
    let fake = Fake::new(2, "0");
    for (line, text) in [
        ("no\x1b[2J", "no\\u{1b}[2J: command not found\n"),
        ("chcpu --e\x07", "chcpu: unrecognized option '--e\\u{7}'\n"),
        (
            "chcpu -e 1\x7f",
            "chcpu: failed to parse CPU list: 1\\u{7f} (",
        ),
        (
            "trace '\n'",
            "trace: Invalid argument (EINVAL: '\\n' is not",
        ),
    ] {
        let said = fake.run(line).0;
        assert!(said.starts_with(text), "{said:?}");
    }
    assert_eq!(run_shown(&fake, "echo '\x1b[1m'").outcome, OK);
    assert_eq!(
        fake.console.take(),
        "stillpoint# echo '\\u{1b}[1m'\n\x1b[1m\n",
        "`echo` prints what it is given"
    );
}

#[test]
fn free_counts_in_kibibytes() {
    let fake = Fake::new(1, "0");
    let (text, report) = fake.run("free");
    assert_eq!(report.outcome, OK);
    let words: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(words[1], ["Mem:", "1024", "3", "999", "1"]);
    assert_eq!(words[2], ["Stacks:", "100", "20", "80", "0"]);
    for option in ["-h", "--human", "--hu"] {
        let (text, report) = fake.run(&format!("free {option}"));
        assert_eq!(report.outcome, OK);
        let words: Vec<&str> = text.split_whitespace().collect();
        assert_eq!(words[4..9], ["Mem:", "1Mi", "3Ki", "999Ki", "1Ki"]);
        assert_eq!(words[9..], ["Stacks:", "100Ki", "20Ki", "80Ki", "0Ki"]);
    }
    assert!(fake.run("free --help").0.contains("     --help "));
}

#[test]
fn ps_shows_what_threads_have_used() {
    let fake = Fake::new(2, "0-1");
    let (text, report) = fake.run("ps");
    assert_eq!(report.outcome, OK);
    let words: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let main = [
        "1", "0", "TS", "-", "-5", "R", "1.234", "7", "2", "3", "main",
    ];
    let hotplug = [
        "2", "1", "FF", "99", "-", "P", "0.000", "1", "0", "0", "cpuhp/1",
    ];
    assert_eq!(words[0].len(), main.len(), "as many headings as columns");
    assert_eq!(words[1..], [main, hotplug]);
}

#[test]
fn top_shows_shares_of_a_second() {
    let fake = Fake::new(3, "0-1");
    let (text, report) = fake.run("top -bn1");
    assert_eq!(report.outcome, OK);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[..3],
        [
            "%Cpu0  :   0.0 busy, 100.0 id",
            "%Cpu1  :  50.0 busy,  50.0 id",
            "%Cpu2  : off",
        ]
    );
    let threads = lines[5..].iter().map(|line| line.split_whitespace());
    let busy: Vec<Vec<&str>> = threads.map(|words| words.skip(6).collect()).collect();
    assert_eq!(busy, [["100.0", "cpuhp/1"], ["25.0", "main"]], "{text}");
}

#[test]
fn sysctl_shows_and_sets_what_may_change() {
    const KEY: &str = "kernel.sched_rt_runtime_us";
    let fake = Fake::new(1, "0");
    let all = "kernel.cpu_down_timeout_ms = 0\nkernel.sched_rt_period_us = 1000000\n\
               kernel.sched_rt_runtime_us = 950000\nkernel.watchdog_thresh = 10\n";
    let (text, report) = fake.run("sysctl -a");
    assert_eq!((text.as_str(), report.outcome), (all, OK));
    assert_eq!(fake.run(&format!("sysctl -n {KEY}")).0, "950000\n");
    for (value, shown) in [
        ("-1", "-1"),
        ("0", "0"),
        ("1000000", "1000000"),
        ("300000", "300000"),
    ] {
        for line in [
            format!("sysctl {KEY}={value}"),
            format!("sysctl -w {KEY}={value}"),
        ] {
            let (text, report) = fake.run(&line);
            assert_eq!(text, format!("{KEY} = {shown}\n"));
            assert_eq!(report.outcome, OK);
        }
    }
    assert_eq!(
        fake.run("sysctl kernel/sched_rt_runtime_us").0,
        format!("{KEY} = 300000\n")
    );
    for value in ["-2", "1000001", "", "many", "9223372036854775808", "1e3"] {
        let (text, report) = fake.run(&format!("sysctl {KEY}={value}"));
        assert_eq!(
            text,
            format!("sysctl: setting key \"{KEY}\": Invalid argument\n")
        );
        assert_eq!(report.outcome, FAILED);
    }
    for (line, message) in [
        (
            "kernel.sched_rt_period_us=1000",
            "permission denied on key \"kernel.sched_rt_period_us\"",
        ),
        (
            "kernel.no=1",
            "cannot stat /proc/sys/kernel/no: No such file or directory",
        ),
        (
            "kernel",
            "cannot stat /proc/sys/kernel: No such file or directory",
        ),
        (
            "-w kernel.no",
            "\"kernel.no\" must be of the form name=value",
        ),
    ] {
        let (text, report) = fake.run(&format!("sysctl {line}"));
        assert_eq!(text, format!("sysctl: {message}\n"));
        assert_eq!(report.outcome, FAILED);
    }
    assert!(fake.run("sysctl").0.contains("bad usage"));
    let down = "kernel.cpu_down_timeout_ms";
    for value in ["250", "0", "4294967295"] {
        let (text, report) = fake.run(&format!("sysctl {down}={value}; sysctl -n {down}"));
        assert_eq!(text, format!("{down} = {value}\n{value}\n"));
        assert_eq!(report.outcome, OK);
    }
    for value in ["-1", "4294967296", ""] {
        let (text, _) = fake.run(&format!("sysctl {down}={value}"));
        assert_eq!(
            text,
            format!("sysctl: setting key \"{down}\": Invalid argument\n")
        );
    }
    let watchdog = "kernel.watchdog_thresh";
    for value in ["0", "60", "3"] {
        let (text, _) = fake.run(&format!("sysctl {watchdog}={value}"));
        assert_eq!(text, format!("{watchdog} = {value}\n"));
    }
    for value in ["-1", "61", "256", "3s"] {
        let (text, report) = fake.run(&format!("sysctl {watchdog}={value}"));
        let message = format!("sysctl: setting key \"{watchdog}\": Invalid argument\n");
        assert_eq!((text, report.outcome), (message, FAILED));
    }
    let _refused = fake.run(&format!("sysctl {KEY}=5 kernel.no"));
    assert_eq!(
        fake.run(&format!("sysctl -n {KEY}")).0,
        "300000\n",
        "nothing has changed"
    );
}

#[test]
fn a_self_test_fails_if_one_check_does() {
    let fake = Fake::new(4, "0-3");
    let (text, report) = fake.run("selftest");
    assert_eq!(text, "selftest: masks: ok: CPUs 0-3\n");
    assert_eq!(report.outcome, OK);
    assert_eq!(fake.did(), [Did::SelfTest]);
    let fake = Fake::new(4, "0-3").with_stuck("2");
    let (text, report) = fake.run("selftest");
    assert!(
        text.ends_with("selftest: hotplug: FAILED: CPUs 2 are stuck\n"),
        "{text}"
    );
    assert_eq!(report.outcome, FAILED);
}

#[test]
fn help_knows_every_command() {
    let fake = Fake::new(1, "0");
    let (table, report) = fake.run("help");
    assert_eq!(report.outcome, OK);
    let (table, rest) = table.split_once("\n\n").expect("an empty line");
    assert_eq!(table.lines().count(), 33);
    assert!(rest.contains("1,4-7"), "what a list looks like: {rest}");
    for line in table.lines() {
        let name = line.split(' ').next().unwrap();
        let (help, report) = fake.run(&format!("help {name}"));
        assert!(help.starts_with(&format!("Usage:\n {name}")), "{help}");
        assert_eq!(report.outcome, OK);
        if name != "echo" {
            assert_eq!(fake.run(&format!("{name} --help")), (help.clone(), report));
            if name != "free" {
                assert_eq!(fake.run(&format!("{name} -h")), (help, report));
            }
        }
    }
    let (text, _) = fake.run("help chcpu");
    assert!(text.contains(" -e, --enable <cpu-list>"), "{text}");
    assert!(
        text.contains("0-7:2") && text.contains("chcpu -d 1,4-7"),
        "{text}"
    );
    assert!(fake.run("lscpu --help").0.contains("\n lscpu -e "));
    assert_eq!(fake.run("help nosuch").0, "help: no such command: nosuch\n");
    assert_eq!(fake.did(), []);
}

#[test]
fn wrong_arguments_change_nothing() {
    for command in [
        "help", "lscpu", "states", "stop", "selftest", "free", "ps", "top", "trace", "exit",
        "poweroff", "reboot",
    ] {
        for args in ["-x", "--now", "a b"] {
            let fake = Fake::new(4, "0-3");
            let (text, report) = fake.run(&format!("{command} {args}"));
            let hint = format!("Try '{command} --help' for more information.\n");
            assert!(text.starts_with(&format!("{command}: ")) && text.ends_with(&hint));
            assert_eq!(report.outcome, FAILED);
            assert_eq!(fake.did(), []);
        }
    }
    for command in ["poweroff", "reboot", "stop", "states", "lscpu"] {
        assert_eq!(
            Fake::new(1, "0").run(&format!("{command} now")).1.outcome,
            FAILED
        );
    }
}
