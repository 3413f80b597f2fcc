//! What is typed behind `lab`.

use core::fmt;

/// A lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lab {
    /// A preempted reader, and a stop.
    Y2006,
    /// A callback that is registered, and a CPU that comes.
    Y2014,
    /// Two locks in both orders.
    Y2017,
}

impl Lab {
    /// All labs, the oldest first.
    pub const ALL: [Lab; 3] = [Lab::Y2006, Lab::Y2014, Lab::Y2017];

    /// Their names.
    pub const NAMES: [&'static str; Lab::ALL.len()] = ["2006", "2014", "2017"];

    /// Returns its name: the year of its source.
    pub const fn name(self) -> &'static str {
        Lab::NAMES[self as usize]
    }

    /// Returns the title of its source.
    pub const fn title(self) -> &'static str {
        match self {
            Lab::Y2006 => "\"Is stopmachine() preempt safe?\"",
            Lab::Y2014 => "\"Fix issues with callback registration\"",
            Lab::Y2017 => "\"mm: deadlock between get_online_cpus/pcpu_alloc\"",
        }
    }

    /// Returns whose source it is, as docs/references.md has it, or as much as fits.
    pub const fn authors(self) -> &'static str {
        match self {
            Lab::Y2006 => "Keith Owens, Rusty Russell",
            Lab::Y2014 => "Gautham Shenoy",
            Lab::Y2017 => "Thomas Gleixner",
        }
    }

    /// Returns two lines that say what it shows.
    pub const fn shows(self) -> [&'static str; 2] {
        match self {
            Lab::Y2006 => [
                "A thread reads, and is preempted; a stop changes what it has read.",
                "Ours has such threads finish first, or keeps them from being preempted.",
            ],
            Lab::Y2014 => [
                "A driver registers for CPUs while one comes: missed, twice, or a deadlock.",
                "Ours installs a step, which is called once on each CPU, whenever it comes.",
            ],
            Lab::Y2017 => [
                "An allocator's mutex and the hotplug lock, taken in both orders.",
                "The lock validator finds it before it hangs. In ours there is one order.",
            ],
        }
    }
}

/// What `lab` is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// A list of the labs.
    List,
    /// A run of this one, with this seed.
    Run(Lab, u64),
}

/// The arguments make no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsageError;

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bad usage: lab [-s SEED] [")?;
        for (at, lab) in Lab::ALL.iter().enumerate() {
            let bar = if at == 0 { "" } else { "|" };
            write!(f, "{bar}{}", lab.name())?;
        }
        f.write_str("]")
    }
}

/// The seed of a run for which none was typed.
const SEED: u64 = 1;

impl Request {
    /// Reads the words behind `lab`: `-s SEED` or `--seed SEED`, and the year of a lab.
    ///
    /// # Errors
    /// [`UsageError`].
    pub fn parse(words: &[&str]) -> Result<Request, UsageError> {
        let (mut lab, mut seed) = (None, None);
        let mut words = words.iter().copied();
        while let Some(word) = words.next() {
            let value = match word {
                "-s" | "--seed" => words.next(),
                _ => word
                    .strip_prefix("--seed=")
                    .or_else(|| word.strip_prefix("-s")),
            };
            if word.starts_with('-') {
                let number = value.and_then(number).ok_or(UsageError)?;
                seed = Some(number);
            } else {
                let named = Lab::ALL.into_iter().find(|lab| lab.name() == word);
                let named = named.filter(|_| lab.is_none()).ok_or(UsageError)?;
                lab = Some(named);
            }
        }
        match (lab, seed) {
            (None, None) => Ok(Request::List),
            (None, Some(_)) => Err(UsageError),
            (Some(lab), seed) => Ok(Request::Run(lab, seed.unwrap_or(SEED))),
        }
    }
}

/// Returns the number that `word` is, without a sign.
fn number(word: &str) -> Option<u64> {
    // `parse` accepts a plus sign.
    let digits = word.bytes().all(|byte| byte.is_ascii_digit());
    word.parse().ok().filter(|_| digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_year_and_a_seed_are_read_in_either_order() {
        let run = |seed| Ok(Request::Run(Lab::Y2006, seed));
        for (words, request) in [
            (&[][..], Ok(Request::List)),
            (&["2006"], run(SEED)),
            (&["2006", "-s", "7"], run(7)),
            (&["-s7", "2006"], run(7)),
            (&["--seed", "0", "2006"], run(0)),
            (&["--seed=18446744073709551615", "2006"], run(u64::MAX)),
            (&["2005"], Err(UsageError)),
            (&["2006", "2006"], Err(UsageError)),
            (&["-s", "7"], Err(UsageError)),
            (&["2006", "-s"], Err(UsageError)),
            (&["2006", "-s", "+7"], Err(UsageError)),
            (&["2006", "-s", ""], Err(UsageError)),
            (&["2006", "--seed=18446744073709551616"], Err(UsageError)),
            (&["2006", "-v"], Err(UsageError)),
            (&["2006", "-"], Err(UsageError)),
        ] {
            assert_eq!(Request::parse(words), request, "{words:?}");
        }
    }

    #[test]
    fn each_lab_is_told_in_lines_of_a_terminal() {
        for lab in Lab::ALL {
            let head = lab.title().len() + lab.authors().len() + "lab 2006   ()".len();
            assert!(head <= 80, "{}", lab.title());
            for line in lab.shows() {
                assert!(line.len() <= 74, "{line}");
            }
        }
    }
}
