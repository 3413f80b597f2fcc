//! A function that would sleep in a still point, or wait for another CPU there, panics at
//! once: no thread could wake it, and no CPU answers.

//@ smp: 2 4
//@ status: 101
//@ cases: sleep call
//
//@ case: sleep
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the function of a stop calls an operation of hotplug, which may wait$
//@ case: call
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the function of a stop waits for another CPU's answer$

#![no_std]
#![no_main]

use kernel_support::case::case;
use kernel_support::machine::stay_on_boot_cpu;

fn main() {
    use stillpoint::cpu::CpuId;

    stay_on_boot_cpu();
    let result = stillpoint::api::stop_machine(|| match case() {
        // The stop's caller reads under the lock that this takes for writing.
        "sleep" => drop(stillpoint::kernel::kernel().hotplug.cpus_write_lock()),
        "call" => {
            let other = CpuId::new(1).expect("a small number");
            let called = stillpoint::api::call_on(other, || ());
            stillpoint::println!("called: {called:?}");
        }
        other => stillpoint::println!("there is no case {other}"),
    });
    stillpoint::println!("waited in a still point: {result:?}");
}

stillpoint::entry!(main);
