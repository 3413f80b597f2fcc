//! The boot and pen protocols against memory with write-back caches, in every order.
//!
//! The tests run the sequences that ship (`stillpoint::coherency::boot` and
//! `stillpoint::coherency::pen`), a step at a time, on two CPUs. Their caches may write a line
//! back, drop it or fetch one at any moment. The sequences of assembly are lists of steps. The
//! sequences of Rust are functions, whose steps `host_caches/recorder.rs` records.
//! `host_caches/memory.rs` has the memory, and `host_caches/search.rs` visits every state that
//! can be reached. A protocol is sound if no CPU ever reads an outdated value, and if it can
//! end from every state without an event of the caches.
//!
//! Then the tests leave out each cache operation, one at a time. Each time they must find a
//! fault.

#[path = "host_caches/boot.rs"]
mod boot;
#[path = "host_caches/memory.rs"]
mod memory;
#[path = "host_caches/pen.rs"]
mod pen;
#[path = "host_caches/recorder.rs"]
mod recorder;
#[path = "host_caches/search.rs"]
mod search;

use stillpoint::coherency::steps::CacheStep;

/// Returns whether `step` is cache maintenance, which the tests leave out to see it missed.
fn is_maintenance(step: &CacheStep) -> bool {
    matches!(
        step,
        CacheStep::Clean(_) | CacheStep::CleanInvalidate(_) | CacheStep::Invalidate(_)
    )
}

/// Returns `steps` without the step at `left_out`.
fn without(steps: &[CacheStep], left_out: usize) -> Vec<CacheStep> {
    let mut steps = steps.to_vec();
    steps.remove(left_out);
    steps
}
