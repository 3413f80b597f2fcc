//! References to a module, beside a small model; and modules with the real locks and threads on
//! a fake CPU: no thread reads a value that is gone, and no unload waits for ever.

use std::cell::RefCell;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use fake::Fake;
use fake_threads::{Body, bodies, rest, run};
use stillpoint::cpu::CpuId;
use stillpoint::module::{
    Atomic, Kind, LoadError, Module, ModuleRef, ModuleState, Plain, References, Stays, UnloadError,
    Wanted,
};
use stillpoint::platform::Platform;
use stillpoint::sched::SchedHost;
use stillpoint::sched::lock::Completion;
use stillpoint::stop_machine::StopError;
use stillpoint::sync::{IrqGuard, PreemptGuard, atomic};
use stillpoint::time::Instant;
use xorshift::Random;

#[path = "support/fake.rs"]
mod fake;
#[path = "support/fake_threads.rs"]
mod fake_threads;
#[path = "support/xorshift.rs"]
mod xorshift;

const CPUS: usize = 4;

fn any_cpu(random: &mut Random) -> CpuId {
    CpuId::new(random.below(CPUS)).expect("few")
}

/// What [`References`] should be: a state and a number.
struct Model {
    state: ModuleState,
    references: u64,
}

fn step<K: Kind>(references: &References<K>, model: &mut Model, random: &mut Random) {
    use ModuleState::{Coming, Going, Live, Unformed, Unloaded};
    let cpu = any_cpu(random);
    match random.below(9) {
        0 => {
            let claimed = references.claim();
            if model.state == Unloaded {
                assert_eq!(claimed, Ok(()));
                references.come(cpu);
                (model.state, model.references) = (Coming, 1);
            } else {
                assert_eq!(claimed, Err(model.state));
            }
        }
        1 if model.state == Coming => {
            references.live();
            model.state = Live;
        }
        2 | 3 => {
            let there = matches!(model.state, Coming | Live);
            assert_eq!(references.try_get(cpu), there);
            model.references += u64::from(there);
        }
        4 if model.references > 0 => {
            references.get(cpu);
            model.references += 1;
        }
        5 | 6 if model.references > 0 => {
            references.put(cpu);
            assert_eq!(references.goes(), model.state == Going);
            model.references -= 1;
        }
        7 => {
            let from = [Coming, Live][random.below(2)];
            let wanted = [Wanted::Unused, Wanted::Any][random.below(2)];
            let expected = if model.state != from {
                Err(Stays::NotIn(model.state))
            } else if wanted == Wanted::Unused && model.references > 0 {
                Err(Stays::InUse(model.references))
            } else {
                model.state = Going;
                Ok(())
            };
            assert_eq!(references.go(from, wanted), expected);
        }
        8 if model.state == Going && model.references == 0 => {
            references.gone();
            model.state = Unloaded;
        }
        8 if model.state == Going => {
            references.live();
            model.state = Live;
        }
        _ => (),
    }
    assert_eq!(references.state(), model.state);
    assert_eq!(references.total(), model.references);
    assert_ne!(model.state, Unformed);
}

fn walks<K: Kind>() {
    for seed in 0..200 {
        let mut random = Random::new(seed + 1);
        let references = References::<K>::new(CPUS);
        let mut model = Model {
            state: ModuleState::Unloaded,
            references: 0,
        };
        for _ in 0..300 {
            step(&references, &mut model, &mut random);
        }
    }
}

#[test]
fn references_do_as_a_state_and_a_number_do() {
    walks::<Plain>();
    walks::<Atomic>();
}

/// Returns the message with which `misuse_fn` panics.
fn bug(misuse_fn: impl FnOnce(&References<Plain>) + std::panic::UnwindSafe) -> String {
    let panic = catch_unwind(|| misuse_fn(&References::new(CPUS))).expect_err("it is misuse");
    *panic.downcast::<String>().expect("it has a message")
}

#[test]
fn misuse_of_references_is_a_bug() {
    let cpu = CpuId::BOOT;
    let none = "BUG: a reference is taken to a module that has none (it is not loaded)";
    assert_eq!(bug(|references| references.get(cpu)), none);
    let again = bug(|references| {
        references.claim().expect("it is not loaded");
        references.come(cpu);
        references.live();
        references.put(cpu);
        references.get(cpu);
    });
    assert_eq!(again, none.replace("not loaded", "live"));
    let too_often = bug(|references| {
        references.claim().expect("it is not loaded");
        references.come(cpu);
        references.put(cpu);
        references.put(CpuId::new(1).expect("few"));
        references.total();
    });
    assert_eq!(too_often, "BUG: of a module's 1 references 2 were put");
}

