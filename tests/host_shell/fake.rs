//! A fake machine of a few CPUs that records the calls of its methods.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use stillpoint::cpu::{CpuId, CpuMask, IdRegisters, Mpidr};
use stillpoint::errno::Errno;
use stillpoint::governor::{Governor, Statistics, Tunables};
use stillpoint::platform::PsciQuery;
use stillpoint::shell::{
    CpuInfo, CpuState, Failure, GovernorReport, InterruptRow, IrqRow, Machine, Masks, MemoryReport,
    Report, ShellCommand, StepRow, StopCost, ThreadRow, Typed, parse_cpu_list, run_line,
};

/// A refusal with a reason.
#[derive(Clone, Copy)]
pub(crate) struct Refused(Errno, &'static str);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.1)
    }
}

impl Failure for Refused {
    fn errno(&self) -> Errno {
        self.0
    }
}

/// A call that changed the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Did {
    Up(usize),
    Down(usize),
    Stop,
    SelfTest,
    Trace(Option<usize>),
    ExportTrace,
    Target(usize, usize),
    Fail(usize, Option<usize>),
    Held(usize, bool),
    Affinity(usize, CpuMask),
    Psci(PsciQuery),
}

/// How often the shell may wait for input.
const PATIENCE: u32 = 200;

/// A machine of a few CPUs, of which `stuck` refuse to come or go.
pub(crate) struct Fake {
    present: CpuMask,
    online: RefCell<CpuMask>,
    stuck: CpuMask,
    did: RefCell<Vec<Did>>,
    /// For how many nanoseconds the shell has slept.
    slept: RefCell<u64>,
    /// The bound on realtime threads.
    runtime: RefCell<Option<Duration>>,
    /// The limit of a way down.
    down_limit: RefCell<Option<Duration>>,
    watchdog: RefCell<u8>,
    /// Whether events are recorded.
    tracing: RefCell<bool>,
    tracing_sched: RefCell<bool>,
    governor: RefCell<GovernorReport>,
    /// The steps that are to fail, by CPU.
    failures: RefCell<Vec<(CpuId, usize)>>,
    /// How often the shell has waited for input. Somebody types Ctrl-C in the end.
    waits: RefCell<u32>,
    /// The CPUs of thread 1.
    affinity: RefCell<CpuMask>,
    /// The CPUs of interrupt 33.
    irq_affinity: RefCell<CpuMask>,
    /// What is typed while commands run.
    pub(crate) input: RefCell<VecDeque<u8>>,
    /// The commands of the program.
    commands: Vec<ShellCommand>,
    /// The output that was not taken yet.
    pub(crate) console: RefCell<String>,
}

impl Fake {
    /// Returns a machine with `present` CPUs, of which those in the list are online.
    pub(crate) fn new(present: usize, online: &str) -> Fake {
        Fake {
            present: CpuMask::first_n(present),
            online: RefCell::new(parse_cpu_list(online).expect("a list")),
            stuck: CpuMask::EMPTY,
            did: RefCell::default(),
            slept: RefCell::default(),
            runtime: RefCell::new(Some(Duration::from_millis(950))),
            down_limit: RefCell::default(),
            watchdog: RefCell::new(10),
            tracing: RefCell::new(true),
            tracing_sched: RefCell::new(false),
            governor: RefCell::new(GovernorReport {
                governor: Governor::Userspace,
                tunables: Tunables::new(present),
                given_back: CpuMask::EMPTY,
                statistics: Statistics::default(),
            }),
            failures: RefCell::default(),
            waits: RefCell::default(),
            affinity: RefCell::new(CpuMask::first_n(present)),
            irq_affinity: RefCell::new(CpuMask::first_n(present)),
            input: RefCell::default(),
            commands: Vec::new(),
            console: RefCell::default(),
        }
    }

    /// Makes these CPUs refuse to come or go.
    pub(crate) fn with_stuck(self, list: &str) -> Fake {
        let stuck = parse_cpu_list(list).expect("a list");
        Fake { stuck, ..self }
    }

