//! The figures of the bench kernel, Linux's beside them, and the table.

use std::collections::BTreeMap;
use std::fmt::Write;

/// The fields of a line like `BENCH,op=floor,smp=2,median_us=1.234`.
pub struct Figures<'a> {
    fields: BTreeMap<&'a str, &'a str>,
}

impl<'a> Figures<'a> {
    /// Parses a line.
    #[must_use]
    pub fn parse(line: &'a str) -> Figures<'a> {
        let fields = line.split(',').filter_map(|field| field.split_once('='));
        Figures {
            fields: fields.collect(),
        }
    }

    fn text(&self, name: &str) -> &'a str {
        self.fields.get(name).copied().unwrap_or_default()
    }

    fn text_or_dash(&self, name: &str) -> &'a str {
        self.fields.get(name).copied().unwrap_or("-")
    }

    fn number(&self, name: &str) -> Option<f64> {
        self.fields.get(name)?.parse().ok()
    }
}

/// Linux's figures, as text, by operation, clock, and number of CPUs.
pub struct Linux {
    medians: BTreeMap<(String, String, String), String>,
}

impl Linux {
    /// Parses lines of four columns, separated by tabs.
    #[must_use]
    pub fn parse(file: &str) -> Linux {
        let lines = file.lines().filter(|line| !line.starts_with('#'));
        let medians = lines.filter_map(|line| {
            let columns: Vec<String> = line.split('\t').map(str::to_owned).collect();
            let [op, clock, cpus, median] = columns.try_into().ok()?;
            Some(((op, clock, cpus), median))
        });
        Linux {
            medians: medians.collect(),
        }
    }

    /// Returns a line of the bench kernel with the clock and the load appended, and for the
    /// instruction count also Linux's figure and the ratio.
    #[must_use]
    pub fn beside(&self, line: &str, clock: &str, load: &str) -> String {
        let mut more = format!("{line},clock={clock},load={load}");
        let figures = Figures::parse(line);
        let key = (
            figures.text("op").into(),
            clock.into(),
            figures.text("smp").into(),
        );
        if clock == "icount"
            && let Some(linux) = self.medians.get(&key)
            && let (Ok(theirs), Some(ours)) = (linux.parse::<f64>(), figures.number("median_us"))
        {
            let _never = write!(more, ",linux_us={linux},ratio={:.1}", theirs / ours);
        }
        more
    }
}

/// Returns the table of all lines.
#[must_use]
pub fn table(all: &[Figures]) -> String {
    let mut text = row([
        "clock", "SMP", "op", "median", "p99", "Linux", "ratio", "x floor",
    ]);
    let mut floors = BTreeMap::new();
    for figures in all {
        let machine = (figures.text("clock"), figures.text("smp"));
        let median = figures.number("median_us");
        if figures.text("op") == "floor" {
            floors.insert(machine, median);
        }
        let floor = floors.get(&machine).copied().flatten();
        let times = median
            .zip(floor)
            .map(|(median, floor)| format!("{:.1}", median / floor));
        text += &row([
            figures.text("clock"),
            figures.text("smp"),
            figures.text("op"),
            figures.text("median_us"),
            figures.text("p99_us"),
            figures.text_or_dash("linux_us"),
            figures.text_or_dash("ratio"),
            times.as_deref().unwrap_or("-"),
        ]);
    }
    text
}

fn row(columns: [&str; 8]) -> String {
    let [clock, cpus, op, median, p99, linux, ratio, times] = columns;
    format!(
        "{clock:<7} {cpus:>4}  {op:<22} {median:>12} {p99:>12} {linux:>12} {ratio:>7} {times:>9}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOR: &str = "BENCH,op=floor,smp=4,n=9,median_us=2.000,p99_us=3.000";
    const STOP: &str = "BENCH,op=stop,smp=4,n=9,median_us=5.000,p99_us=6.000";

    #[test]
    fn linux_is_beside_by_instruction_count() {
        let linux =
            Linux::parse("# op\tclock\tsmp\tmedian\nstop\ticount\t4\t61.5\nstop\treal\t4\t9\n");
        let line = linux.beside(STOP, "icount", "0.50");
        assert_eq!(
            line,
            format!("{STOP},clock=icount,load=0.50,linux_us=61.5,ratio=12.3")
        );
        assert_eq!(
            linux.beside(STOP, "real", "0.50"),
            format!("{STOP},clock=real,load=0.50")
        );
        assert_eq!(
            linux.beside(FLOOR, "icount", "1"),
            format!("{FLOOR},clock=icount,load=1")
        );
    }

    #[test]
    fn the_table_has_each_median_in_floors() {
        let lines = [
            format!("{FLOOR},clock=icount,load=1"),
            format!("{STOP},clock=icount,load=1,linux_us=61.5,ratio=12.3"),
            format!("{STOP},clock=real,load=1"),
        ];
        let figures: Vec<_> = lines.iter().map(|line| Figures::parse(line)).collect();
        let text = table(&figures);
        let rows: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(
            rows[0],
            [
                "clock", "SMP", "op", "median", "p99", "Linux", "ratio", "x", "floor"
            ]
        );
        assert_eq!(
            rows[1],
            ["icount", "4", "floor", "2.000", "3.000", "-", "-", "1.0"]
        );
        assert_eq!(
            rows[2],
            [
                "icount", "4", "stop", "5.000", "6.000", "61.5", "12.3", "2.5"
            ]
        );
        assert_eq!(
            rows[3],
            ["real", "4", "stop", "5.000", "6.000", "-", "-", "-"]
        );
    }
}
