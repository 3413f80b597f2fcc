//! The environment variables that describe a run, as the Makefile sets them.

use std::ffi::{OsStr, OsString};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Declares [`Config`]: each field with its type and its environment variable.
macro_rules! config {
    ($($(#[$doc:meta])* $field:ident: $kind:ty = $name:literal,)*) => {
        /// The variables of the Makefile, read once. A variable that isn't set is empty.
        #[derive(Clone, Debug, Default)]
        pub struct Config {
            $($(#[$doc])* pub $field: $kind,)*
            /// What the variables are called in messages.
            pub named: Named,
        }

        impl Config {
            /// Returns the values that `lookup` returns for the variables.
            ///
            /// # Errors
            ///
            /// The value of a variable that must be text isn't UTF-8.
            pub fn read(
                named: Named,
                lookup: impl Fn(&str) -> Option<OsString>,
            ) -> Result<Config> {
                Ok(Config {
                    $($field: {
                        let value = Value::read(lookup($name));
                        value.with_context(|| named.of($name).to_owned())?
                    },)*
                    named,
                })
            }

            /// Sets the variables in the environment of `command`, and removes those that
            /// aren't set here.
            pub fn export(&self, command: &mut Command) {
                $(match self.$field.value() {
                    Some(value) => command.env($name, value),
                    None => command.env_remove($name),
                };)*
            }
        }
    };
}

config! {
    /// The machine: `virt`, or `rpi4`, QEMU's raspi4b.
    board: String = "BOARD",
    /// The number of CPUs, 4 unless given; for several runs a list.
    smp: String = "SMP",
    /// The memory, 1G unless given.
    mem: String = "MEM",
    /// The CPU model, `max` unless given.
    cpu: String = "CPU",
    /// The version of the interrupt controller, 3 unless given.
    gic: String = "GIC",
    /// `on`: entered at EL2, PSCI by SMC.
    virt: String = "VIRT",
    /// `on`: with EL3 and a secure world.
    secure: String = "SECURE",
    /// `single`: one host thread for all CPUs.
    tcg: String = "TCG",
    /// `1`: time is the instruction count, on one host thread; `0`: it isn't.
    icount: String = "ICOUNT",
    /// The device tree, `.dts` or `.dtb`, instead of QEMU's own.
    dtb: String = "DTB",
    /// Shell commands, as `init="..."`, byte for byte.
    init: OsString = "INIT",
    /// Further boot arguments, byte for byte.
    append: OsString = "APPEND",
    /// Further arguments of QEMU, split at white space.
    qemu: String = "QEMU",
    /// Seconds after which a run is ended.
    timeout: String = "TIMEOUT",
    /// The port of the host by which the machine's port 80 is reached; any free one unless given.
    port: String = "PORT",
    /// Words that select tests: a test runs if its name contains a word.
    test: String = "TEST",
    /// The only case to run, of tests that have cases.
    case: String = "CASE",
    /// `dev`: all in a debug build.
    profile: String = "PROFILE",
    /// `1`: run cases also at sizes at which they take long.
    long: String = "LONG",
    /// How many runs go at a time, one of them on more than four CPUs: 3 unless given.
    jobs: String = "J",
    /// Preemptions per execution, the depth of a model's search.
    loom_max_preemptions: String = "LOOM_MAX_PREEMPTIONS",
    /// Seconds for which the fuzzer runs.
    fuzz_seconds: String = "FUZZ_SECONDS",
    /// `1`: a skipped test is a failure.
    require_all: String = "REQUIRE_ALL",
    /// `1`: all stages print at once.
    verbose: String = "V",
}

/// What variables are called where the Makefile isn't what sets them: the name of each, and the
/// other one.
#[derive(Clone, Debug, Default)]
pub struct Named(pub Vec<(String, String)>);

impl Named {
    /// Returns what the variable `name` is called.
    #[must_use]
    pub fn of<'a>(&'a self, name: &'a str) -> &'a str {
        let other = self.0.iter().find(|(of, _)| of == name);
        other.map_or(name, |(_, other)| other)
    }
}

/// A variable that has been looked up.
trait Value: Sized {
    /// Converts a variable's value; `None` if it isn't set.
    ///
    /// # Errors
    ///
    /// The value must be text and isn't UTF-8.
    fn read(value: Option<OsString>) -> Result<Self>;

    /// Returns the value for the environment; `None` to leave the variable unset.
    fn value(&self) -> Option<&OsStr>;
}

impl Value for OsString {
    fn read(value: Option<OsString>) -> Result<Self> {
        Ok(value.unwrap_or_default())
    }

    fn value(&self) -> Option<&OsStr> {
        (!self.is_empty()).then_some(self)
    }
}

impl Value for String {
    fn read(value: Option<OsString>) -> Result<Self> {
        match value.unwrap_or_default().into_string() {
            Ok(text) => Ok(text),
            Err(bytes) => bail!("{} is not text", bytes.display()),
        }
    }

    fn value(&self) -> Option<&OsStr> {
        (!self.is_empty()).then_some(self.as_ref())
    }
}

impl Config {
    /// Returns the variables of this process.
    ///
    /// # Errors
    ///
    /// The value of a variable that must be text isn't UTF-8.
    pub fn from_env() -> Result<Config> {
        Config::read(Named::default(), |name| std::env::var_os(name))
    }

    /// Returns the number of CPUs of one machine.
    ///
    /// # Errors
    ///
    /// `SMP` isn't a number.
    pub fn cpus(&self) -> Result<u32> {
        let name = self.named.of("SMP");
        or(&self.smp, "4")
            .parse()
            .with_context(|| format!("{name}={} is no number of CPUs", self.smp))
    }

    /// Returns the seconds after which a run is ended; `default` if `TIMEOUT` isn't set.
    ///
    /// # Errors
    ///
    /// `TIMEOUT` isn't a number, or above [`LONGEST`].
    pub fn timeout_or(&self, default: u64) -> Result<u64> {
        if self.timeout.is_empty() {
            return Ok(default);
        }
        let seconds = self.timeout.parse().ok();
        let seconds = seconds.filter(|seconds| *seconds <= LONGEST);
        let name = self.named.of("TIMEOUT");
        seconds.with_context(|| {
            let value = &self.timeout;
            format!("{name}={value} is no number of seconds from 0 to {LONGEST}")
        })
    }

    /// Returns whether the machine is a Raspberry Pi 4.
    #[must_use]
    pub fn is_rpi4(&self) -> bool {
        self.board == "rpi4"
    }
}

/// The longest time limit, in seconds: a year. The host's clock could not express just any.
pub const LONGEST: u64 = 365 * 24 * 60 * 60;

/// Returns `value`, or `default` if it is empty.
#[must_use]
pub fn or<'a>(value: &'a str, default: &'a str) -> &'a str {
    if value.is_empty() { default } else { value }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn what_is_not_set_is_empty_and_means_the_default() {
        let config = Config::read(Named::default(), |_| None).expect("nothing to refuse");
        assert_eq!(config.smp, "");
        assert_eq!(config.cpus().expect("a number"), 4);
        assert_eq!(config.timeout_or(60).expect("a number"), 60);
    }

    #[test]
    fn a_number_that_is_none_is_named_as_it_was_given() {
        let mut config = Config {
            smp: "x".into(),
            ..Config::default()
        };
        let why = config.cpus().expect_err("no number").to_string();
        assert_eq!(why, "SMP=x is no number of CPUs");
        config.named = Named(vec![("TIMEOUT".into(), "--timeout".into())]);
        for wrong in ["x", "-1", "31536001", "18446744073709551615"] {
            config.timeout = wrong.into();
            let why = config.timeout_or(60).expect_err("no time").to_string();
            let said = format!("--timeout={wrong} is no number of seconds from 0 to 31536000");
            assert_eq!(why, said);
        }
        config.timeout = LONGEST.to_string();
        assert_eq!(config.timeout_or(60).expect("a year"), LONGEST);
    }

    #[test]
    fn boot_arguments_are_bytes_and_the_rest_is_text() {
        let bytes = OsString::from_vec(vec![b'a', 0xff]);
        let only = |wanted: &'static str| {
            let bytes = bytes.clone();
            let named = Named(vec![("GIC".into(), "STILLPOINT_GIC".into())]);
            Config::read(named, move |name| (name == wanted).then(|| bytes.clone()))
        };
        assert_eq!(only("APPEND").expect("bytes will do").append, bytes);
        let refused = format!("{:#}", only("SMP").expect_err("no text"));
        assert!(refused.starts_with("SMP: "), "{refused}");
        let refused = format!("{:#}", only("GIC").expect_err("no text"));
        assert!(refused.starts_with("STILLPOINT_GIC: "), "{refused}");
    }

    #[test]
    fn what_is_set_to_nothing_is_not_set() {
        let nothing = |_: &str| Some(OsString::new());
        let config = Config::read(Named::default(), nothing).expect("text");
        let mut command = Command::new("true");
        config.export(&mut command);
        assert!(command.get_envs().all(|(_, value)| value.is_none()));
    }

    #[test]
    fn a_command_is_given_these_variables_and_no_others_of_the_names() {
        let config = Config {
            smp: "8".into(),
            ..Config::default()
        };
        let mut command = Command::new("true");
        command.env("GIC", "2").env("OTHER", "3");
        config.export(&mut command);
        let value = |name: &str| {
            let mut all = command.get_envs();
            all.find(|(key, _)| *key == name).map(|(_, value)| value)
        };
        assert_eq!(value("SMP"), Some(Some("8".as_ref())));
        assert_eq!(value("GIC"), Some(None));
        assert_eq!(value("OTHER"), Some(Some("3".as_ref())));
    }
}
