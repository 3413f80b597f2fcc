//! A machine of CPUs with caches, depots, and an allocator that counts.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroUsize;
use std::rc::Rc;

use stillpoint::cpu::CpuId;
use stillpoint::memory::{
    BlockAllocator, CHAINS_PER_CPU, CPUS_PER_GROUP, DEPOT_BYTES, Depots, FreeBlock, HeapCache,
    HeapSupply, Links, MAGAZINE_BYTES, SharedHeap, SizeClass, group_members,
};
use stillpoint::sync::{IrqFlags, IrqGuard, LocalCpu, SpinLock};

/// A CPU, as far as its locks use it.
struct Cpu;

impl LocalCpu for Cpu {
    fn irq_save() -> IrqFlags {
        IrqFlags(0)
    }
    unsafe fn irq_restore(_: IrqFlags) {}
    unsafe fn irq_enable() {}
    fn irqs_enabled() -> bool {
        false
    }
    fn preempt_disable() {}
    unsafe fn preempt_enable_no_resched() {}
    fn preempt_count() -> u32 {
        0
    }
    fn preempt_point() {}
    fn relax() {}
    fn cpu_mark() -> NonZeroUsize {
        NonZeroUsize::MIN
    }
}

/// A block of memory, by its number.
struct Block {
    number: usize,
    links: Box<Links<Block>>,
}

impl FreeBlock for Block {
    fn links(&mut self) -> &mut Links<Block> {
        &mut self.links
    }
}

/// The allocator below: so many bytes, of which each block takes its size.
struct Memory {
    free: usize,
    /// The class of each block that was given out.
    out: BTreeMap<usize, SizeClass>,
    next: usize,
    /// Whether a CPU frees, and may not allocate.
    frees_only: bool,
}

impl BlockAllocator for Memory {
    type Block = Block;

    fn allocate(&mut self, class: SizeClass) -> Option<Block> {
        assert!(!self.frees_only, "memory is needed to free memory");
        self.free = self.free.checked_sub(class.size())?;
        self.next += 1;
        self.out.insert(self.next, class);
        Some(Block {
            number: self.next,
            links: Box::new(Links::none()),
        })
    }

    fn free(&mut self, class: SizeClass, block: Block) {
        let was = self.out.remove(&block.number);
        assert_eq!(was, Some(class), "block {} comes back", block.number);
        self.free += class.size();
    }
}

type Supply<'a> = HeapSupply<'a, Memory, Cpu>;

/// The machine.
pub(crate) struct World {
    shared: Rc<SpinLock<SharedHeap<Memory>, Cpu>>,
    depots: Rc<Depots<Block, Cpu>>,
    caches: Vec<HeapCache<Block>>,
    online: Vec<bool>,
    /// The blocks that programs use.
    used: VecDeque<(usize, SizeClass)>,
    memory: usize,
}

impl World {
    /// Returns a machine of `cpus` CPUs, all online, with `memory` bytes.
    pub(crate) fn new(cpus: usize, memory: usize) -> World {
        World {
            shared: Rc::new(SpinLock::new(SharedHeap {
                allocator: Memory {
                    free: memory,
                    out: BTreeMap::new(),
                    next: 0,
                    frees_only: false,
                },
                takings: 0,
            })),
            depots: Rc::new(Depots::new(cpus)),
            caches: (0..cpus).map(|_| HeapCache::new()).collect(),
            online: vec![true; cpus],
            used: VecDeque::new(),
            memory,
        }
    }

