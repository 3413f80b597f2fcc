//! Commands that take long or run others, Ctrl-C, commands that show faults, and a program's own.

use std::fmt::Write;

use stillpoint::cpu::CpuMask;
use stillpoint::errno::Errno;
use stillpoint::platform::PsciQuery;
use stillpoint::shell::{
    Call, CommandError, Outcome, ShellCommand, Status, check_commands, parse_cpu_list,
};

use crate::OK;
use crate::fake::{Did, Fake};

const FAILED: Outcome = Outcome::Continue(Status::FAILURE);
const INTERRUPTED: Outcome = Outcome::Continue(Status::INTERRUPTED);
/// Clears the screen.
const CLEAR: &str = "\x1b[H\x1b[J";

#[test]
fn commands_run_others() {
    let fake = Fake::new(4, "0-1");
    for (line, text, outcome) in [
        ("time sleep .5", "\nreal\t0m0.500000s\n", OK),
        ("time sleep 0.1s", "\nreal\t0m0.100000s\n", OK),
        ("time sleep 61.5", "\nreal\t1m1.500000s\n", OK),
        ("time", "\nreal\t0m0.000000s\n", OK),
        (
            "repeat 3 echo -n x y; echo -n; echo -e",
            "x yx yx y-e\n",
            OK,
        ),
        ("repeat 0 nosuch", "", OK),
        (
            "repeat 2 cat /no",
            "cat: /no: No such file or directory\ncat: /no: No such file or directory\n",
            FAILED,
        ),
        ("repeat 2 poweroff", "", Outcome::PowerOff(Status::SUCCESS)),
        ("repeat 2 repeat 2 nproc", "2\n2\n2\n2\n", OK),
    ] {
        let (said, report) = fake.run(line);
        assert_eq!((said.as_str(), report.outcome), (text, outcome), "{line}");
    }
    for line in [
        "repeat",
        "repeat x stop",
        "repeat 2",
        "watch",
        "repeat -1 stop",
        "sleep",
    ] {
        let (text, report) = fake.run(line);
        assert!(
            text.ends_with("--help' for more information.\n"),
            "{line}: {text}"
        );
        assert_eq!(report.outcome, FAILED, "{line}");
    }
    assert_eq!(
        fake.run("sleep 1x").0,
        "sleep: invalid time interval '1x'\n"
    );
    assert_eq!(fake.did(), []);
}

#[test]
fn ctrl_c_ends_what_takes_long_and_the_rest_of_its_line() {
    let fake = Fake::new(4, "0-3");
    for (line, typed, text) in [
        ("sleep 9; stop", "\x03", "^C\n"),
        ("time sleep 9; stop", "\x03", "^C\n\nreal\t0m0.000000s\n"),
        (
            "repeat 9 echo x; stop",
            "chcpu -d 1\n\x03",
            "x\n^C\nsh: Ctrl-C has dropped 11 bytes that were typed before it\n",
        ),
        ("repeat 9 sleep 1; stop", "\x03\x03", "^C\n"),
        (
            "top -b; stop",
            "ab\x03",
            "^C\nsh: Ctrl-C has dropped 2 bytes that were typed before it\n",
        ),
        ("top; stop", "\x03", "^C\n"),
    ] {
        fake.types(typed.as_bytes());
        let (said, report) = fake.run(line);
        assert_eq!(
            (said.as_str(), report.outcome),
            (text, INTERRUPTED),
            "{line}"
        );
        // What was typed behind it is for the next line.
        fake.input.borrow_mut().clear();
    }
    assert_eq!(fake.did(), []);
    fake.types(b"q\x03");
    assert_eq!(
        fake.run("stop; echo on").1.outcome,
        OK,
        "`stop` doesn't look"
    );
    assert_eq!(fake.input.borrow().len(), 2, "nothing is dropped");
}

