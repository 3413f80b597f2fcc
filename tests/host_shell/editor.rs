//! The line editor's keys, its history, pasted text, and lines that are refused.

use stillpoint::shell::{LINE_LIMIT, Outcome, PROMPT, Shell, ShellCommand, Status};

use crate::OK;
use crate::fake::{Did, Fake};
use crate::properties::press;
use crate::term::Term;

/// Feeds `bytes` to a new session; returns the output of the commands, without prompts and
/// echo. Each line must be one `echo`.
fn typed(bytes: &[u8]) -> Vec<String> {
    let fake = Fake::new(4, "0");
    let mut shell = Shell::new(&fake);
    fake.console.take();
    let mut printed = Vec::new();
    for byte in bytes {
        let outcome = shell.feed(*byte);
        if let Some(outcome) = outcome {
            assert_eq!(outcome, OK);
            let text = fake.console.take();
            let text = text.strip_prefix('\n').expect("a line end");
            let text = text.strip_suffix(PROMPT).expect("a prompt");
            printed.push(text.trim_end().to_string());
        } else {
            let _ = fake.console.take();
        }
    }
    printed
}

#[test]
fn keys_edit_the_line() {
    for (keys, printed) in [
        ("echo a\n", "a"),
        ("ecko\x7f\x7fho a\n", "a"),
        ("echo b\x08a\r\n", "a"),
        ("cho a\x01e\x05!\n", "a!"),
        ("echo ac\x1b[Db\n", "abc"),
        ("echo ac\x1bODb\x1bOCd\n", "abcd"),
        ("echo abc\x02\x02\x04\n", "ac"),
        ("echo abc\x1b[D\x1b[3~\n", "ab"),
        ("echo ab\x1b[3~\n", "ab"),
        ("xecho a\x1b[H\x1b[3~\n", "a"),
        ("junk\x15echo a\n", "a"),
        ("echo abc\x02\x02\x0b\n", "a"),
        ("echo abc def  \x17ghi\n", "abc ghi"),
        ("echo éß ü\x17\x7f\x7fa\n", "éa"),
        ("junk\x03echo a\n", "a"),
        ("echo a\x0cb\n", "ab"),
        ("echo a\x1b[200~b\x1b[201~\0\x07\n", "ab"),
        ("echo \"a;  b\" 'c\"d' -e --f=g\n", "a;  b c\"d -e --f=g"),
        ("\"echo\" 'a'\n", "a"),
        ("  echo   a  \n", "a"),
        ("echo é€😀\x7f!\n", "é€!"),
        ("echo ab cd\x1bb\x1bbx\n", "xab cd"),
        ("echo ab cd\x1b[1;5D\x1b[1;5D\x1b[1;5Cx\n", "abx cd"),
        ("ab cd\x1bb\x1bb\x1bf\x7f\x7fecho\n", "cd"),
        ("ec\tab\n", "ab"),
        ("echo a bc\x1b\x7fd\n", "a d"),
        // A function key of Linux's console.
        ("echo a\x1b[[Ab\n", "ab"),
        ("echo 1;  ec\t2\n", "1\n2"),
        ("o 1\x01ech\n", "1"),
        (" 1\x01ech\t\n", "1"),
    ] {
        assert_eq!(typed(keys.as_bytes()), [printed], "{keys:?}");
    }
}

/// Returns what a session draws for `bytes` after its first prompt.
fn drawn(bytes: &str) -> String {
    drawn_by(&Fake::new(2, "0"), bytes)
}

/// Does as [`drawn`], on this machine.
fn drawn_by(fake: &Fake, bytes: &str) -> String {
    let mut shell = Shell::new(fake);
    fake.console.take();
    for byte in bytes.bytes() {
        let _ = shell.feed(byte);
    }
    fake.console.take()
}

#[test]
fn tab_completes_what_a_program_says() {
    const PLAY: ShellCommand =
        ShellCommand::new("play", "WORD", "play", |_| Ok(())).completes(&["chess", "go"]);
    let fake = Fake::new(1, "0").with_commands(&[PLAY]);
    assert_eq!(drawn_by(&fake, "pl\tch\t"), "play chess ");
    assert!(drawn_by(&fake, "play \t").starts_with("play \nchess  go\n"));
}

