//! Checks that each public function of `src/api` says that the kernel was entered: its body
//! begins with `enter()`. Otherwise a thread that is preempted in it would count as one that
//! runs the application's own code, and a flush would not wait for it.
//!
//! A function that needs no entry is in [`NO_ENTRY`] with the reason. A name there that
//! doesn't exist, or that has an entry, is a fault too.
//!
//! So do those of [`OTHER_FILES`], which the api re-exports from elsewhere. `exit` and `reboot`,
//! which the api re-exports too, don't return; a thread in `print` shares nothing but what it
//! reaches with IRQs masked.
//!
//! The test reads the source, and relies on rustfmt as `host_public.rs` does.

#[path = "support/sources.rs"]
mod sources;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// It makes or changes a value of the caller's, and reads nothing of the kernel's.
const VALUE: &str = "makes a value";
/// It reads one word, or what never changes, and returns a copy.
const READS: &str = "reads one word";
/// It is over before preemption is on again; what follows is the caller's section.
const SECTION: &str = "preemption is off in it";
/// It is the program itself from then on: it runs the program's commands.
const PROGRAM: &str = "it is the program";
/// It stores one word.
const SETS: &str = "stores one word";
/// It returns a future, each poll of which has an entry.
const FUTURE: &str = "its polls have entries";
/// It does nothing but to call a function that has an entry.
const CALLS: &str = "calls a function that has one";

/// Files outside of `src/api` whose functions are public there, each with its name.
const OTHER_FILES: &[(&str, &str)] = &[("static_key", "src/kernel/static_key.rs")];

