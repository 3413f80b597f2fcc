//! The examples of the documentation do what they say.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::api::cpu::{CpuId, CpuMask, current, online_racy, possible};
use stillpoint::api::hotplug::{cpu_up, cpus_up, down_limit, on_cpus, set_down_limit};
use stillpoint::api::irq::{IrqLine, Trigger};
use stillpoint::api::pool::Pool;
use stillpoint::api::sync::Completion;
use stillpoint::api::thread::{self, Priority};
use stillpoint::api::time::{deadline, now};
use stillpoint::kernel::kernel;
use stillpoint::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::examples::{
    accounts, bring_up, budgets, builder, callees, calls, cancel, channel, classes, device, freeze,
    grace_periods, host_name, in_time, instants, irq, items, jobs, key_users, late, load, loops,
    memory, module_kinds, parking, per_cpu, permits, pinned, prepared, rcu_box, removal, rest,
    ring, scoped, still_times, take_down, timeouts, timers, turns, usage,
};
use kernel_support::machine::{eventually, last_cpu, leave_and_return, secondaries};
use kernel_support::unharmed::same;

/// CPUs go and come.
pub(crate) fn hotplug() -> bool {
    let last = last_cpu();
    let there = || online_racy() == possible();
    let mut sound = true;
    let walks = load::watch(last, || {
        sound &= take_down::give_back(last) & bring_up::take(last).is_ok() & there();
    });
    let is_more = usize::from(last != CpuId::BOOT);
    sound &= same("walks", walks, (is_more, is_more));
    // Where the host is slow, CPUs stay when the time is over.
    in_time::give_back_soon(last);
    sound &= cpu_up(last).is_ok();
    let away: CpuMask = secondaries().into_iter().collect();
    let gone = in_time::give_back_some(&away, last);
    sound &= same("gone", gone, possible().without(&online_racy()));
    sound &= cpus_up(&away).is_ok();
    let before = in_time::limit_all();
    sound &= same("limit", down_limit(), Some(Duration::from_secs(1)));
    set_down_limit(before);
    let mut online = possible();
    sound &= freeze::alone(|| online = online_racy()).is_ok();
    sound &= same("alone", online, CpuMask::of(CpuId::BOOT)) & there();
    sound &= freeze::measured(online_racy) == Ok(possible());
    let step = on_cpus(|_| (), |_| ()).expect("a slot is free");
    sound &= rest::rest_at(last, step.name()).is_ok();
    sound & cpu_up(last).is_ok() & there()
}

/// Steps and guards.
pub(crate) fn steps() -> bool {
    let mut given = 0;
    callees::divide(100, |(_, share)| given += share);
    let mut again = 0;
    let mut sound = callees::divide_if_possible(100, |(_, share)| again += share);
    let all = possible().count();
    sound &= same("shares", (given, again), (100 / all * all, 100 / all * all));
    callees::report();
    let counts = (prepared::count(), prepared::watch());
    sound &= leave_and_return(|| counts.0.is_ok() & counts.1.is_ok());
    sound &= removal::parts().is_ok();
    let driver = || removal::Driver::take_over().ok();
    sound &= driver().is_some_and(|driver| driver.unplug().is_ok());
    sound &= driver().is_some_and(|driver| driver.forget().is_ok());
    let Ok(servers) = turns::start() else {
        return false;
    };
    secondaries()
        .into_iter()
        .for_each(|cpu| turns::ask(&servers, cpu));
    sound &= leave_and_return(|| true);
    turns::end(servers);
    sound
}

/// Stops, keys and modules.
pub(crate) fn stops() -> bool {
    let changed = AtomicUsize::new(0);
    let change = || {
        changed.fetch_add(1, Ordering::Relaxed);
    };
    // A host that is busy may be too slow for 10 ms; then nothing has changed.
    let done = [late::change(change), late::change_flushed(change)];
    let wanted = done.iter().filter(|done| **done).count();
    let mut sound = same("changes", changed.load(Ordering::Relaxed), wanted);
    let work = cancel::Maintenance::new();
    sound &= work.go_on(change);
    cancel::on_interrupt(&work.urgent());
    sound &= !work.go_on(change) & (changed.load(Ordering::Relaxed) == wanted + 1);
    let mut count = 0;
    sound &= still_times::divide(|cpus| count = cpus).is_ok() & (count == possible().count());
    sound &= still_times::worst(3).is_ok_and(|worst| worst > Duration::ZERO);
    sound &= still_times::rewrite(last_cpu(), change, || ()).is_ok();
    sound &= budgets::spend(300) & budgets::move_half(CpuId::BOOT, last_cpu()).is_ok();
    budgets::fine(current(), budgets::fining());
    budgets::renew();
    sound &= budgets::spend(1000);
    let observer = key_users::Observer::begin();
    key_users::step(1);
    sound &= observer.map(key_users::Observer::end).is_ok();
    sound & same("modules", module_kinds::work_with_both(), (None, None))
}

