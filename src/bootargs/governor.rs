//! `governor=`: what decides how many CPUs are online.

/// What decides how many CPUs are online. What each value means is told in
/// `src/governor/mod.rs`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Governor {
    /// All CPUs are, as many as the ceiling lets.
    Performance,
    /// The load decides.
    Ondemand,
    /// What a program or an operator asks for.
    #[default]
    Userspace,
}

impl Governor {
    /// All values.
    pub const ALL: [Governor; 3] = [
        Governor::Performance,
        Governor::Ondemand,
        Governor::Userspace,
    ];

    /// Returns the value of this name, one of Linux's names of cpufreq's governors.
    pub fn from_name(name: &str) -> Option<Governor> {
        Self::ALL.into_iter().find(|value| value.name() == name)
    }

    /// Returns its name.
    pub const fn name(self) -> &'static str {
        match self {
            Governor::Performance => "performance",
            Governor::Ondemand => "ondemand",
            Governor::Userspace => "userspace",
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::bootargs::BootArgs;

    #[test]
    fn a_governor_is_chosen_by_its_name() {
        let parse = |value: &str| {
            let line = std::format!("governor=performance governor={value}");
            let args = BootArgs::parse(&line);
            (args.governor, args.errors().count())
        };
        for governor in Governor::ALL {
            assert_eq!(parse(governor.name()), (governor, 0));
        }
        for bad in ["", "Ondemand", "schedutil", "1"] {
            assert_eq!(parse(bad), (Governor::Performance, 1), "{bad:?}");
        }
        assert_eq!(BootArgs::parse("").governor, Governor::Userspace);
    }
}