/// The functions that need no entry, each with the reason.
#[rustfmt::skip]
const NO_ENTRY: &[(&str, &str)] = &[
    ("args::args", READS),
    ("args::var", READS),
    ("console::read_line", CALLS),
    ("cpu::PerCpuVar::this", READS),
    ("cpu::current", READS),
    ("cpu::possible", READS),
    ("handle::JoinHandle::is_finished", READS),
    ("handle::JoinHandle::thread", READS),
    ("handle::MigrateGuard::cpu", READS),
    ("handle::Thread::affinity", READS),
    ("handle::Thread::class", READS),
    ("handle::Thread::id", READS),
    ("handle::Thread::inner", READS),
    ("handle::Thread::name", READS),
    ("handle::Thread::nice", READS),
    ("hotplug::CpusReadGuard::each_online", CALLS),
    ("hotplug::boot_bring_up_time", READS),
    ("hotplug::down_limit", READS),
    ("init_step::InitStep::new", VALUE),
    ("init_step::InitStep::startup", VALUE),
    ("init_step::InitStep::stops_machine", VALUE),
    ("init_step::InitStep::teardown", VALUE),
    ("irq::Builder::affinity", VALUE),
    ("irq::Builder::managed", VALUE),
    ("irq::Builder::new", VALUE),
    ("irq::Builder::no_autoenable", VALUE),
    ("irq::Builder::shared", VALUE),
    ("irq::Builder::threaded", VALUE),
    ("irq::Irq::intid", READS),
    ("irq::PerCpuIrq::intid", READS),
    ("irq::request", CALLS),
    ("module::Module::new", VALUE),
    ("module::Module::references_racy", READS),
    ("module::Module::state_racy", READS),
    ("module::Module::unload", CALLS),
    ("multi_step::MultiPrepareStepBuilder::new", VALUE),
    ("multi_step::MultiPrepareStepBuilder::startup", VALUE),
    ("multi_step::MultiPrepareStepBuilder::teardown", VALUE),
    ("multi_step::MultiStep::name", READS),
    ("multi_step::MultiStepBuilder::new", VALUE),
    ("multi_step::MultiStepBuilder::startup", VALUE),
    ("multi_step::MultiStepBuilder::teardown", VALUE),
    ("rcu::Callback::new", VALUE),
    ("rcu::ReadGuard::new", SECTION),
    ("rcu::read", SECTION),
    ("rcu_box::RcuBox::new", VALUE),
    ("rcu_box::RcuBox::read", READS),
    ("shell::run", PROGRAM),
    ("residents::Residence::cpu", READS),
    ("static_key::StaticKey::count_racy", READS),
    ("static_key::StaticKey::disable", CALLS),
    ("static_key::StaticKey::disabling", VALUE),
    ("static_key::StaticKey::enable", CALLS),
    ("static_key::StaticKey::enabling", VALUE),
    ("static_key::StaticKey::new", VALUE),
    ("static_key::starts", VALUE),
    ("step::EnableStep::new", VALUE),
    ("step::EnableStep::startup", VALUE),
    ("step::EnableStep::teardown", VALUE),
    ("step::PrepareStep::new", VALUE),
    ("step::PrepareStep::startup", VALUE),
    ("step::PrepareStep::teardown", VALUE),
    ("step::Step::name", READS),
    ("step::on_cpus", CALLS),
    ("stop::StopWork::leak", VALUE),
    ("stop::stop_machine", CALLS),
    ("stop::stop_machine_cpuslocked", CALLS),
    ("stop::stop_machine_from_inactive_cpu", CALLS),
    ("stop::timed_stop_machine", CALLS),
    ("stop_request::CancelToken::is_cancelled", READS),
    ("stop_request::CancelToken::new", VALUE),
    ("stop_request::Stop::and_release", VALUE),
    ("stop_request::Stop::before", VALUE),
    ("stop_request::Stop::cancelled_by", VALUE),
    ("stop_request::Stop::cpuslocked", VALUE),
    ("stop_request::Stop::mode", VALUE),
    ("stop_request::Stop::from_inactive_cpu", VALUE),
    ("stop_request::Stop::new", VALUE),
    ("stop_request::Stop::on", VALUE),
    ("stop_request::Stop::run", CALLS),
    ("sync::locks::Mutex::new", VALUE),
    ("sync::locks::Once::get", READS),
    ("sync::locks::Once::new", VALUE),
    ("sync::locks::RwLock::new", VALUE),
    ("sync::pins::IrqGuard::new", SECTION),
    ("sync::pins::PreemptGuard::new", SECTION),
    ("sync::pins::SpinLock::lock", SECTION),
    ("sync::pins::SpinLock::lock_irqsave", SECTION),
    ("sync::pins::SpinLock::lock_irqsave_nested", SECTION),
    ("sync::pins::SpinLock::lock_masked", SECTION),
    ("sync::pins::SpinLock::new", VALUE),
    ("sync::pins::SpinLock::try_lock_irqsave", SECTION),
    ("sync::waits::Completion::new", VALUE),
    ("sync::waits::Condvar::new", VALUE),
    ("sync::waits::Semaphore::new", VALUE),
    ("sync::waits::WaitQueue::new", VALUE),
    ("task::TaskHandle::join", CALLS),
    ("task::sleep", VALUE),
    ("task::sleep_until", VALUE),
    ("tcp::TcpListener::accept_async", FUTURE),
    ("tcp::TcpListener::set_timeout", SETS),
    ("tcp::TcpStream::connect_async", FUTURE),
    ("tcp::TcpStream::read_async", FUTURE),
    ("tcp::TcpStream::set_read_timeout", SETS),
    ("tcp::TcpStream::set_write_timeout", SETS),
    ("tcp::TcpStream::write_all_async", FUTURE),
    ("tcp::TcpStream::write_async", FUTURE),
    ("termination::ExitStatus::code", VALUE),
    ("thread::Builder::affinity", VALUE),
    ("thread::Builder::class", VALUE),
    ("thread::Builder::name", VALUE),
    ("thread::Builder::new", VALUE),
    ("thread::Builder::nice", VALUE),
    ("thread::Builder::on_offline", VALUE),
    ("thread::Scope::spawn", CALLS),
    ("thread::ScopedJoinHandle::is_finished", READS),
    ("thread::ScopedJoinHandle::thread", READS),
    ("thread::current", READS),
    ("thread::current_cpu_racy", READS),
    ("thread::realtime_runtime", READS),
    ("thread::sleep", CALLS),
    ("thread::spawn", CALLS),
    ("thread::spawn_on", CALLS),
    ("time::Instant::duration_since", READS),
    ("time::Instant::elapsed", READS),
    ("time::Timer::is_set", READS),
    ("time::Timer::new", VALUE),
    ("time::deadline", READS),
    ("time::frequency", READS),
    ("time::now", READS),
    ("udp::UdpSocket::recv_from_async", FUTURE),
    ("udp::UdpSocket::send_to_async", FUTURE),
    ("udp::UdpSocket::set_timeout", SETS),
];

