//! How late a realtime thread wakes, measured as the program `cyclictest` does on Linux.
//!
//! A kernel of its own, booted by `make cyclic`. On each CPU a realtime thread sleeps until an
//! absolute instant, again and again, a millisecond further each time; a sample is how long
//! after that instant the thread has read the time. Each case has something else going on
//! beside: nothing, ordinary threads that compute and pass messages, CPUs that go and come,
//! stops, and all at once.
#![cfg_attr(target_os = "none", no_std)]
#![cfg_attr(target_os = "none", no_main)]

#[cfg(not(target_os = "none"))]
fn main() {}

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod support {
    pub(crate) mod lines;
    pub(crate) mod work;
}

#[cfg(target_os = "none")]
mod kernel {
    use alloc::format;
    use alloc::sync::Arc;
    use alloc::vec::Vec;
    use core::sync::atomic::{AtomicBool, Ordering};
    use core::time::Duration;

    use stillpoint::api::args::var;
    use stillpoint::api::cpu::{self, CpuId, CpuMask};
    use stillpoint::api::thread::{self, Builder, Class, JoinHandle, Priority};
    use stillpoint::api::time::{Instant, now};
    use stillpoint::api::{hotplug, stop};
    use stillpoint::println;

    use crate::support::lines::print_line;
    use crate::support::work::{Channel, compute, number};

    stillpoint::entry!(main);

    /// How far apart the instants of a thread are.
    const PERIOD: Duration = Duration::from_millis(1);

    /// How far apart the instants of two neighbours are.
    const STEP: Duration = Duration::from_micros(200);

    /// How long a thread that takes CPUs down and up sleeps after each.
    const BETWEEN_WALKS: Duration = Duration::from_millis(5);

    /// How long a thread that stops the machine sleeps after each stop.
    const BETWEEN_STOPS: Duration = Duration::from_millis(10);

    /// The word after which a channel is not used any more.
    const LAST: u64 = u64::MAX;

    /// What goes on beside the threads that are measured.
    struct Case {
        name: &'static str,
        load: bool,
        hotplug: bool,
        stops: bool,
    }

    const fn case(name: &'static str, load: bool, hotplug: bool, stops: bool) -> Case {
        Case {
            name,
            load,
            hotplug,
            stops,
        }
    }

    const CASES: [Case; 5] = [
        case("idle", false, false, false),
        case("load", true, false, false),
        case("hotplug", false, true, false),
        case("stops", false, false, true),
        case("all", true, true, true),
    ];

    fn main() {
        // What is left of the boot settles.
        thread::sleep(Duration::from_millis(100));
        for case in CASES {
            if var("case").is_none_or(|name| name == case.name) {
                measure(&case);
            }
        }
    }

    fn measure(case: &Case) {
        let beside = Beside::new();
        let mut others = Vec::new();
        if case.load {
            beside.load(&mut others);
        }
        let loops = number("loops", 2000);
        let first = now() + Duration::from_millis(50);
        let threads: Vec<_> = cpu::online_racy()
            .iter()
            .zip(0..)
            .map(|(cpu, place)| sleeper(cpu, first + STEP * place, loops))
            .collect();
        // CPUs go and machines stop when the threads have come to where they belong.
        thread::sleep(Duration::from_millis(20));
        if case.hotplug {
            others.push(beside.start("cycle", cycle_cpus));
        }
        if case.stops {
            others.push(beside.start("stops", stop_often));
        }
        let samples: Vec<u64> = threads.into_iter().flat_map(JoinHandle::join).collect();
        beside.end.store(true, Ordering::Relaxed);
        others.into_iter().for_each(JoinHandle::join);
        let worst = samples.iter().copied().max().expect("loops");
        print_line(&format!("latency.{}", case.name), samples, 0);
        print_line(&format!("latency.{}.max", case.name), Vec::from([worst]), 0);
    }

    /// Starts the thread of `cpu`, which returns for each of `loops` instants, of which the
    /// first is `due`, how many nanoseconds late it was. An instant that has passed before the
    /// thread looks for the next one is left out, as in `cyclictest`.
    fn sleeper(cpu: CpuId, mut due: Instant, loops: u64) -> JoinHandle<Vec<u64>> {
        let mut samples = Vec::with_capacity(usize::try_from(loops).expect("fits in memory"));
        let class = Class::fifo(Priority::new(95).expect("1 to 99"));
        let builder = Builder::new().name("cyclic").class(class);
        let sleeper = builder.affinity(CpuMask::of(cpu)).spawn(move || {
            while samples.len() < samples.capacity() {
                thread::sleep_until(due);
                let woke = now();
                let late = woke.duration_since(due).as_nanos();
                samples.push(u64::try_from(late).expect("less than centuries"));
                while due <= woke {
                    due += PERIOD;
                }
            }
            samples
        });
        sleeper.expect("a stack is free")
    }

    /// The ordinary threads beside, which end when they see that they are to.
    struct Beside {
        end: Arc<AtomicBool>,
    }

    impl Beside {
        fn new() -> Beside {
            let end = Arc::new(AtomicBool::new(false));
            Beside { end }
        }

        fn start(
            &self,
            name: &str,
            body: impl FnOnce(&AtomicBool) + Send + 'static,
        ) -> JoinHandle<()> {
            let end = Arc::clone(&self.end);
            let thread = Builder::new().name(name).spawn(move || body(&end));
            thread.expect("a stack is free")
        }

        /// Starts for each CPU a thread that computes, and two that pass a word to and fro
        /// and compute a little in between.
        fn load(&self, threads: &mut Vec<JoinHandle<()>>) {
            for _ in cpu::online_racy().iter() {
                threads.push(self.start("computes", |end| {
                    while !end.load(Ordering::Relaxed) {
                        compute(10_000);
                    }
                }));
                let (to, fro) = (Arc::new(Channel::new()), Arc::new(Channel::new()));
                let (its_to, its_fro) = (Arc::clone(&to), Arc::clone(&fro));
                threads.push(self.start("ping", move |end| {
                    while !end.load(Ordering::Relaxed) {
                        to.send(1);
                        fro.receive();
                        compute(5_000);
                    }
                    to.send(LAST);
                }));
                threads.push(self.start("pong", move |_| {
                    while its_to.receive() != LAST {
                        compute(5_000);
                        its_fro.send(1);
                    }
                }));
            }
        }
    }

    /// Takes each CPU but the boot CPU down and up again, round robin.
    fn cycle_cpus(end: &AtomicBool) {
        let others = cpu::online_racy().without(&CpuMask::of(CpuId::BOOT));
        let (mut walks, mut refused) = (0_u64, 0_u64);
        for cpu in others.iter().cycle() {
            if end.load(Ordering::Relaxed) {
                break;
            }
            refused += u64::from(hotplug::cpu_down(cpu).is_err());
            thread::sleep(BETWEEN_WALKS);
            refused += u64::from(hotplug::cpu_up(cpu).is_err());
            thread::sleep(BETWEEN_WALKS);
            walks += 2;
        }
        println!("walks: {walks}, of which refused: {refused}");
    }

    /// Stops the machine again and again.
    fn stop_often(end: &AtomicBool) {
        let mut stops = 0_u64;
        while !end.load(Ordering::Relaxed) {
            stop::stop_machine(|| ()).expect("the boot CPU is online");
            stops += 1;
            thread::sleep(BETWEEN_STOPS);
        }
        println!("stops: {stops}");
    }
}
