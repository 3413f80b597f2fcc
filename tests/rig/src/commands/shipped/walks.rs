//! The lines of each walk that the shell's `trace` shows.

use anyhow::{Result, bail};

use super::Setting;
use crate::cases::find_lines;
use crate::config::Config;

/// How many walks the case shows, with those of the boot.
const WALKS: usize = 5;

/// How far a sum may differ, in microseconds: each line may lose a nanosecond by rounding,
/// and the last line a microsecond.
const LOST: f64 = 1.0;

/// Checks that the times of each walk's lines add up to the time in its last line.
pub fn walks_add_up(setting: &Setting) -> Result<()> {
    let machine = Config {
        smp: "4".into(),
        init: "chcpu -d 1,3; chcpu -e 3; trace 3; trace 1; poweroff".into(),
        ..setting.config.clone()
    };
    let printed = setting.boot("walks_add_up", &machine, 0)?;
    add_up(&printed)?;
    find_lines(
        &printed,
        &[
            "^stillpoint# trace 3$",
            "down  stop:request",
            "down  stop:gather",
            "down  stop:mask",
            "down  init:online",
            "down  stop:exit",
            "down  hand-over",
            "down  sync:alive",
            "down  return",
            "CPU3 down in .*, interrupts off for",
        ],
    )?;
    // This line may come anywhere among the last ones: the control CPU sees the CPU leave at
    // once, or later.
    find_lines(&printed, &["CPU3   dead"])
}

fn add_up(printed: &str) -> Result<()> {
    let mut wrong = Vec::new();
    let (mut walks, mut sum) = (0, 0.0);
    for line in printed.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let pairs = || words.windows(2).map(|pair| (pair[0], pair[1]));
        if line.contains(" on CPU") {
            let times = pairs().filter(|(_, unit)| *unit == "us");
            sum += times
                .filter_map(|(time, _)| time.parse::<f64>().ok())
                .sum::<f64>();
        }
        if sum > 0.0
            && let Some(whole) = whole(&words)
        {
            walks += 1;
            if (sum - whole).abs() > LOST {
                wrong.push(format!(
                    "walk {walks}: the lines make {sum:.3} us of {whole:.3}"
                ));
            }
            sum = 0.0;
        }
    }
    if walks != WALKS {
        wrong.push(format!("{walks} walks instead of {WALKS}"));
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("; "));
    }
    Ok(())
}

/// Returns the time in a line like `CPU3 down in 1.234 ms`, in microseconds.
fn whole(words: &[&str]) -> Option<f64> {
    words.windows(4).find_map(|part| {
        let is_cpu = part[0]
            .strip_prefix("CPU")?
            .bytes()
            .all(|byte| byte.is_ascii_digit());
        let is_walk = is_cpu && matches!(part[1], "up" | "down") && part[2] == "in";
        let milliseconds: f64 = is_walk.then(|| part[3].parse().ok())??;
        Some(1000.0 * milliseconds)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALK: &str = "[    0.1] CPU3   down  stop:mask  on CPU3  300.5 us\n\
        [    0.1] CPU3   down  return  on CPU0  699.5 us\n\
        [    0.2] CPU3 down in 1.000 ms, interrupts off for 0.300 ms\n";

    #[test]
    fn lines_that_make_the_whole_are_right() {
        add_up(&WALK.repeat(WALKS)).expect("they add up");
    }

    #[test]
    fn a_line_too_few_and_a_walk_too_few_are_wrong() {
        let short = WALK.replace("300.5 us", "200.5 us");
        let wrong = add_up(&format!("{short}{}", WALK.repeat(WALKS - 1)));
        let wrong = wrong.expect_err("a walk is short").to_string();
        assert_eq!(wrong, "walk 1: the lines make 900.000 us of 1000.000");
        let wrong = add_up(WALK).expect_err("one walk").to_string();
        assert_eq!(wrong, "1 walks instead of 5");
    }
}
