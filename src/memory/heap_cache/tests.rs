//! The cache against a model: every block is in one place at a time.

use std::collections::BTreeMap;

use super::*;
use crate::xorshift::Random;

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).expect("a sane layout")
}

#[test]
fn a_class_is_the_smallest_that_fits() {
    for size in 1..=1024 {
        let class = SizeClass::of(layout(size, 8)).expect("it has a class");
        assert!(class.size() >= size, "{size} in {class:?}");
        assert!(
            SizeClass::all().all(|other| other.size() < size || other.size() >= class.size()),
            "{size} in {class:?}"
        );
        // The layout of the class's blocks has the same class (layout-of-class).
        assert_eq!(SizeClass::of(class.layout()), Some(class));
    }
}

#[test]
fn what_is_large_or_strictly_aligned_has_no_class() {
    assert_eq!(SizeClass::of(layout(1025, 1)), None);
    assert_eq!(SizeClass::of(layout(16, 32)), None);
    assert!(SizeClass::of(layout(16, 16)).is_some());
}

#[test]
fn a_magazine_is_bounded_and_gives_the_latest_first() {
    for class in SizeClass::all() {
        let mut cache = HeapCache::new();
        let mut kept = 0;
        while cache.put(class, kept).is_ok() {
            kept += 1;
        }
        assert_eq!(kept, class.capacity());
        assert!(kept >= class.batch() && class.batch() > 0);
        assert!(kept <= MAGAZINE_BLOCKS && kept * class.size() <= MAGAZINE_BYTES);
        assert_eq!(cache.bytes(), kept * class.size());
        assert_eq!(cache.take(class), Some(kept - 1));
    }
}

/// Makes random requests on a few CPUs. Each has a cache, and all share one allocator.
#[test]
fn every_block_is_given_out_once_and_all_come_back() {
    const CPUS: usize = 3;
    for seed in 1..50 {
        let mut random = Random::new(seed);
        let mut caches: Vec<HeapCache<usize>> = (0..CPUS).map(|_| HeapCache::new()).collect();
        // The class of each block that the allocator below has given out, by its number.
        let mut below: BTreeMap<usize, SizeClass> = BTreeMap::new();
        let mut out: Vec<(usize, SizeClass)> = Vec::new();
        let mut next = 0;
        for _ in 0..2000 {
            let cache = &mut caches[random.below(CPUS)];
            if random.below(2) == 0 {
                let size = 1 + random.below(1024);
                let class = SizeClass::of(layout(size, 8)).expect("it has a class");
                let block = cache.take(class).unwrap_or_else(|| {
                    for _ in 1..class.batch() {
                        below.insert(next, class);
                        assert_eq!(cache.put(class, next), Ok(()));
                        next += 1;
                    }
                    below.insert(next, class);
                    next += 1;
                    next - 1
                });
                assert_eq!(below.get(&block), Some(&class), "seed {seed}");
                assert!(out.iter().all(|(other, _)| *other != block), "seed {seed}");
                out.push((block, class));
            } else if !out.is_empty() {
                let (block, class) = out.swap_remove(random.below(out.len()));
                if let Err(block) = cache.put(class, block) {
                    for _ in 0..class.batch() {
                        let old = cache.take(class).expect("a full magazine");
                        assert_eq!(below.remove(&old), Some(class), "seed {seed}");
                    }
                    assert_eq!(cache.put(class, block), Ok(()));
                }
            }
        }
        let kept: usize = caches.iter().map(HeapCache::bytes).sum();
        let given: usize = below.values().map(|class| class.size()).sum();
        let used: usize = out.iter().map(|(_, class)| class.size()).sum();
        assert_eq!(given, kept + used, "seed {seed}");
        for cache in &mut caches {
            cache.flush(|class, block| assert_eq!(below.remove(&block), Some(class)));
            assert_eq!(cache.bytes(), 0);
        }
        for (block, class) in out {
            assert_eq!(below.remove(&block), Some(class));
        }
        assert!(below.is_empty(), "seed {seed}");
    }
}