#[test]
fn screens_end_by_a_key() {
    let fake = Fake::new(1, "0");
    for (keys, told) in [
        ("q", ""),
        ("x", "top: dropped 1 byte that was typed\n"),
        // A whole key, and what isn't one.
        ("\x1b[B", "top: dropped 3 bytes that were typed\n"),
        ("\x1b[9;80Rq", ""),
        ("\x1b[9;80R\x1bOP", "top: dropped 3 bytes that were typed\n"),
        ("\x1b\x1bq", "top: dropped 3 bytes that were typed\n"),
        ("é", "top: dropped 2 bytes that were typed\n"),
    ] {
        fake.types(keys.as_bytes());
        let (text, report) = fake.run("top; echo on");
        assert_eq!(
            (text, report.outcome),
            (format!("{told}on\n"), OK),
            "{keys:?}"
        );
        assert!(fake.input.borrow().is_empty(), "{keys:?}");
    }
    let (text, report) = fake.run("top -n 2");
    assert_eq!((text.matches(CLEAR).count(), report.outcome), (2, OK));
    assert!(!fake.run("top -bn 2 -d 0.5").0.contains('\x1b'));
    for wrong in ["top -n x", "top -d 1s", "top -n -1"] {
        assert_eq!(fake.run(wrong).1.outcome, FAILED, "{wrong}");
    }
    fake.types(b"abq");
    let (text, report) = fake.run("watch -n 0.5 nproc");
    let wanted = format!("{CLEAR}Every 0.5s: nproc\n\n1\n");
    let told = "watch: dropped 2 bytes that were typed\n";
    assert_eq!((text, report.outcome), (wanted.clone() + told, OK));
    for (keys, told) in [
        ("q", ""),
        ("\x1b[9;80Rq", ""),
        (
            "chcpu -d 1\n\x03",
            "^C\nwatch: dropped 11 bytes that were typed\n",
        ),
    ] {
        fake.types(keys.as_bytes());
        assert_eq!(fake.run("watch -n 0.5 nproc").0, wanted.clone() + told);
    }
    // Somebody loses patience in the end.
    let (text, report) = fake.run("watch nproc");
    assert!(text.matches(CLEAR).count() > 100 && text.ends_with("^C\n"));
    assert_eq!(report.outcome, INTERRUPTED);
    fake.types(b"\x03");
    assert_eq!(fake.run("watch sleep 5; stop").1.outcome, INTERRUPTED);
    assert_eq!(fake.did(), []);
}

#[test]
fn small_commands_say_what_linuxs_say() {
    let fake = Fake::new(4, "0-1");
    for (line, text) in [
        ("nproc", "2\n"),
        ("nproc --all", "4\n"),
        ("nproc --all --ignore=3", "1\n"),
        ("nproc --ignore 9", "1\n"),
        ("taskset -c 1 nproc", "1\n"),
        ("taskset -c 1-3 nproc", "1\n"),
        ("taskset -c 1 nproc --all", "4\n"),
        ("nproc --ignore x", "nproc: invalid number: 'x'\n"),
        ("uptime", " up 0 min,  2 CPUs online\n"),
        ("date", "Thu Jan  1 01:00:05 UTC 1970\n"),
        ("date -u '+%F %T'", "1970-01-01 01:00:05\n"),
        ("date +%s%q", "date: no format: '%q'\n"),
        ("uptime -p", "up 0 minutes\n"),
        (
            "sleep 7500; uptime; uptime -p",
            " up  2:05,  2 CPUs online\nup 2 hours, 5 minutes\n",
        ),
        (
            "sleep 172800; uptime; uptime -p",
            " up 2 days,  2:05,  2 CPUs online\nup 2 days, 2 hours, 5 minutes\n",
        ),
        ("dmesg", "[    0.000001] Stillpoint\n"),
    ] {
        assert_eq!(fake.run(line).0, text, "{line}");
    }
    assert_eq!(
        Fake::new(1, "0").run("uptime").0,
        " up 0 min,  1 CPU online\n"
    );
}

#[test]
fn a_fault_is_asked_for_by_name_or_number() {
    let fake = Fake::new(4, "0-3");
    for (line, did) in [
        ("fail 2 sched:drain", Did::Fail(2, Some(14))),
        ("fail 2 pmu", Did::Fail(2, Some(32))),
        // A whole name wins over a part.
        ("fail 2 online", Did::Fail(2, Some(33))),
        ("fail 2 32", Did::Fail(2, Some(32))),
        ("fail 2 off", Did::Fail(2, None)),
        ("fail 2 -- -1", Did::Fail(2, None)),
        ("fail 2 -1", Did::Fail(2, None)),
        ("fail 2", Did::Fail(2, None)),
        ("target 1 offline", Did::Target(1, 0)),
        ("target 1 sched:drain", Did::Target(1, 14)),
        ("hold 3", Did::Held(3, true)),
        ("hold 3 on", Did::Held(3, true)),
        ("hold 3 off", Did::Held(3, false)),
    ] {
        let (text, report) = fake.run(line);
        assert_eq!((text.as_str(), report.outcome), ("", OK), "{line}");
        assert_eq!(fake.did(), [did], "{line}");
    }
    assert_eq!(
        fake.run("fail 1 pmu; fail 0 14; fail").0,
        "CPU 0: 14: sched:drain\nCPU 1: 32: enable:pmu\n"
    );
    fake.did();
    let no_cpu = "No such device (ENODEV: CPU 9 does not exist)";
    for (line, message) in [
        ("fail 9 14", no_cpu),
        (
            "fail x 14",
            "Invalid argument (EINVAL: 'x' is not a CPU number)",
        ),
        (
            "fail 1 nosuch",
            "Invalid argument (EINVAL: no state 'nosuch')",
        ),
        (
            "fail 1 drain",
            "Invalid argument (EINVAL: more than one state 'drain')",
        ),
        ("fail 1 5", "Invalid argument (EINVAL: no state '5')"),
        ("fail 1 offline", "Invalid argument (EINVAL: no such step)"),
        ("target 9 14", no_cpu),
        ("target 1 99", "Invalid argument (EINVAL: no state '99')"),
        ("hold 9", no_cpu),
    ] {
        let (text, report) = fake.run(line);
        let name = line.split(' ').next().expect("a name");
        assert_eq!(text, format!("{name}: {message}\n"), "{line}");
        assert_eq!(report.outcome, FAILED, "{line}");
    }
    for line in ["target 1", "hold", "hold 1 maybe", "psci", "psci version 1"] {
        assert_eq!(fake.run(line).1.outcome, FAILED, "{line}");
    }
    assert_eq!(fake.did(), []);
}

