//! CPU hotplug: a table of symmetric steps, and the walk along it.
//!
//! *Up* is towards online: forwards in the table, from its first row to its last. Bring-up
//! walks up and runs startups; take-down walks down and runs teardowns. A step that fails
//! counts as not passed, and the walk turns round to where the operation began.
//!
//! ```text
//!   control CPU                            the CPU that comes or goes (AP)
//!   ───────────                            ────────────────────────────────
//!   offline
//!   │ prep:hardware   CPU_ON ────────────► comes up while the rest is prepared
//!   │ prep:percpu     (control)            features, GIC interface, ALIVE
//!   │ prep:…          (control)            sleeps until it is released
//!   │ prep:threads    (control)
//!   │ …               steps of programs
//!   │ sync:alive      ◄── ALIVE ───────────
//!   │                 ─── SHOULD_ONLINE ──► init:cpu … init:online   IRQs off
//!   │                 ◄── ONLINE ──────────
//!   │                 unpark cpuhp/N ─────► sched:drain, :threads    thread
//!   │                                      …  steps of programs
//!   │                                      sync:active
//!   │                 ◄── done ─────────── sched:active
//!   online
//! ```
//! and back: `cpuhp/N` takes its CPU out of `active`, waits until no thread holds the old
//! mask, sends all threads that are not the CPU's own elsewhere and walks down until
//! `init:online` is the last step that is up; control, on a CPU that stays, sees it parked
//! and stops the machine; inside the still point the AP walks down until `sync:timers` is the
//! last step that is up, and from its idle thread leaves through firmware; control adopts its
//! timers at once, sees DEAD, then OFF, and walks the rest, which takes over its free memory. At
//! last control releases the hotplug lock, but not the add/remove lock around it
//! (`src/hotplug/registration.rs`), and walks what may wait for readers of the CPUs.
//!
//! # Where an operation can't turn back any more
//! - *Up*: from SHOULD_ONLINE ([`Handshake::release`]) control waits without a limit until the
//!   CPU is online: the steps in between can't fail, by their type. One of a program may stop the
//!   machine ([`stop_machine`](crate::stop_machine)). The steps after that may
//!   fail; then the walk turns round, and the CPU is taken down again.
//! - *Down*: until the stop begins it turns back, also at its deadline
//!   ([`Hotplug::cpu_down_before`], and [`Hotplug::cpus_down_before`] of several CPUs), which a
//!   step that is being passed can't be interrupted for.
//!   From the stop on, whose still point takes the CPU out of `online`, the walk ends
//!   offline. What may still go wrong, a CPU that doesn't say DEAD or firmware that doesn't
//!   say OFF, quarantines the CPU and is an error of the operation.
//!
//! # Invariants
//! - **one-writer-of-state**: the `state` of a CPU is written by one CPU at a time:
//!   control, then the AP from SHOULD_ONLINE to ONLINE, then its `cpuhp` thread between
//!   a command and its completion; in the still point of the take-down the AP. What hands the
//!   walk over also orders the accesses: the handshake word from control to the AP; the lock
//!   of the command's slot to `cpuhp`, and its completion back; the stop, to the AP and back.
//!   From the AP's idle thread to `cpuhp` it is the order of one CPU.
//! - **passages-balance**: passages up − passages down of a step is 0 or 1 for each
//!   CPU, at rest, and 1 exactly for the steps below `state`. A step that is installed counts
//!   in each of its instances (`up-as-far-as-past` of `src/hotplug/install.rs`).
//! - **prep-undo-cant-fail**: the teardowns of the steps up to `sync:timers` can't fail, by
//!   their type. So a bring-up that fails before SHOULD_ONLINE always ends offline.
//! - **refusals-first**: what can refuse a take-down is asked before the machine is stopped,
//!   the steps that may fail and firmware included; [`Hotplug::cpu_down`] asks first of all. A
//!   CPU_OFF that firmware refuses in spite of its answer doesn't turn the walk round: the CPU
//!   goes to the pen, or is quarantined. The take-down that undoes a bring-up asks nothing:
//!   a refusal would leave the CPU half way.
//! - **cpu-memory-stays**: a CPU's memory is never freed.
//! - **unseen-end-quarantines**: nothing is touched that a CPU which may still run
//!   could use: a CPU whose end was not seen is quarantined ([`Quarantine`]).
//! - **down-up-or-online**: between two operations no step of a CPU is up, or all, or
//!   at least those up to `init:online`: a CPU that rests half way, because it was moved there
//!   (`src/hotplug/target.rs`) or was left there, is online. Each operation begins from such a
//!   state.
//!
//! # Sources
//! Thomas Gleixner's *CPU hotplug rework* (`docs/references.md`); Linux `kernel/cpu.c`
//! and `cpuhotplug.h` for the names; DEN 0022 for CPU_ON, CPU_OFF and AFFINITY_INFO.

#![forbid(unsafe_code)]

mod ap;
mod batch;
mod batch_down;
mod batch_error;
mod batch_up;
mod control_place;
mod control_start;
mod control_steps;
mod core;
mod countdown;
mod cpuhp;
mod deadline;
mod error;
mod freeze;
mod governed;
mod handle;
mod handshake;
mod health;
mod history;
mod host;
mod install;
mod install_error;
mod instance;
mod name;
mod operation;
mod part;
mod passages;
mod recorded_call;
mod refusal;
mod registration;
mod service_threads;
mod services;
mod slots;
mod step;
mod table;
mod talk;
mod target;
mod timeline;
mod verdict;
mod walk;
mod walk_text;

pub use self::core::Hotplug;
pub use crate::bootargs::Parallel;
pub use crate::coherency::life::Life;
pub use batch_error::BatchError;
pub use countdown::Countdown;
pub use deadline::Awaited;
pub use error::{ApRefusal, CpuDownError, CpuUpError, FailError, Left, StepError};
pub use freeze::{DisableGuard, FreezeError, Frozen, HotplugDisabled, ThawError};
pub use handle::{InstanceHandle, StepHandle};
pub use handshake::{Handshake, SyncState};
pub use health::{CpuHealth, Parked, Quarantine};
pub use history::{RecordedWalk, pass_a_still_point, recorded_walks};
pub use host::HotplugHost;
pub use install::{NewStep, Passing};
pub use install_error::{InstallError, NotRemoved};
pub use instance::{Callback, Callbacks, FallibleFn, InfallibleFn, OwnFn, Place};
pub use name::StepName;
pub use part::{Part, PartKind};
pub use recorded_call::{RecordedCall, recorded_calls};
pub use refusal::{LateRefusal, decode_refusal, encode_refusal};
pub use registration::RegistrationGuard;
pub use service_threads::NewService;
pub use services::ServiceHandle;
pub use slots::{Installed, Slots};
pub use step::{Group, RunsOn, Side, Step, StepContext};
pub use table::{
    ALL_UP, UP_TO_ALIVE, UP_TO_INACTIVE, UP_TO_ONLINE, UP_TO_POST_DEAD, UP_TO_PREPARED, slots_of,
    steps,
};
pub use target::{ONLINE, RestingPlace, TargetError, state_number};
pub use timeline::{
    CpuHistory, PublishedState, RecordedInterrupt, RecordedRun, RecordedStay, SchedHistory,
    SentSgi, Timeline, recorded_stays,
};
pub use verdict::release_all;
pub use walk::{CpuhpState, SlotError, SlotRows, WalkError, Walker};
pub use walk_text::{WalkLine, part_name, way};
