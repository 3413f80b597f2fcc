//! A breadth-first search through the graph.

/// A class, as the end of a way to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    /// The number of the class.
    pub(super) number: u16,
    /// Whether there is a lock on the way, and not only maps. A class is reached twice,
    /// if it can be reached with and without.
    pub(super) met_lock: bool,
}

/// The mark for "no spot".
const NOWHERE: u16 = u16::MAX;

impl Spot {
    fn code(self) -> u16 {
        2 * self.number + u16::from(self.met_lock)
    }

    fn of_code(code: u16) -> Spot {
        Spot {
            number: code / 2,
            met_lock: code % 2 == 1,
        }
    }
}

/// The spots that a search among so many classes has reached, and where it came from. There are
/// two for each class.
pub(super) struct Search<const C: usize> {
    /// In the order in which they were reached, from `next` on still to be left.
    queue: [[u16; 2]; C],
    next: usize,
    end: usize,
    came_from: [[u16; 2]; C],
}

impl<const C: usize> Search<C> {
    /// Returns a search that hasn't begun.
    pub(super) const fn new() -> Self {
        Search {
            queue: [[0; 2]; C],
            next: 0,
            end: 0,
            came_from: [[NOWHERE; 2]; C],
        }
    }

    /// Forgets the search before and begins one at `spot`.
    pub(super) fn begin(&mut self, spot: Spot) {
        self.came_from = [[NOWHERE; 2]; C];
        (self.next, self.end) = (0, 0);
        self.add(spot, spot);
    }

    /// Returns the next spot to look at.
    pub(super) fn next(&mut self) -> Option<Spot> {
        let reached = &self.queue.as_flattened()[..self.end];
        let code = reached.get(self.next)?;
        self.next += 1;
        Some(Spot::of_code(*code))
    }

    /// Notes that `spot` is reached from `from`, unless it was before.
    pub(super) fn add(&mut self, from: Spot, spot: Spot) {
        let came_from = &mut self.came_from.as_flattened_mut()[usize::from(spot.code())];
        if *came_from == NOWHERE {
            *came_from = from.code();
            self.queue.as_flattened_mut()[self.end] = spot.code();
            self.end += 1;
        }
    }

    /// Returns from where `spot` was reached.
    pub(super) fn came_from(&self, spot: Spot) -> Spot {
        Spot::of_code(self.came_from.as_flattened()[usize::from(spot.code())])
    }
}
