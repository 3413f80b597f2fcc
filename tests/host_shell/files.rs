//! `cat` and `echo … >` on Linux's files of CPUs.

use stillpoint::shell::{Outcome, Status};

use crate::OK;
use crate::fake::{Did, Fake};

const FAILED: Outcome = Outcome::Continue(Status::FAILURE);

#[test]
fn files_read_as_in_linux() {
    let fake = Fake::new(4, "0,2-3").with_failure(14);
    let cpu = |file: &str| {
        let (text, report) = fake.run(&format!("cat /sys/devices/system/cpu/{file}"));
        assert_eq!(report.outcome, OK, "{file}: {text}");
        text
    };
    assert_eq!(cpu("possible"), "0-3\n");
    assert_eq!(cpu("present"), "0-3\n");
    assert_eq!(cpu("online"), "0,2-3\n");
    assert_eq!(cpu("offline"), "1\n");
    assert_eq!(cpu("kernel_max"), "511\n");
    assert_eq!(cpu("cpu1/online"), "0\n");
    assert_eq!(cpu("cpu2/online"), "1\n");
    assert_eq!(cpu("cpu2/hotplug/state"), "33\n");
    assert_eq!(cpu("cpu1/hotplug/target"), "0\n");
    assert_eq!(cpu("cpu0/hotplug/fail"), "14\n");
    assert_eq!(cpu("cpu1/hotplug/fail"), "-1\n");
    assert_eq!(
        cpu("hotplug/states"),
        "  0: offline\n 14: sched:drain\n 30: init:online\n 31: prep:drain\n 32: enable:pmu\n 33: online\n"
    );
    assert_eq!(fake.did(), []);
}

#[test]
fn what_is_written_is_done() {
    let fake = Fake::new(4, "0-3");
    for (value, file, did) in [
        ("-n 0", "cpu2/online", Did::Down(2)),
        ("1", "cpu2/online", Did::Up(2)),
        ("0", "cpu2/online", Did::Down(2)),
        ("1", "cpu2/online", Did::Up(2)),
        ("14", "cpu3/hotplug/target", Did::Target(3, 14)),
        ("32", "cpu3/hotplug/fail", Did::Fail(3, Some(32))),
        ("-1", "cpu3/hotplug/fail", Did::Fail(3, None)),
    ] {
        let line = format!("echo {value} > /sys/devices/system/cpu/{file}");
        let (text, report) = fake.run(&line);
        assert_eq!((text.as_str(), report.outcome), ("", OK), "{line}");
        assert_eq!(fake.did(), [did]);
    }
}

#[test]
fn what_is_wrong_changes_nothing() {
    let invalid = "echo: write error: Invalid argument";
    let denied = "Permission denied";
    let directory = "Is a directory";
    let fake = Fake::new(4, "0").with_stuck("1");
    for (value, file, message) in [
        ("2", "cpu1/online", invalid),
        ("on", "cpu1/online", invalid),
        ("", "cpu1/online", invalid),
        ("1 1", "cpu1/online", invalid),
        ("-1", "cpu1/hotplug/target", invalid),
        ("x", "cpu1/hotplug/target", invalid),
        ("34", "cpu1/hotplug/target", "(EINVAL: no place of rest)"),
        ("0", "cpu1/hotplug/fail", "(EINVAL: no such step)"),
        ("-2", "cpu1/hotplug/fail", invalid),
        (
            "0",
            "cpu0/online",
            "Device or resource busy (EBUSY: last enabled CPU)",
        ),
        ("1", "online", denied),
        ("1", "cpu1/hotplug/state", denied),
        ("1", "hotplug/states", denied),
        ("1", "cpu4/online", denied),
        ("1", "cpu01/online", denied),
        ("1", "cpu+1/online", denied),
        ("1", "cpu/online", denied),
        ("1", "kernel_max", denied),
        ("1", "hotplug/history", denied),
        (
            "1",
            "cpu1/online/",
            "sh: /sys/devices/system/cpu/cpu1/online/: Not a directory",
        ),
        ("1", "cpu1/online/x", "Not a directory"),
        ("1", "cpu1/hotplug", directory),
        ("1", "cpu1", directory),
        ("1", "", directory),
    ] {
        let line = format!("echo {value} > /sys/devices/system/cpu/{file}");
        let (text, report) = fake.run(&line);
        assert!(text.contains(message), "{line}: {text}");
        assert_eq!(report.outcome, FAILED, "{line}");
        assert_eq!(fake.did(), [], "{line}");
    }
    assert_eq!(
        fake.run("echo 1 > ''").0,
        "sh: : No such file or directory\n"
    );
    let (text, report) = fake.run("cat /etc/passwd /proc/ /sys/devices/system/cpu/possible ''");
    assert_eq!(
        text,
        "cat: /etc/passwd: No such file or directory\ncat: /proc/: Is a directory\n0-3\n\
         cat: : No such file or directory\n"
    );
    assert_eq!(report.outcome, FAILED);
    assert_eq!(fake.run("echo 1 > online").1.outcome, FAILED);
}