/// A register that is a number of each CPU.
struct Numbers(AtomicU64);

impl calls::Register for Numbers {
    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn write(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

static NUMBERS: Numbers = Numbers(AtomicU64::new(0));

/// Calls, variables of each CPU, and RCU.
pub(crate) fn cpus() -> bool {
    let last = last_cpu();
    calls::write_everywhere(&NUMBERS, 7);
    let mut sound = calls::read_on(&NUMBERS, last) == Some(7);
    sound &= calls::write_on(&NUMBERS, &possible(), 8).is_empty();
    sound &= calls::write_soon(&NUMBERS, last, 9).is_ok();
    sound &= eventually(|| calls::read_on(&NUMBERS, last) == Some(9));
    per_cpu::send();
    let (_, before) = per_cpu::sent(CpuId::BOOT);
    let here = per_cpu::send_unqueued();
    let (own, all) = per_cpu::sent(here);
    sound &= (own > 0) & same("sent", all, before + 1);
    let routes = rcu_box::Routes::new(String::from("a"), String::from("bc"));
    sound &= same("hosts", (routes.send(false), routes.send(true)), (1, 2));
    let old = routes.replace(String::from("d"), String::from("d"));
    sound &= routes.is_one_host() & same("old", old.1.as_str(), "bc");
    routes.replace_later(String::from("e"), String::from("f"));
    sound &= !routes.is_one_host();
    let slots = [const { AtomicUsize::new(0) }; 2];
    grace_periods::refill(&slots, 5);
    sound &= grace_periods::look(&slots, |value| value) == 5;
    let freed = Arc::new(AtomicUsize::new(0));
    let its = Arc::clone(&freed);
    let free = move || {
        its.fetch_add(1, Ordering::Relaxed);
    };
    grace_periods::Reserve::new(free).release();
    let mut at_once = 0;
    grace_periods::unload(|| at_once = freed.load(Ordering::Relaxed));
    loops::replay(&[1, 2], |_| ());
    loops::free(|| ());
    sound & same("freed", at_once, 1)
}

static BANK: accounts::Bank = accounts::Bank::new();

/// Locks and places to wait.
pub(crate) fn locks() -> bool {
    let bank = &BANK;
    bank.transfer(1, 0, 200);
    bank.transfer(0, 1, 500);
    bank.change_rates(3);
    let mut sound = bank.add_interest(1) & (bank.difference() == 0);
    sound &= same("glance", bank.glance(), 300 / 100 * 3);
    let channel = channel::Channel::new();
    let device = device::Device::new();
    let received = thread::scope(|scope| {
        let receiver = scope.spawn(|| core::iter::from_fn(|| channel.receive()).sum::<u32>());
        let waiter = scope.spawn(|| device.wait_until_ready());
        (1..=100).for_each(|number| channel.send(number));
        sound &= device.command(|| device.on_interrupt());
        device.set_ready();
        channel.close();
        waiter.join();
        device.turn_off();
        receiver.join()
    });
    sound &= same("received", received, 5050);
    let soon = deadline(Duration::from_millis(1));
    sound &= channel.receive_until(soon).is_none();
    sound &= permits::transfer(|| permits::transfer_if_free(|| 6)) == Some(6);
    items::put();
    let at = || deadline(Duration::from_secs(10));
    sound &= items::take_before(at()) & !items::take_before(now());
    sound &= host_name::name_if_made().is_none_or(|name| name == host_name::name());
    let [one, other] = [ring::Ring::new(), ring::Ring::new()];
    one.push(4);
    one.exchange(&other);
    sound &= other.push_or_lose(5);
    let mut drained = Vec::with_capacity(2);
    ring::Ring::drain(&[one, other], |value| drained.push(value));
    sound & same("drained", drained, Vec::from([4, 5]))
}

/// Threads, timers, jobs and tasks.
pub(crate) fn threads() -> bool {
    let background = builder::compute(possible()).map(|handle| handle.join());
    let mut sound = background == Ok((1..1_000_000).sum());
    let serving = builder::serve(last_cpu());
    sound &= serving.map(|handle| handle.join()).is_some();
    let this = thread::current();
    let class = classes::urgently(Priority::MIN, || this.class());
    sound &= same("urgent", class != this.class(), true);
    sound &= same("niceness", classes::set(&this, None, 0), Ok(()));
    sound &= classes::set(&this, Some(100), 0).is_err();
    classes::explain(&this);
    usage::profile(thread::yield_now);
    sound &= same("words", scoped::count("a b c", "d e"), 5);
    sound &= same("longest", scoped::longest(&["abc", "de"]), Ok(3));
    let worker = parking::Worker::start();
    worker.wake();
    sound &= worker.end() < 3; // It may not have begun.
    sound &= pinned::stay(|cpu| cpu == current()) & (pinned::queue_of(1) == 0);
    sound &= pinned::avoid(CpuId::BOOT) & pinned::move_to(&this, &possible());
    instants::sample(|_| (), deadline(Duration::from_millis(5)));
    let blinker = timers::Blinker::start();
    sound &= eventually(|| blinker.has_blinked());
    sound &= same("blinks", blinker.stop() > 0, true);
    let done = Arc::new(Completion::new());
    let late = timers::time_out(&done);
    timers::answered(&late, &done);
    sound &= same("answered", done.try_wait(), true);
    let sorted = Pool::new().map(|pool| jobs::sort(&pool, &mut [3, 1, 2, 0]));
    sound &= same("sorted", sorted, Ok(Vec::from([0, 1, 2, 3])));
    memory::report();
    sound &= same("tasks", timeouts::run(), Ok(()));
    sound & same("stacks", memory::leak_of(|| ()).1, 0)
}

/// Raises the interrupt `line`, in place of a device.
fn raise(line: IrqLine) {
    let line = kernel().irqs.line(line.into());
    line.expect("it was requested before").raise();
}

/// Interrupts of devices.
pub(crate) fn interrupts() -> bool {
    let spis = u32::try_from(kernel().irq_chip().spi_count()).expect("few interrupts");
    // No device is at the last ones.
    let lines = |trigger| (1..4).map(move |at| IrqLine::from_intid(32 + spis - at, trigger));
    let edges: Vec<_> = lines(Trigger::Edge)
        .map(|line| line.expect("a number"))
        .collect();
    let levels: Vec<_> = lines(Trigger::Level)
        .map(|line| line.expect("a number"))
        .collect();
    let [one, two] = [0, 1].map(|_| Arc::new(irq::Sensor::default()));
    let comes = |line, sensor: &irq::Sensor| {
        sensor.raised.store(1, Ordering::Relaxed);
        raise(line);
        sensor.served.wait_until(deadline(Duration::from_secs(30)))
    };
    let own = irq::attach(&one, edges[0].intid()).expect("it is free");
    let mut sound = comes(edges[0], &one) & irq::attach(&two, edges[0].intid()).is_err();
    sound &= irq::move_to(&own, last_cpu()).is_ok() & comes(edges[0], &one);
    irq::show(&own);
    irq::reset(&own, &one);
    irq::mute(&own);
    own.enable();
    sound &= comes(edges[0], &one);
    drop(own);
    let both = [Arc::clone(&one), Arc::clone(&two)];
    let pair = irq::attach_two(&both, levels[0]).expect("it is free");
    sound &= comes(levels[0], &one) & comes(levels[0], &two);
    drop(pair);
    let queue = irq::attach_queue(edges[1], last_cpu()).expect("it is free");
    let near = irq::attach_near(edges[2], CpuMask::of(CpuId::BOOT)).expect("it is free");
    sound &= same("managed", irq::move_to(&queue, CpuId::BOOT).is_err(), true);
    sound &= same("near", near.affinity(), CpuMask::of(CpuId::BOOT));
    let asked = Arc::new(Completion::new());
    let its = Arc::clone(&asked);
    let slow = irq::attach_slow(levels[0], move || its.complete()).expect("it is free");
    raise(levels[0]);
    sound &= asked.wait_until(deadline(Duration::from_secs(30)));
    drop(slow);
    // INTID 23 is the monitor's where there is one; it doesn't count here.
    let monitor = IrqLine::from_intid(23, Trigger::Level).expect("a number");
    let watched = irq::watch_monitors(monitor, || ()).expect("it is free");
    sound & same("overflows", irq::overflows(&watched, last_cpu()), 0)
}
