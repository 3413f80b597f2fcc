//! Every state that a protocol can reach.

use std::collections::HashSet;
use std::hash::Hash;

/// A state of a protocol between CPUs.
pub(crate) trait State: Clone + Eq + Hash {
    /// Returns the state after the next step of `cpu`; `None` if it waits or has ended.
    ///
    /// # Errors
    /// A description of the fault.
    fn step(&self, cpu: usize) -> Result<Option<Self>, String>;

    /// Returns the states after each event that may happen by itself.
    fn by_chance(&self) -> Vec<Self>;

    /// Returns whether the protocol has ended.
    fn is_over(&self) -> bool;
}

/// How many steps a protocol takes at most, if it ends at all.
const ENOUGH: usize = 400;

/// Visits every state that can be reached from the first.
///
/// # Errors
/// A description of the first fault.
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

/// Returns whether the protocol ends from here if the CPUs take turns and nothing happens by
/// itself. A protocol must not depend on such events.
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
