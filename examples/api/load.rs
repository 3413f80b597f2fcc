use stillpoint::api::cpu::{CpuId, run_time};
use stillpoint::api::hotplug::{Direction, Walk, last_walks};
use stillpoint::api::time::now;
use stillpoint::println;

/// Prints for how much of a call the CPU was at work, and which CPUs came and went meanwhile. Returns
/// how many came and how many went.
pub(crate) fn watch(cpu: CpuId, call_fn: impl FnOnce()) -> (usize, usize) {
    let (began, before) = (now(), run_time(cpu).unwrap_or_default());
    call_fn();
    let worked = run_time(cpu).unwrap_or_default() - before;
    println!("CPU{cpu}: {worked:?} of {:?}", began.elapsed());
    let (mut came, mut went) = (0, 0);
    for walk in last_walks(began).iter().filter(|walk| walk.is_done) {
        let Walk {
            cpu, began, ended, ..
        } = *walk;
        let took = ended.duration_since(began);
        match walk.direction {
            Direction::Up => came += 1,
            Direction::Down => went += 1,
        }
        match walk.irqs_off {
            Some(still) => println!("CPU{cpu} went in {took:?}, all stood still for {still:?}"),
            None => println!("CPU{cpu} came in {took:?}"),
        }
    }
    (came, went)
}
