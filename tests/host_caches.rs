//! The boot and pen protocols against memory with write-back caches, in every order.
//!
//! What runs here are the sequences that ship (`stillpoint::coherency::boot` and
//! `stillpoint::coherency::pen`), a step at a time, between two CPUs whose caches may at
//! any moment write a line back, drop it or fetch one. Those of assembly are lists of
//! steps; those of Rust are functions, whose steps `host_caches/recorder.rs` notes.
//! `host_caches/memory.rs` is that memory, `host_caches/search.rs` walks through every
//! state that can be reached. A protocol is sound if no CPU ever reads what is out of date, and if
//! from every state it comes to its end without the help of chance.
//!
//! Then each cache operation is left out, one at a time: each time it must go wrong.

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