/// What is loaded: it knows whether it is gone, and how many threads are in it.
struct Value {
    number: usize,
    inside: AtomicUsize,
    gone: Arc<AtomicBool>,
}

impl Drop for Value {
    fn drop(&mut self) {
        assert_eq!(self.inside.load(Ordering::Relaxed), 0, "a thread is in it");
        self.gone.store(true, Ordering::Relaxed);
    }
}

fn value(number: usize) -> Value {
    Value {
        number,
        inside: AtomicUsize::new(0),
        gone: Arc::new(AtomicBool::new(false)),
    }
}

/// Does as a still point does on a machine of one CPU.
fn still(_: Instant, call_fn: &mut (dyn FnMut() + Send)) -> Result<(), StopError> {
    let _here = PreemptGuard::<Fake>::new();
    call_fn();
    Ok(())
}

fn let_time_pass(ticks: usize) {
    let masked = IrqGuard::<Fake>::new();
    Fake::set_now(Fake::now().0 + ticks as u64);
    Fake::sched().timer_interrupt();
    drop(masked);
}

type Shared<K = Plain> = Arc<Module<Value, Fake, K>>;

fn in_a_while(random: &mut Random) -> Instant {
    Instant(Fake::now().0 + random.below(20) as u64)
}

fn use_it(module: &Module<Value, Fake>, random: &mut Random) -> bool {
    let Some(first) = module.try_get() else {
        return false;
    };
    let gone = Arc::clone(&first.gone);
    first.inside.fetch_add(1, Ordering::Relaxed);
    rest(random);
    let second = first.clone();
    drop(first);
    rest(random);
    assert!(!gone.load(Ordering::Relaxed), "{} is gone", second.number);
    second.inside.fetch_sub(1, Ordering::Relaxed);
    true
}

/// Threads that use a module, load it, now and then in vain, and unload it in each way, at random.
#[test]
fn no_thread_reads_a_value_that_is_gone() {
    let [used, loaded, failed, unloaded, stayed] = [(); 5].map(|()| Arc::new(AtomicUsize::new(0)));
    for seed in 0..20 {
        let module: Shared = Arc::new(Module::new());
        let mut all = bodies(4, |_| {
            let (module, used) = (Arc::clone(&module), Arc::clone(&used));
            move |random: &mut Random| {
                for _ in 0..60 {
                    used.fetch_add(usize::from(use_it(&module, random)), Ordering::Relaxed);
                    let_time_pass(random.below(5));
                    rest(random);
                }
            }
        });
        all.extend(bodies(2, |_| {
            let module = Arc::clone(&module);
            let (loaded, failed) = (Arc::clone(&loaded), Arc::clone(&failed));
            move |random: &mut Random| {
                for number in 0..30 {
                    let fails = random.below(4) == 0;
                    let set_up = |own: ModuleRef<'_, Value, Fake>| {
                        assert_eq!(own.number, number);
                        rest(random);
                        if fails { Err("as it should") } else { Ok(()) }
                    };
                    match module.load(value(number), set_up, still) {
                        Ok(()) => loaded.fetch_add(1, Ordering::Relaxed),
                        Err(LoadError::Init(_)) => failed.fetch_add(1, Ordering::Relaxed),
                        Err(LoadError::Loaded(_, back)) => back.number,
                    };
                    rest(random);
                }
            }
        }));
        all.extend(bodies(2, |_| {
            let module = Arc::clone(&module);
            let (unloaded, stayed) = (Arc::clone(&unloaded), Arc::clone(&stayed));
            move |random: &mut Random| {
                for _ in 0..30 {
                    let went = match random.below(3) {
                        0 => module.try_unload(still),
                        1 => module.unload_until(in_a_while(random), still),
                        _ => module.unload_until(Instant::FOREVER, still),
                    };
                    match went {
                        Ok(_) => unloaded.fetch_add(1, Ordering::Relaxed),
                        Err(UnloadError::InUse { .. }) => stayed.fetch_add(1, Ordering::Relaxed),
                        Err(UnloadError::NotLive(_)) => 0,
                        Err(UnloadError::Stop(error)) => panic!("{error}"),
                    };
                    rest(random);
                }
            }
        }));
        let last = Arc::clone(&module);
        run(seed, all);
        assert_eq!(last.references_racy(), 0);
    }
    for count in [used, loaded, failed, unloaded, stayed] {
        assert!(count.load(Ordering::Relaxed) > 10, "{count:?}");
    }
}