#[test]
fn a_roll_back_can_be_shown() {
    let fake = Fake::new(4, "0-3");
    let (text, report) = fake.run("fail 2 sched:drain; chcpu -d 2; chcpu -d 2");
    assert_eq!(
        text,
        "chcpu: CPU 2 disable failed: Resource temporarily unavailable (EAGAIN: injected)\n\
         CPU 2 disabled\n"
    );
    assert_eq!((report.outcome, report.failed), (OK, 1));
}

#[test]
fn firmware_is_asked_and_never_told() {
    let fake = Fake::new(4, "0-3");
    let cpu2 = stillpoint::cpu::Mpidr::from_register(2);
    for (line, query, text) in [
        ("psci version", PsciQuery::Version, "1.1\n"),
        (
            "psci affinity_info 2",
            PsciQuery::AffinityInfo(cpu2),
            "1 OFF\n",
        ),
        (
            "psci features cpu_off",
            PsciQuery::Features(0x8400_0002),
            "-1 NOT_SUPPORTED\n",
        ),
        (
            "psci features 0xC400000E",
            PsciQuery::Features(0xc400_000e),
            "-1 NOT_SUPPORTED\n",
        ),
        (
            "psci migrate_info_type",
            PsciQuery::MigrateInfoType,
            "2 migration not required\n",
        ),
    ] {
        let (said, report) = fake.run(line);
        assert_eq!((said.as_str(), report.outcome), (text, OK), "{line}");
        assert_eq!(fake.did(), [Did::Psci(query)], "{line}");
    }
    for call in [
        "cpu_off",
        "cpu_on",
        "system_off",
        "cpu_suspend",
        "nosuch",
        "features x",
    ] {
        let (text, report) = fake.run(&format!("psci {call}"));
        assert_eq!(report.outcome, FAILED, "{call}: {text}");
    }
    assert!(
        fake.run("psci cpu_off")
            .0
            .contains("(EPERM: cpu_off would change")
    );
    assert_eq!(fake.did(), []);
}

#[test]
fn stress_leaves_the_machine_as_it_was() {
    for seed in 1..20 {
        let fake = Fake::new(5, "0,2-3");
        let (text, report) = fake.run(&format!("stress -s {seed} 150"));
        assert_eq!(report.outcome, OK, "{text}");
        assert!(text.starts_with(&format!("stress: 150 of 150 rounds, seed {seed}\nUp:   ")));
        assert!(
            !text.contains(" 0 rolled back") && text.contains(" 0 refused"),
            "{text}"
        );
        assert_eq!(fake.run("cat /sys/devices/system/cpu/online").0, "0,2-3\n");
        assert_eq!(fake.run("fail").0, "", "nothing is to fail any more");
        // The same again.
        let again = Fake::new(5, "0,2-3")
            .run(&format!("stress -s {seed} 150"))
            .0;
        assert_eq!(again, text);
    }
    let fake = Fake::new(4, "0-3").with_stuck("2");
    let (text, _) = fake.run("stress -s 1 100");
    assert!(
        text.contains("stress: CPU 2 down: Device or resource busy (EBUSY:"),
        "{text}"
    );
    let fake = Fake::new(4, "0-3");
    fake.types(b"\x03");
    let (text, report) = fake.run("stress 1000; stop");
    assert!(text.starts_with("^C\nstress: 1 of 1000 rounds"), "{text}");
    assert_eq!(report.outcome, INTERRUPTED);
    assert_eq!(fake.run("cat /sys/devices/system/cpu/online").0, "0-3\n");
    for line in ["stress", "stress x", "stress -s x 1"] {
        assert!(fake.run(line).0.contains("bad usage"), "{line}");
    }
}

