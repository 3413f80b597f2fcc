//! One word of text: in the data caches, which are coherent; where instructions are fetched from
//! (the point of unification); in each CPU's instruction cache; and among the instructions that
//! each CPU has fetched and not executed.

use crate::Step;
use crate::search::State;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Word {
    Old,
    New,
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Machine {
    steps: Vec<Step>,
    /// How far the writing CPU is.
    at: usize,
    /// How far the other CPU is, once the writing one has ended: it synchronizes and executes.
    other: usize,
    synchronizes: bool,
    site: u8,
    data: Word,
    unified: Word,
    cached: [Option<Word>; 2],
    fetched: [Option<Word>; 2],
    /// The word is to be written back, and may be so already.
    cleaning: bool,
    /// The instruction is to be dropped, and may be so already.
    dropping: bool,
}

impl Machine {
    /// The other CPU synchronizes when all has been written, or doesn't.
    pub(crate) fn new(steps: &[Step], site: u8, synchronizes: bool) -> Machine {
        Machine {
            steps: steps.to_vec(),
            at: 0,
            other: 0,
            synchronizes,
            site,
            data: Word::Old,
            unified: Word::Old,
            cached: [None; 2],
            fetched: [None; 2],
            cleaning: false,
            dropping: false,
        }
    }

    fn execute(&self, cpu: usize) -> Result<(), String> {
        let word = self.fetched[cpu]
            .or(self.cached[cpu])
            .unwrap_or(self.unified);
        if word == Word::Old {
            return Err(format!("CPU {cpu} executes an old instruction"));
        }
        Ok(())
    }

    fn written_back(&mut self) {
        (self.unified, self.cleaning) = (self.data, false);
    }

    fn dropped(&mut self) {
        (self.cached, self.dropping) = ([None; 2], false);
    }
}

impl State for Machine {
    fn step(&self, cpu: usize) -> Result<Option<Machine>, String> {
        let mut next = self.clone();
        if cpu == 1 {
            // It waits in the still point, and goes by its end.
            if self.at <= self.steps.len() || self.other == 2 {
                return Ok(None);
            }
            next.other += 1;
            match self.other {
                0 if self.synchronizes => next.fetched[1] = None,
                0 => {}
                _ => self.execute(1)?,
            }
            return Ok(Some(next));
        }
        next.at += 1;
        match self.steps.get(self.at) {
            Some(Step::Store(site)) if *site == self.site => next.data = Word::New,
            Some(Step::Clean(site)) if *site == self.site => next.cleaning = true,
            Some(Step::Invalidate(site)) if *site == self.site => next.dropping = true,
            Some(Step::Complete) => {
                if self.cleaning {
                    next.written_back();
                }
                if self.dropping {
                    next.dropped();
                }
            }
            Some(Step::Synchronize) => next.fetched[0] = None,
            Some(_) => {}
            None if self.at == self.steps.len() => self.execute(0)?,
            None => return Ok(None),
        }
        Ok(Some(next))
    }

    fn by_chance(&self) -> Vec<Machine> {
        let mut all = Vec::new();
        let mut may = |change_fn: &dyn Fn(&mut Machine)| {
            let mut next = self.clone();
            change_fn(&mut next);
            all.push(next);
        };
        may(&|it| it.unified = it.data);
        if self.cleaning {
            may(&Machine::written_back);
        }
        if self.dropping {
            may(&Machine::dropped);
        }
        for cpu in 0..2 {
            if self.cached[cpu].is_none() {
                may(&|it| it.cached[cpu] = Some(it.unified));
            }
            may(&|it| it.cached[cpu] = None);
            if self.fetched[cpu].is_none() {
                may(&|it| it.fetched[cpu] = Some(it.cached[cpu].unwrap_or(it.unified)));
            }
        }
        all
    }

    fn is_over(&self) -> bool {
        self.at > self.steps.len() && self.other == 2
    }
}
