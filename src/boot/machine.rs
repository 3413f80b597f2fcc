//! The boot of the machine, from the first Rust to the first thread.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use crate::arch::aarch64::failure::BootFailure;
use crate::arch::aarch64::pen::Pen;
use crate::arch::aarch64::{cpu_local, image, timer};
use crate::boot::cpu_list::list_cpus;
use crate::boot::early::{self, Early};
use crate::boot::main_thread;
use crate::bootargs::BootArgs;
use crate::cpu::{CpuId, CpuMask, CpuMasks, Mpidr, PerCpu};
use crate::drivers::bcm_watchdog::BcmWatchdog;
use crate::drivers::gicv2::GicV2;
use crate::drivers::gicv3::GicV3;
use crate::dt::{BoardPower, DeviceTree, GicDesc, PhysRange, Redistributors, Text};
use crate::hotplug::Hotplug;
use crate::kernel::Areas;
use crate::kernel::CpuPower;
use crate::kernel::{InterruptCounts, Kernel, set_kernel};
use crate::kernel::{console, exit, heap, panic, per_cpu};
use crate::memory::{MAX_RANGES, bytes};
use crate::platform::IrqChip;
use crate::rcu::GracePeriods;
use crate::sched::Scheduler;
use crate::smp::call::Calls;
use crate::stop_machine::StopMachine;
use crate::sync::Once;
use crate::sync::atomic::AtomicU32;
use crate::time::Frequency;
use crate::trace::Trace;

/// Where the assembly goes: MMU off, everything masked, on the boot stack.
#[unsafe(no_mangle)]
extern "C" fn stillpoint_boot(dtb: usize, _entry_el: u64) -> ! {
    cpu_local::adopt_boot_cpu();
    // SAFETY: the assembly passes x0 on, once, with the MMU off.
    let early = match unsafe { early::prepare(dtb) } {
        Ok(early) => early,
        Err(error) => early::fail(error),
    };
    // SAFETY: the plan's free memory is mapped, and what was taken from it is no
    // longer in it.
    unsafe { heap::init(&early.heap) };
    let kernel = make_kernel(&early);
    start_boot_cpu(kernel)
}

/// Ends a boot for want of a device: on the console if there is one by now.
fn give_up(message: fmt::Arguments<'_>) -> ! {
    console::print(format_args!("stillpoint: {message}\n"));
    exit::end_refused(BootFailure::NoDevice)
}

/// As [`give_up`], with a message to format.
macro_rules! missing {
    ($($message:tt)*) => {
        give_up(format_args!($($message)*))
    };
}

fn make_kernel(early: &Early) -> &'static Kernel {
    let tree = match DeviceTree::new(early.tree) {
        Ok(tree) => tree,
        Err(error) => missing!("bad device tree: {error}"),
    };
    let line = tree.bootargs();
    let arguments = BootArgs::parse(line.map_or(&[][..], |line| line.bytes()));
    console::start_log(arguments.log_filter());
    let console_spi = console::init(&tree);
    panic::set_stacks(early.stacks);

    let gic = match tree.gic() {
        Ok(gic) => gic,
        Err(error) => missing!("no usable interrupt controller: {error}"),
    };
    let cpu_ops = make_cpu_ops(&tree, &gic);
    let mut mpidrs = list_cpus(&tree, &cpu_ops, early);
    let timer = match tree.timer() {
        Ok(timer) => timer,
        Err(error) => missing!("no usable timer: {error}"),
    };
    let from_tree = timer
        .clock_frequency
        .and_then(|hz| Frequency::new(u64::from(hz)));
    if let Err(error) = timer::init_frequency(from_tree) {
        missing!("no usable timer: {error}");
    }
    let irq_chip = make_irq_chip(&gic, &mut mpidrs);
    let cpus = mpidrs.len();
    heap::init_caches(cpus);
    per_cpu::init(cpus);

    let kernel = set_kernel(Kernel {
        masks: CpuMasks::new(CpuMask::first_n(cpus)),
        sched: Scheduler::new(cpus),
        calls: Calls::new(cpus),
        stop_machine: StopMachine::new(cpus),
        grace_periods: GracePeriods::new(cpus),
        hotplug: Hotplug::new(cpus),
        trace: Trace::new(cpus),
        interrupts: InterruptCounts::new(cpus),
        midrs: PerCpu::new(cpus, |_| AtomicU32::new(0)),
        test_handler: Once::new(),
        test_last_act: Once::new(),
        mpidrs,
        device_tree: early.tree,
        bootargs: Box::leak(arguments.text().into_boxed_str()),
        irq_chip,
        cpu_ops,
        timer_ppi: timer.virtual_ppi,
        timer_trigger: timer.trigger,
        console_spi: console_spi.map(|(spi, _)| spi),
        mmu: early.tables.registers(),
        areas: Areas::new(cpus, early.stacks),
    });
    log::info!(
        "Stillpoint {} on {}: {cpus} CPU{}, {}, {}",
        env!("CARGO_PKG_VERSION"),
        Name(tree.model()),
        if cpus == 1 { "" } else { "s" },
        kernel.irq_chip.name(),
        exit::Describe(&kernel.cpu_ops),
    );
    tell_what_is_left_out(&tree, early);
    if let Some(flaw) = line.and_then(|line| line.flaw()) {
        log::warn!("boot arguments: {flaw}");
    }
    if let Some(why) = early.not_taken {
        log::warn!("boot arguments: earlycon= is passed over: {why}");
    }
    for error in arguments.errors() {
        log::warn!("boot arguments: {error}");
    }
    for unknown in arguments.unknown() {
        log::warn!("boot arguments: unknown {unknown}");
    }
    if let Err(error) = kernel.irq_chip.early_init_cpu(CpuId::BOOT) {
        missing!("interrupt controller: {error}");
    }
    if let Err(error) = kernel.irq_chip.check_priorities() {
        missing!("interrupt controller: {error}");
    }
    if let Some((spi, trigger)) = console_spi {
        kernel.irq_chip.enable_spi(spi, trigger, CpuId::BOOT);
    }
    kernel
}

