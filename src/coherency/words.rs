//! What a sequence that Rust runs does to memory, as traits.
//!
//! A sequence is a generic function over what it does to which words, and over nothing
//! else. On hardware the type behind it knows where the words are; in the model of the
//! caches (`tests/host_caches.rs`) it notes each step. Neither can be handed a step that
//! it doesn't know: the function would not compile. What is read is of a type that the
//! sequence knows nothing of, so no sequence can branch on it, and the steps that the
//! model notes are those that hardware takes.

#![forbid(unsafe_code)]

use super::steps::Line;

/// Words that travel together, as a type: one for each [`Line`], of the same name.
pub trait Words: Copy {
    /// The same as a value.
    const LINE: Line;
}

/// Makes a type of each line.
macro_rules! words {
    ($($line:ident),* $(,)?) => {
        $(
            #[doc = concat!("[`Line::", stringify!($line), "`] as a type.")]
            #[derive(Clone, Copy, Debug)]
            pub struct $line;

            impl Words for $line {
                const LINE: Line = Line::$line;
            }
        )*
    };
}

words!(
    Command, Status, Handover, Failure, Tree, Bss, Relocated, Tables
);

/// Stores to words: through the cache, or past it if caches are off.
pub trait Write<W> {
    /// What comes of the writing.
    type Outcome;

    /// Writes the words. What is written is up to `self`.
    fn write(&mut self, words: W) -> Self::Outcome;
}

/// Loads from words: through the cache, or past it if caches are off.
pub trait Read<W> {
    /// What is read.
    type Value;

    /// Returns what the words say.
    fn read(&mut self, words: W) -> Self::Value;
}

/// Writes cached content back.
pub trait Clean<W> {
    /// Writes cached content of the words back to memory; done on return.
    fn clean(&mut self, words: W);
}

/// Writes cached content back, and drops it.
pub trait CleanInvalidate<W> {
    /// Writes cached content of the words back to memory and drops it from all caches;
    /// done on return.
    fn clean_invalidate(&mut self, words: W);
}

/// Drops cached content.
pub trait Invalidate<W> {
    /// Drops the words from all caches; done on return. What was written through a cache
    /// and never written back is lost.
    fn invalidate(&mut self, words: W);
}

/// Wakes CPUs that wait for a command.
pub trait Signal {
    /// Wakes the CPUs that wait for a command.
    fn signal(&mut self);
}

/// Turns caches on.
pub trait CachesOn {
    /// From the return on accesses of this CPU go through its caches.
    fn caches_on(&mut self);
}
