//! Records the steps of a sequence that is a Rust function.

use stillpoint::coherency::steps::CacheStep;
use stillpoint::coherency::words::{
    CachesOn, Clean, CleanInvalidate, Invalidate, Read, Signal, Words, Write,
};

/// Notes each step that a sequence takes.
pub(crate) struct Recorder {
    steps: Vec<CacheStep>,
}

/// Returns the steps of `sequence_fn`.
pub(crate) fn steps_of<T>(sequence_fn: impl FnOnce(&mut Recorder) -> T) -> Vec<CacheStep> {
    let mut recorder = Recorder { steps: Vec::new() };
    sequence_fn(&mut recorder);
    recorder.steps
}

impl<W: Words> Write<W> for Recorder {
    type Outcome = ();

    fn write(&mut self, _: W) {
        self.steps.push(CacheStep::Write(W::LINE));
    }
}

impl<W: Words> Read<W> for Recorder {
    type Value = ();

    fn read(&mut self, _: W) {
        self.steps.push(CacheStep::Read(W::LINE));
    }
}

impl<W: Words> Clean<W> for Recorder {
    fn clean(&mut self, _: W) {
        self.steps.push(CacheStep::Clean(W::LINE));
    }
}

impl<W: Words> CleanInvalidate<W> for Recorder {
    fn clean_invalidate(&mut self, _: W) {
        self.steps.push(CacheStep::CleanInvalidate(W::LINE));
    }
}

impl<W: Words> Invalidate<W> for Recorder {
    fn invalidate(&mut self, _: W) {
        self.steps.push(CacheStep::Invalidate(W::LINE));
    }
}

impl Signal for Recorder {
    fn signal(&mut self) {
        self.steps.push(CacheStep::Signal);
    }
}

impl CachesOn for Recorder {
    fn caches_on(&mut self) {
        self.steps.push(CacheStep::CachesOn);
    }
}
