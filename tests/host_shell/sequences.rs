//! Several commands in one line, what a line ends with, and what it shows before it runs.

use stillpoint::shell::{Outcome, Report, Status, run_shown};

use crate::OK;
use crate::fake::Fake;

#[test]
fn sequences_run_in_order_until_the_machine_goes() {
    let fake = Fake::new(4, "0");
    let (text, report) = fake.run("echo one; nosuch -x ;chcpu -e 1;poweroff;echo never");
    assert_eq!(
        text,
        "one\nnosuch: command not found\nTry 'help' for a list of the commands.\nCPU 1 enabled\n"
    );
    assert_eq!(
        report,
        Report {
            outcome: Outcome::PowerOff(Status::SUCCESS),
            failed: 1
        }
    );
    assert_eq!(fake.run("reboot").1.outcome, Outcome::Reboot);
    assert_eq!(
        fake.run("nosuch").1.outcome,
        Outcome::Continue(Status::NOT_FOUND)
    );
    assert_eq!(
        fake.run(" \n "),
        (
            String::new(),
            Report {
                outcome: OK,
                failed: 0
            }
        )
    );
    let (text, report) = fake.run("echo one ;; echo two");
    assert_eq!(text, "sh: syntax error near unexpected token ';'\n");
    assert_eq!(report.outcome, Outcome::Continue(Status::SYNTAX));
    assert_eq!(
        fake.run("echo 'a;  b' \"c\" -n --help").0,
        "a;  b c -n --help\n"
    );
}

#[test]
fn the_last_status_is_that_of_the_end() {
    for (line, code) in [
        ("poweroff", 0),
        ("exit", 0),
        ("nosuch; poweroff", 127),
        ("nosuch; exit", 127),
        ("nosuch; echo; exit", 0),
        ("chcpu -d 1-2; poweroff", 64),
        ("chcpu -d 9; poweroff", 1),
        ("exit x; poweroff", 2),
        ("nosuch; exit 0", 0),
        ("exit 7", 7),
        ("exit 255", 255),
    ] {
        let fake = Fake::new(4, "0-3").with_stuck("2");
        let outcome = fake.run(line).1.outcome;
        assert_eq!(outcome, Outcome::PowerOff(Status::new(code)), "{line}");
    }
    for word in ["256", "-1", "+1", "x", "''", "1x"] {
        let (text, report) = Fake::new(1, "0").run(&format!("exit -- {word}"));
        assert!(text.ends_with(": not a number from 0 to 255\n"), "{text}");
        assert_eq!(report.outcome, Outcome::Continue(Status::SYNTAX));
    }
}

#[test]
fn a_mistake_is_told_from_a_failure() {
    let fake = Fake::new(4, "0-3").with_stuck("2");
    for (line, mistake) in [
        ("stop >", true),
        ("lscpu; powerof", true),
        ("powerof; lscpu", false),
        ("chcpu -d 2", false),
        ("lscpu -x", false),
    ] {
        let Outcome::Continue(status) = fake.run(line).1.outcome else {
            panic!("{line} ends the machine");
        };
        assert_eq!(status.is_mistake(), mistake, "{line}");
    }
}

#[test]
fn words_for_leaving_get_the_right_one() {
    for name in ["quit", "logout", "halt", "shutdown"] {
        let (text, _) = Fake::new(1, "0").run(name);
        assert_eq!(
            text,
            format!("{name}: command not found\nTry 'poweroff'.\n")
        );
    }
}

#[test]
fn commands_are_shown_before_they_run() {
    let fake = Fake::new(4, "0-3");
    let report = run_shown(&fake, "echo 'a; b' ;  chcpu -d '3#'\n poweroff");
    assert_eq!(report.outcome, Outcome::PowerOff(Status::FAILURE));
    assert_eq!(
        fake.console.take(),
        "stillpoint# echo 'a; b'\na; b\n\
         stillpoint# chcpu -d '3#'\n\
         chcpu: failed to parse CPU list: 3# (column 2: unexpected character)\n\
         stillpoint# poweroff\n"
    );
    assert_eq!(
        run_shown(&fake, "stop >").outcome,
        Outcome::Continue(Status::SYNTAX)
    );
    assert_eq!(
        fake.console.take(),
        "stillpoint# stop >\nsh: syntax error: '>' is not supported\n"
    );
    assert_eq!(fake.did(), []);
}

#[test]
fn a_syntax_error_runs_nothing() {
    let fake = Fake::new(4, "0");
    for line in [
        "chcpu -e 1; echo 'x",
        "chcpu -e 1 > log",
        "stop &",
        "chcpu -e 1; echo $x",
        "stop \\",
    ] {
        let (text, report) = fake.run(line);
        assert!(text.starts_with("sh: syntax error: "), "{text}");
        assert_eq!(report.outcome, Outcome::Continue(Status::SYNTAX));
    }
    assert_eq!(fake.did(), []);
}
