//! A CPU that comes up uses nothing from an earlier life: it goes off with every register that
//! matters poisoned, and has the right values when it is back.

//@ smp: 2 4

#![no_std]
#![no_main]

extern crate alloc;

stillpoint::entry!(main);

use core::arch::asm;
use core::time::Duration;

use stillpoint::cpu::CpuId;
use stillpoint::kernel::{Hw, LastCall, LastCallBy, kernel};
use stillpoint::platform::Platform;
use stillpoint::sync::atomic::{AtomicU64, Ordering};
use stillpoint::{api, println};

use kernel_support::ktap::Ktap;
use kernel_support::last_call::for_assembly;
use kernel_support::machine::{masks_say, secondaries, send_sgi, states_say};

/// How often a CPU went off poisoned.
static POISONED: AtomicU64 = AtomicU64::new(0);

/// `SCTLR_EL1` with its MMU off, and all else that can be set without harm to a few
/// more instructions: RES1, A, C, SA, I, WXN.
const SCTLR: u64 = 0x3090_0980 | 0b1110 | 1 << 12 | 1 << 19;

/// A register by its name in assembly.
macro_rules! read {
    ($name:literal) => {{
        let value: u64;
        // SAFETY: reads a register.
        unsafe { asm!(concat!("mrs {}, ", $name), out(reg) value, options(nomem, nostack)) };
        value
    }};
}

/// Declares the registers that a CPU must have right in any thread.
macro_rules! registers {
    ($($name:literal)*) => {
        const NAMES: &[&str] = &[$($name),*];

        fn read_all() -> [u64; NAMES.len()] {
            [$(read!($name)),*]
        }
    };
}

// TPIDRRO_EL0 isn't among them: it holds x0 of whatever code the last exception interrupted.
registers! {
    "sctlr_el1" "tcr_el1" "mair_el1" "ttbr0_el1" "ttbr1_el1" "vbar_el1" "tpidr_el1"
    "tpidr_el0" "cpacr_el1" "cntkctl_el1" "mdscr_el1" "pmcr_el0" "daif"
    "contextidr_el1"
}

/// ICC_PMR_EL1, ICC_IGRPEN1_EL1, ICC_CTLR_EL1.
fn interface() -> [u64; 3] {
    [
        read!("S3_0_C4_C6_0"),
        read!("S3_0_C12_C12_7"),
        read!("S3_0_C12_C12_4"),
    ]
}

fn has_gicv3() -> bool {
    kernel().irq_chip().name() != "GICv2"
}

fn main() {
    let mut ktap = Ktap::new();
    kernel().test_last_act.call_once(|| poison);
    let (mut right, mut interfaces, mut alive, mut cycled) = (true, true, true, true);
    let mut cycles = 0;
    for cpu in secondaries() {
        let before = look(cpu);
        cycled &= api::cpu_down(cpu).is_ok() && api::cpu_up(cpu).is_ok();
        if !cycled {
            break;
        }
        cycles += 1;
        let after = look(cpu);
        for ((name, before), after) in NAMES.iter().zip(before.0).zip(after.0) {
            if before != after {
                println!("# CPU{cpu}: {name} is {after:#x}, was {before:#x}");
                right = false;
            }
        }
        interfaces &= before.1 == after.1;
        alive &= is_alive(cpu);
    }
    ktap.check("each CPU leaves and comes back", cycled);
    let poisoned = POISONED.load(Ordering::Relaxed);
    ktap.equal(
        "each had its registers poisoned in between",
        poisoned,
        cycles,
    );
    ktap.check("and has them right afterwards", right);
    ktap.check("all CPUs have their event stream", all_have_event_streams());
    ktap.check(
        "its interrupt interface too: SGIs and the timer arrive",
        interfaces && alive,
    );
    let all = *kernel().masks.possible();
    ktap.check(
        "all are online, their counters balanced",
        masks_say(&all) && states_say(&all),
    );
    ktap.finish()
}