#[test]
fn tab_completes_the_name_of_a_command() {
    assert_eq!(drawn("lsc\t"), "lscpu ");
    // First as far as all candidates agree, then the candidates.
    assert_eq!(drawn("st\t"), "st\nstates  stress  stop\nstillpoint# st");
    assert!(drawn("\t").starts_with("\nhelp  lscpu  chcpu  "));
    for line in ["x\t", "lscpu \t", "echo e\t"] {
        assert!(
            drawn(line).ends_with(&line.replace('\t', "\x07")),
            "{line:?}"
        );
    }
}

#[test]
fn tab_completes_what_can_stand_there() {
    for (line, completed) in [
        ("help sta\t", "help states "),
        ("time chc\t", "time chcpu "),
        ("time lscpu --ext\t", "time lscpu --extended "),
        ("repeat 3 watch -n 1 upt\t", "repeat 3 watch -n 1 uptime "),
        ("chcpu --dis\t3", "chcpu --disable 3"),
        ("fail 1 sch\t", "fail 1 sched:drain "),
        ("target 0 ena\t", "target 0 enable:pmu "),
        ("hold 1 of\t", "hold 1 off "),
        ("cat /pr\tcpu\t", "cat /proc/cpuinfo "),
        ("cat /sys/d\t\t", "cat /sys/devices/system/"),
        (
            "cat /sys/devices/system/cpu/cpu1/on\t",
            "cat /sys/devices/system/cpu/cpu1/online ",
        ),
        ("cat proc/cm\t", "cat proc/cmdline "),
        (
            "echo 1 > /sys/k\tt\tt\t",
            "echo 1 > /sys/kernel/tracing/tracing_on ",
        ),
        ("echo 1 >/proc/up\t", "echo 1 >/proc/uptime "),
        (
            "lscpu; sysctl kernel.w\t",
            "lscpu; sysctl kernel.watchdog_thresh ",
        ),
        ("psci aff\t1", "psci affinity_info 1"),
        ("taskset -c 1 psci v\t", "taskset -c 1 psci version "),
        ("trace e\t", "trace export "),
        ("target 2 of\t", "target 2 offline "),
        ("psci features cpu_of\t", "psci features cpu_off "),
        ("psci version \t", "psci version "),
        ("psci affinity_info 1\t", "psci affinity_info 1 "),
        ("trace 1 \t", "trace 1 "),
        ("hold 1 off \t", "hold 1 off "),
        // Inside quotes and in a comment nothing is completed.
        ("echo 'a; sle\t", "echo 'a; sle"),
        ("echo \"a; sle\t", "echo \"a; sle"),
        ("nproc # a; sle\t", "nproc # a; sle"),
        ("echo 'a; b'; sle\t", "echo 'a; b'; sleep "),
    ] {
        let text = drawn(line);
        let shown = text.replace('\x07', "");
        // What is asked for the width of the terminal isn't text.
        let shown = shown.replace("\x1b7\x1b[999C\x1b[6n\x1b8", "");
        assert_eq!(shown, completed, "{line:?}");
    }
    // Threads.
    for line in ["taskset -pc 0 \t", "taskset -c -p 0 \t"] {
        let wanted = "\n1  2\nstillpoint# ".to_owned() + line.trim_end_matches('\t');
        assert!(drawn(line).ends_with(&wanted), "{line:?}");
    }
    assert!(drawn("fail 2 off\t").contains("\noffline  off\n"));
    assert!(drawn("trace \t").contains("\n0  1  export\n"));
    // CPUs, in a list too.
    for line in [
        "chcpu -d 0,\t",
        "taskset -c 0-\t",
        "taskset -pc \t",
        "hold \t",
    ] {
        let line = line.to_owned();
        let wanted = "\n0  1\nstillpoint# ".to_owned() + line.trim_end_matches('\t');
        assert!(drawn(&line).ends_with(&wanted), "{line:?}");
    }
}

