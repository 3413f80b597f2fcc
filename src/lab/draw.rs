//! What the seed decides.

use crate::cpu::{CpuId, CpuMask};

/// Draws numbers and CPUs, the same ones for the same seed (Steele, Lea and Flood's SplitMix64).
#[derive(Clone, Debug)]
pub struct Draw(u64);

impl Draw {
    /// Begins with `seed`.
    pub const fn new(seed: u64) -> Draw {
        Draw(seed)
    }

    /// Draws a number below `limit`; 0 if that is 0.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let limit = limit.max(1) as u64;
        usize::try_from(mixed % limit).unwrap_or(0)
    }

    /// Draws a CPU out of `cpus`, where it is not any more then; `None` if there is none.
    pub fn take(&mut self, cpus: &mut CpuMask) -> Option<CpuId> {
        let at = self.below(cpus.count());
        let cpu = cpus.iter().nth(at)?;
        cpus.remove(cpu);
        Some(cpu)
    }

    /// As [`Draw::take`], but the last CPU of `cpus` stays there, and may be drawn again.
    pub fn take_or_share(&mut self, cpus: &mut CpuMask) -> Option<CpuId> {
        cpus.only().or_else(|| self.take(cpus))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_again_and_others_draw_others() {
        let drawn = |seed| {
            let mut draw = Draw::new(seed);
            [(); 8].map(|()| draw.below(1000))
        };
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
        assert_ne!(drawn(0), [0; 8]);
        assert_eq!(Draw::new(1).below(0), 0);
    }

    #[test]
    fn a_cpu_is_drawn_once_unless_it_is_the_last() {
        let mut draw = Draw::new(7);
        let all = CpuMask::first_n(4);
        let (mut left, mut drawn) = (all, CpuMask::EMPTY);
        while let Some(cpu) = draw.take(&mut left) {
            assert!(!drawn.contains(cpu), "CPU {cpu} twice");
            drawn.insert(cpu);
        }
        assert_eq!((drawn, left), (all, CpuMask::EMPTY));
        let mut last = CpuMask::of(CpuId::BOOT);
        for _ in 0..2 {
            assert_eq!(draw.take_or_share(&mut last), Some(CpuId::BOOT));
        }
        assert_eq!(draw.take_or_share(&mut left), None);
    }
}
