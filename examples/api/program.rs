use core::time::Duration;
use stillpoint::api::thread::{self, Class, Priority};
use stillpoint::api::{cpu::CpuId, hotplug, stop};
use stillpoint::println;

#[stillpoint::main]
fn main() {
    let worker = thread::Builder::new()
        .name("worker")
        .class(Class::round_robin(Priority::MIN))
        .spawn(|| 6 * 7)
        .expect("a stack is free");
    thread::sleep(Duration::from_millis(10));
    println!("{}", worker.join());
    let cpu = CpuId::from_index(3);
    hotplug::cpu_down(cpu).expect("it can go");
    let still = stop::stop_machine(|| "nothing else moves");
    println!("{}", still.expect("it can stop"));
}