type Looked = ([u64; NAMES.len()], Option<[u64; 3]>);

/// Returns the registers of `cpu`, as a thread there reads them.
fn look(cpu: CpuId) -> Looked {
    let looked = api::spawn_on(cpu, "look", || (read_all(), has_gicv3().then(interface)));
    looked.expect("a stack").join()
}

/// Returns whether the counter sends each CPU an event at least every 100 us, and no more often
/// than every 50 us.
fn all_have_event_streams() -> bool {
    let hz = Hw::frequency().hz();
    kernel().masks.online().iter().all(|cpu| {
        let read = api::spawn_on(cpu, "read", || read!("cntkctl_el1"));
        let control = read.expect("a stack").join();
        let apart = 2u64 << (control >> 4 & 0xf);
        let is_on = control & !0xf0 == 1 << 2; // EVNTEN, EVNTDIR 0, nothing for EL0.
        is_on && (hz / 20_000..=hz / 10_000).contains(&apart)
    })
}

/// Returns whether an SGI arrives at `cpu`, and a thread there can sleep.
fn is_alive(cpu: CpuId) -> bool {
    let taken = || kernel().interrupts.sgis(cpu, 6);
    let before = taken();
    send_sgi(6, cpu);
    let slept = api::spawn_on(cpu, "sleep", || api::sleep(Duration::from_millis(1)));
    slept.expect("a stack").join();
    kernel_support::machine::eventually(|| taken() == before + 1)
}

/// Turns the MMU off, poisons the registers, and turns the CPU off.
fn poison(call: &LastCall) -> ! {
    POISONED.fetch_add(1, Ordering::Relaxed);
    Hw::arm_timer(None);
    // The mask stays as it is, because the pen's SGI must pass it.
    let parks = matches!(call.how, LastCallBy::Branch(_));
    if has_gicv3() && !parks {
        // SAFETY: no interrupt is needed on this CPU any more.
        unsafe {
            asm!(
                "msr S3_0_C4_C6_0, xzr",   // ICC_PMR_EL1
                "msr S3_0_C12_C12_7, xzr", // ICC_IGRPEN1_EL1
                "isb",
                options(nostack)
            );
        }
    }
    let (how, target) = for_assembly(call);
    // SAFETY: VA = PA, and nothing of this CPU's is read or written from here on;
    // it goes off by the call that the kernel would have made.
    unsafe {
        asm!(
            "msr sctlr_el1, {sctlr}",
            "isb",
            "mov x5, #0x5a5a",
            "movk x5, #0xa5a5, lsl #16",
            "msr tcr_el1, x5",
            "msr mair_el1, x5",
            "msr ttbr0_el1, x5",
            "msr ttbr1_el1, x5",
            "and x6, x5, #~0x7ff",
            "msr vbar_el1, x6",
            "msr tpidr_el0, x5",
            "msr tpidrro_el0, x5",
            "msr tpidr_el1, x5",
            "msr contextidr_el1, x5",
            "msr cpacr_el1, xzr",
            "mov x6, #0x3ff",
            "msr cntkctl_el1, x6",
            "msr cntv_cval_el0, xzr",
            "mov x6, #1",
            "msr cntv_ctl_el0, x6",
            "mov x6, #0x1000",
            "msr mdscr_el1, x6",
            "mov x6, #0x29",
            "msr pmcr_el0, x6",
            "msr sp_el0, x5",
            "isb",
            "cbz {how}, 2f",
            "cmp {how}, #1",
            "b.eq 3f",
            "br {target}",
            "2: msr daifclr, #0xf",
            "hvc #0",
            "3: msr daifclr, #0xf",
            "smc #0",
            "4: wfi",
            "b 4b",
            sctlr = in(reg) SCTLR,
            how = in(reg) how,
            target = in(reg) target,
            in("x0") call.x0,
            in("x1") call.x1,
            options(noreturn)
        );
    }
}