#[test]
fn what_was_entered_is_searched_backwards() {
    let before = "echo one\nlscpu\necho two\n";
    for (keys, printed) in [
        // Enter runs what is found; other keys edit it.
        ("\x12two\n", "two"),
        ("\x12echo\x12\n", "one"),
        ("\x12e\x12\x12\x05!\n", "one!"),
        ("\x12two\x7f\x7f\x7fone\n", "one"),
        // The place in the line is that of the text.
        ("\x12wo\x1b[D\x04\x04r\n", "ro"),
        // From the line that was found one goes on up and down.
        ("\x12one\x1b[B\x1b[B\n", "two"),
        // What isn't found changes nothing.
        ("\x12twox\x12\n", "two"),
        ("echo three\x12one\x07\n", "three"),
        ("echo th\x12\x07ree\n", "three"),
        ("\x12two\x03echo x\n", "x"),
    ] {
        let fake = Fake::new(2, "0");
        let mut shell = Shell::new(&fake);
        for byte in before.bytes() {
            let _ = shell.feed(byte);
        }
        fake.console.take();
        let mut ended = 0;
        for byte in keys.bytes() {
            ended += usize::from(shell.feed(byte).is_some());
        }
        let text = fake.console.take();
        assert_eq!(ended, 1, "{keys:?}");
        let wanted = format!("\n{printed}\n{PROMPT}");
        assert!(text.ends_with(&wanted), "{keys:?}: {text:?}");
    }
    let shown = |keys: &str| {
        let mut term = Term::new(80);
        term.show(&drawn(keys));
        term.from("(")
    };
    assert_eq!(shown("echo a\n\x12ech"), "(reverse-i-search)`ech': echo a");
    assert_eq!(
        shown("echo a\n\x12ax"),
        "(failed reverse-i-search)`ax': echo a"
    );
}

#[test]
fn history_goes_back_and_forth() {
    let (up, down) = ("\x1b[A", "\x1b[B");
    let keys = format!("echo 'a; b'\necho c\n{up}{up}\n{up}{up}{down}d\n{up}\n");
    assert_eq!(
        typed(keys.as_bytes()),
        ["a; b", "c", "a; b", "a; bd", "a; bd"]
    );
    // Below the newest line of the history is an empty line; above the oldest is none.
    let keys = format!("echo a\n{up}{up}{down}echo b\n");
    assert_eq!(typed(keys.as_bytes()), ["a", "b"]);
    // What was begun waits there.
    let keys = format!("echo a\necho b{up}{down}c\n");
    assert_eq!(typed(keys.as_bytes()), ["a", "bc"]);
}

#[test]
fn abandoned_lines_are_not_in_the_history() {
    assert_eq!(typed(b"echo a\necho b\x03\x1b[A\n"), ["a", "a"]);
}

#[test]
fn refused_lines_are_not_in_the_history() {
    let (text, _) = session(b"chcpu -d 1\nchcpu -d 2\xff\n\x1b[A\n");
    assert!(text.ends_with(&format!("CPU 1 is already disabled\n{PROMPT}")));
}

#[test]
fn the_oldest_lines_of_the_history_are_forgotten() {
    let lines: String = (0..1000)
        .map(|number| format!("echo {number:60}\n"))
        .collect();
    let found = |what: &str| {
        let shown = drawn(&format!("{lines}\x12{what}"));
        let mut term = Term::new(200);
        term.show(&shown);
        term.from("(")
    };
    assert!(found(" 999").starts_with("(reverse-i-search)"));
    assert!(found(" 900").starts_with("(reverse-i-search)"));
    assert!(
        found(" 800").starts_with("(failed"),
        "8 KiB have gone since"
    );
}

#[test]
fn pasted_lines_run_one_by_one() {
    for end in ["\n", "\r", "\r\n"] {
        let paste = ["echo 1", "", "echo 2; echo 3", "echo 4", ""].join(end);
        assert_eq!(typed(paste.as_bytes()), ["1", "", "2\n3", "4"], "{end:?}");
    }
}

#[test]
fn a_session_looks_as_expected() {
    let fake = Fake::new(2, "0");
    let mut shell = Shell::new(&fake);
    for byte in b"chcpu -e 1\nx\x7f\x7f\npoweroff\n" {
        if shell.feed(*byte) == Some(Outcome::PowerOff(Status::SUCCESS)) {
            break;
        }
    }
    assert_eq!(
        fake.console.take(),
        "stillpoint# chcpu -e 1\nCPU 1 enabled\n\
         stillpoint# x\x1b[D\x1b[J\x07\n\
         stillpoint# poweroff\n"
    );
}

/// Feeds `bytes` to a session; returns its output and what it did to the machine.
fn session(bytes: &[u8]) -> (String, Vec<Did>) {
    let fake = Fake::new(4, "0-3");
    let mut shell = Shell::new(&fake);
    for byte in bytes {
        let _ = shell.feed(*byte);
    }
    (fake.console.take(), fake.did())
}

