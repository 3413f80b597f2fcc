//! Commands that run others which run others, on a stack as small as the kernel's.

use std::thread;

use stillpoint::shell::{LINE_LIMIT, Shell};

use crate::OK;
use crate::fake::Fake;

/// How much stack the shell gets. On the host it takes more than in a kernel.
const STACK: usize = 96 * 1024;

/// Runs `body` on a small stack.
fn on_a_small_stack(body: fn()) {
    let thread = thread::Builder::new().stack_size(STACK).spawn(body);
    thread.expect("a thread").join().expect("no panic");
}

#[test]
fn commands_nest_as_deep_as_a_line_is_long() {
    on_a_small_stack(|| {
        let fake = Fake::new(4, "0-2");
        let (text, report) = fake.run(&format!("{}nproc", "time ".repeat(2000)));
        assert_eq!(report.outcome, OK);
        assert!(text.starts_with("3\n"));
        assert_eq!(text.matches("real\t0m0.000000s\n").count(), 2000);
        let (text, _) = fake.run("time repeat 2 taskset -c 1 time echo on; nproc");
        let inner = "on\n\nreal\t0m0.000000s\n";
        assert_eq!(text, format!("{inner}{inner}\nreal\t0m0.000000s\n3\n"));
    });
}

#[test]
fn completion_nests_as_deep_as_a_line_is_long() {
    on_a_small_stack(|| {
        let fake = Fake::new(4, "0");
        let mut shell = Shell::new(&fake);
        let before = "time ".repeat(LINE_LIMIT / 5 - 2);
        for byte in format!("{before}npr\t").bytes() {
            let _ = shell.feed(byte);
        }
        assert!(fake.console.take().ends_with("nproc "));
    });
}
