//! The four walks, success and failure, up and down, as they are printed with the kernel's own
//! table. `steps_walks.rs` has them with steps of a program in it.

use stillpoint::cpu::CpuId;
use stillpoint::hotplug::{CpuDownError, CpuUpError, HotplugHost, StepError};

use crate::failures::step;
use crate::sim::Sim;
use crate::steps_walks::same;

#[test]
fn the_walks_of_the_kernels_own_table() {
    Sim::run(2, || {
        let (hotplug, cpu) = (Sim::hotplug(), CpuId::from_index(1));
        let error = StepError::Injected;
        let inject = |name| assert_eq!(hotplug.inject_failure(cpu, Some(step(name))), Ok(()));
        let failed = |name: &'static str| {
            let step = name.into();
            Err(CpuUpError::Step { cpu, step, error })
        };
        Sim::take_notes();
        assert_eq!(hotplug.cpu_up(cpu), Ok(()));
        same("up", UP);
        assert_eq!(hotplug.cpu_down(cpu), Ok(()));
        same("down", DOWN);

        // In the CPU's own thread, and on control.
        for (name, wanted) in [
            ("sched:threads", UP_AND_BACK),
            ("prep:threads", PREP_AND_BACK),
        ] {
            inject(name);
            assert_eq!(hotplug.cpu_up(cpu), failed(name));
            same("up and back", wanted);
        }
        assert_eq!(hotplug.cpu_up(cpu), Ok(()));
        Sim::take_notes();
        inject("sched:threads");
        let step = "sched:threads".into();
        let refused = CpuDownError::Step { cpu, step, error };
        assert_eq!(hotplug.cpu_down(cpu), Err(refused));
        same("down and back", DOWN_AND_BACK);
    });
}

const UP: &str = "
CPU0 Up prep:hardware
CPU0 Up prep:percpu
CPU0 Up prep:heap
CPU0 Up prep:calls
CPU0 Up prep:threads
CPU0 Up sync:alive
CPU0 Up sync:timers
CPU1 Up init:cpu
CPU1 Up init:rcu
CPU1 Up init:irqchip
CPU1 Up init:timer
CPU1 Up init:calls
CPU1 Up init:stopper
CPU1 Up init:online
CPU1 Up sched:drain
CPU1 Up sched:threads
CPU1 Up enable:irq-affinity
CPU1 Up sync:active
CPU1 Up sched:active
";
const DOWN: &str = "
CPU1 Down sched:active
CPU1 Down sync:active
CPU1 Down enable:irq-affinity
CPU1 Down sched:threads
CPU1 Down sched:drain
CPU1 Down init:online
CPU1 Down init:stopper
CPU1 Down init:calls
CPU1 Down init:timer
CPU1 Down init:irqchip
CPU1 Down init:rcu
CPU1 Down init:cpu
CPU0 Down sync:timers
CPU0 Down sync:alive
CPU0 Down prep:threads
CPU0 Down prep:calls
CPU0 Down prep:heap
CPU0 Down prep:percpu
CPU0 Down prep:hardware
";
const DOWN_AND_BACK: &str = "
CPU1 Down sched:active
CPU1 Down sync:active
CPU1 Down enable:irq-affinity
CPU1 Down sched:threads
CPU1 failed sched:threads
CPU1 Up enable:irq-affinity
CPU1 Up sync:active
CPU1 Up sched:active
";
const UP_AND_BACK: &str = "
CPU0 Up prep:hardware
CPU0 Up prep:percpu
CPU0 Up prep:heap
CPU0 Up prep:calls
CPU0 Up prep:threads
CPU0 Up sync:alive
CPU0 Up sync:timers
CPU1 Up init:cpu
CPU1 Up init:rcu
CPU1 Up init:irqchip
CPU1 Up init:timer
CPU1 Up init:calls
CPU1 Up init:stopper
CPU1 Up init:online
CPU1 Up sched:drain
CPU1 Up sched:threads
CPU1 failed sched:threads
CPU1 Down sched:drain
CPU1 Down init:online
CPU1 Down init:stopper
CPU1 Down init:calls
CPU1 Down init:timer
CPU1 Down init:irqchip
CPU1 Down init:rcu
CPU1 Down init:cpu
CPU0 Down sync:timers
CPU0 Down sync:alive
CPU0 Down prep:threads
CPU0 Down prep:calls
CPU0 Down prep:heap
CPU0 Down prep:percpu
CPU0 Down prep:hardware
";
const PREP_AND_BACK: &str = "
CPU0 Up prep:hardware
CPU0 Up prep:percpu
CPU0 Up prep:heap
CPU0 Up prep:calls
CPU0 Up prep:threads
CPU0 failed prep:threads
CPU0 Down prep:calls
CPU0 Down prep:heap
CPU0 Down prep:percpu
CPU0 Down prep:hardware
";
