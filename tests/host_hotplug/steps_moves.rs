//! The ways of one CPU: up, down, and to any place of rest.

use stillpoint::cpu::CpuId;
use stillpoint::hotplug::{ALL_UP, CpuDownError, CpuUpError, ONLINE, TargetError, UP_TO_ONLINE};

use super::{CPUS, World, hotplug};
use crate::steps_model::{Failed, Failure};

impl World {
    pub(super) fn up(&mut self) {
        let cpu = CpuId::from_index(self.random.below(CPUS));
        self.choose_failures_on(Some(cpu), None);
        let seen = hotplug().cpu_up(cpu);
        let wanted = self.model.cpu_up(cpu.index());
        self.same_failure(seen.map_err(TargetError::Up), wanted);
    }

    pub(super) fn down(&mut self) {
        let cpu = CpuId::from_index(self.random.below(CPUS));
        self.choose_failures_on(Some(cpu), None);
        let seen = hotplug().cpu_down(cpu);
        let wanted = self.model.cpu_down(cpu.index());
        self.same_failure(seen.map_err(TargetError::Down), wanted);
    }

    /// Moves a CPU to a place of rest, or tries to move it where there is none.
    pub(super) fn set_target(&mut self) {
        let cpu = CpuId::from_index(self.random.below(CPUS));
        let state = if self.maybe(8) {
            self.random.below(ONLINE + 2)
        } else {
            let places = UP_TO_ONLINE..=ALL_UP;
            let places: Vec<_> = places.filter(|up| self.model.may_rest(*up)).collect();
            places[self.random.below(places.len())]
        };
        self.choose_failures_on(Some(cpu), None);
        let seen = hotplug().cpu_set_target(cpu, state);
        let target = state.min(ALL_UP);
        if state > ONLINE || !self.model.may_rest(target) {
            assert_eq!(seen, Err(TargetError::NoRestingPlace(state)));
            return;
        }
        let wanted = self.model.set_target(cpu.index(), target);
        self.same_failure(seen, wanted);
        let rests = self.model.cpus[cpu.index()].state;
        self.moved += usize::from(rests > UP_TO_ONLINE && rests < ALL_UP);
    }

    /// Compares the result of a way with that of the model.
    pub(super) fn same_failure(&mut self, seen: Result<(), TargetError>, wanted: Failed) {
        let seen = match seen {
            Ok(()) => None,
            Err(
                TargetError::Up(CpuUpError::Step { step, .. } | CpuUpError::NotUndone { step, .. })
                | TargetError::Down(
                    CpuDownError::Step { step, .. } | CpuDownError::NotUndone { step, .. },
                ),
            ) => Some(step.name()),
            Err(TargetError::Down(CpuDownError::LastOnline(_))) => Some("the last"),
            Err(error) => panic!("{error:?}"),
        };
        self.failed += usize::from(wanted.is_err());
        self.stayed += usize::from(wanted == Err(Failure::LastActive));
        let wanted = wanted.err().map(|why| match why {
            Failure::Step(row) => format!("s{}", self.model.rows[&row].id),
            Failure::LastActive => "the last".into(),
        });
        assert_eq!(seen, wanted.as_deref());
    }
}
