//! Hotplug on the host. The walk along a state table: order, failures, reversal, counters.
//! The rules of the kernel's own table. Whole operations with a failure, on a simulated
//! machine; on the same machine a stop during calls that make further calls, and waits for a mutex.

#[path = "host_hotplug/affinity.rs"]
mod affinity;
#[path = "host_hotplug/alone.rs"]
mod alone;
#[path = "host_hotplug/batch_failures.rs"]
mod batch_failures;
#[path = "host_hotplug/batch_limits.rs"]
mod batch_limits;
#[path = "host_hotplug/batch_lines.rs"]
mod batch_lines;
#[path = "host_hotplug/batches.rs"]
mod batches;
#[path = "host_hotplug/batches_up.rs"]
mod batches_up;
#[path = "host_hotplug/batches_up_quarantined.rs"]
mod batches_up_quarantined;
#[path = "host_hotplug/call_records.rs"]
mod call_records;
#[path = "host_hotplug/calls.rs"]
mod calls;
#[path = "host_hotplug/deadlines.rs"]
mod deadlines;
#[path = "host_hotplug/every_cpu.rs"]
mod every_cpu;
#[path = "host_hotplug/failures.rs"]
mod failures;
#[path = "support/fake.rs"]
mod fake;
#[path = "host_hotplug/freeze.rs"]
mod freeze;
#[path = "host_hotplug/give_way.rs"]
mod give_way;
#[path = "host_hotplug/given_back.rs"]
mod given_back;
#[path = "host_hotplug/history.rs"]
mod history;
#[path = "host_hotplug/inactive.rs"]
mod inactive;
#[path = "host_hotplug/leaps.rs"]
mod leaps;
#[path = "host_hotplug/mutexes.rs"]
mod mutexes;
#[path = "host_hotplug/never_online.rs"]
mod never_online;
#[path = "host_hotplug/plain_walks.rs"]
mod plain_walks;
#[path = "host_hotplug/rw_locks.rs"]
mod rw_locks;
#[path = "host_hotplug/services.rs"]
mod services;
#[path = "host_hotplug/services_random.rs"]
mod services_random;
#[path = "support/sim.rs"]
mod sim;
#[path = "host_hotplug/steps_inside.rs"]
mod steps_inside;
#[path = "host_hotplug/steps_model.rs"]
mod steps_model;
#[path = "host_hotplug/steps_random.rs"]
mod steps_random;
#[path = "host_hotplug/steps_walks.rs"]
mod steps_walks;
#[path = "host_hotplug/stops.rs"]
mod stops;
#[path = "host_hotplug/stops_flush.rs"]
mod stops_flush;
#[path = "host_hotplug/stops_leaving.rs"]
mod stops_leaving;
#[path = "host_hotplug/stops_lines.rs"]
mod stops_lines;
#[path = "host_hotplug/stops_races.rs"]
mod stops_races;
#[path = "host_hotplug/stops_timers.rs"]
mod stops_timers;
#[path = "host_hotplug/sweep.rs"]
mod sweep;
#[path = "host_hotplug/table.rs"]
mod table;
#[path = "host_hotplug/targets.rs"]
mod targets;
#[path = "host_hotplug/timeline.rs"]
mod timeline;
#[path = "host_hotplug/timeline_sched.rs"]
mod timeline_sched;
#[path = "host_hotplug/told.rs"]
mod told;
#[path = "host_hotplug/urgency.rs"]
mod urgency;
#[path = "host_hotplug/walk.rs"]
mod walk;
#[path = "support/xorshift.rs"]
mod xorshift;
