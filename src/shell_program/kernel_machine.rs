//! `KernelMachine`: the kernel, behind the trait that the shell's commands use.

use core::fmt;
use core::time::Duration;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::cpu::{CpuId, CpuMask, IdRegisters};
use crate::errno::Errno;
use crate::governor::{Governor, Tunables};
use crate::hotplug::{
    BatchError, CpuDownError, CpuHealth, CpuUpError, FailError, TargetError, state_number,
};
use crate::irq::IrqAffinityError;
use crate::kernel::governor::{self, GovernorError};
use crate::kernel::{
    Hw, SchedTracingError, console, heap, id_registers, is_tracing, kernel, log_walk, print,
    set_sched_tracing, set_tracing, walks, wants_sched_tracing, watchdog,
};
use crate::memory::StackLayout;
use crate::patch::KeyError;
use crate::platform::{Platform, PsciQuery, Received, Sgi};
use crate::sched::AffinityError;
use crate::shell::{
    CpuInfo, CpuState, Failure, GovernorReport, InterruptRow, IrqRow, Machine, Masks, MemoryReport,
    ShellCommand, StepRow, StopCost, ThreadRow, Typed,
};
use crate::shell_program::{interrupts, selftest, threads};
use crate::sync::atomic::Ordering;
use crate::trace::NoMemory;

/// The machine that this kernel runs on, for [`crate::shell`].
#[derive(Clone, Copy, Debug, Default)]
pub struct KernelMachine {
    /// The commands that the program adds.
    pub commands: &'static [ShellCommand],
}

/// Why a shell command failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MachineError {
    /// A CPU did not come up.
    Up(CpuUpError),
    /// A CPU did not go down.
    Down(CpuDownError),
    /// A CPU was not moved.
    Target(TargetError),
    /// No failure was injected.
    Fail(FailError),
    /// A static key was not changed.
    Key(KeyError),
    /// The CPUs of a thread were not changed.
    Affinity(AffinityError),
    /// The CPUs of an interrupt were not changed.
    Irq(IrqAffinityError),
    /// What the governor says.
    Governor(GovernorError),
    /// There is no memory for the rings of scheduling events.
    NoMemory,
    /// There is no such thread.
    NoThread,
    /// There is no PSCI.
    NoFirmware,
}

impl fmt::Display for MachineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MachineError::Up(error) => fmt::Display::fmt(error, f),
            MachineError::Down(error) => fmt::Display::fmt(error, f),
            MachineError::Target(error) => fmt::Display::fmt(error, f),
            MachineError::Fail(error) => fmt::Display::fmt(error, f),
            MachineError::Key(error) => fmt::Display::fmt(error, f),
            MachineError::Governor(error) => fmt::Display::fmt(error, f),
            MachineError::Affinity(error) => fmt::Display::fmt(error, f),
            MachineError::Irq(error) => fmt::Display::fmt(error, f),
            MachineError::NoMemory => f.write_str("there is no memory for its rings"),
            MachineError::NoThread => f.write_str("it has ended, or never was"),
            MachineError::NoFirmware => f.write_str("this machine has no PSCI"),
        }
    }
}

impl Failure for MachineError {
    fn errno(&self) -> Errno {
        match self {
            MachineError::Up(error) => error.errno(),
            MachineError::Down(error) => error.errno(),
            MachineError::Target(error) => error.errno(),
            MachineError::Key(error) => error.errno(),
            MachineError::Governor(error) => error.errno(),
            MachineError::Fail(_) | MachineError::Affinity(_) => Errno::Invalid,
            MachineError::Irq(error) => error.errno(),
            MachineError::NoMemory => Errno::NoMemory,
            MachineError::NoThread => Errno::NoProcess,
            MachineError::NoFirmware => Errno::NotImplemented,
        }
    }
}

impl Machine for KernelMachine {
    type Error = MachineError;

    fn write(&self, text: fmt::Arguments<'_>) {
        print(text);
    }

    fn commands(&self) -> &[ShellCommand] {
        self.commands
    }

    fn interrupted(&self, within: Duration) -> Option<usize> {
        console::interrupted_until(Hw::deadline(within))
    }

