use stillpoint::api::Errno;
use stillpoint::api::cpu::{CpuId, present};
use stillpoint::api::hotplug::{CpuDownError, Left, Quarantine, StepError, SyncState, cpu_down};
use stillpoint::println;

/// Gives `cpu` back to the host; returns whether it may tell the host that the CPU is free.
pub(crate) fn give_back(cpu: CpuId) -> bool {
    let Err(error) = cpu_down(cpu) else {
        return true;
    };
    println!("{error}");
    match error {
        // What stands against it goes away by itself, or another CPU will do.
        CpuDownError::Disabled(_) | CpuDownError::LastOnline(_) => {}
        CpuDownError::BoundThreads { threads, .. } => println!("{threads} threads would be lost"),
        // A step of the program has its reasons. This is what it returned.
        CpuDownError::Step {
            step,
            error: StepError::Refused(errno),
            ..
        } => println!("{} has refused with {}", step.name(), errno.name()),
        // It is on, and some of its steps are down. A second call takes it on from there.
        CpuDownError::NotUndone {
            left: Left::HalfWay(step),
            ..
        } => println!("CPU{cpu} rests at {step}"),
        // It is offline, and was not seen to end: it may still run, and use its memory.
        CpuDownError::NotDead { state, .. } => {
            assert_ne!(state, SyncState::Dead);
            println!("its last word was {}", state.name());
        }
        CpuDownError::Quarantined {
            quarantine: Quarantine::NeverArrived,
            ..
        } => println!("it was called, and has not come yet"),
        // As for the rest, the errno says enough.
        other if other.errno() == Errno::Deadlock => println!("ask from another thread"),
        _ => {}
    }
    // Until a quarantined CPU was seen off it isn't present. A later call looks again.
    if !present().contains(cpu) {
        println!("CPU{cpu} must not be given away");
    }
    false
}