#[test]
fn tracing_is_switched_as_in_linux() {
    const FILE: &str = "/sys/kernel/tracing/tracing_on";
    let fake = Fake::new(2, "0");
    let run = |line: String| {
        let (text, report) = fake.run(&line);
        (text, report.outcome)
    };
    let read = || run(format!("cat {FILE}")).0;
    assert_eq!(read(), "1\n");
    assert_eq!(run(format!("echo 0 > {FILE}")), (String::new(), OK));
    assert_eq!(read(), "0\n");
    let note = format!("nothing is recorded now: {FILE} is 0\n");
    assert_eq!(run("trace".into()), (note, OK));
    for value in ["2", "off", "", "01"] {
        let (text, outcome) = run(format!("echo {value} > {FILE}"));
        assert_eq!(text, "echo: write error: Invalid argument\n", "{value}");
        assert_eq!((outcome, read()), (FAILED, "0\n".into()));
    }
    assert_eq!(run(format!("echo 1 > {FILE}")), (String::new(), OK));
    assert_eq!(
        (read(), run("trace".into())),
        ("1\n".into(), (String::new(), OK))
    );
    let fake = Fake::new(2, "0").with_stuck("1");
    let (text, _) = fake.run(&format!("echo 0 > {FILE}"));
    let message = "Resource deadlock avoided (EDEADLK: it can't wait)";
    assert_eq!(text, format!("echo: write error: {message}\n"));
}

#[test]
fn an_interrupt_goes_where_its_file_says() {
    const IRQ: &str = "/proc/irq/33";
    let fake = Fake::new(6, "0-3");
    let run = |line: String| {
        let (text, report) = fake.run(&line);
        (text, report.outcome)
    };
    let read = |name: &str| run(format!("cat {IRQ}/{name}")).0;
    assert_eq!(read("smp_affinity"), "3f\n");
    assert_eq!(read("smp_affinity_list"), "0-5\n");
    assert_eq!(read("effective_affinity"), "01\n");
    assert_eq!(read("effective_affinity_list"), "0\n");
    assert_eq!(
        read("spurious"),
        "count 7\nunhandled 2\nlast_unhandled 1500 ms\n"
    );
    for (name, value, after) in [
        ("smp_affinity", "6", "1-2\n"),
        ("smp_affinity_list", "0,3", "0,3\n"),
    ] {
        assert_eq!(
            run(format!("echo {value} > {IRQ}/{name}")),
            (String::new(), OK)
        );
        assert_eq!(read("smp_affinity_list"), after);
    }
    for (name, value, error) in [
        ("smp_affinity", "z", "Invalid argument"),
        (
            "smp_affinity",
            "100000000",
            "Value too large for defined data type",
        ),
        (
            "smp_affinity_list",
            "100000",
            "Numerical result out of range",
        ),
        (
            "smp_affinity_list",
            "5",
            "Invalid argument (EINVAL: none is active)",
        ),
    ] {
        let (text, outcome) = run(format!("echo {value} > {IRQ}/{name}"));
        assert_eq!(text, format!("echo: write error: {error}\n"), "{value}");
        assert_eq!((outcome, read("smp_affinity")), (FAILED, "09\n".into()));
    }
    for name in ["effective_affinity", "effective_affinity_list", "spurious"] {
        let (text, outcome) = run(format!("echo 1 > {IRQ}/{name}"));
        assert_eq!(text, format!("sh: {IRQ}/{name}: Permission denied\n"));
        assert_eq!(outcome, FAILED);
    }
    let (text, outcome) = run("cat /proc/irq/34/spurious".into());
    let missing = "cat: /proc/irq/34/spurious: No such file or directory\n";
    assert_eq!((text.as_str(), outcome), (missing, FAILED));
}

#[test]
fn scheduling_events_are_switched_by_a_file_of_linuxs() {
    const FILE: &str = "/sys/kernel/tracing/events/enable";
    let fake = Fake::new(2, "0");
    let run = |line: String| {
        let (text, report) = fake.run(&line);
        (text, report.outcome)
    };
    let read = || run(format!("cat {FILE}")).0;
    assert_eq!(read(), "0\n");
    for value in ["1", "1", "0"] {
        let written = run(format!("echo {value} > {FILE}"));
        assert_eq!(
            (written, read()),
            ((String::new(), OK), format!("{value}\n"))
        );
    }
    let (text, outcome) = run(format!("echo x > {FILE}"));
    assert_eq!(
        (text.as_str(), outcome),
        ("echo: write error: Invalid argument\n", FAILED)
    );
}

