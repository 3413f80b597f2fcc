//! Any CPU leaves and comes back, the boot CPU as any other: in every order, with each CPU as
//! the one that stays. The interrupts of devices move to a CPU that stays, and none is lost.

//@ smp: 2 4 8
//@ timeout: 240

#![no_std]
#![no_main]

extern crate alloc;

stillpoint::entry!(main);

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::api::hotplug::CpuDownError;
use stillpoint::api::{rcu, thread};
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::dt::{DeviceTree, GicDesc};
use stillpoint::kernel::{Hw, kernel};
use stillpoint::platform::{Irq, Platform, Sgi};
use stillpoint::sync::IrqGuard;
use stillpoint::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use stillpoint::{api, println};

use kernel_support::ktap::Ktap;
use kernel_support::machine::{eventually, masks_say, states_say};
use kernel_support::memory::InUse;

/// How often the boot CPU leaves.
const ROUNDS: u32 = 100;

fn main() {
    let mut ktap = Ktap::new();
    ktap.check("every CPU stays alone once", survivors());
    let used = InUse::settled();
    ktap.check("the boot CPU leaves and comes back, 100 times", rounds());
    ktap.check("every order of leaving and of return", every_order());
    ktap.check("a thread on the boot CPU takes it down", from_itself());
    ktap.check("callbacks of a CPU that has gone run", callbacks());
    if kernel().console_route().is_none() {
        let why = "the console has no interrupt";
        ktap.inapplicable("an interrupt follows its route, in every state", why);
        ktap.inapplicable("no interrupt is lost while CPUs leave", why);
    } else {
        let follows = interrupt_follows();
        ktap.check("an interrupt follows its route, in every state", follows);
        ktap.check("no interrupt is lost while CPUs leave", storm());
    }
    ktap.check("as much memory in use as before", used.is_back());
    ktap.finish()
}

fn all() -> CpuMask {
    *kernel().masks.possible()
}

fn told(what: &str, cpu: CpuId, good: bool) -> bool {
    if !good {
        println!("# CPU{cpu}: {what}");
    }
    good
}

/// Checks that the CPUs of `online` are up, that no other is, and that the console's interrupt
/// goes to one of them.
fn look(online: &CpuMask) -> bool {
    let route = kernel().console_route();
    let heard = route.is_none_or(|(_, cpu)| online.contains(cpu));
    masks_say(online) && states_say(online) && heard
}

/// Each CPU once: all others leave and come back.
fn survivors() -> bool {
    all().iter().all(|stays| {
        let others = all().without(&CpuMask::of(stays));
        let left = others.iter().all(down);
        let refused = api::cpu_down(stays) == Err(CpuDownError::LastOnline(stays));
        let sound = look(&CpuMask::of(stays)) && works(stays);
        let back = others.iter().all(up);
        told("the others leave", stays, left)
            & told("is refused as the last", stays, refused)
            & told("works alone", stays, sound)
            & told("the others come back", stays, back && look(&all()))
            & works(stays)
    })
}

fn down(cpu: CpuId) -> bool {
    let done = api::cpu_down(cpu);
    if let Err(error) = &done {
        println!("# {error}");
    }
    done.is_ok()
}

fn up(cpu: CpuId) -> bool {
    let done = api::cpu_up(cpu);
    if let Err(error) = &done {
        println!("# {error}");
    }
    done.is_ok()
}

