//! What the trace rings have of a CPU.

use alloc::vec::Vec;

use stillpoint::cpu::CpuId;
use stillpoint::hotplug::{RecordedCall, RecordedWalk, recorded_calls, recorded_walks};
use stillpoint::kernel::kernel;
use stillpoint::time::Instant;

/// Returns the last walk of `cpu` that began at `since` or later.
pub fn last_walk(cpu: CpuId, since: Instant) -> Option<RecordedWalk> {
    let trace = &kernel().trace;
    let mut records = trace.walks_of(cpu, since);
    let stops_from = trace.add_stops(since, &mut records);
    recorded_walks(cpu, &records, stops_from).pop()
}

/// Returns the calls of installations and removals for `cpu` since `since`.
pub fn calls_since(cpu: CpuId, since: Instant) -> Vec<RecordedCall> {
    recorded_calls(cpu, &kernel().trace.walks_of(cpu, since))
}
