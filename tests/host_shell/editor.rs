//! The line editor's keys, its history, pasted text, and lines that are refused.

use stillpoint::shell::{LINE_LIMIT, Outcome, PROMPT, Shell, Status};

use crate::OK;
use crate::fake::{Did, Fake};

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
        ("echo 1;  ec\t2\n", "1\n2"),
        ("o 1\x01ech\n", "1"),
        (" 1\x01ech\t\n", "1"),
    ] {
        assert_eq!(typed(keys.as_bytes()), [printed], "{keys:?}");
    }
}

/// Returns what a session draws for `bytes` after its first prompt.
fn drawn(bytes: &str) -> String {
    let fake = Fake::new(2, "0");
    let mut shell = Shell::new(&fake);
    fake.console.take();
    for byte in bytes.bytes() {
        let _ = shell.feed(byte);
    }
    fake.console.take()
}

#[test]
fn tab_completes_the_name_of_a_command() {
    assert_eq!(drawn("lsc\t"), "lsc\r\x1b[2Kstillpoint# lscpu ");
    // First as far as all candidates agree, then the candidates.
    assert_eq!(drawn("st\t"), "st\nstates  stop\n\r\x1b[2Kstillpoint# st");
    assert!(drawn("\t").starts_with("\nhelp  lscpu  chcpu  "));
    for line in ["x\t", "lscpu \t", "echo e\t"] {
        assert!(
            drawn(line).ends_with(&line.replace('\t', "\x07")),
            "{line:?}"
        );
    }
}

#[test]
fn the_terminal_finds_the_column_of_a_wide_character() {
    let line = "\r\x1b[2Kstillpoint# 日本";
    assert!(drawn("日本").ends_with(line));
    // The cursor is in the column behind the text that is drawn before it.
    assert_eq!(
        drawn("日本\x1b[D"),
        drawn("日本") + line + "\rstillpoint# 日"
    );
    assert_eq!(drawn("ab\x1b[D"), "ab\x1b[D", "no need to");
    // Without such a character the line is drawn as any other.
    assert!(drawn("a日\x7fb").ends_with("\r\x1b[2Kstillpoint# ab"));
    assert!(drawn("日\x03b").ends_with("\nstillpoint# b"));
    let up = "\x1b[A";
    assert!(drawn(&format!("echo 日\n{up}\x1b[D")).ends_with("\rstillpoint# echo "));
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
}

#[test]
fn abandoned_lines_are_not_in_the_history() {
    assert_eq!(typed(b"echo a\necho b\x03\x1b[A\n"), ["a", "a"]);
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
         stillpoint# x\x1b[D\x1b[P\x07\n\
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
