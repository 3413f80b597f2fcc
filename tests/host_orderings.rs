//! Checks that each atomic access has a model that tests its ordering, or a reason to need
//! none.
//!
//! 1. **Listed.** A file of `src` with an ordering in it is named in `tests/mutants`,
//!    which breaks a model with each ordering weakened, or in [`REASONS`] below.
//! 2. **Whole.** In a file that the list names every line with an ordering or a fence is
//!    covered by an entry, whose text stands once in the file and whose model is there.
//! 3. **Paired.** In a file of [`REASONS`] every line with an ordering other than Relaxed
//!    has a comment near it that says what it pairs with.
//!
//! Tests at the end of a file are not checked.

#[path = "rig/src/commands/mutants/list.rs"]
#[allow(unreachable_pub, reason = "the rig shares it between modules")]
mod list;
#[path = "support/sources.rs"]
mod sources;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use list::Mutant;

/// The files whose orderings no model tests, each with the reason.
#[rustfmt::skip]
const REASONS: &[(&str, &str)] = &[
    ("src/api/pool_scope.rs", "hands out numbers, each once; nothing is read through it"),
    ("src/api/residents.rs", "a CPU's own word: its thread sets and reads it"),
    ("src/api/rcu_box.rs", "one pointer, published and taken; when the old value may go is a grace period: tests/loom_rcu.rs"),
    ("src/arch/aarch64/boot_record.rs", "cache maintenance and CPU_ON order the words: tests/host_caches.rs models that"),
    ("src/arch/aarch64/cpu_local.rs", "a CPU's own words, or set before the CPU is started"),
    ("src/arch/aarch64/pen/mod.rs", "cache maintenance and DSB order the words: tests/host_caches.rs models that"),
    ("src/arch/aarch64/pen/words.rs", "cache maintenance and DSB order the words: tests/host_caches.rs models that"),
    ("src/arch/aarch64/text.rs", "barriers order the descriptor and the words: tests/host_patch.rs models that"),
    ("src/arch/aarch64/thread_head.rs", "the running thread's own words"),
    ("src/arch/aarch64/timer.rs", "a fact about the machine, set before a second CPU runs"),
    ("src/arch/aarch64/traps.rs", "counts that order no other access"),
    ("src/boot/secondary.rs", "one word, for a refusal; nothing else is read through it"),
    ("src/cpu/per_cpu_counter.rs", "counts that order no other access"),
    ("src/device/ns16550.rs", "a note, under the lock of the device"),
    ("src/device/patience.rs", "a hint, under the lock of the device"),
    ("src/drivers/gic.rs", "counts for display"),
    ("src/drivers/gicv2/irq_chip.rs", "a CPU's own fact, ordered for others by its online bit: tests/loom_masks.rs"),
    ("src/drivers/gicv3/irq_chip.rs", "a CPU's own word, read only by that CPU"),
    ("src/hotplug/deadline.rs", "a setting that orders nothing"),
    ("src/hotplug/ap.rs", "written before the handshake word, which orders it: tests/loom_handshake.rs"),
    ("src/hotplug/batch_up.rs", "a setting that orders nothing"),
    ("src/hotplug/control_start.rs", "a count that the hotplug lock guards"),
    ("src/hotplug/control_steps.rs", "settings of tests, and what the hotplug lock guards"),
    ("src/hotplug/freeze.rs", "a count that is raised under the add/remove lock, which orders it"),
    ("src/hotplug/governed.rs", "changed under the add/remove lock, which orders it; a hint otherwise"),
    ("src/hotplug/operation.rs", "written before the handshake word, which orders it: tests/loom_handshake.rs"),
    ("src/hotplug/passages.rs", "changed by one walk at a time; src/hotplug/mod.rs says what orders its owners; read for display"),
    ("src/hotplug/walk.rs", "changed by one walk at a time; src/hotplug/mod.rs says what orders its owners; read for display"),
    ("src/irq/percpu.rs", "two masks that the hotplug lock orders: src/irq/percpu.rs"),
    ("src/irq/spurious.rs", "counts of the CPU that runs the handlers; the word of the line orders them: tests/loom_irq.rs"),
    ("src/irq/thread.rs", "two bits, and what a handler has left: the line's lock and the permit order it, tests/loom_permit.rs"),
    ("src/kernel/console.rs", "set by the one CPU that still prints"),
    ("src/kernel/exit.rs", "a setting, stored before a second CPU runs"),
    ("src/kernel/governor/look.rs", "flags that the locks of the run queues and of the wait queue order"),
    ("src/kernel/governor/mod.rs", "flags that the locks of the run queues and of the wait queue order; settings"),
    ("src/kernel/heap.rs", "counts for display, each added to by its own CPU"),
    ("src/kernel/hw/hotplug.rs", "one word, for a refusal; nothing else is read through it"),
    ("src/kernel/mod.rs", "counts for display, and an address that is set before a second CPU runs"),
    ("src/kernel/net/calls.rs", "a setting that orders nothing"),
    ("src/kernel/tracing.rs", "a setting, and a time, both for display and under the add/remove lock"),
    ("src/kernel/panic.rs", "nothing is read through the first word, and what goes on after the second is the console"),
    ("src/kernel/panic_hook.rs", "one CPU uses the word: the one that reports the panic"),
    ("src/kernel/program_tests.rs", "one word; nothing else is read through it"),
    ("src/kernel/test_hooks.rs", "settings of tests; nothing else is read through them"),
    ("src/kernel/watchdog.rs", "a setting that orders nothing"),
    ("src/kernel/whereabouts.rs", "orders what is printed; nothing is read through it"),
    ("src/patch/change.rs", "a count that the stop mutex guards, for display otherwise"),
    ("src/pool/line.rs", "a job's own word, ordered by the locks of its queue and of the job: tests/loom_pool.rs"),
    ("src/rcu/mod.rs", "counts for display"),
    ("src/rcu/rounds.rs", "a note from a still point to its caller, ordered by the stop: tests/loom_multi_stop.rs"),
    ("src/sched/flush.rs", "tells messages which CPUs have finished; nothing is read through it"),
    ("src/sched/balance.rs", "hints, stored under the run-queue lock; their order is that of cpu_map: tests/loom_cpu_map.rs"),
    ("src/sched/due.rs", "under the lock of the queue that the thing is in; src/sched/claim.rs has the model"),
    ("src/sched/give_back.rs", "ordered by the locks of the run queues, which it takes before; tests/loom_affinity.rs has a model"),
    ("src/sched/lock/add_remove_lock.rs", "the running thread's own word"),
    ("src/sched/lock/held_rw_locks.rs", "the running thread's own words"),
    ("src/sched/marks.rs", "under the run-queue lock, or the running thread's own word"),
    ("src/sched/migrate.rs", "a CPU's own words, and hints that are looked at again under the lock"),
    ("src/sched/parted.rs", "a hint, stored under the lock of the notes"),
    ("src/sched/set_class.rs", "a hint"),
    ("src/sched/share.rs", "under the run-queue lock"),
    ("src/sched/spawn.rs", "a count that hotplug reads with its lock held, which a thread that raises it holds off"),
    ("src/sched/thread.rs", "under the run-queue lock, or a hint that is looked at again under it"),
    ("src/sched/throttle.rs", "a setting, and whether a line was logged: values of their own"),
    ("src/sched/timers.rs", "under the lock of the queue"),
    ("src/sched/urgency.rs", "under the run-queue lock"),
    ("src/sched/usage.rs", "under the run-queue lock; counts for display"),
    ("src/sched/waits.rs", "under the run-queue lock"),
    ("src/sched/wake.rs", "hints, stored under the run-queue lock"),
    ("src/lab_program/y2006.rs", "what a race lab reads without order: a still point orders it, or the lab shows that none does"),
    ("src/shell_program/kernel_machine.rs", "a fact about the silicon, stored by its CPU before it is online"),
    ("src/shell_program/selftest.rs", "a count, read after the calls have been waited for"),
    ("src/smp/call/inside.rs", "a CPU's own word"),
    ("src/smp/call/mod.rs", "a CPU's own words"),
    ("src/stop_machine/alone.rs", "one CPU runs, and nothing interrupts it"),
    ("src/stop_machine/current.rs", "the lock of a stopper's queue orders it: tests/loom_stopper.rs"),
    ("src/stop_machine/flushed.rs", "a note that the end of the stop orders: tests/loom_flush_stop.rs"),
    ("src/stop_machine/give_up.rs", "notes that the end of the stop orders: tests/loom_abort.rs"),
    ("src/stop_machine/job.rs", "notes from the still point, ordered by the end of the stop: tests/loom_multi_stop.rs; and a count for display"),
    ("src/stop_machine/late_stop.rs", "decides which CPU prints; nothing is read through it"),
    ("src/stop_machine/report.rs", "written in the still point, which orders it: tests/loom_multi_stop.rs"),
    ("src/stop_machine/single.rs", "counts down as the barrier of a stop does, tests/loom_multi_stop.rs; the completion orders the rest"),
    ("src/stop_machine/spins.rs", "a setting of tests; nothing is read through it"),
    ("src/stop_machine/machine.rs", "written in the still point, which orders it: tests/loom_multi_stop.rs"),
    ("src/stop_machine/stopper.rs", "tells messages where a CPU is; nothing is read through it"),
    ("src/sync/sleep_cost.rs", "guesses what a sleep costs; nothing is read through it"),
    ("src/sync/spins/tests.rs", "a test of one thread"),
    ("src/sync/spins.rs", "guesses how long to wait; nothing is read through it"),
    ("src/sync/local_cpu.rs", "a look at the word of a lock, which another access takes: tests/loom_spin_word.rs"),
    ("src/sync/lockdep/graph.rs", "a 0 that is read late is looked at again under the graph's lock"),
    ("src/sync/lockdep_key.rs", "a fact: every store has the same value"),
    ("src/sync/running.rs", "a name for messages, which never changes"),
    ("src/virtio/queue.rs", "the other side is a device, which no model has"),
];

