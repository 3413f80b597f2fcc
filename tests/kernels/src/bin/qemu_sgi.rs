//! SGIs reach exactly the CPUs that they are sent to, in as few writes as the GIC allows. No SGI
//! stays pending when its CPU goes.

//@ smp: 1 2 4 8 20
//@ timeout: 120

#![no_std]
#![no_main]

extern crate alloc;

stillpoint::entry!(main);

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::arch::asm;
use core::time::Duration;

use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::kernel::{Hw, TEST_SGI, kernel};
use stillpoint::platform::{Irq, Sgi};
use stillpoint::sync::IrqGuard;
use stillpoint::sync::atomic::{AtomicBool, Ordering};
use stillpoint::{api, println};

use kernel_support::ktap::Ktap;
use kernel_support::machine::{
    eventually, last_cpu, send_sgi, spin_for, spin_until, stay_on_boot_cpu,
};

/// Only a test sends it.
const SGI: u8 = TEST_SGI;

const ONE_CPU: &str = "one CPU";

fn main() {
    stay_on_boot_cpu();
    let mut ktap = Ktap::new();
    sets(&mut ktap);
    from_everybody(&mut ktap);
    on_the_way_down(&mut ktap);
    to_an_absent_cpu(&mut ktap);
    of_the_secure_world(&mut ktap);
    ktap.finish()
}

fn is_gicv2() -> bool {
    kernel().irq_chip().name() == "GICv2"
}

fn taken() -> Vec<u64> {
    let online = kernel().masks.online();
    online
        .iter()
        .map(|cpu| kernel().interrupts.sgis(cpu, SGI))
        .collect()
}

/// Returns every set of CPUs if there are few CPUs; otherwise the sets of the first and the last
/// few.
fn some_sets() -> impl Iterator<Item = CpuMask> {
    let all = kernel().masks.online();
    let count = all.count();
    let numbers = if count <= 8 {
        1..1u64 << count
    } else {
        (1 << count) - 100..1 << count
    };
    numbers.map(|bits| CpuMask::from_bits(core::array::from_fn(|word| [bits, 0][word.min(1)])))
}

/// Sends an SGI to each set from this CPU. Returns whether exactly the CPUs of the set took one
/// each, and the highest number of register writes.
fn send_to_sets() -> (bool, u64) {
    let mut exact = true;
    let mut most = 0;
    for set in some_sets() {
        let before = taken();
        let writes = kernel().sgi_writes(SGI);
        {
            let _masked = IrqGuard::<Hw>::new();
            kernel().irq_chip().send_sgi(SGI, &set);
        }
        most = most.max(kernel().sgi_writes(SGI) - writes);
        let wanted: Vec<u64> = (0..)
            .zip(&before)
            .map(|(cpu, count)| {
                let cpu = CpuId::new(cpu);
                count + u64::from(cpu.is_some_and(|cpu| set.contains(cpu)))
            })
            .collect();
        if !eventually(|| taken() == wanted) {
            println!("# to {set}: {before:?}, then {:?}", taken());
            exact = false;
            break;
        }
    }
    (exact, most)
}

fn sets(ktap: &mut Ktap) {
    // An SGI to a wrong CPU shows in the next set at the latest, so one more set follows.
    let (exact, most) = send_to_sets();
    ktap.check("from the boot CPU: each of the set once, no other", exact);
    let groups = kernel().mpidrs.len().div_ceil(16) as u64;
    let allowed = if is_gicv2() { 1 } else { groups.max(1) };
    ktap.check("in one write for each affinity group", most <= allowed);
    let name = "from the last CPU: each of the set once, no other";
    if last_cpu() == CpuId::BOOT {
        ktap.inapplicable(name, ONE_CPU);
    } else {
        let thread = api::spawn_on(last_cpu(), "sender", send_to_sets);
        let seen = thread.map(|thread| thread.join());
        ktap.check(
            name,
            seen.is_ok_and(|(exact, most)| exact && most <= allowed),
        );
    }
}

/// Has each CPU but `target` send to it once, and this one wait for them.
fn everybody_sends(target: CpuId) -> u64 {
    let senders = kernel().masks.online().without(&CpuMask::of(target));
    let send = |cpu| api::spawn_on(cpu, "sender", move || send_sgi(SGI, target)).ok();
    let threads: Vec<_> = senders.iter().filter_map(send).collect();
    let count = threads.len() as u64;
    threads.into_iter().for_each(|thread| thread.join());
    count
}

/// Each other CPU sends to a CPU that has its interrupts masked.
fn from_everybody(ktap: &mut Ktap) {
    let name = "what several have sent meanwhile comes when IRQs are open again";
    let after = "and then it takes the next one";
    let target = last_cpu();
    if target == CpuId::BOOT {
        ktap.inapplicable(name, ONE_CPU);
        ktap.inapplicable(after, ONE_CPU);
        return;
    }
    let masked = Arc::new(AtomicBool::new(false));
    let open = Arc::new(AtomicBool::new(false));
    let flags = (Arc::clone(&masked), Arc::clone(&open));
    let holder = api::spawn_on(target, "holder", move || {
        let _masked = IrqGuard::<Hw>::new();
        flags.0.store(true, Ordering::Release);
        spin_until(|| flags.1.load(Ordering::Acquire))
    });
    let count = || kernel().interrupts.sgis(target, SGI);
    let before = count();
    let began = eventually(|| masked.load(Ordering::Acquire));
    let senders = everybody_sends(target);
    let none_yet = count() == before;
    open.store(true, Ordering::Release);
    let held = holder.is_ok_and(|holder| holder.join());
    // A GICv2 keeps one pending SGI for each sender, a later GIC one for all.
    let wanted = if is_gicv2() { senders } else { 1 };
    let came = eventually(|| count() - before == wanted);
    println!("# {senders} sent, {} came", count() - before);
    ktap.check(name, began && none_yet && held && came);
    send_sgi(SGI, target);
    let next = eventually(|| count() - before == wanted + 1);
    ktap.check(after, next && count() - before == wanted + 1);
}

