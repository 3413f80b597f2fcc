//! `governor`, and its files.

use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::shell::{Outcome, Status};

use crate::OK;
use crate::fake::Fake;

const FAILED: Outcome = Outcome::Continue(Status::FAILURE);
const DIRECTORY: &str = "/sys/devices/system/cpu/governor";

fn read(fake: &Fake, file: &str) -> String {
    let (text, report) = fake.run(&format!("cat {DIRECTORY}/{file}"));
    assert_eq!(report.outcome, OK, "{file}: {text}");
    text
}

#[test]
fn a_governor_is_chosen_and_shown() {
    let fake = Fake::new(4, "0-3");
    for (line, name) in [
        ("governor ondemand", "ondemand"),
        ("governor performance", "performance"),
        ("governor userspace", "userspace"),
        ("governor userspace 2", "userspace"),
        (
            "echo ondemand > /sys/devices/system/cpu/governor/scaling_governor",
            "ondemand",
        ),
    ] {
        let (text, report) = fake.run(line);
        assert_eq!((text.as_str(), report.outcome), ("", OK), "{line}");
        assert_eq!(read(&fake, "scaling_governor"), format!("{name}\n"));
        let (text, _) = fake.run("governor");
        assert!(
            text.starts_with(&format!("Governor:       {name}\n")),
            "{text}"
        );
    }
    let (text, _) = fake.run("governor");
    assert!(text.contains("CPUs:           2 of 1 to 4\n"), "{text}");
    assert!(text.contains("threads have waited for 1000 us"), "{text}");
}

#[test]
fn what_is_wrong_is_refused() {
    let fake = Fake::new(4, "0-3");
    for line in [
        "governor schedutil",
        "governor userspace many",
        "governor userspace 5",
        "governor ondemand 2",
        "echo fast > /sys/devices/system/cpu/governor/scaling_governor",
        "echo 1 > /sys/devices/system/cpu/governor/scaling_cur_cpus",
        "echo 0 > /sys/devices/system/cpu/governor/scaling_min_cpus",
        "echo 5 > /sys/devices/system/cpu/governor/scaling_max_cpus",
        "echo x > /sys/devices/system/cpu/governor/ondemand/up_wait_us",
        "echo -1 > /sys/devices/system/cpu/governor/ondemand/up_wait_us",
        "echo 50 > /sys/devices/system/cpu/governor/ondemand/up_wait_us",
        "echo 95 > /sys/devices/system/cpu/governor/ondemand/target_busy",
        "echo 300 > /sys/devices/system/cpu/governor/ondemand/target_busy",
        "echo 4 > /sys/devices/system/cpu/governor/stats/looks",
    ] {
        let (text, report) = fake.run(line);
        assert_eq!(report.outcome, FAILED, "{line}: {text}");
        assert!(!text.is_empty(), "{line}");
    }
    assert_eq!(read(&fake, "scaling_governor"), "userspace\n");
    assert_eq!(read(&fake, "ondemand/up_wait_us"), "1000\n");
    let (_, report) = fake.run("governor userspace 2 2");
    assert_ne!(report.outcome, OK);
}

#[test]
fn settings_are_read_as_they_were_written() {
    let fake = Fake::new(4, "0-3");
    for (file, value) in [
        ("scaling_max_cpus", "3"),
        ("scaling_min_cpus", "2"),
        ("ondemand/up_wait_us", "2000"),
        ("ondemand/down_delay_us", "7000"),
        ("ondemand/down_delay_max_us", "70000"),
        ("ondemand/sampling_rate_us", "500"),
        ("ondemand/rate_limit_us", "0"),
        ("ondemand/target_busy", "80"),
    ] {
        let (text, report) = fake.run(&format!("echo {value} > {DIRECTORY}/{file}"));
        assert_eq!((text.as_str(), report.outcome), ("", OK), "{file}");
        assert_eq!(read(&fake, file), format!("{value}\n"));
    }
    assert_eq!(read(&fake, "scaling_setcpus"), "4\n");
    assert_eq!(
        read(&fake, "scaling_available_governors"),
        "performance ondemand userspace\n"
    );
    let (listed, _) = fake.run(&format!("ls -1 {DIRECTORY}/ondemand"));
    assert_eq!(listed.lines().count(), 6, "{listed}");
    let (_, report) = fake.run("governor ondemand");
    assert_eq!(report.outcome, OK);
    assert_eq!(read(&fake, "scaling_setcpus"), "<unsupported>\n");
}

/// A CPU that the governor has given back isn't its own any more when it is disabled by hand.
#[test]
fn a_disabled_cpu_is_not_given_back() {
    let fake = Fake::new(4, "0-1").with_given_back("2-3");
    assert_eq!(read(&fake, "given_back"), "2-3\n");
    let (text, report) = fake.run("chcpu -d 3");
    assert_eq!(
        (text.as_str(), report.outcome),
        ("CPU 3 is already disabled\n", OK)
    );
    let second = CpuMask::of(CpuId::new(2).expect("small"));
    assert_eq!(read(&fake, "given_back"), format!("{second}\n"));
}
