//! A CPU that goes down without the kernel seeing it go off is quarantined until it is seen to be
//! off. A CPU whose CPU_OFF returns is parked, and comes back from the pen.
//!
//! With the boot argument `held` the kernel takes a CPU down and up until a debugger (`held` of
//! the rig) holds the CPU for longer than it may take to store DEAD.

//@ smp: 2 4
//@ timeout: 120

#![no_std]
#![no_main]

extern crate alloc;

stillpoint::entry!(main);

use core::arch::asm;
use core::time::Duration;

use stillpoint::api;
use stillpoint::cpu::CpuId;
use stillpoint::hotplug::{
    CpuDownError, CpuHealth, CpuUpError, Hotplug, Parked, Quarantine, StepError, SyncState,
};
use stillpoint::kernel::{Hw, LastCall, kernel};
use stillpoint::platform::{Platform, PsciError};
use stillpoint::println;
use stillpoint::shell::{CpuState, Machine, run_line};
use stillpoint::shell_program::KernelMachine;
use stillpoint::sync::LocalCpu;
use stillpoint::sync::atomic::{AtomicU32, Ordering};

use kernel_support::ktap::Ktap;
use kernel_support::last_call::for_assembly;
use kernel_support::machine::eventually;
use kernel_support::unharmed::{cpu, same, unharmed};

/// The behaviour of the victim when it would go off. All accesses are Relaxed, because it orders
/// nothing.
static ACT: AtomicU32 = AtomicU32::new(GO);
/// The victim goes off.
const GO: u32 = 0;
/// The victim stays where it is until the behaviour changes.
const STAY: u32 = 1;
/// The victim continues as if firmware had returned DENIED.
const DENIED: u32 = 2;

fn victim() -> CpuId {
    cpu(1)
}

fn hotplug() -> &'static Hotplug<Hw> {
    &kernel().hotplug
}

fn act(call: &LastCall) -> ! {
    if Hw::this_cpu() != victim() {
        go(call);
    }
    loop {
        match ACT.load(Ordering::Relaxed) {
            STAY => Hw::relax(),
            DENIED => Hw::cpu_off_returned(Hw::this_cpu(), PsciError::Denied),
            _ => go(call),
        }
    }
}

/// The call that the kernel would have made.
fn go(call: &LastCall) -> ! {
    let (how, target) = for_assembly(call);
    // SAFETY: the CPU goes off or to the pen here, and none of its state is used any more.
    unsafe {
        asm!(
            "cbz {how}, 2f",
            "cmp {how}, #1",
            "b.eq 3f",
            "br {target}",
            "2: hvc #0",
            "3: smc #0",
            "4: wfi",
            "b 4b",
            how = in(reg) how,
            target = in(reg) target,
            in("x0") call.x0,
            in("x1") call.x1,
            options(noreturn)
        );
    }
}

fn main() {
    if kernel().bootargs.contains("held") {
        held();
    }
    kernel().test_last_act.call_once(|| act);
    let mut ktap = Ktap::new();
    let stays = is_not_off();
    ktap.check("a CPU that is not off: EIO, then EBUSY, and EAGAIN", stays);
    ktap.check("the others are unharmed", unharmed(victim()));
    ktap.check("it goes off after all: it can be brought up", goes_late());
    ktap.check("CPU_OFF returns: parked, and back", parks());
    ktap.check("the machine is unharmed", unharmed(cpu(0)));
    ktap.finish()
}

/// Returns whether the victim's health and the shell's output are as expected.
fn is(health: CpuHealth, state: CpuState) -> bool {
    same("health", hotplug().health(victim()), health)
        & same(
            "state",
            KernelMachine::default().cpu_info(victim()).state,
            state,
        )
        & same(
            "present",
            hotplug().present().contains(victim()),
            state != CpuState::Quarantined,
        )
}

fn is_off() -> bool {
    match hotplug().health(victim()) {
        CpuHealth::Off => is(CpuHealth::Off, CpuState::Offline),
        other => {
            same("health", other, CpuHealth::Parked(Parked::NoFirmware))
                & is(other, CpuState::Parked)
        }
    }
}

