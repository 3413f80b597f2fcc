//! From times to places, and the ticks of an axis.

use super::trace::Ns;

/// The places of a stretch of time.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    pub from: Ns,
    pub to: Ns,
    /// The place of `from`.
    pub left: f64,
    /// The width of a nanosecond.
    pub per_ns: f64,
}

impl Scale {
    /// Returns the place of a time, which is inside the stretch: times outside are at its ends.
    pub fn x(&self, at: Ns) -> f64 {
        let at = at.clamp(self.from, self.to);
        self.left + (at - self.from) as f64 * self.per_ns
    }

    /// Returns the place of the end.
    pub fn right(&self) -> f64 {
        self.x(self.to)
    }

    /// Returns the times of the ticks, which are at least `apart` wide from one another, counted
    /// from `zero`, each with its label.
    pub fn ticks(&self, zero: Ns, apart: f64) -> Vec<(Ns, String)> {
        let step = round_step((apart / self.per_ns).ceil() as Ns);
        let first = self.from.saturating_sub(zero).div_ceil(step);
        let times = (first..).map(|number| zero + number * step);
        let inside = times.take_while(|at| *at <= self.to);
        inside.map(|at| (at, duration(at - zero))).collect()
    }

    /// Returns the beginnings of all steps of this length, each with its number.
    pub fn steps(&self, step: Ns) -> Vec<(Ns, String)> {
        let steps = self.from / step..self.to / step;
        steps
            .map(|number| (number * step, (number + 1).to_string()))
            .collect()
    }
}

/// Returns the least of 1, 2, 5, 10, 20, 50 and so on that isn't less than `least`.
fn round_step(least: Ns) -> Ns {
    let mut ten = 1;
    loop {
        for digit in [1, 2, 5] {
            if digit * ten >= least {
                return digit * ten;
            }
        }
        ten *= 10;
    }
}

/// Returns a duration with its unit: `0`, `500 ns`, `2.5 µs`, `30 ms`.
pub fn duration(ns: Ns) -> String {
    let (unit, size) = match ns {
        0 => return "0".to_owned(),
        1..1_000 => ("ns", 1.0),
        1_000..1_000_000 => ("µs", 1e3),
        1_000_000..1_000_000_000 => ("ms", 1e6),
        _ => ("s", 1e9),
    };
    let number = format!("{:.3}", ns as f64 / size);
    let number = number.trim_end_matches('0').trim_end_matches('.');
    format!("{number} {unit}")
}

/// Returns a duration in microseconds with two places, as `0.05`.
pub fn microseconds(ns: Ns) -> String {
    format!("{:.2}", ns as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_have_round_times_and_stay_inside() {
        let scale = Scale {
            from: 1_000,
            to: 9_000,
            left: 10.0,
            per_ns: 0.1,
        };
        let ticks = scale.ticks(2_000, 60.0);
        let labels: Vec<_> = ticks.iter().map(|(_, label)| label.as_str()).collect();
        assert_eq!(
            labels,
            ["0", "1 µs", "2 µs", "3 µs", "4 µs", "5 µs", "6 µs", "7 µs"]
        );
        assert_eq!(ticks[0].0, 2_000);
        assert!((scale.x(2_000) - 110.0).abs() < 1e-9);
        assert!((scale.x(0) - 10.0).abs() < 1e-9 && (scale.x(Ns::MAX) - 810.0).abs() < 1e-9);
    }

    #[test]
    fn durations_have_units() {
        let all = [0, 7, 1_000, 2_500, 30_000_000, 1_500_000_000].map(duration);
        assert_eq!(all, ["0", "7 ns", "1 µs", "2.5 µs", "30 ms", "1.5 s"]);
        assert_eq!(microseconds(54), "0.05");
        assert_eq!([1, 3, 51, 200].map(round_step), [1, 5, 100, 200]);
    }
}
