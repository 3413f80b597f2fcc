//! Counts primes while the machine shrinks and grows: the work is done on the CPUs that are there,
//! and neither has to know of the other.
//!
//! To run it, put it into a copy of `examples/template`, as `examples/pool.rs` there:
//! `cargo run --example pool`.
#![cfg_attr(target_os = "none", no_std, no_main)]

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::time::Duration;

use stillpoint::api::cpu::{CpuId, online_racy, possible};
use stillpoint::api::hotplug::{InstallError, cpu_down, cpu_up};
use stillpoint::api::pool::Pool;
use stillpoint::api::thread;
use stillpoint::println;

/// Up to which number, and how many numbers a worker takes at a time.
const LIMIT: usize = 200_000;
const CHUNK: usize = 500;

fn is_prime(number: usize) -> bool {
    let mut divisors = (2..).take_while(|divisor| divisor * divisor <= number);
    number > 1 && divisors.all(|divisor| number % divisor != 0)
}

#[stillpoint::main]
fn main() -> Result<(), InstallError> {
    // Its workers come and go with the CPUs.
    let pool = Pool::new()?;
    let (primes, tested) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let over = AtomicBool::new(false);

    thread::scope(|scope| {
        // This thread stands for a host that needs its CPUs for other guests, and gives them back.
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for cpu in possible().iter().filter(|cpu| *cpu != CpuId::BOOT) {
                    move_cpu(cpu, &tested);
                }
                thread::sleep(Duration::from_millis(5)); // There may be no other CPU.
            }
        });

        // The work. It says nothing of CPUs.
        pool.par_for(0..LIMIT, CHUNK, |number| {
            if is_prime(number) {
                primes.fetch_add(1, Ordering::Relaxed);
            }
            tested.fetch_add(1, Ordering::Relaxed);
        });
        over.store(true, Ordering::Relaxed);
    });

    println!("{} primes below {LIMIT}", primes.into_inner());
    Ok(())
}

/// Takes `cpu` down if it is up, and up if it is down, and says how far the work is.
fn move_cpu(cpu: CpuId, tested: &AtomicUsize) {
    let error = match online_racy().contains(cpu) {
        true => cpu_down(cpu).err().map(|error| error.errno()),
        false => cpu_up(cpu).err().map(|error| error.errno()),
    };
    if let Some(error) = error {
        println!("CPU{cpu} stays as it is: {error}");
    }
    let percent = tested.load(Ordering::Relaxed) * 100 / LIMIT;
    println!("{percent:3} % on CPUs {}", online_racy());
    thread::sleep(Duration::from_millis(5));
}