/// The words that mark a line with an ordering.
const ORDERING: [&str; 2] = ["Ordering::", "fence("];

/// The orderings that must pair with another access.
const PAIRED: [&str; 5] = ["::Acquire", "::Release", "::AcqRel", "::SeqCst", "fence("];

/// How many lines above a line its comment may begin.
const NEAR: usize = 8;

/// Returns the lines of a file with an ordering in them, by number from 0.
fn orderings<'a>(source: &'a str, words: &'a [&str]) -> impl Iterator<Item = (usize, &'a str)> {
    let code = source.lines().take_while(|line| {
        !line.starts_with("#[cfg(test)]") && !line.starts_with("#[cfg(all(test")
    });
    code.enumerate().filter(|(_, line)| {
        let line = line.trim_start();
        let is_code = !line.starts_with("//") && !line.starts_with("use ");
        is_code && words.iter().any(|word| line.contains(word))
    })
}

/// Returns the faults of `source`, the text of `file`.
fn check(file: &str, source: &str, entries: &[Mutant], reasons: &[(&str, &str)]) -> Vec<String> {
    let mine: Vec<_> = entries.iter().filter(|entry| entry.file == file).collect();
    let has_reason = reasons.iter().any(|(name, _)| *name == file);
    let has_ordering = orderings(source, &ORDERING).next().is_some();
    match (mine.is_empty(), has_reason) {
        (true, false) if has_ordering => vec![format!("{file}: no model, and no reason")],
        (true, true) if !has_ordering => vec![format!("{file}: a reason for nothing")],
        (false, true) => vec![format!("{file}: a model, and a reason for none")],
        (false, false) => uncovered(file, source, &mine),
        (true, true) => unpaired(file, source),
        (true, false) => Vec::new(),
    }
}

