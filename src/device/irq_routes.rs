//! Which CPU each shared interrupt of a device goes to.
//!
//! An interrupt goes to one CPU. When that CPU leaves, its interrupts move to a CPU that
//! stays, and they stay there when the CPU is back, as Linux has it: nothing is gained by a
//! second move.
//!
//! # Invariants
//! - **routed-to-online**: each interrupt goes to a CPU that is past `enable:irq-affinity`, or
//!   that boots the machine. All CPUs that are active are past it.

use alloc::vec::Vec;

use crate::cpu::{CpuId, CpuMask};

/// An interrupt that is on.
#[derive(Clone, Copy, Debug)]
struct Route {
    spi: u32,
    cpu: CpuId,
}

/// The shared interrupts that are on. A lock of the caller guards it.
#[derive(Debug, Default)]
pub struct IrqRoutes {
    routes: Vec<Route>,
}

impl IrqRoutes {
    /// Returns an empty list.
    pub const fn new() -> IrqRoutes {
        IrqRoutes { routes: Vec::new() }
    }

    /// Adds the interrupt `spi`, which was turned on and goes to `cpu`. Allocates.
    pub fn add(&mut self, spi: u32, cpu: CpuId) {
        self.routes.push(Route { spi, cpu });
    }

    /// Returns the CPU that `spi` goes to, or `None` if it isn't in the list.
    pub fn cpu_of(&self, spi: u32) -> Option<CpuId> {
        let mut routes = self.routes.iter();
        routes.find(|route| route.spi == spi).map(|route| route.cpu)
    }

    /// Moves all interrupts away from `cpu`, which has left `active`, to the CPU of `active`
    /// with the lowest number (routed-to-online). Calls `route_fn` with each interrupt, and
    /// the CPU that it is to go to.
    ///
    /// # Panics
    /// If no other CPU is active.
    pub fn move_away(
        &mut self,
        cpu: CpuId,
        active: &CpuMask,
        mut route_fn: impl FnMut(u32, CpuId),
    ) {
        let stays = active.without(&CpuMask::of(cpu)).first();
        for route in self.routes.iter_mut().filter(|route| route.cpu == cpu) {
            let to = stays.expect("BUG: the last active CPU leaves");
            route_fn(route.spi, to);
            route.cpu = to;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn cpu(number: usize) -> CpuId {
        CpuId::from_index(number)
    }

    fn mask(cpus: &[usize]) -> CpuMask {
        cpus.iter().map(|number| cpu(*number)).collect()
    }

    fn moved(routes: &mut IrqRoutes, from: usize, active: &[usize]) -> Vec<(u32, usize)> {
        let mut moved = Vec::new();
        routes.move_away(cpu(from), &mask(active), |spi, to| {
            moved.push((spi, to.index()));
        });
        moved
    }

    #[test]
    fn the_interrupts_of_a_cpu_that_leaves_go_to_one_that_stays() {
        let mut routes = IrqRoutes::new();
        routes.add(33, cpu(0));
        routes.add(40, cpu(2));
        routes.add(41, cpu(0));
        assert_eq!(moved(&mut routes, 0, &[2, 3]), [(33, 2), (41, 2)]);
        assert_eq!(routes.cpu_of(33), Some(cpu(2)));
        // CPU 0 is back and gets none of them. A CPU that has none gives none away.
        assert_eq!(moved(&mut routes, 3, &[0, 2]), []);
        assert_eq!(moved(&mut routes, 2, &[0, 3]), [(33, 0), (40, 0), (41, 0)]);
        assert_eq!(routes.cpu_of(40), Some(cpu(0)));
        assert_eq!(routes.cpu_of(34), None);
    }

    #[test]
    fn the_cpu_that_leaves_is_never_chosen() {
        let mut routes = IrqRoutes::new();
        routes.add(33, cpu(0));
        assert_eq!(moved(&mut routes, 0, &[0, 1]), [(33, 1)]);
    }

    #[test]
    #[should_panic(expected = "BUG: the last active CPU leaves")]
    fn an_interrupt_is_not_left_without_a_cpu() {
        let mut routes = IrqRoutes::new();
        routes.add(33, cpu(0));
        moved(&mut routes, 0, &[0]);
    }
}
