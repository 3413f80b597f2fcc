//! Every state that a protocol can reach.

use std::collections::HashSet;
use std::hash::Hash;

/// A protocol between CPUs, at some point.
pub(crate) trait State: Clone + Eq + Hash {
    /// What the next step of `cpu` makes of it; `None` if it waits or has ended.
    ///
    /// # Errors
    /// What has gone wrong.
    fn step(&self, cpu: usize) -> Result<Option<Self>, String>;

    /// All that chance can make of it.
    fn by_chance(&self) -> Vec<Self>;

    /// Whether the protocol has come to its end.
    fn is_over(&self) -> bool;
}

/// Steps in which any protocol here ends, if it ends at all.
const ENOUGH: usize = 400;

/// Walks through every state.
///
/// # Errors
/// What can go wrong.
pub(crate) fn search<S: State>(start: S) -> Result<usize, String> {
    let mut seen = HashSet::from([start.clone()]);
    let mut left = vec![start];
    while let Some(state) = left.pop() {
        ends(&state)?;
        let mut next = state.by_chance();
        for cpu in 0..2 {
            next.extend(state.step(cpu)?);
        }
        for state in next {
            if seen.insert(state.clone()) {
                left.push(state);
            }
        }
    }
    Ok(seen.len())
}

/// Whether it ends from here if the CPUs take turns and nothing happens by chance:
/// a protocol must not need luck.
fn ends<S: State>(state: &S) -> Result<(), String> {
    let mut state = state.clone();
    for turn in 0..ENOUGH {
        if state.is_over() {
            return Ok(());
        }
        if let Some(next) = state.step(turn % 2)? {
            state = next;
        }
    }
    Err("it never ends".into())
}
