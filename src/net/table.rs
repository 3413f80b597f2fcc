//! A table whose entries are named by ids that are never used again.

use alloc::vec::Vec;

/// Names an entry, also when it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SockId {
    index: u32,
    generation: u32,
}

/// The entries.
#[derive(Debug)]
pub(super) struct Table<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    entry: Option<T>,
}

impl<T> Table<T> {
    pub(super) const fn new() -> Table<T> {
        Table {
            slots: Vec::new(),
            free: Vec::new(),
        }
    }

    pub(super) fn insert(&mut self, entry: T) -> SockId {
        if let Some(index) = self.free.pop() {
            let slot = &mut self.slots[index as usize];
            slot.entry = Some(entry);
            let generation = slot.generation;
            return SockId { index, generation };
        }
        let index = u32::try_from(self.slots.len()).expect("BUG: 2^32 sockets");
        self.slots.push(Slot {
            generation: 0,
            entry: Some(entry),
        });
        SockId {
            index,
            generation: 0,
        }
    }

    pub(super) fn get(&self, id: SockId) -> Option<&T> {
        let slot = self.slots.get(id.index as usize)?;
        slot.entry
            .as_ref()
            .filter(|_| slot.generation == id.generation)
    }

    pub(super) fn get_mut(&mut self, id: SockId) -> Option<&mut T> {
        let slot = self.slots.get_mut(id.index as usize)?;
        match slot.generation == id.generation {
            true => slot.entry.as_mut(),
            false => None,
        }
    }

    pub(super) fn remove(&mut self, id: SockId) -> Option<T> {
        let slot = self.slots.get_mut(id.index as usize)?;
        if slot.generation != id.generation {
            return None;
        }
        let entry = slot.entry.take()?;
        // A slot whose generations are used up is left empty.
        if let Some(next) = slot.generation.checked_add(1) {
            slot.generation = next;
            self.free.push(id.index);
        }
        Some(entry)
    }

    /// Returns the ids of all entries.
    pub(super) fn ids(&self) -> impl Iterator<Item = SockId> + '_ {
        let slots = (0..).zip(&self.slots);
        slots.filter_map(|(index, slot)| {
            slot.entry.as_ref().map(|_| SockId {
                index,
                generation: slot.generation,
            })
        })
    }
}