    fn typed(&self, within: Duration) -> Typed {
        match console::read_until(Hw::deadline(within)) {
            Some(Received::Byte(byte)) => Typed::Byte(byte),
            Some(Received::Lost) => Typed::Lost,
            None => Typed::Nothing,
        }
    }

    fn masks(&self) -> Masks {
        let _held = kernel().hotplug.cpus_read_lock();
        let masks = &kernel().masks;
        Masks {
            possible: *masks.possible(),
            present: kernel().hotplug.present(),
            online: masks.online(),
            active: masks.active(),
        }
    }

    fn cpu_info(&self, cpu: CpuId) -> CpuInfo {
        let _held = kernel().hotplug.cpus_read_lock();
        let midr = kernel().midrs.get(cpu).load(Ordering::Relaxed);
        let health = kernel().hotplug.health(cpu);
        let (state, why) = match health {
            CpuHealth::Online => (CpuState::Online, None),
            CpuHealth::HalfWay(up) => {
                let step = kernel().hotplug.last_up(up);
                let at = step.map(|step| format!("half way, at {step}"));
                (CpuState::Partial, at)
            }
            CpuHealth::Off => (CpuState::Offline, None),
            CpuHealth::Parked(why) => (CpuState::Parked, Some(why.to_string())),
            CpuHealth::Failed(why) => (CpuState::Failed, Some(why.to_string())),
            CpuHealth::Refused(error) => {
                let why = format!("firmware has answered CPU_ON with {error}");
                (CpuState::Refused, Some(why))
            }
            CpuHealth::Unknown(why) => (CpuState::Quarantined, Some(why.to_string())),
        };
        CpuInfo {
            midr: (midr != 0).then_some(midr),
            mpidr: kernel().mpidrs[cpu.index()],
            state,
            why,
        }
    }

    fn cpus_up(&self, cpus: &CpuMask) -> Vec<(CpuId, MachineError)> {
        let began = Hw::now();
        let result = kernel().hotplug.cpus_up(cpus);
        for cpu in cpus.iter() {
            log_walk(cpu, began);
        }
        failures(result, MachineError::Up)
    }

    fn cpus_down(&self, cpus: &CpuMask) -> Vec<(CpuId, MachineError)> {
        let began = Hw::now();
        let result = kernel().hotplug.cpus_down(cpus);
        for cpu in cpus.iter() {
            log_walk(cpu, began);
        }
        failures(result, MachineError::Down)
    }

    fn cpu_state(&self, cpu: CpuId) -> usize {
        let _held = kernel().hotplug.cpus_read_lock();
        state_number(kernel().hotplug.state(cpu).state())
    }

    fn set_target(&self, cpu: CpuId, state: usize) -> Result<(), MachineError> {
        let began = Hw::now();
        let result = kernel().hotplug.cpu_set_target(cpu, state);
        log_walk(cpu, began);
        result.map_err(MachineError::Target)
    }

    fn failure(&self, cpu: CpuId) -> Option<usize> {
        let row = kernel().hotplug.state(cpu).injected()?;
        Some(row + 1)
    }

    fn set_failure(&self, cpu: CpuId, state: Option<usize>) -> Result<(), MachineError> {
        let row = match state {
            None => None,
            // 0 is `offline`, which is no step.
            Some(state) => {
                let row = state.checked_sub(1).ok_or(FailError::NoSuchStep);
                Some(row.map_err(MachineError::Fail)?)
            }
        };
        let _held = kernel().hotplug.cpus_read_lock();
        let injected = kernel().hotplug.inject_failure(cpu, row);
        injected.map_err(MachineError::Fail)
    }

