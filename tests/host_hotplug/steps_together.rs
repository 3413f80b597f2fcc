//! Random batches: several CPUs that go or come at once.

use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::hotplug::{ALL_UP, Parallel, TargetError};
use stillpoint::stop_machine::StopHost;

use super::{CPUS, World, hotplug};
use crate::sim::Sim;

impl World {
    /// Returns some of the CPUs.
    fn some_cpus(&mut self) -> CpuMask {
        let all = (0..CPUS).map(CpuId::from_index);
        all.filter(|_| !self.maybe(3)).collect()
    }

    /// Takes some CPUs down at once. What each does is what it would do alone.
    pub(super) fn down_together(&mut self) {
        let cpus = self.some_cpus();
        self.choose_failures(None);
        let stops = Sim::stop_machine().stops();
        let seen = hotplug().cpus_down(&cpus);
        let stops = Sim::stop_machine().stops() - stops;
        let mut left = 0;
        let numbers: Vec<usize> = cpus.iter().map(CpuId::index).collect();
        let were_online = numbers.iter().map(|cpu| self.model.cpus[*cpu].state > 0);
        let were_online: Vec<bool> = were_online.collect();
        let results = self.model.cpus_down(&numbers);
        for ((cpu, wanted), was_online) in cpus.iter().zip(results).zip(were_online) {
            left += u64::from(was_online && wanted.is_ok());
            let seen = seen.as_ref().err().and_then(|error| error.of(cpu));
            let seen = seen.map_or(Ok(()), |error| Err(TargetError::Down(*error)));
            self.same_failure(seen, wanted);
        }
        assert_eq!(stops, left.min(1), "still points for {left} CPUs");
        self.together += usize::from(left > 1);
    }

    /// Brings some CPUs up at once, in any of the ways.
    pub(super) fn up_together(&mut self) {
        let cpus = self.some_cpus();
        let how = Parallel::ALL[self.random.below(Parallel::ALL.len())];
        hotplug().set_parallel(how);
        self.choose_failures(None);
        let seen = hotplug().cpus_up(&cpus);
        let mut came = 0;
        for cpu in cpus.iter() {
            came += usize::from(self.model.cpus[cpu.index()].state < ALL_UP);
            let wanted = self.model.cpu_up(cpu.index());
            let seen = seen.as_ref().err().and_then(|error| error.of(cpu));
            let seen = seen.map_or(Ok(()), |error| Err(TargetError::Up(*error)));
            self.same_failure(seen, wanted);
        }
        self.up_together += usize::from(came > 1);
    }
}