#[test]
fn a_line_that_does_not_fit_is_refused() {
    let fits = format!("chcpu -d 1{}", ",1".repeat((LINE_LIMIT - 10) / 2));
    assert_eq!(fits.len(), LINE_LIMIT);
    let (text, did) = session(format!("{fits}\n").as_bytes());
    assert_eq!(did, [Did::Down(1)]);
    assert!(text.contains("CPU 1 disabled\n"));

    let (text, did) = session(format!("{fits},2\necho on\n").as_bytes());
    assert_eq!(did, []);
    assert!(text.contains("\x07") && text.contains("sh: line ignored: it is longer"));
    assert!(text.contains("\non\n"));

    // If the user has edited the line since, the user has seen it.
    let (_, did) = session(format!("{fits},2\x7f2\n").as_bytes());
    assert_eq!(did, [Did::Down(1), Did::Down(2)]);
}

/// Checks that `keys` take the CPUs `down` down; if these are none, that a line is refused.
fn takes_down(keys: &[u8], down: &[usize]) {
    let (text, did) = session(keys);
    let down: Vec<Did> = down.iter().copied().map(Did::Down).collect();
    assert_eq!(did, down, "{keys:?}");
    assert_eq!(
        text.contains("sh: line ignored"),
        down.is_empty(),
        "{keys:?}"
    );
}

#[test]
fn a_line_that_does_not_fit_is_refused_until_some_of_it_is_deleted() {
    let cut = format!("chcpu -d 1{},2", ",1".repeat((LINE_LIMIT - 10) / 2));
    for (keys, down) in [
        // What changes nothing changes nothing.
        ("\t\n", &[][..]),
        ("\x05\n", &[]),
        ("\x1b[D\x1b[C\n", &[]),
        ("\x0b\x1b[3~\n", &[]),
        ("\x0c\n", &[]),
        // The line isn't put away to come back as a whole one.
        ("\x1b[A\x1b[B\n", &[]),
        ("\x12chcpu\x07\n", &[]),
        ("\x7f1\n", &[1]),
        ("\x15chcpu -d 3\n", &[3]),
        ("\x03chcpu -d 3\n", &[3]),
    ] {
        takes_down(format!("chcpu -e 0\n{cut}{keys}").as_bytes(), down);
    }
}

#[test]
fn a_line_that_is_not_utf8_is_refused_until_it_is_emptied() {
    for (keys, down) in [
        (&b"chcpu -d 1\xff2\t\n"[..], &[][..]),
        (b"chcpu -d 1\xff2\x7f2\n", &[]),
        (b"chcpu -d 1\xff2\x01\x05\x1b[D\x04\n", &[]),
        (b"\xff\tchcpu -d 1\n", &[]),
        (b"\xff\x7fchcpu -d 1\n", &[]),
        (b"chcpu -d 1\xff2\x1b[A\n", &[]),
        (b"chcpu -d 1\xff2\x15chcpu -d 3\n", &[3]),
        (b"\xff\x15chcpu -d 3\n", &[3]),
        (b"a\xff\x7fchcpu -d 3\n", &[3]),
        (b"chcpu -d 1\xff2\x03chcpu -d 3\n", &[3]),
    ] {
        takes_down(keys, down);
    }
}

#[test]
fn a_line_of_which_some_is_missing_is_refused_whatever_is_typed_in_it() {
    let run = |before: &[u8], after: &[u8]| {
        let fake = Fake::new(4, "0-3");
        let mut shell = Shell::new(&fake);
        for byte in before {
            let _ = shell.feed(*byte);
        }
        shell.lose();
        for byte in after {
            let _ = shell.feed(*byte);
        }
        (fake.console.take(), fake.did())
    };
    let told = "sh: line ignored: the console has lost some of its bytes\n";
    for (before, after) in [
        (&b"chcpu -d 1"[..], &b"2\nchcpu -d 3\n"[..]),
        // The lost bytes may contain a whole line, or the beginning of this one.
        (b"echo a\n", b"chcpu -d 1\nchcpu -d 3\n"),
        (b"chcpu -d 1", b"\nchcpu -d 3\n"),
        // Keys by which the user would have noticed that a line is too long.
        (b"chcpu -d 1", b"\x15chcpu -d 2\x7f1\nchcpu -d 3\n"),
        // An incomplete key, and an incomplete character.
        (b"chcpu -d 1\x1b[", b"Achcpu -d 2\nchcpu -d 3\n"),
        (b"chcpu -d 1\xe2", b"\x82\xac\nchcpu -d 3\n"),
    ] {
        let (text, did) = run(before, after);
        assert_eq!(did, [Did::Down(3)], "{before:?} {after:?}");
        assert_eq!(text.matches(told).count(), 1, "{before:?} {after:?}");
    }
    let (text, did) = run(b"chcpu -d 1", b"2\x03chcpu -d 3\n");
    assert_eq!(did, [Did::Down(3)], "Ctrl-C begins a new line");
    assert!(!text.contains(told));
}

