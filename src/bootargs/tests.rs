//! Tests of the kernel's words.

extern crate std;
use super::*;
use std::string::ToString;

#[test]
fn arguments_are_understood() {
    let line = "console=ttyAMA0 init=\"chcpu -e 1; echo 'a; b'\" maxcpus=2 \
                exit=semihosting loglevel=7 root=/dev/vda earlycon \
                earlycon=pl011,0x9000000";
    let args = BootArgs::parse(line);
    assert_eq!(args.init, Some("chcpu -e 1; echo 'a; b'"));
    assert_eq!((args.maxcpus, args.boot_cpus()), (Some(2), Some(2)));
    assert!(args.exit_semihosting);
    assert_eq!(args.loglevel, Some(7));
    let earlycon = EarlyCon::parse(b"pl011,0x9000000");
    assert_eq!(args.earlycon, earlycon.ok());
    assert_eq!(args.errors().count(), 0);
    let unknown: Vec<String> = args.unknown().map(|arg| arg.to_string()).collect();
    assert_eq!(unknown, ["console=ttyAMA0", "root=/dev/vda"]);
    assert_eq!(BootArgs::parse(""), BootArgs::default());
    let timeout = |line| BootArgs::parse(line).cpu_down_timeout_ms;
    assert_eq!((timeout(""), timeout("cpu_down_timeout_ms=250")), (0, 250));
}

#[test]
fn the_log_shows_what_is_below_the_level() {
    for (line, filter) in [
        ("", LevelFilter::Info),
        ("loglevel=0", LevelFilter::Off),
        ("loglevel=3", LevelFilter::Off),
        ("loglevel=4", LevelFilter::Error),
        ("quiet", LevelFilter::Error),
        ("loglevel=5", LevelFilter::Warn),
        ("loglevel=6", LevelFilter::Info),
        ("loglevel=7", LevelFilter::Debug),
        ("loglevel=8", LevelFilter::Trace),
        ("loglevel=15", LevelFilter::Trace),
        ("quiet debug", LevelFilter::Trace),
        ("debug loglevel=4", LevelFilter::Error),
    ] {
        assert_eq!(BootArgs::parse(line).log_filter(), filter, "{line}");
    }
}

#[test]
fn events_are_recorded_unless_the_line_says_otherwise() {
    for (line, off) in [
        ("", false),
        ("tracing_on=0", true),
        ("tracing_on=1", false),
        ("tracing_on=0 tracing_on=1", false),
        ("tracing_on=0 tracing_on=off", true),
    ] {
        assert_eq!(BootArgs::parse(line).tracing_off, off, "{line}");
    }
}

#[test]
fn the_watchdog_has_a_time_in_seconds() {
    let time = |line| BootArgs::parse(line).watchdog_thresh;
    assert_eq!(time(""), None);
    assert_eq!(time("watchdog_thresh=60"), Some(60));
    assert_eq!(time("watchdog_thresh=5 watchdog_thresh=0"), Some(0));
    assert_eq!(time("watchdog_thresh=5 watchdog_thresh=61"), Some(5));
}

#[test]
fn the_stop_of_a_way_down_has_two_modes() {
    let flushes = |line| BootArgs::parse(line).cpu_down_flushes;
    assert!(!flushes(""));
    assert!(flushes("cpu_down_stop=flush"));
    assert!(!flushes("cpu_down_stop=flush cpu_down_stop=classic"));
    assert!(flushes("cpu_down_stop=flush cpu_down_stop=1"));
}

#[test]
fn callbacks_have_a_priority_and_a_mark() {
    let args = BootArgs::parse("rcutree.kthread_prio=1 rcutree.qhimark=0");
    assert_eq!(args.rcu_priority, Some(Priority::MIN));
    assert_eq!(args.rcu_mark, Some(0));
    assert_eq!(args.unknown().count(), 0);
    let args = BootArgs::parse("rcutree.kthread_prio=99 rcutree.kthread_prio=0");
    assert_eq!((args.rcu_priority, args.rcu_mark), (None, None));
}

#[test]
fn maxcpus_0_and_nosmp_leave_the_boot_cpu() {
    assert_eq!(BootArgs::parse("maxcpus=0").boot_cpus(), Some(1));
    assert_eq!(BootArgs::parse("nosmp").boot_cpus(), Some(1));
    assert_eq!(BootArgs::parse("nosmp maxcpus=3").boot_cpus(), Some(3));
    assert_eq!(BootArgs::parse("maxcpus=3 nosmp").boot_cpus(), Some(1));
    assert_eq!(BootArgs::parse("").boot_cpus(), None);
}

#[test]
fn cpus_beyond_a_limit_are_left_alone() {
    let limit = |line| BootArgs::parse(line).possible_limit();
    assert_eq!(limit(""), None);
    assert_eq!(limit("nr_cpus=3"), Some(3));
    assert_eq!(limit("possible_cpus=3"), Some(3));
    assert_eq!(limit("nr_cpus=4 possible_cpus=2"), Some(2));
    assert_eq!(limit("possible_cpus=4 nr_cpus=9 nr_cpus=3"), Some(3));
    assert_eq!(limit("maxcpus=2 nr_cpus=0"), None);
}

