//! The walk along a state table: order, failures, turning round, counters; and
//! what the table that ships promises of itself.

#[path = "support/fake.rs"]
mod fake;
#[path = "host_hotplug/history.rs"]
mod history;
#[path = "host_hotplug/table.rs"]
mod table;
#[path = "host_hotplug/walk.rs"]
mod walk;
#[path = "support/xorshift.rs"]
mod xorshift;