#[test]
fn the_bell_rings_once_for_a_line_that_is_too_long() {
    let line = "x".repeat(10_000);
    let (text, _) = session(format!("{line}\necho on\n").as_bytes());
    assert_eq!(text.matches('\x07').count(), 1);
    assert!(text.contains("sh: line ignored: it is longer") && text.contains("\non\n"));
}

#[test]
fn a_line_that_is_not_utf8_is_refused() {
    for noise in [&b"\xff"[..], b"\xc0\x80", b"\xe2\x82", b"\xed\xa0\x80"] {
        let line = [b"chcpu -d 1", noise, b"2\nchcpu -d 3\n"].concat();
        let (text, did) = session(&line);
        assert_eq!(did, [Did::Down(3)], "{noise:?}");
        assert!(text.contains("sh: line ignored: it is not UTF-8\n"));
    }
}

#[test]
fn a_long_line_goes_over_rows_of_the_terminal() {
    let width = "\x1b[1;50R";
    let text = "x".repeat(60);
    let fake = Fake::new(1, "0");
    let mut shell = Shell::new(&fake);
    let mut feed = |bytes: &str| {
        for byte in bytes.bytes() {
            let _ = shell.feed(byte);
        }
        fake.console.take()
    };
    // It asks once, when the line gets long, and a row is ended when the width is known.
    let drawn = feed(&text[..38]);
    assert_eq!(drawn.matches("\x1b[6n").count(), 1, "{drawn:?}");
    assert_eq!(feed(width), " \r", "12 of the prompt and 38");
    assert_eq!(feed(&text[38..]), "x".repeat(22));
    // An answer that it didn't ask for is a key that does nothing.
    assert_eq!(feed(width), "\x07");
    assert_eq!(feed("\x01"), "\x1b[A\x1b[10D");
    assert_eq!(feed("\x05"), "\x1b[B\x1b[10C");
    // Ctrl-L clears the terminal, and asks again.
    assert_eq!(feed("\x0c").matches("\x1b[6n").count(), 1);
    let drawn = feed("\x1b[1;100R");
    assert_eq!(drawn, format!("\x1b[H\x1b[J{PROMPT}{text}"));
    assert!(feed("\n").ends_with(&format!(
        "{text}: command not found\nTry 'help' for a list of the commands.\n{PROMPT}"
    )));
}

#[test]
fn a_wide_character_goes_to_the_next_row_and_back() {
    let fake = Fake::new(1, "0");
    let mut shell = Shell::new(&fake);
    let mut term = Term::new(41);
    term.show(&fake.console.take());
    // 12 columns of the prompt, 28, one that stays free, and then the row is over.
    let text = "x".repeat(28);
    let (left, delete, home) = ("\x1b[D", "\x04", "\x01");
    for (keys, shown) in [
        (format!("{text}日bc"), format!("{text}日bc")),
        // Before the wide character, in the next row; `b` stands in the free column then.
        (left.repeat(3) + delete, format!("{text}bc")),
        ("\x1b[Cd".into(), format!("{text}bdc")),
        (format!("{home}y"), format!("y{text}bdc")),
        ("\x05\x7f\x7f\x7f日".into(), format!("y{text}日")),
        (format!("{home}{delete}"), format!("{text}日")),
        ("\x05!".into(), format!("{text}日!")),
        (format!("{home}z"), format!("z{text}日!")),
    ] {
        press(&mut shell, &fake, &mut term, &keys);
        assert_eq!(term.from(PROMPT), format!("{PROMPT}{shown}"), "{keys:?}");
    }
    // What a command prints stands below all rows of the line.
    let (drawn, _) = press(&mut shell, &fake, &mut term, &format!("{home}\n"));
    let below = format!("\x1b[B\nz{text}日!: command not found\n");
    assert!(drawn.contains(&below), "{drawn:?}");
}

#[test]
fn a_mark_is_drawn_with_its_character() {
    let mut term = Term::new(80);
    term.show(PROMPT);
    term.show(&drawn("echo e\u{301}日!\x1b[D\x1b[D\x7fa\x05"));
    assert_eq!(term.from(PROMPT), "stillpoint# echo a日!");
    assert_eq!(drawn("e\u{301}"), "e\x1b[D\x1b[Je\u{301}");
}