/// Checks what a machine does with the CPUs that it has, `cpu` among them.
fn works(cpu: CpuId) -> bool {
    let stopped = api::stop::Stop::new().on(cpu).run(Hw::this_cpu);
    let called = api::call_on(cpu, Hw::this_cpu) == Ok(cpu);
    let each = api::on_each_cpu(|_| ());
    let ran = thread::Builder::new()
        .affinity(CpuMask::of(cpu))
        .spawn(|| {
            api::sleep(Duration::from_millis(1));
            Hw::this_cpu()
        })
        .map(thread::JoinHandle::join);
    let counted = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&counted);
    rcu::call_rcu(move || {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    rcu::barrier();
    rcu::synchronize();
    told("a stop", cpu, stopped == Ok(cpu))
        & told("a call", cpu, called)
        & told("a call to all", cpu, each == kernel().masks.online())
        & told("a thread that sleeps", cpu, ran.ok() == Some(cpu))
        & told("a callback", cpu, counted.load(Ordering::Relaxed) == 1)
        & told("the console's interrupt", cpu, interrupt_arrives())
}

fn rounds() -> bool {
    (0..ROUNDS).all(|_| {
        let rest = all().without(&CpuMask::of(CpuId::BOOT));
        down(CpuId::BOOT) && look(&rest) && up(CpuId::BOOT) && look(&all())
    })
}

/// Returns every order of `cpus`, or with more than four CPUs each rotation.
fn orders(cpus: &[CpuId]) -> Vec<Vec<CpuId>> {
    if cpus.len() > 4 {
        let rotated = |by: usize| [&cpus[by..], &cpus[..by]].concat();
        return (0..cpus.len()).map(rotated).collect();
    }
    if cpus.is_empty() {
        return Vec::from([Vec::new()]);
    }
    let mut all = Vec::new();
    for (at, first) in cpus.iter().enumerate() {
        let rest = [&cpus[..at], &cpus[at + 1..]].concat();
        for order in orders(&rest) {
            all.push([&[*first][..], &order].concat());
        }
    }
    all
}

/// All CPUs leave in each order, of which the last is refused, and come back in each order.
fn every_order() -> bool {
    let cpus: Vec<_> = all().iter().collect();
    let mut count = 0;
    let good = orders(&cpus).iter().all(|leave| {
        let (last, others) = leave.split_last().expect("a machine has a CPU");
        orders(others).iter().all(|back| {
            count += 1;
            let mut online = all();
            let left = others.iter().all(|cpu| {
                online.remove(*cpu);
                down(*cpu) && look(&online)
            });
            let refused = api::cpu_down(*last) == Err(CpuDownError::LastOnline(*last));
            let returned = back.iter().all(|cpu| {
                online.insert(*cpu);
                up(*cpu) && look(&online)
            });
            let good = left && refused && returned;
            if !good {
                println!("# {leave:?} left, {back:?} returned");
            }
            good
        })
    });
    println!("# {count} orders");
    good
}

/// The thread that takes the boot CPU down runs there, and moves.
fn from_itself() -> bool {
    let me = thread::current();
    let here = me.set_affinity(&CpuMask::of(CpuId::BOOT)).is_ok();
    let anywhere = me.set_affinity(&all()).is_ok();
    let left = down(CpuId::BOOT) && api::cpu::current() != CpuId::BOOT;
    here && anywhere && left && up(CpuId::BOOT)
}

/// A callback that is queued on each CPU before it leaves runs, and so does a timer.
fn callbacks() -> bool {
    all().iter().all(|cpu| {
        let ran = Arc::new(AtomicU64::new(0));
        let (queued, slept) = (Arc::clone(&ran), Arc::clone(&ran));
        let called = api::call_on(cpu, move || {
            rcu::call_rcu(move || {
                queued.fetch_add(1, Ordering::Relaxed);
            });
        });
        let sleeper = thread::Builder::new()
            .affinity(CpuMask::of(cpu))
            .spawn(move || {
                // Where it wakes its CPU is away, and it may run elsewhere then.
                let anywhere = thread::current().set_affinity(&all());
                api::sleep(Duration::from_millis(20));
                slept.fetch_add(1, Ordering::Relaxed);
                anywhere.is_ok()
            });
        let left = down(cpu);
        rcu::barrier();
        let slept = sleeper.is_ok_and(thread::JoinHandle::join);
        let good = called.is_ok() && slept && ran.load(Ordering::Relaxed) == 2;
        told("callbacks", cpu, left & good) & up(cpu)
    })
}

/// Makes the console's interrupt pending, as software may: the GIC treats it as it treats a
/// signal of the line (IHI 0048 and IHI 0069, GICD_ISPENDRn).
fn raise(spi: u32) {
    const ISPENDR: usize = 0x200;
    let tree = DeviceTree::new(kernel().device_tree).expect("a checked tree");
    let distributor = match tree.gic().expect("the machine's GIC") {
        GicDesc::V3 { distributor, .. } | GicDesc::V2 { distributor, .. } => distributor.start(),
    };
    let offset = ISPENDR + spi as usize / 32 * 4;
    let address = usize::try_from(distributor).expect("an address") + offset;
    let register = core::ptr::with_exposed_provenance_mut::<u32>(address);
    // SAFETY: it is a register of the distributor, mapped for ever. A 1 makes one interrupt
    // pending, whose handler tolerates it; a 0 changes nothing.
    unsafe { register.write_volatile(1 << (spi % 32)) };
}

/// Returns how many interrupts of the console each CPU has taken.
fn taken() -> Vec<u64> {
    let line = kernel().console_line().expect("it was asked before");
    let taken = |cpu| line.counts().part(cpu);
    all().iter().map(taken).collect()
}

/// Returns whether the console's interrupt comes, once, to the CPU that it is routed to.
fn interrupt_arrives() -> bool {
    let Some((spi, cpu)) = kernel().console_route() else {
        return true;
    };
    let mut wanted = taken();
    wanted[cpu.index()] += 1;
    raise(spi);
    eventually(|| taken()[cpu.index()] >= wanted[cpu.index()]) && taken() == wanted
}

/// Acknowledges the interrupt `spi` on this CPU; sends each SGI that comes before it to this
/// CPU again.
fn acknowledge(spi: u32) -> Option<stillpoint::platform::IrqToken> {
    let mut others = CpuMask::EMPTY;
    let chip = kernel().irq_chip();
    let mut again: Vec<Sgi> = Vec::new();
    let mut found = None;
    for _ in 0..100 {
        match chip.acknowledge() {
            Some((token, Irq::Spi(other))) if other == spi => {
                found = Some(token);
                break;
            }
            Some((token, irq)) => {
                chip.end(token);
                if let Irq::Sgi(sgi) = irq {
                    again.push(sgi);
                }
            }
            None => {}
        }
    }
    others.insert(Hw::this_cpu());
    for sgi in again {
        chip.send_sgi(sgi.number(), &others);
    }
    found
}

/// The console's interrupt is routed from each CPU to the next while it is inactive, pending,
/// active, and both. It comes once for each time that it was raised, where it is to come.
fn interrupt_follows() -> bool {
    let (spi, home) = kernel().console_route().expect("it was asked before");
    let chip = kernel().irq_chip();
    let cpus: Vec<_> = all().iter().collect();
    let good = cpus.iter().enumerate().all(|(at, from)| {
        let to = cpus[(at + 1) % cpus.len()];
        let bound = thread::current().set_affinity(&CpuMask::of(*from));
        let comes = |what: &str, times: u64, move_fn: &dyn Fn() -> bool| {
            let mut wanted = taken();
            wanted[to.index()] += times;
            let masked = IrqGuard::<Hw>::new();
            chip.route(Irq::Spi(spi), *from);
            let moved = move_fn();
            chip.route(Irq::Spi(spi), to);
            drop(masked);
            if times == 0 {
                raise(spi);
                wanted[to.index()] += 1;
            }
            let came = eventually(|| taken()[to.index()] >= wanted[to.index()]);
            // One more would come at once.
            api::sleep(Duration::from_millis(1));
            told(what, *from, moved && came && taken() == wanted)
        };
        let pending = || {
            raise(spi);
            true
        };
        let active = || {
            raise(spi);
            let token = acknowledge(spi);
            chip.route(Irq::Spi(spi), to);
            if let Some(token) = token {
                chip.end(token);
            }
            token.is_some()
        };
        let both = || {
            raise(spi);
            let token = acknowledge(spi);
            raise(spi);
            chip.route(Irq::Spi(spi), to);
            if let Some(token) = token {
                chip.end(token);
            }
            token.is_some()
        };
        bound.is_ok()
            & comes("inactive", 0, &|| true)
            & comes("pending", 1, &pending)
            & comes("active", 0, &active)
            & comes("active and pending", 1, &both)
    });
    {
        let _masked = IrqGuard::<Hw>::new();
        chip.route(Irq::Spi(spi), home);
    }
    let anywhere = thread::current().set_affinity(&all());
    good && anywhere.is_ok() && interrupt_arrives()
}

/// A thread raises the console's interrupt again and again, each time when the last has been
/// taken, while all CPUs leave and come back, most of the time the one that takes it.
fn storm() -> bool {
    let (spi, _) = kernel().console_route().expect("it was asked before");
    let over = Arc::new(AtomicBool::new(false));
    let is_over = Arc::clone(&over);
    let before: u64 = taken().iter().sum();
    let raiser = thread::Builder::new().spawn(move || {
        let mut raised = 0;
        while !is_over.load(Ordering::Relaxed) {
            raise(spi);
            raised += 1;
            if !eventually(|| taken().iter().sum::<u64>() - before >= raised) {
                return None;
            }
        }
        Some(raised)
    });
    let mut homes = CpuMask::EMPTY;
    let cycled = (0..300).all(|_| {
        let (_, cpu) = kernel().console_route().expect("it was asked before");
        homes.insert(cpu);
        // The lowest number takes it, so all below leave first for a while.
        let lower: Vec<_> = all().iter().filter(|other| *other < cpu).collect();
        let next = cpu.index() + 1 < all().count();
        if next {
            lower.iter().copied().all(down) && down(cpu) && up(cpu) && lower.into_iter().all(up)
        } else {
            down(cpu) && up(cpu)
        }
    });
    over.store(true, Ordering::Relaxed);
    let raised = raiser.ok().and_then(thread::JoinHandle::join);
    let count: u64 = taken().iter().sum();
    println!(
        "# raised {raised:?}, taken {}, on CPUs {homes}",
        count - before
    );
    cycled && raised == Some(count - before) && homes == all()
}
