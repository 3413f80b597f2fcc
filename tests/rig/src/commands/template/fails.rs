#![no_std]
#![no_main]

stillpoint::test_main!();

#[stillpoint::test]
fn a_passes() {
    // Neither ends what the runner counts, nor adds to it.
    stillpoint::println!("ok 1 - no_test");
    stillpoint::print!("half a line");
}

#[stillpoint::test]
#[should_panic]
fn b_has_to_panic() {
    panic!("as it has to");
}

#[stillpoint::test]
#[should_panic]
fn c_has_to_panic_and_returns() {}

#[stillpoint::test]
fn d_panics() {
    assert_eq!(6 * 7, 54, "they differ");
}

#[stillpoint::test]
fn e_returns_an_error() -> Result<(), &'static str> {
    Err("it says why")
}

#[stillpoint::test]
#[ignore]
fn f_is_ignored() {
    panic!("nobody has asked for it");
}

#[stillpoint::test]
fn g_runs_after_all_of_them() {}