    /// Adds commands of a program.
    pub(crate) fn with_commands(self, commands: &[ShellCommand]) -> Fake {
        let commands = commands.into();
        Fake { commands, ..self }
    }

    /// Has these CPUs be given back by the governor.
    pub(crate) fn with_given_back(self, list: &str) -> Fake {
        let cpus = parse_cpu_list(list).expect("a list");
        self.governor.borrow_mut().given_back = cpus;
        self
    }

    /// Has the step of state `state` of CPU 0 fail.
    pub(crate) fn with_failure(self, state: usize) -> Fake {
        let failures = RefCell::new(vec![(CpuId::BOOT, state)]);
        Fake { failures, ..self }
    }

    /// Returns whether the shell has waited so often that somebody types Ctrl-C.
    fn has_waited(&self) -> bool {
        *self.waits.borrow_mut() += 1;
        self.waits.borrow().is_multiple_of(PATIENCE)
    }

    /// Types `bytes` while the next command runs.
    pub(crate) fn types(&self, bytes: &[u8]) {
        self.input.borrow_mut().extend(bytes);
    }

    /// Runs a line; returns its output and its result.
    pub(crate) fn run(&self, line: &str) -> (String, Report) {
        let report = run_line(self, line);
        (self.console.take(), report)
    }

    /// Returns the calls since the last time this was called.
    pub(crate) fn did(&self) -> Vec<Did> {
        self.did.take()
    }

    fn set_all_online(&self, cpus: &CpuMask, online: bool) -> Vec<(CpuId, Refused)> {
        let set = |cpu| self.set_online(cpu, online).err().map(|error| (cpu, error));
        cpus.iter().filter_map(set).collect()
    }

    fn set_online(&self, cpu: CpuId, online: bool) -> Result<(), Refused> {
        assert!(self.present.contains(cpu), "{cpu} does not exist");
        if !online && *self.online.borrow() == CpuMask::of(cpu) {
            return Err(Refused(Errno::Busy, "last enabled CPU"));
        }
        self.did.borrow_mut().push(if online {
            Did::Up(cpu.index())
        } else {
            Did::Down(cpu.index())
        });
        if self.stuck.contains(cpu) {
            return Err(Refused(Errno::Busy, "enable:pmu refused"));
        }
        *self.slept.borrow_mut() += 1_500_000;
        // A failure that was asked for happens; that of state 32 on the way down alone.
        let is_it = |(of, state): &(CpuId, usize)| *of == cpu && !(online && *state == 32);
        let mut failures = self.failures.borrow_mut();
        if let Some(at) = failures.iter().position(is_it) {
            failures.remove(at);
            return Err(Refused(Errno::Again, "injected"));
        }
        if online {
            self.online.borrow_mut().insert(cpu);
        } else {
            self.online.borrow_mut().remove(cpu);
        }
        Ok(())
    }
}

impl Machine for Fake {
    type Error = Refused;

    fn write(&self, text: fmt::Arguments<'_>) {
        self.console.borrow_mut().push_str(&text.to_string());
    }

    fn commands(&self) -> &[ShellCommand] {
        &self.commands
    }

    fn interrupted(&self, within: Duration) -> Option<usize> {
        let mut input = self.input.borrow_mut();
        let Some(at) = input.iter().position(|byte| *byte == 3) else {
            self.sleep(within);
            return self.has_waited().then_some(0);
        };
        input.drain(..=at);
        Some(at)
    }

    fn typed(&self, within: Duration) -> Typed {
        let byte = self.input.borrow_mut().pop_front();
        if byte.is_none() {
            self.sleep(within);
            if self.has_waited() {
                return Typed::Byte(3);
            }
        }
        byte.map_or(Typed::Nothing, Typed::Byte)
    }

    fn log(&self) -> String {
        "[    0.000001] Stillpoint\n".into()
    }