/// Returns whether no interrupt is to be acknowledged. Acknowledges and ends one that is.
fn nothing_comes() -> bool {
    let came = kernel().irq_chip().acknowledge();
    came.inspect(|(token, _)| kernel().irq_chip().end(*token))
        .is_none()
}

/// Checks a CPU's interrupts after the teardown of `init:irqchip`. The CPU's timer is off too,
/// until [`to_an_absent_cpu`] has taken the CPU down and up.
fn on_the_way_down(ktap: &mut Ktap) {
    let name = "on a CPU's way down wake gets through, and nothing else";
    let target = last_cpu();
    if target == CpuId::BOOT {
        ktap.inapplicable(name, ONE_CPU);
        return;
    }
    let before = kernel().interrupts.sgis(target, SGI);
    let thread = api::spawn_on(target, "leaver", move || {
        let chip = kernel().irq_chip();
        let _masked = IrqGuard::<Hw>::new();
        chip.teardown_cpu(target);
        send_sgi(SGI, target);
        spin_for(Duration::from_millis(1));
        let held_back = nothing_comes();
        send_sgi(Sgi::Wake.number(), target);
        let mut woken = false;
        let came = spin_until(|| {
            let Some((token, irq)) = chip.acknowledge() else {
                return false;
            };
            chip.end(token);
            woken = irq == Irq::Sgi(Sgi::Wake);
            true
        });
        let alone = nothing_comes();
        chip.startup_cpu(target);
        held_back && came && woken && alone
    });
    let only_wake = thread.map(|thread| thread.join());
    // With its SGIs on again, the CPU takes the SGIs that were held back.
    let came = eventually(|| kernel().interrupts.sgis(target, SGI) == before + 1);
    ktap.check(name, only_wake == Ok(true) && came);
}

/// Each other CPU sends to a CPU that is off.
fn to_an_absent_cpu(ktap: &mut Ktap) {
    let name = "what all others have sent to a CPU that is off is forgotten";
    let after = "once it is back it takes each SGI once";
    let target = last_cpu();
    if target == CpuId::BOOT {
        ktap.inapplicable(name, ONE_CPU);
        ktap.inapplicable(after, ONE_CPU);
        return;
    }
    let count = || kernel().interrupts.sgis(target, SGI);
    let before = count();
    let left = api::cpu_down(target);
    everybody_sends(target);
    let back = api::cpu_up(target);
    // When a thread has run there, the CPU has taken all pending interrupts.
    let ran = api::spawn_on(target, "visitor", || ()).map(|thread| thread.join());
    ktap.check(
        name,
        left.is_ok() && back.is_ok() && ran.is_ok() && count() == before,
    );
    send_sgi(SGI, target);
    let came = eventually(|| count() > before);
    ktap.check(after, came && count() == before + 1);
}

/// Sends SGI `number` to this CPU by ICC_SGI1R_EL1, past the driver, which refuses.
fn send_to_self_past_the_driver(number: u8) {
    let mpidr: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mrs {}, mpidr_el1", out(reg) mpidr, options(nomem, nostack)) };
    let list = 1 << (mpidr & 0xf);
    let affinity = (mpidr >> 8 & 0xff) << 16 | (mpidr >> 16 & 0xff) << 32;
    let value = u64::from(number) << 24 | affinity | list;
    // SAFETY: this sends an interrupt to this CPU, whose handler counts it.
    unsafe { asm!("msr S3_0_C12_C11_5, {}", "isb", in(reg) value, options(nostack)) };
}

/// This machine has no secure world, so all SGIs could be turned on. But one that belongs to the
/// secure world elsewhere doesn't arrive.
fn of_the_secure_world(ktap: &mut Ktap) {
    let name = "SGIs 8 to 15, which are the secure world's, are off on every CPU";
    if is_gicv2() {
        ktap.inapplicable(name, "QEMU's GICv2 has them on at reset");
        return;
    }
    let mut off = true;
    for cpu in kernel().masks.online().iter() {
        let thread = api::spawn_on(cpu, "sender", move || {
            let theirs = || (8..16).map(|number| kernel().interrupts.sgis(cpu, number));
            let before: u64 = theirs().sum();
            (8..16).for_each(send_to_self_past_the_driver);
            // The kernel's own SGI, of the same priority and sent later, has arrived.
            let ours = kernel().interrupts.sgis(cpu, SGI);
            send_to_self_past_the_driver(SGI);
            let came = eventually(|| kernel().interrupts.sgis(cpu, SGI) == ours + 1);
            spin_for(Duration::from_millis(1));
            came && theirs().sum::<u64>() == before
        });
        off &= thread.is_ok_and(|thread| thread.join());
    }
    ktap.check(name, off);
}