/// What the machine calls itself.
struct Name<'a>(Option<Text<'a>>);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(name) => name.fmt(f),
            None => f.write_str("a machine without a name"),
        }
    }
}

/// Tells of the memory that isn't used, and why.
fn tell_what_is_left_out(tree: &DeviceTree<'_>, early: &Early) {
    for error in tree.memory().filter_map(Result::err) {
        log::warn!("memory is left out: {error}");
    }
    if early.beyond != 0 {
        log::warn!(
            "{} KiB of memory are left out: this CPU has no addresses for them",
            early.beyond / 1024
        );
    }
    if early.heap.left_out() != 0 {
        log::warn!(
            "{} KiB of memory are left out: it is in more than {MAX_RANGES} pieces",
            early.heap.left_out() / 1024
        );
    }
}

/// Returns the tree's interrupt controller. Takes the CPUs that it can't reach off the
/// list, each with a warning.
fn make_irq_chip(gic: &GicDesc, mpidrs: &mut Vec<Mpidr>) -> Box<dyn IrqChip + Send> {
    match gic {
        GicDesc::V3 {
            distributor,
            redistributors,
            stride,
        } => Box::new(make_gicv3(*distributor, redistributors, *stride, mpidrs)),
        GicDesc::V2 {
            distributor,
            cpu_interface,
        } => Box::new(make_gicv2(*distributor, *cpu_interface, mpidrs)),
    }
}

fn make_gicv3(
    distributor: PhysRange,
    redistributors: &Redistributors,
    stride: Option<u64>,
    mpidrs: &[Mpidr],
) -> GicV3 {
    if redistributors.left_out() != 0 {
        log::warn!(
            "{} regions of redistributors are left out, with the CPUs that need them",
            redistributors.left_out()
        );
    }
    let regions: Vec<_> = redistributors
        .as_slice()
        .iter()
        .map(|region| (*region).into())
        .collect();
    let all_regions = redistributors.left_out() == 0;
    let distributor = distributor.start();
    // SAFETY: the tree says that they are there; `early` mapped them as device
    // memory, for ever; this is the only driver for them.
    let chip = unsafe { GicV3::new(distributor, &regions, all_regions, stride, mpidrs) };
    match chip {
        Ok(chip) => chip,
        Err(error) => missing!("interrupt controller: {error}"),
    }
}

fn make_gicv2(distributor: PhysRange, cpu_interface: PhysRange, mpidrs: &mut Vec<Mpidr>) -> GicV2 {
    // SAFETY: the tree says that they are there; `early` mapped as much of them as
    // the driver wants as device memory, for ever; this is the only driver for them.
    let chip = unsafe { GicV2::new(distributor.start(), cpu_interface.start(), mpidrs) };
    let chip = match chip {
        Ok(chip) => chip,
        Err(error) => missing!("interrupt controller: {error}"),
    };
    let served = chip.served();
    for mpidr in mpidrs.drain(served..) {
        log::warn!("CPU {mpidr} is left out: the GICv2 has {served} CPU interfaces");
    }
    chip
}

fn make_cpu_ops(tree: &DeviceTree<'_>, gic: &GicDesc) -> CpuPower {
    let conduit = match tree.psci() {
        Ok(found) => found.map(|psci| psci.conduit),
        Err(error) => missing!("no usable PSCI: {error}"),
    };
    let interface = match *gic {
        GicDesc::V2 { cpu_interface, .. } => Some(bytes(&cpu_interface.into()).start),
        GicDesc::V3 { .. } => None,
    };
    match CpuPower::new(conduit, Pen::new(interface), board_power(tree)) {
        Ok(power) => power,
        Err(error) => missing!("no usable PSCI: {error}"),
    }
}

/// Returns what ends the machine where there is no firmware to ask.
fn board_power(tree: &DeviceTree<'_>) -> Option<BcmWatchdog> {
    match tree.board_power() {
        Ok(None) => None,
        Ok(Some(BoardPower::BcmWatchdog { registers })) => {
            // SAFETY: the tree says that it is there; `early` mapped it as device
            // memory, for ever; this is the only driver for it.
            unsafe { BcmWatchdog::new(registers.start()) }
        }
        Err(error) => {
            log::warn!("no power-off: {error}");
            None
        }
    }
}

/// Brings the boot CPU through its steps, makes the first thread, and becomes
/// `idle/0`.
fn start_boot_cpu(kernel: &'static Kernel) -> ! {
    let (local, idle) = cpu_local::boot_cpu();
    kernel
        .areas
        .adopt(CpuId::BOOT, local, idle, image::boot_stack());
    kernel.hotplug.start_boot_cpu();
    main_thread::spawn_main();
    kernel.sched.idle(|| kernel.hotplug.idle(CpuId::BOOT))
}
