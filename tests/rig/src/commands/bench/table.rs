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

    /// Returns whether the line says how often an operation traps, and not what it takes.
    #[must_use]
    pub fn counts_traps(&self) -> bool {
        self.fields.contains_key("sleeps")
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
    let mut medians = BTreeMap::new();
    for figures in all {
        let place = (
            figures.text("clock"),
            figures.text("smp"),
            figures.text("op"),
        );
        medians.insert(place, figures.number("median_us"));
    }
    for figures in all {
        let (clock, cpus) = (figures.text("clock"), figures.text("smp"));
        let median = figures.number("median_us");
        let floor = medians.get(&(clock, cpus, floor_of(figures.text("op"))));
        let floor = floor.copied().flatten();
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

/// Returns the table of the lines that say how often each operation traps.
#[must_use]
pub fn traps_table(all: &[Figures]) -> String {
    let columns = ["all", "sleeps", "sgis", "firmware", "gic"];
    let mut text = traps_row(["clock", "SMP", "op"], columns);
    for figures in all {
        let names = ["clock", "smp", "op"].map(|name| figures.text(name));
        text += &traps_row(names, columns.map(|name| figures.text(name)));
    }
    text
}

fn traps_row([clock, cpus, op]: [&str; 3], columns: [&str; 5]) -> String {
    let [all, sleeps, sgis, firmware, gic] = columns;
    format!(
        "{clock:<7} {cpus:>4}  {op:<22} {all:>8} {sleeps:>8} {sgis:>8} {firmware:>8} {gic:>8}\n"
    )
}

/// Returns the operation which is the least that `op` can take: a bare CPU_ON for what brings
/// CPUs up, a bare CPU_OFF for what takes them down, and a bare SGI for all else.
fn floor_of(op: &str) -> &str {
    let (name, _) = op.split_once('.').unwrap_or((op, ""));
    match name {
        "floor" => op,
        "cpu_up" => "floor.cpu_on",
        "cpu_down" if op == name => "floor.cpu_off",
        "cpus_up" => "floor.cpu_on_all",
        "cpus_down" => "floor.cpu_off_all",
        _ => "floor",
    }
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
    fn traps_have_a_table_of_their_own() {
        let line = "TRAPS,stillpoint,smp=4,op=stop,n=9,all=8.1,sleeps=3.0,sgis=5.1,firmware=0.0,\
                    gic=0.0,clock=real,load=1";
        let figures = Figures::parse(line);
        assert!(figures.counts_traps() && !Figures::parse(STOP).counts_traps());
        let text = traps_table(&[figures]);
        let row: Vec<_> = text
            .lines()
            .nth(1)
            .expect("a row")
            .split_whitespace()
            .collect();
        assert_eq!(
            row,
            ["real", "4", "stop", "8.1", "3.0", "5.1", "0.0", "0.0"]
        );
    }

    #[test]
    fn an_operation_is_beside_its_own_floor() {
        let lines = [
            "floor",
            "floor.cpu_on",
            "floor.cpu_on_all",
            "floor.cpu_off",
            "floor.cpu_off_all",
            "cpu_up",
            "cpu_up.init",
            "cpus_up.one_by_one",
            "cpu_down",
            "cpu_down.irqs_off",
            "cpus_down",
        ];
        // The floors are 1, 2, 4, 5 and 8, and all else is 40.
        let medians = [1, 2, 4, 5, 8, 40, 40, 40, 40, 40, 40];
        let lines: Vec<_> = lines
            .iter()
            .zip(medians)
            .map(|(op, median)| format!("BENCH,op={op},smp=4,median_us={median},clock=real"))
            .collect();
        let figures: Vec<_> = lines.iter().map(|line| Figures::parse(line)).collect();
        let text = table(&figures);
        let times: Vec<_> = text
            .lines()
            .skip(1)
            .map(|line| line.split_whitespace().next_back().expect("columns"))
            .collect();
        let wanted = [
            "1.0", "1.0", "1.0", "1.0", "1.0", "20.0", "20.0", "10.0", "8.0", "40.0", "5.0",
        ];
        assert_eq!(times, wanted);
        // Where its floor wasn't measured there is no figure.
        let text = table(&[Figures::parse(&lines[0]), Figures::parse(&lines[5])]);
        assert!(text.ends_with("-\n"), "{text}");
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
