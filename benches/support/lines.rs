//! `BENCH` lines on the console, in a form that the rig reads.

use alloc::vec::Vec;

use stillpoint::api::cpu;
use stillpoint::println;

/// Prints the line of the operation `op`, of which `samples` are nanoseconds.
pub(crate) fn print_line(op: &str, mut samples: Vec<u64>, warm_up: usize) {
    samples.sort_unstable();
    let at = |part: usize| samples[(samples.len() - 1) * part / 100];
    let us = |ns: u64| (ns / 1000, ns % 1000);
    let [min, median, p99, max] = [at(0), at(50), at(99), at(100)].map(us);
    println!(
        "BENCH,stillpoint,smp={},op={op},n={},warmup={warm_up},min_us={}.{:03},\
         median_us={}.{:03},p99_us={}.{:03},max_us={}.{:03}",
        cpu::possible().count(),
        samples.len(),
        min.0,
        min.1,
        median.0,
        median.1,
        p99.0,
        p99.1,
        max.0,
        max.1
    );
}