fn uncovered(file: &str, source: &str, entries: &[&Mutant]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut covered = BTreeSet::new();
    for entry in entries {
        let mut found = source.match_indices(&entry.before);
        if let (Some((at, text)), None) = (found.next(), found.next()) {
            let first = source[..at].matches('\n').count();
            covered.extend(first..=first + text.matches('\n').count());
        } else {
            wrong.push(format!("{file}: not there just once: {}", entry.before));
        }
    }
    let open = orderings(source, &ORDERING).filter(|(number, _)| !covered.contains(number));
    wrong.extend(open.map(|(number, line)| format!("{file}:{}: no entry: {line}", number + 1)));
    wrong
}

fn unpaired(file: &str, source: &str) -> Vec<String> {
    let lines: Vec<_> = source.lines().collect();
    orderings(source, &PAIRED)
        .filter(|(number, _)| {
            let near = &lines[number.saturating_sub(NEAR)..=*number];
            !near
                .iter()
                .any(|line| line.contains("// ") && line.to_lowercase().contains("pairs"))
        })
        .map(|(number, line)| format!("{file}:{}: pairs with what? {line}", number + 1))
        .collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_ordering_has_a_model_or_a_reason() {
    let mut entries = list::read(&root().join("tests/mutants")).expect("lists");
    // The other lists make mistakes of other kinds.
    entries.retain(|entry| entry.model.starts_with("loom_"));
    let mut files = Vec::new();
    sources::collect(&root().join("src"), &mut files).expect("src is readable");
    files.sort();
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for path in files {
        let name = path.strip_prefix(root()).expect("below the root");
        let name = name.to_str().expect("ASCII").to_owned();
        let source = fs::read_to_string(&path).expect("readable");
        wrong.extend(check(&name, &source, &entries, REASONS));
        seen.insert(name);
    }
    let named = entries.iter().map(|entry| entry.file.as_str());
    let named = named.chain(REASONS.iter().map(|(name, _)| *name));
    for name in named.collect::<BTreeSet<_>>() {
        if !seen.contains(name) {
            wrong.push(format!("{name}: there is no such file"));
        }
    }
    for model in entries
        .iter()
        .map(|entry| &entry.model)
        .collect::<BTreeSet<_>>()
    {
        if !root().join(format!("tests/{model}.rs")).exists() {
            wrong.push(format!("{model}: there is no such model"));
        }
    }
    assert!(wrong.is_empty(), "\n  {}", wrong.join("\n  "));
}

/// Returns the mistakes of all lists that can't be made, because their text doesn't stand just
/// once in its file.
fn astray(entries: &[Mutant], read_fn: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let stands_once = |entry: &&Mutant| {
        let source = read_fn(&entry.file).unwrap_or_default();
        source.matches(&entry.before).count() == 1
    };
    let astray = entries.iter().filter(|entry| !stands_once(entry));
    astray
        .map(|entry| format!("{}, {}: {}", entry.model, entry.file, entry.before))
        .collect()
}

/// `make mutants` takes hours for all lists, so that a mistake without a place would be found
/// late.
#[test]
fn every_mistake_has_its_place() {
    let entries = list::read(&root().join("tests/mutants")).expect("lists");
    let wrong = astray(&entries, |file| fs::read_to_string(root().join(file)).ok());
    assert!(wrong.is_empty(), "\n  {}", wrong.join("\n  "));
    let list = "src/a.rs\n\n- once\n+ x\n\n- twice\n+ x\n\n- never\n+ x\n\nsrc/b.rs\n\n- x\n= so\n";
    let entries = list::parse("host_a", list).expect("a list");
    let read = |file: &str| (file == "src/a.rs").then(|| "once twice twice".into());
    assert_eq!(astray(&entries, read).len(), 3);
}

#[test]
fn the_test_sees_what_is_wrong() {
    let list = "src/a.rs\n\n- x.load(Ordering::Acquire)\n+ x.load(Ordering::Relaxed)\n\n\
                - y(|| 1);\n- x.store(Ordering::Release);\n= so\n";
    let entries = list::parse("loom_a", list).expect("a list");
    assert_eq!(entries.len(), 2);
    let right = "x.load(Ordering::Acquire);\ny(|| 1);\nx.store(Ordering::Release);\n";
    let reasons = [("src/r.rs", "why")];
    let wrong = |file, source: &str| check(file, source, &entries, &reasons).len();
    assert_eq!(wrong("src/a.rs", right), 0);
    assert_eq!(
        wrong("src/a.rs", &format!("{right}fence(Ordering::SeqCst);\n")),
        1
    );
    // Neither text occurs exactly once, so no line is covered.
    assert_eq!(wrong("src/a.rs", &format!("{right}{right}")), 2 + 4);
    assert_eq!(wrong("src/b.rs", right), 1);
    assert_eq!(wrong("src/b.rs", "nothing();\n"), 0);
    assert_eq!(wrong("src/r.rs", "nothing();\n"), 1);
    assert_eq!(wrong("src/r.rs", "x.load(Ordering::Relaxed);\n"), 0);
    assert_eq!(wrong("src/r.rs", right), 2);
    assert_eq!(
        wrong("src/r.rs", "// Pairs with y.\nx.load(Ordering::Acquire);\n"),
        0
    );
    assert_eq!(wrong("src/r.rs", &format!("#[cfg(test)]\n{right}")), 1);
}