#[test]
fn proc_tells_of_the_machine_in_linuxs_formats() {
    let fake = Fake::new(4, "0,3");
    let cat = |file: &str| {
        let (text, report) = fake.run(&format!("cat /proc/{file}"));
        assert_eq!(report.outcome, OK, "{file}: {text}");
        text
    };
    assert_eq!(
        cat("cpuinfo"),
        "processor\t: 0\nBogoMIPS\t: 125.00\nFeatures\t: fp asimd crc32\nCPU implementer\t: 0x41\nCPU architecture: 8\n\
         CPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3\n\n\
         processor\t: 3\nBogoMIPS\t: 125.00\n\n"
    );
    let interrupts = "           CPU0       CPU3
 27:          1       4000     GICv3  27 Level     arch_timer
IPI2:         7 1234567890       Rescheduling interrupts
";
    assert_eq!(cat("interrupts"), interrupts);
    assert_eq!(fake.run("interrupts").0, interrupts);
    assert_eq!(
        cat("meminfo"),
        "MemTotal:           1124 kB\nMemFree:            1079 kB\nMemAvailable:       1080 kB\n\
         Cached:                0 kB\nKernelStack:          20 kB\n"
    );
    assert_eq!(
        fake.run("sleep 12.345; cat /proc/uptime").0,
        "17.34 25.71\n"
    );
    // What a CPU was idle stays when it goes.
    assert_eq!(
        fake.run("chcpu -d 3; cat /proc/uptime; chcpu -e 3").0,
        "CPU 3 disabled\n17.34 25.72\nCPU 3 enabled\n"
    );
    fake.did();
    assert_eq!(cat("cmdline"), "maxcpus=2 quiet\n");
    assert_eq!(
        cat("schedstat"),
        "version 15\ntimestamp 17348\ncpu0 0 0 0 0 0 0 1000000 0 0\n\
         cpu3 0 0 0 0 0 0 1000003 0 0\n"
    );
    assert_eq!(
        fake.run("cat /sys/devices/system/cpu/hotplug/history").0,
        ""
    );
    assert_eq!(fake.did(), [Did::Trace(None)]);
}

#[test]
fn settings_are_files_too() {
    const FILE: &str = "/proc/sys/kernel/watchdog_thresh";
    let fake = Fake::new(1, "0");
    assert_eq!(fake.run(&format!("echo 7 > {FILE}; cat {FILE}")).0, "7\n");
    assert_eq!(fake.run("sysctl -n kernel.watchdog_thresh").0, "7\n");
    for value in ["61", "x", ""] {
        let (text, report) = fake.run(&format!("echo {value} > {FILE}"));
        assert_eq!(text, "echo: write error: Invalid argument\n", "{value}");
        assert_eq!(report.outcome, FAILED);
    }
    let period = "/proc/sys/kernel/sched_rt_period_us";
    assert_eq!(
        fake.run(&format!("echo 1 > {period}")).0,
        format!("sh: {period}: Permission denied\n")
    );
    assert_eq!(fake.run(&format!("cat {period}")).0, "1000000\n");
}

#[test]
fn directories_are_listed() {
    let fake = Fake::new(12, "0");
    for (line, names) in [
        ("ls", "proc  sys\n"),
        ("ls /", "proc  sys\n"),
        (
            "ls -1 /proc",
            "cmdline\ncpuinfo\ninterrupts\nirq\nmeminfo\nschedstat\nsys\nuptime\n",
        ),
        ("ls sys//devices/system/cpu/cpu11/", "hotplug  online\n"),
        (
            "ls /sys/devices/system/cpu/cpu0/hotplug",
            "fail    state   target\n",
        ),
        ("ls /proc/uptime", "/proc/uptime\n"),
        ("ls . proc/..", ".:\nproc  sys\nproc/..:\nproc  sys\n"),
        ("ls ../sys/./kernel/tracing/../", "tracing\n"),
        (
            "ls /sys/kernel /proc/uptime",
            "/sys/kernel:\ntracing\n/proc/uptime:\n/proc/uptime\n",
        ),
    ] {
        let (text, report) = fake.run(line);
        assert_eq!((text.as_str(), report.outcome), (names, OK), "{line}");
    }
    assert_eq!(
        fake.run("ls /sys/devices/system/cpu").0,
        "\
cpu0        cpu4        cpu8        governor    online
cpu1        cpu5        cpu9        hotplug     possible
cpu2        cpu6        cpu10       kernel_max  present
cpu3        cpu7        cpu11       offline
"
    );
    let (text, report) = fake.run("ls /sys/no /proc/uptime/");
    assert_eq!(
        text,
        "ls: cannot access '/sys/no': No such file or directory\n\
         ls: cannot access '/proc/uptime/': Not a directory\n"
    );
    assert_eq!(report.outcome, FAILED, "and no mistake in the line");
    for path in [
        "/no/..",
        "/proc/uptime/..",
        "/proc/uptime/.",
        "..x",
        "proc/...",
    ] {
        assert_eq!(fake.run(&format!("ls {path}")).1.outcome, FAILED, "{path}");
    }
    assert_eq!(
        fake.run("cat /proc/uptime/x /proc/../proc/cmdline").0,
        "cat: /proc/uptime/x: Not a directory\nmaxcpus=2 quiet\n"
    );
}

#[test]
fn cat_takes_any_number_of_files_but_none() {
    let fake = Fake::new(1, "0");
    let line = format!("cat{}", " /proc/cmdline".repeat(30));
    assert_eq!(fake.run(&line).0, "maxcpus=2 quiet\n".repeat(30));
    let (text, report) = fake.run("cat");
    assert_eq!(
        text,
        "cat: missing file operand\nTry 'cat --help' for more information.\n"
    );
    assert_eq!(report.outcome, FAILED);
}