/// A public function: its name behind that of its file and type, and whether it has an entry.
type Function = (String, bool);

/// Returns the name that `line` begins with behind `keyword`.
fn name_behind<'a>(line: &'a str, keyword: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(keyword)?;
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    Some(&rest[..end])
}

/// Returns the public functions in `text`, the file `file`.
fn functions(file: &str, text: &str) -> Vec<Function> {
    let mut found = Vec::new();
    let mut owner = "";
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("impl") && !line.contains(" for ") {
            let of = match line.strip_prefix("impl<") {
                Some(generics) => generics.split_once("> ").expect("a type follows").1,
                None => &line["impl ".len()..],
            };
            let end = of.find(|c: char| !c.is_alphanumeric()).expect("a brace");
            owner = &of[..end];
        }
        let item = line.trim_start();
        let inner = line.starts_with("    pub ");
        let is_fn = item
            .split('=')
            .next()
            .is_some_and(|head| head.contains("fn "));
        if !(line.starts_with("pub ") || inner) || !is_fn {
            continue;
        }
        let name = name_behind(item, "fn ").expect("it has a name");
        let mut head = line;
        while !head.ends_with('{') {
            head = lines.next().expect("a function has a body");
        }
        let first = lines.next().expect("a function has a body");
        let place = if inner {
            format!("{owner}::")
        } else {
            String::new()
        };
        let entry = first.trim_start().starts_with("let _in_kernel = enter();")
            || first.trim_start().starts_with("let in_kernel = enter();");
        found.push((format!("{file}::{place}{name}"), entry));
    }
    found
}

/// Returns what is wrong with `functions`, of which `exempt` need no entry.
fn faults(functions: &[Function], exempt: &BTreeSet<&str>) -> Vec<String> {
    let mut found = Vec::new();
    for (name, entry) in functions {
        match (entry, exempt.contains(name.as_str())) {
            (true, true) => found.push(format!("{name} is listed, and has an entry")),
            (false, false) => found.push(format!("{name} has no entry")),
            _ => {}
        }
    }
    let names: BTreeSet<_> = functions.iter().map(|(name, _)| name.as_str()).collect();
    let gone = exempt.difference(&names);
    found.extend(gone.map(|name| format!("{name} is listed, and isn't there")));
    found
}

#[test]
fn every_public_function_says_that_the_kernel_was_entered() {
    let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = crate_root.join("src/api");
    let mut files = Vec::new();
    sources::collect(&root, &mut files).expect("a directory");
    let mut all = Vec::new();
    for file in files {
        let path = file
            .strip_prefix(&root)
            .expect("below it")
            .with_extension("");
        let module: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
        let text = fs::read_to_string(&file).expect("it is readable");
        all.extend(functions(&module.join("::"), &text));
    }
    for (name, file) in OTHER_FILES {
        let text = fs::read_to_string(crate_root.join(file)).expect("it is readable");
        all.extend(functions(name, &text));
    }
    assert!(all.len() > 100, "{} functions are too few", all.len());
    let exempt = NO_ENTRY.iter().map(|(name, _)| *name).collect();
    let faults = faults(&all, &exempt);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn what_is_forgotten_is_found() {
    let text = "
impl<T: Send> Lock<T> {
    pub fn taken(
        &self,
    ) -> bool {
        let _in_kernel = enter();
        true
    }

    pub const fn new() -> Self {
        Lock
    }

    pub(super) fn inner(&self) {}
}

pub fn forgotten() {
    kernel().calls();
}
";
    let all = functions("lock", text);
    assert_eq!(
        all,
        [
            ("lock::Lock::taken".to_owned(), true),
            ("lock::Lock::new".to_owned(), false),
            ("lock::forgotten".to_owned(), false),
        ]
    );
    let faults = faults(
        &all,
        &["lock::Lock::new", "lock::Lock::taken", "lock::gone"].into(),
    );
    assert_eq!(
        faults,
        [
            "lock::Lock::taken is listed, and has an entry",
            "lock::forgotten has no entry",
            "lock::gone is listed, and isn't there",
        ]
    );
}
