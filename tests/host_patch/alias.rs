//! The alias: a descriptor in memory, what walks of the tables see of it, and what each CPU has
//! kept of such walks.

use crate::Step;
use crate::search::State;

/// The page at the alias.
type Page = Option<u8>;

#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Machine {
    steps: Vec<Step>,
    at: usize,
    /// What was stored last.
    stored: Page,
    /// What walks see.
    walked: Page,
    /// What each CPU has kept.
    kept: [Page; 2],
    /// What the writing CPU takes for the result of a walk, since it last synchronized.
    view: Page,
    /// Translations are to be dropped, and may be so already.
    dropping: bool,
}

impl Machine {
    pub(crate) fn new(steps: &[Step]) -> Machine {
        Machine {
            steps: steps.to_vec(),
            at: 0,
            stored: None,
            walked: None,
            kept: [None; 2],
            view: None,
            dropping: false,
        }
    }
}

impl State for Machine {
    fn step(&self, cpu: usize) -> Result<Option<Machine>, String> {
        if cpu != 0 {
            return Ok(None);
        }
        let mut next = self.clone();
        next.at += 1;
        match self.steps.get(self.at) {
            Some(Step::SetAlias(page)) => {
                // Arm ARM: two translations of an address at a time have any result at all.
                if self.walked.is_some() || self.kept != [None; 2] {
                    return Err("the alias has a page already".into());
                }
                next.stored = Some(*page);
            }
            Some(Step::ClearAlias) => next.stored = None,
            Some(Step::DropTranslations) => next.dropping = true,
            Some(Step::Complete) => {
                next.walked = self.stored;
                if self.dropping {
                    (next.kept, next.dropping) = ([None; 2], false);
                }
            }
            Some(Step::Synchronize) => next.view = self.walked,
            Some(Step::Store(site)) => match self.kept[0].or(self.view) {
                Some(page) if page == *site => {}
                Some(page) => return Err(format!("page {page} is written for site {site}")),
                None => return Err("the alias has no page".into()),
            },
            Some(Step::Clean(_) | Step::Invalidate(_)) => {}
            None if self.at == self.steps.len() => {
                let left = [
                    self.stored,
                    self.walked,
                    self.view,
                    self.kept[0],
                    self.kept[1],
                ];
                if left != [None; 5] {
                    return Err("text can still be written".into());
                }
            }
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
        may(&|it| it.walked = it.stored);
        for cpu in 0..2 {
            // A walk without a result isn't kept; what is kept may be forgotten.
            if self.walked.is_some() && self.kept[cpu].is_none() {
                may(&|it| it.kept[cpu] = it.walked);
            }
            may(&|it| it.kept[cpu] = None);
        }
        if self.dropping {
            may(&|it| (it.kept, it.dropping) = ([None; 2], false));
        }
        all
    }

    fn is_over(&self) -> bool {
        self.at > self.steps.len()
    }
}