    fn steps(&self) -> impl Iterator<Item = StepRow<'_>> {
        let end = |number, name| StepRow {
            number,
            group: "",
            name,
            may_rest: false,
            no_startup: None,
            no_teardown: None,
            ups: 0,
            downs: 0,
            past: CpuMask::EMPTY,
            unbalanced: CpuMask::EMPTY,
        };
        let steps = kernel().hotplug.steps();
        let slots = kernel().hotplug.slots();
        let rows = steps.iter().enumerate().filter_map(move |(index, step)| {
            let installed = slots.get(index);
            if step.is_slot() && installed.is_none() {
                return None;
            }
            let name = kernel().hotplug.step_name(index);
            let mut row = StepRow {
                group: name.group(),
                may_rest: kernel().hotplug.may_rest(index + 1),
                no_startup: step.startup.reason(),
                no_teardown: step.teardown.reason(),
                ..end(index + 1, name.name())
            };
            for cpu in kernel().masks.possible().iter() {
                let ((up, down), of) = match &installed {
                    Some(step) => step.passages(cpu),
                    None => (kernel().hotplug.state(cpu).passages(index), (0, 1)),
                };
                row.ups += u64::from(up);
                row.downs += u64::from(down);
                let (_, all) = of;
                match up.checked_sub(down).map(|up| up as usize) {
                    Some(0) => {}
                    Some(up) if up == all => row.past.insert(cpu),
                    _ => row.unbalanced.insert(cpu),
                }
            }
            Some(row)
        });
        core::iter::once(end(0, "offline"))
            .chain(rows)
            .chain(core::iter::once(end(steps.len() + 1, "online")))
    }

    fn stop(&self) -> Result<StopCost, MachineError> {
        let kernel = kernel();
        let stop = &kernel.stop_machine;
        let _held = kernel.hotplug.cpus_read_lock();
        let still = stop.lock();
        let writes = |sgi: Sgi| kernel.sgi_writes(sgi.number());
        let (requests, wakes) = (writes(Sgi::Stop), writes(Sgi::Wake));
        let ((), report) = stop.stop_once(&still, || ());
        let ns = |ticks| Hw::frequency().ticks_to_ns(ticks);
        let irqs_off_ns: Vec<(CpuId, u64)> = kernel
            .masks
            .online()
            .iter()
            .map(|cpu| (cpu, ns(stop.times().irqs_off_ticks(cpu))))
            .collect();
        Ok(StopCost {
            to_fn_ns: ns(report.fn_began.ticks_since(report.called)),
            whole_ns: ns(report.ended.ticks_since(report.called)),
            request_writes: writes(Sgi::Stop) - requests,
            wake_writes: writes(Sgi::Wake) - wakes,
            irqs_off_ns,
        })
    }

    fn self_test(&self, tell_fn: &mut dyn FnMut(&str, Result<String, String>)) {
        selftest::run(tell_fn);
    }

    fn realtime_runtime(&self) -> Option<Duration> {
        kernel().sched.realtime_runtime()
    }

    fn set_realtime_runtime(&self, runtime: Option<Duration>) {
        kernel().sched.set_realtime_runtime(runtime);
    }

    fn watchdog_seconds(&self) -> u8 {
        watchdog::seconds()
    }

    fn set_watchdog_seconds(&self, seconds: u8) {
        watchdog::set_seconds(seconds);
    }

    fn down_limit(&self) -> Option<Duration> {
        kernel().hotplug.down_limit()
    }

    fn set_down_limit(&self, limit: Option<Duration>) {
        kernel().hotplug.set_down_limit(limit);
    }

    fn memory(&self) -> MemoryReport {
        let stack = StackLayout::bytes_for(1);
        let heap = heap::stats();
        MemoryReport {
            heap: heap.total,
            heap_used: heap.in_use,
            heap_cached: heap.cached + heap.in_depots,
            heap_free: heap.free,
            stacks: kernel().areas.stacks() * stack,
            stacks_used: kernel().areas.stacks_in_use() * stack,
        }
    }

    fn log(&self) -> String {
        console::logged()
    }

    fn boot_line(&self) -> String {
        kernel().bootargs.into()
    }

    fn timer_hz(&self) -> u64 {
        Hw::frequency().hz()
    }

    fn interrupts(&self) -> Vec<InterruptRow> {
        interrupts::all()
    }

    fn irqs(&self) -> Vec<IrqRow> {
        interrupts::of_devices()
    }

    fn set_irq_affinity(&self, number: u32, cpus: &CpuMask) -> Result<(), MachineError> {
        interrupts::set_affinity(number, cpus).map_err(MachineError::Irq)
    }

    fn set_held(&self, cpu: CpuId, held: bool) {
        kernel().hotplug.hold_at_entry(cpu, held);
    }

    fn psci(&self, query: PsciQuery) -> Result<i64, MachineError> {
        kernel().ask_firmware(query).ok_or(MachineError::NoFirmware)
    }

    fn this_thread(&self) -> usize {
        kernel().sched.current().number() as usize
    }

    fn set_affinity(&self, id: usize, cpus: &CpuMask) -> Result<(), MachineError> {
        let number = u32::try_from(id).map_err(|_| MachineError::NoThread)?;
        let thread = kernel().sched.thread_of_number(number);
        let thread = thread.ok_or(MachineError::NoThread)?;
        let set = kernel().sched.set_affinity(&thread, cpus);
        set.map_err(MachineError::Affinity)
    }

    fn threads(&self) -> Vec<ThreadRow> {
        let held = kernel().hotplug.cpus_read_lock();
        kernel().sched.charge_running();
        drop(held);
        threads::all()
    }

    fn id_registers(&self, cpu: CpuId) -> Option<IdRegisters> {
        kernel().calls.call_on(cpu, id_registers).ok()
    }

    fn idle_ns(&self, cpu: CpuId) -> Option<u64> {
        let _held = kernel().hotplug.cpus_read_lock();
        kernel().sched.charge_running();
        let usage = kernel().sched.idle_usage(cpu)?;
        Some(Hw::frequency().ticks_to_ns(usage.ticks))
    }

    fn run_ns(&self, cpu: CpuId) -> Option<u64> {
        let _held = kernel().hotplug.cpus_read_lock();
        kernel().sched.charge_running();
        let ticks = kernel().sched.busy_ticks(cpu)?;
        Some(Hw::frequency().ticks_to_ns(ticks))
    }

    fn now_ns(&self) -> u64 {
        Hw::frequency().ticks_to_ns(Hw::now().0)
    }

    fn unix_time(&self) -> Option<Duration> {
        crate::kernel::devices::unix_time()
    }

    fn sleep(&self, time: Duration) {
        kernel().sched.sleep_until(Hw::deadline(time));
    }

    fn is_tracing(&self) -> bool {
        is_tracing()
    }

    fn set_tracing(&self, on: bool) -> Result<(), MachineError> {
        set_tracing(on).map_err(MachineError::Key)
    }

    fn is_tracing_sched(&self) -> bool {
        wants_sched_tracing()
    }

    fn set_tracing_sched(&self, on: bool) -> Result<(), MachineError> {
        set_sched_tracing(on).map_err(|error| match error {
            SchedTracingError::Key(error) => MachineError::Key(error),
            SchedTracingError::NoMemory(NoMemory) => MachineError::NoMemory,
        })
    }

    fn governor(&self) -> Result<GovernorReport, MachineError> {
        let report = || {
            Ok(GovernorReport {
                governor: governor::governor()?,
                tunables: governor::tunables()?,
                given_back: kernel().hotplug.governed(),
                statistics: governor::statistics()?,
            })
        };
        report().map_err(MachineError::Governor)
    }

    fn set_governor(&self, governor: Governor) -> Result<(), MachineError> {
        governor::choose(governor).map_err(MachineError::Governor)
    }

    fn set_governor_tunables(&self, tunables: Tunables) -> Result<(), MachineError> {
        governor::set_tunables(tunables).map_err(MachineError::Governor)
    }

    fn set_governed_cpus(&self, count: usize) -> Result<(), MachineError> {
        governor::set_cpus(count).map_err(MachineError::Governor)
    }

    fn keep_off(&self, cpus: &CpuMask) {
        // A thread for which that would wait can't take CPUs down either, and is told so then.
        let _ = kernel().hotplug.keep_off(cpus);
    }

    fn export_trace(&self) {
        walks::export(kernel().masks.possible().iter());
    }

    fn trace(&self, cpu: Option<CpuId>) {
        let possible = kernel().masks.possible();
        walks::print_all(
            possible
                .iter()
                .filter(|candidate| cpu.is_none_or(|cpu| cpu == *candidate)),
        );
        if cpu.is_none() {
            walks::print_decisions();
        }
    }
}

/// Returns the CPUs that a batch has not changed, with their errors.
fn failures<E>(
    result: Result<(), BatchError<E>>,
    into_fn: fn(E) -> MachineError,
) -> Vec<(CpuId, MachineError)> {
    let failed = result.err().into_iter();
    let failed = failed.flat_map(BatchError::into_failed);
    failed.map(|(cpu, error)| (cpu, into_fn(error))).collect()
}
