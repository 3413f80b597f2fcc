//! `cpuhp.parallel=`: how several CPUs come up.

/// How much of the bring-up of several CPUs goes on at the same time. What each value means is
/// told in `src/hotplug/batch_up.rs`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Parallel {
    /// Nothing: the CPUs come one by one.
    Off,
    /// Several CPUs are called, and do together what each does by itself until it is ALIVE. Then
    /// they go on one by one, as Linux's do.
    Split,
    /// All of it: they are released together, and each walks on by itself.
    #[default]
    On,
    /// As `On`, but a CPU is called when all has been prepared for it, not before.
    Late,
}

impl Parallel {
    /// All values.
    pub const ALL: [Parallel; 4] = [Parallel::Off, Parallel::Split, Parallel::On, Parallel::Late];

    /// Returns the value of this name; `0` and `1`, as in Linux, are `off` and `on`.
    pub fn from_name(name: &str) -> Option<Parallel> {
        match name {
            "0" => Some(Parallel::Off),
            "1" => Some(Parallel::On),
            _ => Self::ALL.into_iter().find(|value| value.name() == name),
        }
    }

    /// Returns its name.
    pub const fn name(self) -> &'static str {
        match self {
            Parallel::Off => "off",
            Parallel::Split => "split",
            Parallel::On => "on",
            Parallel::Late => "late",
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::bootargs::BootArgs;

    #[test]
    fn several_cpus_come_up_in_four_ways() {
        let parse = |value: &str| {
            let line = std::format!("cpuhp.parallel=split cpuhp.parallel={value}");
            let args = BootArgs::parse(&line);
            (args.parallel, args.errors().count())
        };
        for how in Parallel::ALL {
            assert_eq!(parse(how.name()), (how, 0));
        }
        assert_eq!(
            (parse("0"), parse("1")),
            ((Parallel::Off, 0), (Parallel::On, 0))
        );
        for bad in ["", "yes", "On", "late,on", "2"] {
            assert_eq!(parse(bad), (Parallel::Split, 1), "{bad:?}");
        }
        assert_eq!(BootArgs::parse("").parallel, Parallel::default());
    }
}
