//! `date`: prints the time of day.

use alloc::string::String;
use core::fmt::Write;

use super::command::{bad_usage, complain};
use super::machine::Machine;
use super::options::{Opt, Parsed};
use super::status::{Outcome, Status};

/// The options of `date`.
pub(super) const OPTIONS: [Opt; 1] = [Opt {
    short: 'u',
    long: "utc",
    value: None,
    help: "print UTC, which is what is printed in any case",
}];

/// How many words it takes.
pub(super) const WORDS: usize = 1;

/// How it prints without a format, as GNU's `date` does in the locale `C`.
const DEFAULT: &str = "%a %b %e %H:%M:%S %Z %Y";

const DAY_NAMES: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTH_NAMES: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// `date`: prints the time of day, in the format behind the plus sign if there is one.
pub(super) fn date<M: Machine>(machine: &M, args: &Parsed<'_>) -> Outcome {
    let format = match args.operands.as_slice() {
        [] => DEFAULT,
        [word] => match word.strip_prefix('+') {
            Some(format) => format,
            None => return bad_usage(machine, "date"),
        },
        _ => return bad_usage(machine, "date"),
    };
    let Some(time) = machine.unix_time() else {
        complain(machine, "date", format_args!("the machine has no clock"));
        return Outcome::Continue(Status::FAILURE);
    };
    match formatted(time.as_secs(), format) {
        Ok(text) => {
            machine.write(format_args!("{text}\n"));
            Outcome::Continue(Status::SUCCESS)
        }
        Err(unknown) => {
            complain(
                machine,
                "date",
                format_args!("no format: '%{}'", unknown.as_str()),
            );
            Outcome::Continue(Status::FAILURE)
        }
    }
}

/// A day of the Gregorian calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Day {
    year: u64,
    /// 1 to 12.
    month: u64,
    /// 1 to 31.
    day: u64,
}

impl Day {
    /// Returns the day that begins `days` days after the first of 1970.
    ///
    /// Years begin in March here, so that a leap day is the last of its year; an era of 400 of them
    /// has 146,097 days, always.
    fn of(days: u64) -> Day {
        // From the first of March of the year 0.
        let days = days + 719_468;
        let (era, in_era) = (days / 146_097, days % 146_097);
        // Without the leap days before it, a day's year is its number by 365.
        let leap_days = in_era / 1460 - in_era / 36_524 + in_era / 146_096;
        let year = (in_era - leap_days) / 365;
        let in_year = in_era - (365 * year + year / 4 - year / 100);
        // The months from March on have 31 30 31 30 31 days, again and again.
        let month = (5 * in_year + 2) / 153;
        let day = in_year - (153 * month + 2) / 5 + 1;
        let (month, later) = if month < 10 {
            (month + 3, 0)
        } else {
            (month - 9, 1)
        };
        Day {
            year: 400 * era + year + later,
            month,
            day,
        }
    }
}

/// Returns `format` for the time that is `seconds` after the beginning of 1970, or the first letter
/// of it, behind a percent sign, that means nothing; nothing if the format ends there.
fn formatted(seconds: u64, format: &str) -> Result<String, String> {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let Day { year, month, day } = Day::of(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let name = |names: &'static [&'static str], at: u64| {
        let at = usize::try_from(at).ok();
        at.and_then(|at| names.get(at)).copied().unwrap_or_default()
    };
    let mut text = String::new();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            text.push(letter);
            continue;
        }
        // Writing to a `String` never fails.
        let _ = match letters.next() {
            Some('Y') => write!(text, "{year}"),
            Some('m') => write!(text, "{month:02}"),
            Some('d') => write!(text, "{day:02}"),
            Some('e') => write!(text, "{day:2}"),
            Some('H') => write!(text, "{hour:02}"),
            Some('M') => write!(text, "{minute:02}"),
            Some('S') => write!(text, "{second:02}"),
            Some('F') => write!(text, "{year}-{month:02}-{day:02}"),
            Some('T') => write!(text, "{hour:02}:{minute:02}:{second:02}"),
            Some('s') => write!(text, "{seconds}"),
            Some('a') => write!(text, "{}", name(&DAY_NAMES, days % 7)),
            Some('b') => write!(text, "{}", name(&MONTH_NAMES, month - 1)),
            Some('Z') => write!(text, "UTC"),
            Some('%') => write!(text, "%"),
            Some(other) => return Err(other.into()),
            None => return Err(String::new()),
        };
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        // To the end of 2400, which is a leap year, as 2000 was and 2100 isn't.
        for days in 0..157_420 {
            assert_eq!(Day::of(days), Day { year, month, day });
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = match month {
                2 if leap => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            day += 1;
            if day > length {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
    }

    #[test]
    fn times_are_printed_as_gnu_prints_them() {
        let at = |seconds, format: &str| formatted(seconds, format).unwrap();
        assert_eq!(at(0, DEFAULT), "Thu Jan  1 00:00:00 UTC 1970");
        assert_eq!(at(1_796_125_877, DEFAULT), "Tue Dec  1 11:51:17 UTC 2026");
        assert_eq!(
            at(1_709_251_199, "%F %T, %s%%"),
            "2024-02-29 23:59:59, 1709251199%"
        );
        assert_eq!(formatted(0, "%q"), Err("q".into()));
        assert_eq!(formatted(0, "%"), Err(String::new()));
    }
}
