//! The walk along a state table: order, failures, turning round, counters; what the
//! table that ships promises of itself; and what becomes of whole operations past a
//! failure. On the same simulated machine, a stop among calls that breed calls.

#[path = "host_hotplug/affinity.rs"]
mod affinity;
#[path = "host_hotplug/calls.rs"]
mod calls;
#[path = "host_hotplug/failures.rs"]
mod failures;
#[path = "support/fake.rs"]
mod fake;
#[path = "host_hotplug/history.rs"]
mod history;
#[path = "support/sim.rs"]
mod sim;
#[path = "host_hotplug/sweep.rs"]
mod sweep;
#[path = "host_hotplug/table.rs"]
mod table;
#[path = "host_hotplug/walk.rs"]
mod walk;
#[path = "support/xorshift.rs"]
mod xorshift;
