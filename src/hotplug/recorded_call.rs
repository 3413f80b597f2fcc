//! The calls of installations and removals, as the trace rings hold them: one for each callback
//! that was called for a CPU which didn't walk. They are in the ring of that CPU's walks.

use alloc::vec::Vec;

use crate::cpu::CpuId;
use crate::time::Instant;
use crate::trace::{Direction, Event, Record};

/// The call of a callback for a CPU that is past its step, because the step, or an instance of
/// it, is installed or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedCall {
    /// When it began.
    pub at: Instant,
    /// The CPU that it ran on.
    pub on: CpuId,
    /// The step's index in the table.
    pub step: usize,
    /// Startup or teardown. An installation that is taken back has teardowns too.
    pub direction: Direction,
    /// Whether it succeeded; `None` if its end is not recorded.
    pub done: Option<bool>,
    /// How long it took; 0 if its end is not recorded.
    pub ticks: u64,
}

/// Returns the calls for `cpu` in `records`, which are in the order of their time.
pub fn recorded_calls(cpu: CpuId, records: &[Record]) -> Vec<RecordedCall> {
    let mut calls: Vec<RecordedCall> = Vec::new();
    for record in records {
        match record.event {
            Event::CallBegin {
                cpu: of,
                step,
                direction,
            } if of == cpu => calls.push(RecordedCall {
                at: record.at,
                on: record.on,
                step: step.into(),
                direction,
                done: None,
                ticks: 0,
            }),
            // One follows the other: an installation calls a CPU when it has called the one before.
            Event::CallEnd { cpu: of, ok, .. } if of == cpu => {
                if let Some(call) = calls.last_mut().filter(|call| call.done.is_none()) {
                    call.done = Some(ok);
                    call.ticks = record.at.ticks_since(call.at);
                }
            }
            _ => {}
        }
    }
    calls
}