/// What a module says in each state, and that a value comes back.
#[test]
fn each_refusal_has_its_error() {
    let alone: Vec<Body> = vec![Box::new(|_| {
        let module = Module::<u32, Fake>::new();
        let forever = Instant::FOREVER;
        let not_live = |state| Err(UnloadError::NotLive(state));
        assert_eq!(module.try_unload(still), not_live(ModuleState::Unloaded));
        assert!(module.try_get().is_none());
        let set_up = |own: ModuleRef<'_, u32, Fake>| {
            assert_eq!((*own, module.references_racy()), (7, 2));
            let coming = not_live(ModuleState::Coming);
            assert_eq!(module.unload_until(forever, still), coming);
            assert_eq!(module.try_get().as_deref(), Some(&7), "as Linux has it");
            let twice = module.load(8, |_| Ok::<(), ()>(()), still);
            assert_eq!(twice, Err(LoadError::Loaded(ModuleState::Coming, 8)));
            Ok::<(), ()>(())
        };
        assert_eq!(module.load(7, set_up, still), Ok(()));
        assert_eq!(module.references_racy(), 0, "the loader's is put");
        let held = module.try_get().expect("it is live");
        let in_use = Err(UnloadError::InUse { references: 1 });
        assert_eq!(module.try_unload(still), in_use.clone());
        assert_eq!(module.unload_until(Instant(0), still), in_use);
        assert_eq!(module.state_racy(), ModuleState::Live);
        drop(held);
        let refused = StopError::NotOnline(CpuId::BOOT);
        let stopped = module.try_unload(|_, _: &mut (dyn FnMut() + Send)| Err(refused.clone()));
        assert_eq!(stopped, Err(UnloadError::Stop(refused)));
        assert_eq!(module.try_unload(still), Ok(7));
        assert_eq!(
            module.load(9, |_| Err("no"), still),
            Err(LoadError::Init("no"))
        );
        assert_eq!(module.state_racy(), ModuleState::Unloaded);
        assert_eq!(module.load(10, |_| Ok::<(), ()>(()), still), Ok(()));
        assert_eq!(module.unload_until(forever, still), Ok(10));
    })];
    run(0, alone);
}

thread_local! {
    static BETWEEN: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

/// Counts as [`Atomic`] does; a thread can lose its CPU between the look and the count.
struct Interrupted;

impl Kind for Interrupted {
    const KEEPS_CPU: bool = false;

    fn add(word: &atomic::AtomicU64, order: atomic::Ordering) {
        if let Some(others_run) = BETWEEN.take() {
            others_run();
        }
        Atomic::add(word, order);
    }
}

/// The classic still point misses a thread that was preempted between its look at the state and
/// its count: the value is taken out, and then the thread has a reference to it.
#[test]
fn a_preempted_thread_is_missed_by_the_classic_still_point() {
    let module: Shared<Interrupted> = Arc::new(Module::new());
    let steps = [(); 2].map(|()| Completion::<Fake>::new());
    let all = Arc::new((module, steps));
    let [reader, unloader] = [(); 2].map(|()| Arc::clone(&all));
    let all: Vec<Body> = vec![
        Box::new(move |_| {
            let (module, _) = &*reader;
            let loaded = module.load(value(1), |_| Ok::<(), ()>(()), still);
            assert!(loaded.is_ok());
            let its = Arc::clone(&reader);
            BETWEEN.set(Some(Box::new(move || {
                let (_, [preempted, unloaded]) = &*its;
                preempted.complete();
                unloaded.wait();
            })));
            let reference = module.try_get();
            assert!(reference.is_some(), "it has seen that the module is live");
            assert_eq!(module.state_racy(), ModuleState::Unloaded, "it has not");
            assert_eq!(module.references_racy(), 1, "to nothing");
            drop(reference);
        }),
        Box::new(move |_| {
            let (module, [preempted, unloaded]) = &*unloader;
            preempted.wait();
            assert!(module.try_unload(still).is_ok(), "no reference is counted");
            unloaded.complete();
        }),
    ];
    run(0, all);
}
