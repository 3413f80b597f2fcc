//! The macros of programs.

/// Puts text on the console. A value in it may print, too, while it says what it is: that
/// comes out in front of what has not gone out yet. A line of up to 128 bytes comes out
/// in one piece; what is longer may have others' text in it.
///
/// # Context
/// Any; IRQs are masked while a piece of up to 128 bytes goes out.
#[macro_export]
macro_rules! print {
    ($($text:tt)*) => {
        $crate::api::print(format_args!($($text)*))
    };
}

/// Puts a line on the console, as [`print!`](crate::print!) does.
#[macro_export]
macro_rules! println {
    () => {
        $crate::api::print(format_args!("\n"))
    };
    ($($text:tt)*) => {
        $crate::api::print(format_args!("{}\n", format_args!($($text)*)))
    };
}

/// Declares variables of which every possible CPU has its own:
///
/// ```ignore
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
                // SAFETY: it is in that section, and the value is a constant's.
                unsafe { $crate::api::cpu::PerCpuVar::new(&TEMPLATE) }
            };
        )+
    };
}

/// Names the function that the first thread runs, once all CPUs are up. It returns
/// what [`Termination`](crate::api::Termination) is implemented for: nothing, an
/// [`ExitStatus`](crate::api::ExitStatus), or a `Result`. When it returns the machine ends
/// with the status that this stands for.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        #[unsafe(no_mangle)]
        extern "Rust" fn stillpoint_main() -> u8 {
            let main: fn() -> _ = $main;
            $crate::api::Termination::report(main()).code()
        }
    };
}