#[test]
fn taskset_shows_and_sets() {
    let list = |text: &str| parse_cpu_list(text).expect("a list");
    let fake = Fake::new(4, "0-3");
    for (line, text, did) in [
        (
            "taskset -p 1",
            "pid 1's current affinity mask: f\n",
            &[][..],
        ),
        ("taskset -cp 2", "pid 2's current affinity list: 1\n", &[]),
        (
            "taskset -pc 0,2 1",
            "pid 1's current affinity list: 0-3\npid 1's new affinity list: 0,2\n",
            &[Did::Affinity(1, list("0,2"))],
        ),
        (
            "taskset -p 0x1 1",
            "pid 1's current affinity mask: 5\npid 1's new affinity mask: 1\n",
            &[Did::Affinity(1, list("0"))],
        ),
        (
            "taskset -c 3 nproc --all",
            "4\n",
            &[Did::Affinity(1, list("3")), Did::Affinity(1, list("0"))],
        ),
        (
            "taskset 2 nosuch",
            "nosuch: command not found\nTry 'help' for a list of the commands.\n",
            &[Did::Affinity(1, list("1")), Did::Affinity(1, list("0"))],
        ),
    ] {
        assert_eq!(fake.run(line).0, text, "{line}");
        assert_eq!(fake.did(), did, "{line}");
    }
    for (line, message) in [
        ("taskset -p 9", "No such process (ESRCH: pid 9)"),
        ("taskset -p x", "invalid PID argument: 'x'"),
        ("taskset -pc 0- 1", "failed to parse CPU list: 0-"),
        ("taskset -p g 1", "failed to parse CPU mask: g"),
        (
            "taskset -pc 7 1",
            "Invalid argument (EINVAL: no CPU of 7 exists)",
        ),
    ] {
        let (text, report) = fake.run(line);
        assert_eq!(
            (text, report.outcome),
            (format!("taskset: {message}\n"), FAILED)
        );
    }
    for line in ["taskset", "taskset 1", "taskset -p", "taskset -p 1 2 3"] {
        assert!(fake.run(line).0.contains("bad usage"), "{line}");
    }
    let fake = Fake::new(4, "0-1");
    let refused = "taskset: Invalid argument (EINVAL: none is active)\n";
    assert_eq!(fake.run("taskset -c 2-3 stop").0, refused);
    assert_eq!(fake.did(), [], "{:?}", CpuMask::EMPTY);
}

fn greet(call: &mut Call<'_>) -> Result<(), CommandError> {
    match call.words() {
        ["-x", ..] => Err(CommandError::new(Errno::NoDevice, "no such planet")),
        ["wait", how @ ..] => {
            let fails = !how.is_empty();
            while !call.is_interrupted() {
                writeln!(call, "waiting")?;
            }
            if fails {
                return Err(CommandError::from(Errno::Canceled));
            }
            Ok(())
        }
        words => Ok(writeln!(call, "hello {}", words.join("+"))?),
    }
}

const GREET: ShellCommand = ShellCommand::new("greet", "[WORD]...", "greet a planet", greet);

#[test]
fn a_program_adds_commands() {
    let fake = Fake::new(1, "0").with_commands(&[GREET]);
    check_commands(&fake);
    for (line, text, outcome) in [
        ("greet 'a b' c -h", "hello a b+c+-h\n", OK),
        (
            "greet -x",
            "greet: No such device (ENODEV: no such planet)\n",
            FAILED,
        ),
        ("repeat 2 greet", "hello \nhello \n", OK),
        (
            "greet --help",
            "Usage:\n greet [WORD]...\n\ngreet a planet\n",
            OK,
        ),
    ] {
        let (said, report) = fake.run(line);
        assert_eq!((said.as_str(), report.outcome), (text, outcome), "{line}");
    }
    let (table, _) = fake.run("help");
    assert!(table.contains("\ngreet [WORD]..."), "{table}");
    for (line, text, outcome) in [
        ("greet wait; nproc", "^C\n", INTERRUPTED),
        (
            "greet wait -e; nproc",
            "^C\ngreet: Operation canceled (ECANCELED)\n1\n",
            OK,
        ),
    ] {
        fake.types(b"\x03");
        let (said, report) = fake.run(line);
        assert_eq!((said.as_str(), report.outcome), (text, outcome), "{line}");
    }
}

#[test]
#[should_panic(expected = "BUG: the shell has a command stop already")]
fn a_name_stands_for_one_command() {
    let other = ShellCommand::new("stop", "", "another", greet);
    check_commands(&Fake::new(1, "0").with_commands(&[GREET, other]));
}
