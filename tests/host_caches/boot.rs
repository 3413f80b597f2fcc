//! The boot CPU, after a loader that leaves its caches dirty.

use stillpoint::coherency::boot;
use stillpoint::coherency::steps::{CacheStep, Line};

use crate::memory::{Copy, Memory, Value};
use crate::recorder::steps_of;
use crate::search::{State, search};
use crate::{is_maintenance, without};

/// What the loader left in its caches and must not come back.
const OLD: Value = 1;
/// The value that a reader must see.
const NEW: Value = 2;

const LINES: [Line; 4] = [Line::Tree, Line::Bss, Line::Relocated, Line::Tables];

/// The sequences in the order in which the boot CPU goes through them.
fn all() -> Vec<CacheStep> {
    [
        boot::BSS.to_vec(),
        boot::RELOCATE.to_vec(),
        steps_of(boot::read_tree),
        steps_of(boot::build),
        steps_of(boot::turn_on),
    ]
    .concat()
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Boot {
    memory: Memory,
    steps: Vec<CacheStep>,
    at: usize,
}

impl Boot {
    fn new(mut steps: Vec<CacheStep>) -> Boot {
        // Afterwards the kernel uses all of it, through its caches, for ever.
        for _ in 0..2 {
            steps.extend([Line::Bss, Line::Relocated, Line::Tables].map(CacheStep::Read));
        }
        let mut memory = Memory::new([false; 2]);
        let dirty = |value| Copy { value, dirty: true };
        // The tree is in the loader's cache; so is what was in our memory before.
        memory.set_copy(0, Line::Tree, dirty(NEW));
        memory.set_copy(0, Line::Bss, dirty(OLD));
        memory.set_copy(1, Line::Tables, dirty(OLD));
        // The Image was cleaned to memory: a copy may be left, but none that is dirty.
        memory.set_memory(Line::Relocated, OLD);
        let clean = Copy {
            value: OLD,
            dirty: false,
        };
        memory.set_copy(0, Line::Relocated, clean);
        Boot {
            memory,
            steps,
            at: 0,
        }
    }
}

impl State for Boot {
    fn step(&self, cpu: usize) -> Result<Option<Boot>, String> {
        let Some(step) = self.steps.get(self.at).filter(|_| cpu == 0) else {
            return Ok(None);
        };
        let mut next = self.clone();
        next.at += 1;
        match *step {
            CacheStep::Write(line) => next.memory.write(0, line, NEW),
            CacheStep::Read(line) => {
                if next.memory.read(0, line) != NEW {
                    return Err(format!("{line:?} is not what was written"));
                }
            }
            CacheStep::Clean(line) => next.memory.clean(line),
            CacheStep::Invalidate(line) => next.memory.invalidate(line),
            CacheStep::CachesOn => next.memory.caches_on[0] = true,
            step => panic!("{step:?} is no step of the boot CPU"),
        }
        Ok(Some(next))
    }

    fn by_chance(&self) -> Vec<Boot> {
        let memories = self.memory.by_chance(&LINES);
        let with = |memory| Boot {
            memory,
            ..self.clone()
        };
        memories.into_iter().map(with).collect()
    }

    fn is_over(&self) -> bool {
        self.at == self.steps.len()
    }
}

#[test]
fn the_boot_cpu_finds_what_it_wrote() {
    let states = search(Boot::new(all())).expect("sound");
    assert!(states > 1000, "only {states} states");
}

#[test]
fn the_boot_cpu_needs_each_of_its_cache_operations() {
    let steps = all();
    let needed = steps.iter().filter(|step| is_maintenance(step)).count();
    assert_eq!(needed, 6);
    for (at, step) in steps.iter().enumerate() {
        if is_maintenance(step) {
            let wrong = search(Boot::new(without(&steps, at)));
            assert!(wrong.is_err(), "without {step:?} (step {at}) nothing fails");
        }
    }
}
