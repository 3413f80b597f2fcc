//! The governor: how many CPUs are online, by the load.
//!
//! This is the policy alone: from what was measured it decides how many CPUs come or go, and when
//! to look again. It has no clock, starts nothing and touches no CPU; the kernel's thread
//! `governor` does that. Times are nanoseconds.
//!
//! # Governors
//! | Name | How many CPUs are online |
//! |---|---|
//! | `performance` | as many as the ceiling lets |
//! | `ondemand` | as many as the load needs, between floor and ceiling: this policy |
//! | `userspace` | as many as a program or an operator has asked for; without a request the governor does nothing |
//!
//! # Inputs
//! A [`Sample`] is what was measured since the one before:
//!
//! - *busy*: for how long threads other than idle ones have had the CPUs, from the run queues.
//! - *waited*: for how long threads were runnable and had no CPU, though they may run on several.
//!   Two threads that wait for 1 ms have waited for 2 ms.
//! - how many CPUs are online, and how many may come or go: see *refused* below.
//!
//! # States
//! ```text
//!                  a thread waits: a timer is set, for half the bound
//!      ┌──────┐ ──────────────────────────────────────────────────► ┌─────────┐
//!      │ rest │                                                     │ looking │──┐ every sampling time;
//!      └──────┘ ◄────────────────────────────────────────────────── └─────────┘◄─┘ half the bound while
//!                  at the floor, and no thread waits;                  │    ▲      threads wait
//!                  or no CPU may come or go                            ▼    │
//!                                                           CPUs come, or go: a batch
//! ```
//! At rest no timer is set. A wake that leaves a thread waiting ends the rest, and so does an
//! operation of hotplug of another caller.
//!
//! # The rule
//! A sample is *saturated* if its CPUs were busy for [`SATURATED`] percent of the time.
//!
//! - **Up**: in saturated samples, without another one between, threads have waited for `up_wait`
//!   altogether. As many CPUs come as threads have waited on average, one at least.
//! - **Down**: a sample *needs* so many CPUs that all that was busy makes each busy for
//!   `target_busy` percent at most; a saturated one needs all that are online. If no sample of the last *hold* needed all CPUs that are
//!   online, all go that none of them needed.
//! - **Floor, ceiling**: CPUs come up to `min_cpus`, and go down to `max_cpus`, whatever the load.
//!
//! The hold is `down_delay` at first. A CPU that is wanted back within [`REGRET`] or within 4
//! holds was given back too early: the hold doubles, up to `down_delay_max`. If it was away for
//! 8 holds, and for [`REGRET`] at least, the hold is `down_delay` again.
//!
//! # Invariants
//! - **dead-band**: a load that made CPUs come does not make them go. More come only if all that
//!   are online are busy for [`SATURATED`] percent. As many as are left after others have gone are
//!   busy for `target_busy` percent at most, which is less ([`Tunables::check`]). So a constant
//!   load changes the number of CPUs once in each direction at most: up, until the CPUs are not
//!   saturated or the ceiling is there, and then down, to what it needs, where they are not
//!   saturated.
//! - **wait-is-recent**: on saturated CPUs threads wait for a moment now and then: while the governor
//!   itself runs, or another thread for a short time. That makes no CPU come: of what was waited more
//!   than 3 `up_wait` ago half counts, and half again of what is older. So threads that wait for less
//!   than a fifth of the time don't reach `up_wait`.
//! - **regret-doubles**: a load that varies may saturate the CPUs that are left all the same. Each
//!   time the hold doubles, so the changes of such a load become rarer until `down_delay_max`
//!   bounds them: two in each `down_delay_max`. For any load at all, between a reset of the hold
//!   and the next one lies [`REGRET`]; see `changes_are_rare_for_any_load` in
//!   `tests/host_governor.rs` for the number that follows.
//! - **changes-apart**: `rate_limit` lies between the end of a change and the next.
//! - **within-bounds**: no decision leads below the floor or above the ceiling.
//! - **refused-backs-off**: a CPU that didn't come or go isn't asked again until a time has passed
//!   that doubles with each failure ([`Refusals`]).
//! - **rests-at-the-floor**: at the floor, with no thread waiting, the decision is to rest.
//!
//! # Latency
//! With `up_wait` = *u*, `sampling_rate` = *s*, `down_delay` = *d*, `rate_limit` = *r*:
//!
//! - From rest, CPUs come within *u* after a thread has begun to wait: the first sample is taken at
//!   *u*/2, the second at *u*. Otherwise within *s* + *u* + *u*/2, because a sample may be half
//!   idle; and *r* later if there was a change just before.
//! - After the end of a load CPUs go within *s* + *d* + *s*, while the hold is `down_delay`. If the
//!   last sample was busy for a part, what it needed goes a sample later.
//!
//! By default that is 1 ms and 7 ms. What an operation of hotplug takes comes on top.
//!
//! # Sources
//! Linux `Documentation/admin-guide/pm/cpufreq.rst` for the names; Linux's `cpufreq_ondemand.c`
//! for the rule by a share of busy time.

#![forbid(unsafe_code)]

mod hold;
mod needs;
mod policy;
mod refusals;
mod statistics;
mod tunables;

pub use crate::bootargs::Governor;
pub use crate::trace::Reason;
pub use hold::REGRET;
pub use policy::{Change, Decision, Policy, SATURATED, Sample};
pub use refusals::Refusals;
pub use statistics::Statistics;
pub use tunables::{Tunables, TunablesError};
