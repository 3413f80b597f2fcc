//! Checks that a failure has left the machine unharmed.

use core::fmt::Debug;

use stillpoint::cpu::CpuId;
use stillpoint::hotplug::ALL_UP;
use stillpoint::kernel::kernel;
use stillpoint::{api, println};

/// Returns CPU `number`, which must be below the number of possible CPUs.
pub fn cpu(number: usize) -> CpuId {
    CpuId::new(number).expect("a small number")
}

/// Returns whether `found` is `wanted`. If not, prints both.
pub fn same<T: PartialEq + Debug>(what: &str, found: T, wanted: T) -> bool {
    let same = found == wanted;
    if !same {
        println!("# {what}: found {found:?}, wanted {wanted:?}");
    }
    same
}

/// Returns whether each CPU is wholly up or wholly down, by its counters and the masks, and no
/// failure is injected.
fn at_rest() -> bool {
    let kernel = kernel();
    let masks = &kernel.masks;
    let mut sound = same("active", masks.active(), masks.online());
    for cpu in masks.possible().iter() {
        let state = kernel.hotplug.state(cpu);
        let wanted = if masks.is_online(cpu) { ALL_UP } else { 0 };
        if state.state() != wanted || !kernel.hotplug.is_balanced(cpu) || state.injected().is_some()
        {
            println!(
                "# {cpu:?}: {} steps are up, wanted {wanted}; balanced: {}; injected: {:?}",
                state.state(),
                kernel.hotplug.is_balanced(cpu),
                state.injected()
            );
            sound = false;
        }
    }
    sound
}

/// Returns whether the machine is unharmed: it is at rest, another CPU than `but` can go down
/// and come up, if there is one, and a stop succeeds.
pub fn unharmed(but: CpuId) -> bool {
    let mut sound = at_rest();
    let online = kernel().masks.online();
    let another = online
        .iter()
        .filter(|other| *other != CpuId::BOOT && *other != but)
        .last();
    if let Some(another) = another {
        sound &= same("another CPU leaves", api::cpu_down(another), Ok(()));
        sound &= !kernel().masks.is_online(another);
        sound &= same("and comes back", api::cpu_up(another), Ok(()));
    }
    sound &= same("online", kernel().masks.online(), online);
    sound &= same("a stop", api::stop_machine(|| 42), Ok(42));
    sound & at_rest()
}