    fn supply(&self) -> Supply<'_> {
        Supply {
            shared: &self.shared,
            depots: &self.depots,
        }
    }

    /// Returns the first CPU from `index` on, round about, that is online.
    pub(crate) fn any_online(&self, index: usize) -> CpuId {
        let cpus = self.online.len();
        let found = (0..cpus)
            .map(|step| (index + step) % cpus)
            .find(|cpu| self.online[*cpu]);
        CpuId::new(found.expect("CPU 0 stays")).expect("few")
    }

    /// Allocates a block of `class` on `cpu`, as the kernel does; returns whether there was one.
    pub(crate) fn allocate(&mut self, cpu: CpuId, class: SizeClass) -> bool {
        let block = self.first_try(cpu, class).or_else(|| {
            let supply = Supply {
                shared: &self.shared,
                depots: &self.depots,
            };
            let _draining = supply.drain();
            supply.empty(&mut self.caches[cpu.index()]);
            assert_eq!(supply.depots.bytes(), 0, "left in depots");
            take(&supply, &mut self.caches[cpu.index()], cpu, class)
        });
        if let Some(block) = block {
            let shared = self.shared.lock_irqsave();
            assert_eq!(shared.allocator.out.get(&block.number), Some(&class));
            assert!(
                self.used.iter().all(|(other, _)| *other != block.number),
                "block {} is given out twice",
                block.number
            );
            self.used.push_back((block.number, class));
            return true;
        }
        let free = self.shared.lock_irqsave().allocator.free;
        assert!(free < class.size(), "{free} bytes for {class:?}");
        assert_eq!(self.caches[cpu.index()].bytes(), 0);
        false
    }

    fn first_try(&mut self, cpu: CpuId, class: SizeClass) -> Option<Block> {
        let supply = Supply {
            shared: &self.shared,
            depots: &self.depots,
        };
        take(&supply, &mut self.caches[cpu.index()], cpu, class)
    }

    /// Frees the used block at `index`, round about, on `cpu`; without blocks does nothing.
    pub(crate) fn free(&mut self, cpu: CpuId, index: usize) {
        let index = index % self.used.len().max(1);
        let Some((number, class)) = self.used.remove(index) else {
            return;
        };
        let block = Block {
            number,
            links: Box::new(Links::none()),
        };
        self.shared.lock_irqsave().allocator.frees_only = true;
        if let Some(chain) = self.caches[cpu.index()].put(class, block) {
            self.supply().give(cpu, class, chain, &IrqGuard::new());
        }
        self.shared.lock_irqsave().allocator.frees_only = false;
    }

    /// Takes `cpu` off, unless it is CPU 0, and checks what is left of it.
    pub(crate) fn leave(&mut self, cpu: CpuId) {
        if cpu == CpuId::BOOT {
            return;
        }
        self.online[cpu.index()] = false;
        let supply = Supply {
            shared: &self.shared,
            depots: &self.depots,
        };
        supply.empty(&mut self.caches[cpu.index()]);
        let group = group_members(cpu).filter_map(|member| self.online.get(member.index()));
        let staying = group.filter(|is_online| **is_online).count();
        supply.trim(cpu, staying);
        assert_eq!(self.caches[cpu.index()].bytes(), 0);
        for place in self.depots.places_of(cpu) {
            let kept = CHAINS_PER_CPU * staying;
            assert!(!self.depots.exceeds(place, kept), "kept for {cpu:?}");
        }
    }

    /// Has the CPU at `index` come back.
    pub(crate) fn come(&mut self, index: usize) {
        self.online[index] = true;
    }

    /// Calls `act_fn` while depots are drained.
    pub(crate) fn drain(&mut self, act_fn: impl FnOnce(&mut World)) {
        let (shared, depots) = (Rc::clone(&self.shared), Rc::clone(&self.depots));
        let supply = Supply {
            shared: &shared,
            depots: &depots,
        };
        let _draining = supply.drain();
        assert_eq!(depots.bytes(), 0, "left in depots");
        act_fn(self);
        assert_eq!(depots.bytes(), 0, "a chain was put while depots drain");
    }

    /// Returns how often the shared lock was taken.
    pub(crate) fn takings(&self) -> u64 {
        self.shared.lock_irqsave().takings
    }

    /// Checks that every byte is in one place, and all bounds.
    pub(crate) fn check(&self) {
        let free = self.shared.lock_irqsave().allocator.free;
        let cached: usize = self.caches.iter().map(HeapCache::bytes).sum();
        let used: usize = self.used.iter().map(|(_, class)| class.size()).sum();
        assert_eq!(free + cached + self.depots.bytes() + used, self.memory);
        for cache in &self.caches {
            for class in SizeClass::all() {
                assert!(cache.bytes_of(class) <= MAGAZINE_BYTES, "{class:?}");
            }
        }
        for place in self.depots.places() {
            let chain = place.class().batch() * place.class().size();
            let most = CPUS_PER_GROUP * DEPOT_BYTES / chain;
            assert!(!self.depots.exceeds(place, most), "{place:?}");
        }
        let classes = SizeClass::all().count();
        let most = self.online.len() * classes * DEPOT_BYTES;
        assert!(self.depots.bytes() <= most, "depots are over their bound");
    }

    /// Frees all, and checks that all of it has come back.
    pub(crate) fn end(mut self) {
        while !self.used.is_empty() {
            self.free(CpuId::BOOT, 0);
        }
        let supply = Supply {
            shared: &self.shared,
            depots: &self.depots,
        };
        for cache in &mut self.caches {
            supply.empty(cache);
        }
        drop(supply.drain());
        let shared = self.shared.lock_irqsave();
        assert_eq!(shared.allocator.free, self.memory);
        assert!(shared.allocator.out.is_empty());
    }
}

/// Takes a block from `cache`, or from the supply, as the kernel does.
fn take(
    supply: &Supply<'_>,
    cache: &mut HeapCache<Block>,
    cpu: CpuId,
    class: SizeClass,
) -> Option<Block> {
    cache.take(class).or_else(|| {
        let mut chain = supply.fetch(cpu, class, &IrqGuard::new());
        let block = chain.pop()?;
        cache.load(class, chain);
        Some(block)
    })
}
