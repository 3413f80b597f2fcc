//! The tests of a program: the functions with the attribute `#[stillpoint::test]`, in the table
//! that the linker makes of them.
//!
//! The results are printed as KTAP, each on a line of its own, whatever a test has printed. A
//! diagnostic line says before that which test starts:
//!
//! ```text
//! 1..2
//! # start 1 - tests::a
//! ok 1 - tests::a
//! ```
//!
//! By that line the runner tells a result from what a test prints: only the test that has started
//! can have one, under its number and name.
//!
//! A panic ends the machine, so a test that panics is the last
//! one that this boot runs. `tests/rig`, the runner, then boots again with the argument `--from`,
//! and the tests go on behind that one, under their numbers.

use alloc::string::String;
use alloc::vec::Vec;

use crate::arch::aarch64::image;
use crate::bootargs::{BootArgs, TestArgs};
use crate::kernel::console::print_line;
use crate::kernel::{PanicReport, kernel, print, set_hook};
use crate::sync::atomic::{AtomicUsize, Ordering};

/// The statuses of a test, and of a program of tests.
const SUCCESS: u8 = 0;
const FAILURE: u8 = 1;
/// The status if the program's arguments aren't understood.
const BAD_OPTION: u8 = 2;

/// A test, as `#[stillpoint::test]` describes it.
pub struct Test {
    /// Its path, from the name of its crate on.
    path: &'static str,
    /// Runs it, and returns its exit status: 0 stands for success.
    run_fn: fn() -> u8,
    /// Whether it only runs if it is asked for.
    is_ignored: bool,
    /// Whether it passes by a panic, and fails without.
    should_panic: bool,
}

impl Test {
    /// Returns the description of a test.
    pub const fn new(
        path: &'static str,
        run_fn: fn() -> u8,
        is_ignored: bool,
        should_panic: bool,
    ) -> Test {
        Test {
            path,
            run_fn,
            is_ignored,
            should_panic,
        }
    }

    /// Returns its path inside of its crate, by which it is chosen.
    fn name(&self) -> &'static str {
        self.path
            .split_once("::")
            .map_or(self.path, |(_, name)| name)
    }
}

/// Returns the tests of this program, in the order of the linker.
fn tests() -> &'static [Test] {
    let range = image::program_tests();
    let start = core::ptr::with_exposed_provenance::<Test>(range.start);
    // SAFETY: only the macro `test` puts anything between the two symbols of the linker script,
    // and each time a whole `Test`, aligned. Once relocated nothing writes to it.
    unsafe { core::slice::from_raw_parts(start, range.len() / size_of::<Test>()) }
}

/// Where the number begins in [`RUNNING`], and the bits of the index below it.
const NUMBER_SHIFT: u32 = 32;
const INDEX: usize = (1 << NUMBER_SHIFT) - 1;

/// The test that runs: its number in the results, from 1 on, above its index in the table. 0 while none runs. Relaxed: the one word holds both, and a thread that a test has
/// started sees it.
static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// Runs the tests that the program's arguments select, and returns the status that the machine
/// ends with.
///
/// # Context
/// The thread `main`.
pub fn run_tests() -> u8 {
    let words = BootArgs::parse(kernel().bootargs).program_args();
    let wanted = match TestArgs::parse(words.iter().map(String::as_str)) {
        Ok(wanted) => wanted,
        Err(word) => {
            print(format_args!("error: the tests have no option {word}\n"));
            return BAD_OPTION;
        }
    };
    let mut selected: Vec<(usize, &Test)> = (0..).zip(tests()).collect();
    selected.retain(|(_, test)| wanted.selects(test.name()));
    selected.sort_by_key(|(_, test)| test.name());
    if wanted.list {
        for (_, test) in &selected {
            print(format_args!("{}: test\n", test.name()));
        }
        return SUCCESS;
    }
    if wanted.from == 0 {
        print_line(format_args!("KTAP version 1\n1..{}\n", selected.len()));
    }
    if set_hook(report_panic).is_err() {
        print_line(format_args!("Bail out! there is a panic hook\n"));
        return FAILURE;
    }
    let mut status = SUCCESS;
    for (number, (index, test)) in (1..).zip(selected).skip(wanted.from) {
        if !wanted.runs(test.is_ignored) {
            print_line(format_args!(
                "ok {number} - {} # SKIP ignored\n",
                test.name()
            ));
            continue;
        }
        print_line(format_args!("# start {number} - {}\n", test.name()));
        RUNNING.store(number << NUMBER_SHIFT | index, Ordering::Relaxed);
        let passed = (test.run_fn)() == SUCCESS && !test.should_panic;
        RUNNING.store(0, Ordering::Relaxed);
        print_result(passed, number, test);
        if !passed {
            status = FAILURE;
        }
    }
    status
}

/// Prints the result of the test that has panicked.
fn report_panic(_report: &PanicReport<'_>) {
    let running = RUNNING.load(Ordering::Relaxed);
    if running != 0 {
        let test = &tests()[running & INDEX];
        print_result(test.should_panic, running >> NUMBER_SHIFT, test);
    }
}

/// Prints the result of the test `test`, which has the number `number`.
fn print_result(passed: bool, number: usize, test: &Test) {
    let word = if passed { "ok" } else { "not ok" };
    print_line(format_args!("{word} {number} - {}\n", test.name()));
}
