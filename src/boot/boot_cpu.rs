//! The boot of the machine, from the first Rust to the first thread.

use alloc::boxed::Box;
use core::fmt;
use core::time::Duration;

use crate::arch::aarch64::{cpu_local, image};
use crate::boot::devices::{Devices, missing};
use crate::boot::early::{self, Early};
use crate::boot::main_thread;
use crate::bootargs::BootArgs;
use crate::cpu::{CpuId, CpuMask, CpuMasks, PerCpu};
use crate::dt::{DeviceTree, Text};
use crate::hotplug::Hotplug;
use crate::irq::IrqTable;
use crate::kernel::Areas;
use crate::kernel::{Hw, InterruptCounts, Kernel, set_kernel};
use crate::kernel::{console, exit, heap, panic, per_cpu, tracing, watchdog};
use crate::memory::MAX_RANGES;
use crate::platform::{IrqLine, Platform, Sgi};
use crate::rcu::GracePeriods;
use crate::sched::Scheduler;
use crate::smp::call::Calls;
use crate::stop_machine::{StopMachine, StopMode};
use crate::sync::atomic::AtomicU32;
use crate::sync::{Once, SLICE, SleepCost, SpinBudget, Wait};
use crate::trace::Trace;

/// Boots the machine. The entry's assembly calls it with the MMU off and everything masked,
/// on the boot stack.
#[unsafe(no_mangle)]
extern "C" fn stillpoint_boot(dtb: usize, _entry_el: u64) -> ! {
    cpu_local::adopt_boot_cpu();
    // SAFETY: the assembly passes x0 on, once, with the MMU off.
    let early = match unsafe { early::prepare(dtb) } {
        Ok(early) => early,
        Err(error) => early::fail(error),
    };
    // SAFETY: the plan's free memory is mapped. Memory that was taken from the plan is no
    // longer in it.
    unsafe { heap::init(&early.heap) };
    let kernel = make_kernel(&early);
    start_boot_cpu(kernel)
}

/// Makes the kernel from the device tree, and logs what boots.
fn make_kernel(early: &Early) -> &'static Kernel {
    let tree = match DeviceTree::new(early.tree) {
        Ok(tree) => tree,
        Err(error) => missing!("bad device tree: {error}"),
    };
    let arguments = BootArgs::parse(tree.bootargs().map_or(&[][..], |line| line.bytes()));
    console::start_log(arguments.log_filter());
    let console_line = console::init(&tree);
    panic::set_stacks(early.stacks);

    let limit = arguments.possible_limit().unwrap_or(usize::MAX);
    let devices = Devices::of_tree(&tree, early, limit);
    let places = crate::boot::devices::places(&tree);
    let kernel = place_kernel(early, devices, &arguments, places);
    kernel
        .sched
        .set_realtime_runtime(arguments.realtime_runtime());
    let limit = Duration::from_millis(arguments.cpu_down_timeout_ms.into());
    kernel
        .hotplug
        .set_down_limit(Some(limit).filter(|limit| !limit.is_zero()));
    if arguments.cpu_down_flushes {
        kernel.hotplug.set_down_stop(StopMode::FlushPreempted);
    }
    if let Some(seconds) = arguments.watchdog_thresh {
        watchdog::set_seconds(seconds);
    }
    kernel.hotplug.set_parallel(arguments.parallel);
    if arguments.tracing_off {
        tracing::start_without(kernel);
    }
    announce(kernel, &tree);
    report_unused_memory(&tree, early);
    report_unused_arguments(&tree, early, &arguments);
    start_irq_chip(kernel, console_line);
    kernel
}

