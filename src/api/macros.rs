//! The macros of programs.

/// Prints text on the console. If the `Display` of a value in it prints, too, that output
/// comes before the part of the text that has not gone out yet. A line of up to 128 bytes
/// comes out in one piece; output of other CPUs and threads may come in the middle of a
/// longer one.
///
/// ```no_run
/// use stillpoint::{print, println};
///
/// // A bar that grows: no line is ended before it is done.
/// for _ in 0..40 {
///     print!("#");
/// }
/// println!(" done");
/// ```
///
/// # Context
/// Any; IRQs are masked while a piece of up to 128 bytes goes out.
#[macro_export]
macro_rules! print {
    ($($text:tt)*) => {
        $crate::api::print(format_args!($($text)*))
    };
}

/// Prints a line on the console, as [`print!`](crate::print!) does.
#[macro_export]
macro_rules! println {
    () => {
        $crate::api::print(format_args!("\n"))
    };
    ($($text:tt)*) => {
        $crate::api::print(format_args!("{}\n", format_args!($($text)*)))
    };
}

/// Declares variables of which every possible CPU has its own copy:
///
/// ```no_run
/// # use core::sync::atomic::{AtomicU64, Ordering};
/// # use stillpoint::api::sync::PreemptGuard;
/// stillpoint::percpu! {
///     /// Requests served.
///     static HITS: AtomicU64 = AtomicU64::new(0);
/// }
///
/// HITS.this(&PreemptGuard::new()).fetch_add(1, Ordering::Relaxed);
/// let all: u64 = HITS.iter().map(|(_, hits)| hits.load(Ordering::Relaxed)).sum();
/// ```
///
/// The initial value is a constant, the type is `Sync` and aligned to at most a cache
/// line. See [`PerCpuVar`](crate::api::cpu::PerCpuVar).
#[macro_export]
macro_rules! percpu {
    ($($(#[$meta:meta])* $vis:vis static $name:ident: $type:ty = $value:expr;)+) => {
        $(
            $(#[$meta])*
            $vis static $name: $crate::api::cpu::PerCpuVar<$type> = {
                const VALUE: $type = $value;
                #[unsafe(link_section = ".percpu")]
                static TEMPLATE: $type = VALUE;
                // SAFETY: `TEMPLATE` is in that section, and its value is a constant's.
                unsafe { $crate::api::cpu::PerCpuVar::new(&TEMPLATE) }
            };
        )+
    };
}

/// Returns whether a static key is on, which is unlikely: while it is off this costs a NOP.
///
/// * `$key` — the path of a static of the type [`StaticKey`](crate::api::static_key::StaticKey)
///
/// # Context
/// Any.
#[macro_export]
macro_rules! static_branch_unlikely {
    ($key:path) => {
        $crate::api::static_key::static_branch!($crate::api::static_key::starts, $key, 0)
    };
}

/// Returns whether a static key is on, which is likely: while it is on this costs a NOP.
///
/// * `$key` — the path of a static of the type [`StaticKey`](crate::api::static_key::StaticKey)
///
/// # Context
/// Any.
#[macro_export]
macro_rules! static_branch_likely {
    ($key:path) => {
        $crate::api::static_key::static_branch!($crate::api::static_key::starts, $key, 1)
    };
}

/// Names the function that the first thread runs once the CPUs are up. Its return type
/// implements [`Termination`](crate::api::Termination): nothing, an
/// [`ExitStatus`](crate::api::ExitStatus), or a `Result`. When the function returns, the
/// machine ends with the status that the value stands for.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        #[unsafe(export_name = "put_#[stillpoint::main]_before_the_main_function")]
        static STILLPOINT_MAIN: fn() -> u8 = stillpoint_main;

        // A symbol of its own, so that a backtrace has it though it may have taken in `main`.
        #[unsafe(no_mangle)]
        extern "Rust" fn stillpoint_main() -> u8 {
            let main: fn() -> _ = $main;
            $crate::api::Termination::report(main()).code()
        }
    };
}

/// Makes a program of the tests in this crate, the functions with the attribute
/// [`test`](macro@crate::test). The file is one of `tests/`, with `harness = false` in the
/// manifest. A program with [`main`](macro@crate::main) doesn't need it.
///
/// ```no_run
/// #![no_std]
/// #![no_main]
///
/// use stillpoint::api::stop::stop_machine;
///
/// #[stillpoint::test]
/// fn a_still_point_returns_a_value() {
///     assert_eq!(stop_machine(|| 42), Ok(42));
/// }
///
/// stillpoint::test_main!();
/// ```
#[macro_export]
macro_rules! test_main {
    () => {
        #[unsafe(export_name = "put_#[stillpoint::main]_before_the_main_function")]
        static STILLPOINT_MAIN: fn() -> u8 = $crate::api::run_tests;
    };
}