    fn boot_line(&self) -> String {
        "maxcpus=2 quiet".into()
    }

    fn timer_hz(&self) -> u64 {
        62_500_000
    }

    fn irqs(&self) -> Vec<IrqRow> {
        vec![IrqRow {
            number: 33,
            affinity: *self.irq_affinity.borrow(),
            effective: Some(CpuId::BOOT),
            seen: 7,
            unhandled: 2,
            last_unhandled_ms: 1500,
        }]
    }

    fn set_irq_affinity(&self, number: u32, cpus: &CpuMask) -> Result<(), Refused> {
        if cpus.and(&self.online.borrow()).is_empty() {
            return Err(Refused(Errno::Invalid, "none is active"));
        }
        assert_eq!(number, 33);
        self.irq_affinity.replace(*cpus);
        Ok(())
    }

    fn interrupts(&self) -> Vec<InterruptRow> {
        let row = |name: &str, counts: Vec<u64>, what: &str| InterruptRow {
            name: name.into(),
            counts,
            what: what.into(),
        };
        vec![
            row(
                "27",
                vec![1, 20, 300, 4000],
                "   GICv3  27 Level     arch_timer",
            ),
            row(
                "IPI2",
                vec![7, 8, 9, 1_234_567_890],
                "     Rescheduling interrupts",
            ),
        ]
    }

    fn set_held(&self, cpu: CpuId, held: bool) {
        self.did.borrow_mut().push(Did::Held(cpu.index(), held));
    }

    fn psci(&self, query: PsciQuery) -> Result<i64, Refused> {
        self.did.borrow_mut().push(Did::Psci(query));
        Ok(match query {
            PsciQuery::Version => 0x1_0001,
            PsciQuery::AffinityInfo(_) => 1,
            PsciQuery::Features(_) => -1,
            PsciQuery::MigrateInfoType => 2,
        })
    }

    fn this_thread(&self) -> usize {
        1
    }

    fn set_affinity(&self, id: usize, cpus: &CpuMask) -> Result<(), Refused> {
        if cpus.and(&self.online.borrow()).is_empty() {
            return Err(Refused(Errno::Invalid, "none is active"));
        }
        self.did.borrow_mut().push(Did::Affinity(id, *cpus));
        if id == 1 {
            self.affinity.replace(*cpus);
        }
        Ok(())
    }

    fn masks(&self) -> Masks {
        let online = *self.online.borrow();
        Masks {
            possible: self.present,
            present: self.present,
            online,
            active: online,
        }
    }

    fn cpu_info(&self, cpu: CpuId) -> CpuInfo {
        assert!(self.present.contains(cpu));
        let index = cpu.index() as u64;
        let online = self.online.borrow().contains(cpu);
        CpuInfo {
            // CPUs 4 and up have another model; CPU 3 has never run.
            midr: match index {
                3 => None,
                4.. => Some(0x410f_d034),
                _ => Some(0x410f_d083),
            },
            mpidr: Mpidr::from_register((index % 4) | ((index / 4) << 8)),
            state: if online {
                CpuState::Online
            } else {
                CpuState::Offline
            },
            why: (!online && index == 2).then(|| String::from("out of reach")),
        }
    }

    fn cpus_up(&self, cpus: &CpuMask) -> Vec<(CpuId, Refused)> {
        self.set_all_online(cpus, true)
    }

    fn cpus_down(&self, cpus: &CpuMask) -> Vec<(CpuId, Refused)> {
        self.set_all_online(cpus, false)
    }

    fn cpu_state(&self, cpu: CpuId) -> usize {
        if self.online.borrow().contains(cpu) {
            33
        } else {
            0
        }
    }

    fn set_target(&self, cpu: CpuId, state: usize) -> Result<(), Refused> {
        if state > 33 {
            return Err(Refused(Errno::Invalid, "no place of rest"));
        }
        self.did.borrow_mut().push(Did::Target(cpu.index(), state));
        Ok(())
    }