/// Makes the kernel, and puts it where it stays. It is put together on the boot stack, where there is
/// no room for the parser of the tree beside it: so this is a frame of its own.
#[inline(never)]
fn place_kernel(
    early: &Early,
    devices: Devices,
    arguments: &BootArgs<'_>,
    places: crate::kernel::devices::Places,
) -> &'static Kernel {
    let cpus = devices.mpidrs.len();
    heap::init_caches(cpus);
    per_cpu::init(cpus);
    let irqs = IrqTable::new(devices.irq_chip.spi_count());
    set_kernel(Kernel {
        masks: CpuMasks::new(CpuMask::first_n(cpus)),
        sched: Scheduler::new(cpus),
        calls: Calls::new(cpus),
        stop_machine: StopMachine::new(cpus),
        grace_periods: GracePeriods::new(cpus),
        hotplug: Hotplug::new(cpus),
        trace: Trace::new(cpus),
        interrupts: InterruptCounts::new(cpus),
        sleep_cost: SleepCost::new(),
        lock_spins: SpinBudget::new(),
        midrs: PerCpu::new(cpus, |_| AtomicU32::new(0)),
        test_handler: Once::new(),
        test_last_act: Once::new(),
        mpidrs: devices.mpidrs,
        device_tree: early.tree,
        bootargs: Box::leak(arguments.text().into_boxed_str()),
        irq_chip: devices.irq_chip,
        cpu_ops: devices.cpu_ops,
        timer_ppi: devices.timer_ppi,
        timer_trigger: devices.timer_trigger,
        irqs,
        places,
        mmu: early.tables.registers(),
        areas: Areas::new(cpus, early.stacks),
    })
}

/// Logs the version, and the machine that it boots on.
fn announce(kernel: &Kernel, tree: &DeviceTree<'_>) {
    let cpus = kernel.mpidrs.len();
    log::info!(
        "Stillpoint {} on {}: {cpus} CPU{}, {}, {}",
        env!("CARGO_PKG_VERSION"),
        Name(tree.model()),
        if cpus == 1 { "" } else { "s" },
        kernel.irq_chip.name(),
        exit::Describe(&kernel.cpu_ops),
    );
}

/// Starts the interrupt controller's part of the boot CPU, and requests the console's interrupt,
/// `console_line`.
fn start_irq_chip(kernel: &Kernel, console_line: Option<IrqLine>) {
    let chip = &*kernel.irq_chip;
    if let Err(error) = chip.early_init_cpu(CpuId::BOOT) {
        missing!("interrupt controller: {error}");
    }
    if let Err(error) = chip.check_priorities() {
        missing!("interrupt controller: {error}");
    }
    // Only the SGIs for wake and panic are on.
    let slice = Hw::frequency().duration_to_ticks(SLICE);
    kernel.sleep_cost.learn::<Hw>(slice, || {
        Hw::send_sgi_to(Sgi::Wake, CpuId::BOOT, CpuId::BOOT);
        Hw::sleep();
        let _woken = Hw::take_wake();
    });
    if let Some(line) = console_line {
        console::request_interrupt(line);
    }
}

/// Displays the machine's name from the tree.
struct Name<'a>(Option<Text<'a>>);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(name) => name.fmt(f),
            None => f.write_str("a machine without a name"),
        }
    }
}

/// Logs which memory isn't used, and why.
fn report_unused_memory(tree: &DeviceTree<'_>, early: &Early) {
    for error in tree.memory().filter_map(Result::err) {
        log::warn!("memory is left out: {error}");
    }
    if early.beyond != 0 {
        log::warn!(
            "{} KiB of memory are left out: their addresses are too large for this CPU",
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

/// Logs which boot arguments aren't used, and why.
fn report_unused_arguments(tree: &DeviceTree<'_>, early: &Early, arguments: &BootArgs<'_>) {
    if let Some(flaw) = tree.bootargs().and_then(|line| line.flaw()) {
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
}

/// Brings the boot CPU through its steps, makes the first thread, and becomes
/// `idle/0`.
fn start_boot_cpu(kernel: &'static Kernel) -> ! {
    let (local, idle) = cpu_local::boot_cpu();
    kernel
        .areas
        .adopt(CpuId::BOOT, local, idle, image::boot_stack());
    #[cfg(feature = "internals")]
    crate::arch::aarch64::early_test::run();
    kernel.hotplug.start_boot_cpu();
    main_thread::spawn_main();
    kernel.sched.idle(|| kernel.hotplug.idle(CpuId::BOOT))
}
