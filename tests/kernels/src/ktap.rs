//! KTAP from a test kernel: a line for each result, a plan, an exit status.

use stillpoint::{api, println};

/// The results of one test kernel.
pub struct Ktap {
    number: u32,
    failed: u32,
}

impl Ktap {
    /// Begins the output. The plan comes last, and counts the results. So a kernel that ends
    /// before [`finish`](Ktap::finish) has no plan, and has failed.
    #[expect(
        clippy::new_without_default,
        reason = "it prints, which no default value does"
    )]
    pub fn new() -> Ktap {
        println!("KTAP version 1");
        Ktap {
            number: 0,
            failed: 0,
        }
    }

    /// Prints that this machine can't run this test, and why; ends the kernel.
    pub fn not_applicable(why: &str) -> ! {
        println!("KTAP version 1");
        println!("1..0 # SKIP not applicable: {why}");
        api::exit(0)
    }

    /// Prints a result, which is `ok` or not.
    pub fn check(&mut self, name: &str, as_it_should_be: bool) {
        self.number += 1;
        let verdict = if as_it_should_be { "ok" } else { "not ok" };
        println!("{verdict} {} - {name}", self.number);
        self.failed += u32::from(!as_it_should_be);
    }

    /// Prints a result: whether `found` is `wanted`. If not, prints both.
    pub fn equal<T: PartialEq + core::fmt::Debug>(&mut self, name: &str, found: T, wanted: T) {
        if found != wanted {
            println!("# found {found:?}, wanted {wanted:?}");
        }
        self.check(name, found == wanted);
    }

    /// Prints a result that is not applicable on this machine, and why.
    pub fn inapplicable(&mut self, name: &str, why: &str) {
        self.number += 1;
        println!("ok {} - {name} # SKIP not applicable: {why}", self.number);
    }

    /// Ends the kernel as failed, because the rest can't be tested for the reason `why`.
    pub fn bail_out(self, why: &str) -> ! {
        println!("Bail out! {why}");
        api::exit(1)
    }

    /// Prints the plan and ends the kernel, with status 0 if no result was `not ok`.
    pub fn finish(self) -> ! {
        println!("1..{}", self.number);
        api::exit(u32::from(self.failed > 0))
    }
}