fn is_quarantined(quarantine: Quarantine) -> bool {
    let wanted = CpuDownError::Quarantined {
        cpu: victim(),
        quarantine,
    };
    is(CpuHealth::Unknown(quarantine), CpuState::Quarantined)
        & same("down again", api::cpu_down(victim()), Err(wanted))
        & same("errno", wanted.errno().name(), "EBUSY")
}

/// Returns whether the victim can't be brought up, with `error`.
fn stays_down(error: StepError) -> bool {
    let wanted = CpuUpError::Step {
        cpu: victim(),
        step: "prep:hardware".into(),
        error,
    };
    same("up", api::cpu_up(victim()), Err(wanted)) & same("errno", wanted.errno().name(), "EAGAIN")
}

fn is_not_off() -> bool {
    ACT.store(STAY, Ordering::Relaxed);
    hotplug().set_off_limit(Duration::from_millis(300));
    let refused = None;
    let wanted = CpuDownError::NotOff {
        cpu: victim(),
        refused,
    };
    let quarantine = Quarantine::NotOff(refused);
    same("down", api::cpu_down(victim()), Err(wanted))
        & same("errno", wanted.errno().name(), "EIO")
        & is_quarantined(quarantine)
        & stays_down(StepError::Psci(PsciError::AlreadyOn))
        & is_quarantined(quarantine)
}

fn goes_late() -> bool {
    hotplug().set_off_limit(Hotplug::<Hw>::OFF);
    ACT.store(GO, Ordering::Relaxed);
    let known = || !matches!(hotplug().health(victim()), CpuHealth::Unknown(_));
    same("it comes round", eventually(known), true)
        & is_off()
        & same("down", api::cpu_down(victim()), Ok(()))
        & same("up", api::cpu_up(victim()), Ok(()))
}

/// The victim is quarantined by one answer of firmware, and then for ever. Between the two it
/// refuses itself.
fn parks() -> bool {
    ACT.store(DENIED, Ordering::Relaxed);
    let health = CpuHealth::Parked(Parked::Refused(PsciError::Denied));
    let mut sound = true;
    for _ in 0..20 {
        sound &= same("down", api::cpu_down(victim()), Ok(()));
        sound &= is(health, CpuState::Parked);
        sound &= same("up", api::cpu_up(victim()), Ok(()));
        ACT.store(GO, Ordering::Relaxed);
    }
    sound &= same("down", api::cpu_down(victim()), Ok(()));
    Hw::refuse_at_entry(victim());
    sound &= api::cpu_up(victim()).is_err();
    sound &= matches!(hotplug().health(victim()), CpuHealth::Failed(_));
    sound &= same("up", api::cpu_up(victim()), Ok(()));
    let ran = api::spawn_on(victim(), "lives", Hw::this_cpu);
    sound & ran.is_ok_and(|thread| same("it runs on", thread.join(), victim()))
}

/// The debugger holds the victim at the first instruction of `Hotplug::leave`, and lets
/// it go when it is told to by the line that begins with `# let it go`.
fn held() -> ! {
    let mut ktap = Ktap::new();
    hotplug().set_die_limit(Duration::from_secs(3));
    println!("# hold it");
    let found = loop {
        match api::cpu_down(victim()) {
            Ok(()) if api::cpu_up(victim()) == Ok(()) => {}
            other => break other,
        }
    };
    let state = SyncState::Online;
    let wanted = CpuDownError::NotDead {
        cpu: victim(),
        state,
    };
    let sound = same("down", found, Err(wanted))
        & same("errno", wanted.errno().name(), "EIO")
        & is_quarantined(Quarantine::NotDead(state))
        & stays_down(StepError::NotDead(state));
    ktap.check("a CPU that does not say DEAD is quarantined", sound);
    let listed = run_line(&KernelMachine::default(), "lscpu -e").failed;
    ktap.check(
        "the others are unharmed",
        same("lscpu", listed, 0) & unharmed(victim()),
    );
    println!("# let it go");
    hotplug().set_die_limit(Hotplug::<Hw>::DIE);
    let known = || !matches!(hotplug().health(victim()), CpuHealth::Unknown(_));
    let back = same("it comes round", eventually(known), true)
        & is_off()
        & same("down", api::cpu_down(victim()), Ok(()))
        & same("up", api::cpu_up(victim()), Ok(()))
        & unharmed(cpu(0));
    ktap.check("let go it is off, and comes back", back);
    ktap.finish()
}
