//! Numbers, CPUs and steps as they are typed.

use alloc::format;
use alloc::string::String;
use core::fmt;
use core::time::Duration;

use super::machine::{Failure, Machine, StepRow};
use crate::cpu::CpuId;
use crate::errno::Errno;

/// The longest time that is taken, in seconds.
const LONGEST: u64 = 1_000_000;

/// Returns the number that `word` is, without a sign; `None` if it is none.
pub(super) fn number(word: &str) -> Option<usize> {
    // `parse` accepts a plus sign.
    let digits = word.bytes().all(|byte| byte.is_ascii_digit());
    word.parse().ok().filter(|_| digits)
}

/// Returns the time of `word`, which is in seconds, with or without a fraction.
pub(super) fn seconds(word: &str) -> Option<Duration> {
    let (whole, fraction) = word.split_once('.').unwrap_or((word, ""));
    let digits = fraction.len();
    if (whole.is_empty() && fraction.is_empty()) || digits > 9 {
        return None;
    }
    // Either part may be missing.
    let part = |text: &str| match text {
        "" => Some(0),
        text => number(text),
    };
    let whole = u64::try_from(part(whole)?).ok()?;
    let scale = 10_u32.pow(9 - u32::try_from(digits).ok()?);
    let nanos = u32::try_from(part(fraction)?).ok()? * scale;
    (whole <= LONGEST).then(|| Duration::new(whole, nanos))
}

/// Returns the time of `word`, as coreutils' sleep(1) takes it: in seconds, or with `s`, `m`, `h`
/// or `d` behind the number.
pub(super) fn interval(word: &str) -> Option<Duration> {
    let units = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)];
    let with_unit = |(unit, scale)| Some((word.strip_suffix(unit)?, scale));
    let (number, scale) = units.into_iter().find_map(with_unit).unwrap_or((word, 1));
    let time = seconds(number)?.checked_mul(scale)?;
    (time.as_secs() <= LONGEST).then_some(time)
}

/// Why an argument is none that the command takes.
#[derive(Debug)]
pub(super) struct Wrong {
    errno: Errno,
    message: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Failure for Wrong {
    fn errno(&self) -> Errno {
        self.errno
    }
}

impl Wrong {
    /// Returns the error with a message.
    pub(super) fn new(errno: Errno, message: String) -> Wrong {
        Wrong { errno, message }
    }
}

/// Returns the CPU of number `word`.
///
/// # Errors
/// There is none.
pub(super) fn cpu<M: Machine>(machine: &M, word: &str) -> Result<CpuId, Wrong> {
    if word.is_empty() || !word.bytes().all(|byte| byte.is_ascii_digit()) {
        let message = format!("'{word}' is not a CPU number");
        return Err(Wrong::new(Errno::Invalid, message));
    }
    let cpu = word.parse().ok().and_then(CpuId::new);
    cpu.filter(|cpu| machine.masks().possible.contains(*cpu))
        .ok_or_else(|| Wrong::new(Errno::NoDevice, format!("CPU {word} does not exist")))
}

/// Returns the number of the state `word`: a number, a name such as `sched:drain`, or the part
/// of one behind the colon if it is the only one.
///
/// # Errors
/// There is none.
pub(super) fn step<M: Machine>(machine: &M, word: &str) -> Result<usize, Wrong> {
    let wanted = number(word);
    let is_it = |row: &StepRow<'_>| match wanted {
        Some(number) => row.number == number,
        None => row.full_name() == word,
    };
    if let Some(row) = machine.steps().find(is_it) {
        return Ok(row.number);
    }
    let mut found = machine.steps().filter(|row| row.name == word);
    let wrong = |message| Err(Wrong::new(Errno::Invalid, message));
    match (found.next(), found.next()) {
        (Some(row), None) => Ok(row.number),
        (None, _) => wrong(format!("no state '{word}'")),
        (Some(_), Some(_)) => wrong(format!("more than one state '{word}'")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_may_have_a_fraction() {
        for (word, time) in [
            ("0", Some(Duration::ZERO)),
            ("1.5", Some(Duration::from_millis(1500))),
            ("0.000000001", Some(Duration::from_nanos(1))),
            ("1000001", None),
            ("1.0000000001", None),
            ("-1", None),
            ("+1", None),
            (".5", Some(Duration::from_millis(500))),
            ("1.", Some(Duration::from_secs(1))),
            (".", None),
            ("1.+5", None),
            ("1s", None),
            ("", None),
        ] {
            assert_eq!(seconds(word), time, "{word:?}");
        }
    }

    #[test]
    fn an_interval_may_have_a_unit() {
        for (word, time) in [
            ("0.1s", Some(Duration::from_millis(100))),
            (".5m", Some(Duration::from_secs(30))),
            ("2h", Some(Duration::from_secs(7200))),
            ("1d", Some(Duration::from_secs(86_400))),
            ("3", Some(Duration::from_secs(3))),
            ("12d", None),
            ("1ms", None),
            ("s", None),
            ("1x", None),
        ] {
            assert_eq!(interval(word), time, "{word:?}");
        }
    }
}
