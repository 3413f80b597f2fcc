#![cfg_attr(target_os = "none", no_std, no_main)]

use stillpoint::api::{cpu, stop};
use stillpoint::println;

#[stillpoint::main]
fn main() {
    let still = stop::stop_machine(|| "nothing else moves").expect("it has no deadline");
    println!("CPUs {}: {still}", cpu::online_racy());
}

#[cfg(test)]
mod tests {
    use stillpoint::api::hotplug::{cpu_down, cpu_up};
    use stillpoint::api::{cpu, stop};

    #[stillpoint::test]
    fn a_still_point_returns_what_its_function_does() {
        assert_eq!(stop::stop_machine(|| 6 * 7), Ok(42));
    }

    #[stillpoint::test]
    fn a_cpu_goes_and_comes() {
        let all = cpu::online_racy();
        let Some(last) = all.iter().last() else { return };
        cpu_down(last).expect("it may go");
        assert!(!cpu::online_racy().contains(last));
        cpu_up(last).expect("it comes back");
        assert_eq!(cpu::online_racy(), all);
    }
}