#[test]
fn the_bound_on_realtime_threads_is_as_on_linux() {
    let runtime = |line| BootArgs::parse(line).realtime_runtime();
    let us = |time| Some(Duration::from_micros(time));
    assert_eq!(runtime(""), us(950_000));
    assert_eq!(runtime("sched_rt_runtime_us=0"), us(0));
    assert_eq!(runtime("sched_rt_runtime_us=1000000"), us(1_000_000));
    assert_eq!(runtime("sched_rt_runtime_us=-1"), None);
}

#[test]
fn a_bad_value_is_reported_and_changes_nothing() {
    use BootArgErrorKind::{BadValue, MissingValue, NotANumber, UnexpectedValue};
    for (line, kind) in [
        ("maxcpus=x", NotANumber),
        ("maxcpus=", NotANumber),
        ("maxcpus=-1", NotANumber),
        ("maxcpus=+1", NotANumber),
        ("maxcpus=99999999999999999999999", NotANumber),
        ("maxcpus", MissingValue),
        ("nosmp=1", UnexpectedValue),
        ("init", MissingValue),
        ("exit", MissingValue),
        ("exit=never", BadValue),
        ("earlycon=ttyS0", BadValue),
        ("earlycon=pl011,9000000", BadValue),
        ("loglevel=16", BadValue),
        ("nr_cpus=0", BadValue),
        ("nr_cpus=two", NotANumber),
        ("nr_cpus", MissingValue),
        ("possible_cpus=0", BadValue),
        ("possible_cpus=-1", NotANumber),
        ("possible_cpus", MissingValue),
        ("loglevel=300", BadValue),
        ("loglevel=a", NotANumber),
        ("rcutree.kthread_prio=100", BadValue),
        ("rcutree.kthread_prio=256", BadValue),
        ("rcutree.kthread_prio", MissingValue),
        ("rcutree.qhimark=many", NotANumber),
        ("watchdog_thresh=61", BadValue),
        ("watchdog_thresh=256", BadValue),
        ("watchdog_thresh=-1", NotANumber),
        ("watchdog_thresh", MissingValue),
        ("cpu_down_stop=Flush", BadValue),
        ("cpu_down_stop", MissingValue),
        ("tracing_on=2", BadValue),
        ("tracing_on", MissingValue),
        ("sched_rt_runtime_us=1000001", BadValue),
        ("sched_rt_runtime_us=99999999999", BadValue),
        ("sched_rt_runtime_us=-2", NotANumber),
        ("sched_rt_runtime_us=", NotANumber),
        ("sched_rt_runtime_us", MissingValue),
        ("cpu_down_timeout_ms=4294967296", BadValue),
        ("cpu_down_timeout_ms=-1", NotANumber),
        ("quiet=1", UnexpectedValue),
        ("debug=all", UnexpectedValue),
    ] {
        let args = BootArgs::parse(line);
        assert_eq!(
            args,
            BootArgs {
                line: line.as_bytes(),
                ..BootArgs::default()
            }
        );
        let kinds: Vec<_> = args.errors().map(|error| error.kind).collect();
        assert_eq!(kinds, [kind], "{line}");
    }
}

#[test]
fn a_word_that_is_not_utf8_is_left_out_alone() {
    let line = b"maxcpus=2 user=J\xfcrgen init=\"echo \xff a\" \xc3 exit=semihosting caf\xc3\xa9";
    let args = BootArgs::parse(line);
    assert_eq!((args.maxcpus, args.init), (Some(2), None));
    assert!(args.has_unusable_init() && BootArgs::parse("init").has_unusable_init());
    assert!(!BootArgs::parse(b"user=\xff init=stop init=").has_unusable_init());
    assert!(!BootArgs::parse("maxcpus").has_unusable_init());
    assert!(args.exit_semihosting);
    let errors: Vec<String> = args.errors().map(|error| error.to_string()).collect();
    assert_eq!(
        errors,
        [
            "boot argument 'user=J\u{fffd}rgen' ignored: not UTF-8",
            "boot argument 'init=\"echo \u{fffd} a\"' ignored: not UTF-8",
            "boot argument '\u{fffd}' ignored: not UTF-8",
        ]
    );
    assert_eq!(args.text(), "maxcpus=2 init exit=semihosting caf\u{e9}");
    let unknown: Vec<String> = args.unknown().map(|arg| arg.to_string()).collect();
    assert_eq!(unknown, ["caf\u{e9}"]);
}

#[test]
fn what_is_printed_of_a_word_has_no_control_characters() {
    let args = BootArgs::parse("red=\x1b[31m maxcpus=\x07 \"a\nb\"");
    let unknown: Vec<String> = args.unknown().map(|arg| arg.to_string()).collect();
    assert_eq!(unknown, ["red=\\u{1b}[31m", "a\\nb"]);
    let error = args.errors().next().unwrap();
    assert_eq!(
        error.to_string(),
        "boot argument 'maxcpus=\\u{7}' ignored: not a number"
    );
}

#[test]
fn later_ones_win_and_two_dashes_end_it() {
    let args = BootArgs::parse("maxcpus=2 maxcpus=4 maxcpus=x init=a init=b -- init=c maxcpus=1");
    assert_eq!((args.maxcpus, args.init), (Some(4), Some("b")));
    let error = args.errors().next().unwrap();
    assert_eq!(
        error.to_string(),
        "boot argument 'maxcpus=x' ignored: not a number"
    );
}
