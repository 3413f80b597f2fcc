//! SGIs reach exactly whom they are sent to, in as few writes as the GIC allows,
//! and none outlives the CPU that it was for.
//!
//! SMP: 1 2 4 8 20
//! TIMEOUT: 120
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {}

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
#[path = "support/ktap.rs"]
mod ktap;
#[cfg(target_os = "none")]
#[path = "support/machine.rs"]
mod machine;

#[cfg(target_os = "none")]
stillpoint::entry!(kernel_test::main);

#[cfg(target_os = "none")]
mod kernel_test {
    use alloc::sync::Arc;
    use alloc::vec::Vec;

    use stillpoint::cpu::{CpuId, CpuMask};
    use stillpoint::start::{Hw, kernel};
    use stillpoint::sync::IrqGuard;
    use stillpoint::sync::atomic::{AtomicBool, Ordering};
    use stillpoint::{api, println};

    use crate::ktap::Ktap;
    use crate::machine::{eventually, last_cpu, send_sgi, spin_until};

    /// Nobody but a test sends it.
    const SGI: u8 = 9;

    const ONE_CPU: &str = "one CPU";

    pub(crate) fn main() {
        let mut ktap = Ktap::plan(7);
        sets(&mut ktap);
        from_everybody(&mut ktap);
        to_an_absent_cpu(&mut ktap);
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

    /// Every set of CPUs where there are few; the first and the last few of them
    /// where there are many.
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

    /// Sends to each set from this CPU: whether each CPU of it took one and no
    /// other any, and the register writes of the worst.
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
        // What is sent to too many shows in the next set at the latest; so one more.
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

    /// While a CPU has its interrupts masked each other one sends to it.
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
        // A GICv2 keeps one for each sender, a later GIC one for all.
        let wanted = if is_gicv2() { senders } else { 1 };
        let came = eventually(|| count() - before == wanted);
        println!("# {senders} sent, {} came", count() - before);
        ktap.check(name, began && none_yet && held && came);
        send_sgi(SGI, target);
        let next = eventually(|| count() - before == wanted + 1);
        ktap.check(after, next && count() - before == wanted + 1);
    }

    /// While a CPU is off each other one sends to it.
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
        // By the time a thread has run there, what was pending has been taken.
        let ran = api::spawn_on(target, "visitor", || ()).map(|thread| thread.join());
        ktap.check(
            name,
            left.is_ok() && back.is_ok() && ran.is_ok() && count() == before,
        );
        send_sgi(SGI, target);
        let came = eventually(|| count() > before);
        ktap.check(after, came && count() == before + 1);
    }
}