    fn failure(&self, cpu: CpuId) -> Option<usize> {
        let failures = self.failures.borrow();
        failures
            .iter()
            .find(|(of, _)| *of == cpu)
            .map(|(_, state)| *state)
    }

    fn set_failure(&self, cpu: CpuId, state: Option<usize>) -> Result<(), Refused> {
        if state == Some(0) {
            return Err(Refused(Errno::Invalid, "no such step"));
        }
        self.did.borrow_mut().push(Did::Fail(cpu.index(), state));
        let mut failures = self.failures.borrow_mut();
        failures.retain(|(of, _)| *of != cpu);
        failures.extend(state.map(|state| (cpu, state)));
        Ok(())
    }

    fn steps(&self) -> impl Iterator<Item = StepRow<'_>> {
        let row = StepRow {
            number: 0,
            group: "",
            name: "offline",
            may_rest: false,
            no_startup: None,
            no_teardown: None,
            ups: 0,
            downs: 0,
            past: *self.online.borrow(),
            unbalanced: CpuMask::EMPTY,
        };
        [
            row,
            StepRow {
                number: 14,
                group: "sched",
                name: "drain",
                may_rest: true,
                no_startup: Some("nothing to do"),
                ups: 5,
                downs: 3,
                ..row
            },
            StepRow {
                number: 30,
                group: "init",
                name: "online",
                past: CpuMask::EMPTY,
                ..row
            },
            StepRow {
                number: 31,
                group: "prep",
                name: "drain",
                past: CpuMask::EMPTY,
                ..row
            },
            StepRow {
                number: 32,
                group: "enable",
                name: "pmu",
                unbalanced: CpuMask::first_n(1),
                ..row
            },
            StepRow {
                number: 33,
                name: "online",
                ..row
            },
        ]
        .into_iter()
    }

    fn threads(&self) -> Vec<ThreadRow> {
        let slept = *self.slept.borrow();
        let main = ThreadRow {
            id: 1,
            name: "main".into(),
            cpu: CpuId::BOOT,
            cpus: *self.affinity.borrow(),
            class: "TS",
            priority: None,
            nice: Some(-5),
            state: 'R',
            run_ns: 1_234_567_890 + slept / 4,
            waits: 7,
            preemptions: 2,
            migrations: 3,
        };
        let hotplug = ThreadRow {
            id: 2,
            name: "cpuhp/1".into(),
            cpu: CpuId::new(1).expect("small"),
            cpus: CpuMask::of(CpuId::new(1).expect("small")),
            class: "FF",
            priority: Some(99),
            nice: None,
            state: 'P',
            run_ns: slept,
            waits: 1,
            preemptions: 0,
            migrations: 0,
        };
        vec![main, hotplug]
    }

    fn id_registers(&self, cpu: CpuId) -> Option<IdRegisters> {
        // As those of a Raspberry Pi 4; CPU 3 goes before it is asked.
        (cpu.index() != 3).then_some(IdRegisters {
            isar0: 0x1_0000,
            isar1: 0,
            mmfr2: 0,
            pfr0: 0x2222,
            pfr1: 0,
        })
    }

    fn idle_ns(&self, cpu: CpuId) -> Option<u64> {
        Some(*self.slept.borrow() / (1 + cpu.index() as u64))
    }

    fn run_ns(&self, cpu: CpuId) -> Option<u64> {
        Some(1_000_000 + cpu.index() as u64)
    }

    fn unix_time(&self) -> Option<Duration> {
        // It was one o'clock when the machine was turned on.
        Some(Duration::from_secs(3600) + Duration::from_nanos(self.now_ns()))
    }

    fn now_ns(&self) -> u64 {
        5_000_000_000 + *self.slept.borrow()
    }

    fn sleep(&self, time: Duration) {
        let ns = u64::try_from(time.as_nanos()).expect("a short time");
        *self.slept.borrow_mut() += ns;
    }

    fn stop(&self) -> Result<StopCost, Refused> {
        self.did.borrow_mut().push(Did::Stop);
        if !self.stuck.is_empty() {
            return Err(Refused(Errno::TimedOut, "CPU 1 did not come"));
        }
        let online = *self.online.borrow();
        Ok(StopCost {
            to_fn_ns: 131_204,
            whole_ns: 2_000_007,
            request_writes: 1,
            wake_writes: 3,
            irqs_off_ns: online
                .iter()
                .map(|cpu| (cpu, 98_112 + cpu.index() as u64))
                .collect(),
        })
    }

    fn self_test(&self, tell_fn: &mut dyn FnMut(&str, Result<String, String>)) {
        tell_fn("masks", Ok(format!("CPUs {}", self.online.borrow())));
        if !self.stuck.is_empty() {
            tell_fn("hotplug", Err(format!("CPUs {} are stuck", self.stuck)));
        }
        self.did.borrow_mut().push(Did::SelfTest);
    }

    fn realtime_runtime(&self) -> Option<Duration> {
        *self.runtime.borrow()
    }

    fn set_realtime_runtime(&self, runtime: Option<Duration>) {
        self.runtime.replace(runtime);
    }

    fn watchdog_seconds(&self) -> u8 {
        *self.watchdog.borrow()
    }

    fn set_watchdog_seconds(&self, seconds: u8) {
        self.watchdog.replace(seconds);
    }

    fn down_limit(&self) -> Option<Duration> {
        *self.down_limit.borrow()
    }

    fn set_down_limit(&self, limit: Option<Duration>) {
        self.down_limit.replace(limit);
    }

    fn memory(&self) -> MemoryReport {
        MemoryReport {
            heap: 1024 * 1024,
            heap_used: 2 * 1024 + 1,
            heap_cached: 1,
            heap_free: 1000 * 1024 - 1,
            stacks: 100 * 1024,
            stacks_used: 20 * 1024,
        }
    }

    fn governor(&self) -> Result<GovernorReport, Refused> {
        Ok(self.governor.borrow().clone())
    }

    fn set_governor(&self, governor: Governor) -> Result<(), Refused> {
        self.governor.borrow_mut().governor = governor;
        Ok(())
    }

    fn set_governor_tunables(&self, tunables: Tunables) -> Result<(), Refused> {
        let checked = tunables.check(self.present.count());
        checked.map_err(|_| Refused(Errno::Invalid, "no such setting"))?;
        self.governor.borrow_mut().tunables = tunables;
        Ok(())
    }

    fn set_governed_cpus(&self, count: usize) -> Result<(), Refused> {
        let governor = self.governor.borrow().governor;
        if governor != Governor::Userspace || count == 0 || count > self.present.count() {
            return Err(Refused(Errno::Invalid, "no such number"));
        }
        self.online.replace(CpuMask::first_n(count));
        Ok(())
    }

    fn keep_off(&self, cpus: &CpuMask) {
        let mut governor = self.governor.borrow_mut();
        governor.given_back = governor.given_back.without(cpus);
    }

    fn is_tracing_sched(&self) -> bool {
        *self.tracing_sched.borrow()
    }

    fn set_tracing_sched(&self, on: bool) -> Result<(), Refused> {
        self.tracing_sched.replace(on);
        Ok(())
    }

    fn is_tracing(&self) -> bool {
        *self.tracing.borrow()
    }

    fn set_tracing(&self, on: bool) -> Result<(), Refused> {
        if !self.stuck.is_empty() {
            return Err(Refused(Errno::Deadlock, "it can't wait"));
        }
        self.tracing.replace(on);
        Ok(())
    }

    fn trace(&self, cpu: Option<CpuId>) {
        self.did
            .borrow_mut()
            .push(Did::Trace(cpu.map(CpuId::index)));
    }

    fn export_trace(&self) {
        self.did.borrow_mut().push(Did::ExportTrace);
    }
}
