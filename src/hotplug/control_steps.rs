//! The control CPU's side of the handshake, but for the start (`src/hotplug/control_start.rs`):
//! it dismisses a CPU, waits until it is off, and quarantines one whose end it does not see
//! (`unseen-end-quarantines` of [`hotplug`](crate::hotplug)).
//!
//! # Quarantine
//! A CPU whose end control has not seen is *quarantined*: nothing that it may still use
//! is touched. Its heap cache stays as it is. Its timers are adopted before control
//! waits for its end: a lock guards them, and the CPU has turned its own timer off in the
//! still point. The
//! quarantine lasts until firmware starts the CPU again, the CPU says ALIVE, or an
//! operation finds it DEAD and OFF ([`Hotplug::settle`]).

use core::time::Duration;

use crate::cpu::{CpuId, CpuMask};
use crate::hotplug::{
    ApRefusal, Hotplug, HotplugHost, Life, Quarantine, StepContext, StepError, SyncState,
};
use crate::platform::PowerState;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::time::{Instant, WaitLimit};

/// How long control sleeps between two questions to firmware, once it has spun: a
/// virtual CPU that leaves needs the host's time for it.
const ASK_AGAIN: Duration = Duration::from_micros(100);
/// How often control looks for what can't raise an event: a CPU that refused
/// itself before its interrupt interface was up.
pub(super) const LOOK: Duration = Duration::from_millis(10);
/// Turns that control spins before it sleeps between two questions to firmware, which is not
/// quick to answer.
const SPINS: u32 = 8;
/// How long control waits for what another CPU or firmware does, in nanoseconds.
/// Relaxed: they order nothing.
pub(super) struct Limits {
    /// How long a way down may take, up to the point of no return; `u64::MAX`: for ever.
    down: AtomicU64,
    pub(super) arrive: AtomicU64,
    die: AtomicU64,
    pub(super) off: AtomicU64,
}

impl Limits {
    pub(super) fn new<P: HotplugHost>() -> Limits {
        Limits {
            down: AtomicU64::new(u64::MAX),
            arrive: AtomicU64::new(nanoseconds(Hotplug::<P>::ARRIVE)),
            die: AtomicU64::new(nanoseconds(Hotplug::<P>::DIE)),
            off: AtomicU64::new(nanoseconds(Hotplug::<P>::OFF)),
        }
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn set(limit: &AtomicU64, time: Duration) {
    limit.store(nanoseconds(time), Ordering::Relaxed);
}

/// Returns a limit that begins now.
pub(super) fn limit<P: HotplugHost>(limit: &AtomicU64) -> WaitLimit {
    let time = Duration::from_nanos(limit.load(Ordering::Relaxed));
    WaitLimit::new(P::now(), P::frequency().duration_to_ticks(time))
}

/// A limit that several CPUs have in common. It counts anew from each that was in time, and
/// once one was late it is past for all: they have had as long by then.
pub(super) struct CommonLimit<'a> {
    each: &'a AtomicU64,
    past: Option<Instant>,
}

impl<'a> CommonLimit<'a> {
    fn new(each: &'a AtomicU64) -> Self {
        CommonLimit { each, past: None }
    }

    /// Returns the limit of the next CPU.
    pub(super) fn until<P: HotplugHost>(&self) -> Instant {
        self.past.unwrap_or_else(|| limit::<P>(self.each).end())
    }

    /// Notes that a CPU was late, whose limit was `until`.
    pub(super) fn was_late(&mut self, until: Instant) {
        self.past = Some(until);
    }
}

impl<P: HotplugHost> Hotplug<P> {
    /// How long a CPU may take to say ALIVE (Linux on arm64: 5 s).
    pub const ARRIVE: Duration = Duration::from_secs(5);
    /// How long a CPU that was told to leave may take to say DEAD.
    pub const DIE: Duration = Duration::from_secs(10);
    /// How long firmware may take to say OFF after DEAD, and to start a CPU that it
    /// still takes for on. Linux on arm64 waits 100 ms and goes on with a warning; here
    /// it is an error and the CPU is quarantined, which a virtual CPU that merely
    /// isn't running must not be.
    pub const OFF: Duration = Duration::from_secs(5);

    /// Sets how long [`Hotplug::cpu_down`] may take from now on, up to the point from which it
    /// can't turn back; `None`: for ever.
    pub fn set_down_limit(&self, limit: Option<Duration>) {
        set(&self.limits.down, limit.unwrap_or(Duration::MAX));
    }

    /// Returns how long [`Hotplug::cpu_down`] may take; `None`: for ever.
    pub fn down_limit(&self) -> Option<Duration> {
        let limit = self.limits.down.load(Ordering::Relaxed);
        (limit != u64::MAX).then(|| Duration::from_nanos(limit))
    }

    /// Returns the limit that CPUs which go together have to say DEAD.
    pub(super) fn common_die_limit(&self) -> CommonLimit<'_> {
        CommonLimit::new(&self.limits.die)
    }

    /// Returns the limit of firmware to say OFF of CPUs that go together.
    pub(super) fn common_off_limit(&self) -> CommonLimit<'_> {
        CommonLimit::new(&self.limits.off)
    }

    /// Returns the deadline of a way down that begins now.
    pub(super) fn down_deadline(&self) -> Instant {
        self.down_limit().map_or(Instant::FOREVER, P::deadline)
    }

    /// For tests: how long a CPU may take to say ALIVE from now on.
    pub fn set_arrival_limit(&self, limit: Duration) {
        set(&self.limits.arrive, limit);
    }

    /// For tests: how long a CPU may take to say DEAD from now on.
    pub fn set_die_limit(&self, limit: Duration) {
        set(&self.limits.die, limit);
    }

    /// For tests: how long firmware may take to say OFF, or to start a CPU, from now on.
    pub fn set_off_limit(&self, limit: Duration) {
        set(&self.limits.off, limit);
    }

    /// `sync:active`, teardown: waits until no thread holds a mask with this CPU in it. From
    /// then on no thread is placed on it, and the threads that are queued there go at once: a
    /// realtime thread that never waits would keep the CPU's own threads from parking.
    ///
    /// For the CPUs of a batch control has waited already, once for all of them.
    ///
    /// # Errors
    /// At the deadline a CPU still holds the grace period up.
    pub(super) fn wait_inactive(&self, context: &StepContext) -> Result<(), StepError> {
        if !context.in_batch {
            let over = self.wait_grace_period(context.cpu, context.until);
            over.map_err(StepError::NotQuiescent)?;
        }
        P::sched().push_all(context.cpu);
        Ok(())
    }

    /// Waits for a grace period, for the take-down of `cpus`.
    ///
    /// # Errors
    /// As [`Hotplug::wait_grace_period`].
    pub(super) fn wait_for_masks(&self, cpus: &CpuMask, until: Instant) -> Result<(), CpuId> {
        let over = P::grace_periods().synchronize_until(until, |late| {
            log::warn!("CPUs {cpus} wait for a grace period; CPUs {late} hold it up");
        });
        late_one(over)
    }

    /// Waits for a grace period, for the take-down of `cpu`.
    ///
    /// # Errors
    /// A CPU that still holds it up at `until`.
    pub(super) fn wait_grace_period(&self, cpu: CpuId, until: Instant) -> Result<(), CpuId> {
        let over = P::grace_periods().synchronize_until(until, |late| {
            log::warn!("CPU{cpu} waits for a grace period; CPUs {late} hold it up");
        });
        late_one(over)
    }

    /// `sync:alive`, teardown: waits until the CPU has said DEAD and firmware says OFF. A CPU
    /// that is late with either is quarantined.
    pub(super) fn wait_dead(&self, context: &StepContext) {
        let cpu = context.cpu;
        match context.off_by {
            None => self.wait_end(cpu, limit::<P>(&self.limits.die).end(), None),
            Some(_) => self.wait_end(cpu, P::now(), context.off_by),
        }
    }

    /// Waits until `cpu` has said DEAD; returns whether it has by `until`.
    pub(super) fn says_dead(&self, cpu: CpuId, until: Instant) -> bool {
        let handshake = self.handshake(cpu);
        let is_dead = || handshake.state() == SyncState::Dead;
        let mut limit = WaitLimit::until(P::now(), until);
        while !self.wait_event(&self.talk.dead, limit.next_look(), is_dead) {
            if limit.is_over(P::now()) {
                return false;
            }
        }
        true
    }

    /// Waits until `cpu` has said DEAD, by `dead_by`, and firmware OFF, by `off_by` or within
    /// its limit.
    fn wait_end(&self, cpu: CpuId, dead_by: Instant, off_by: Option<Instant>) {
        if !self.says_dead(cpu, dead_by) {
            let quarantine = Quarantine::not_dead(self.handshake(cpu).state());
            *self.cpus.get(cpu).quarantine.lock() = Some(quarantine);
        } else if self.wait_off(cpu, off_by) {
            *self.cpus.get(cpu).quarantine.lock() = None;
        } else {
            self.note_not_off(cpu);
        }
    }

    pub(super) fn note_not_off(&self, cpu: CpuId) {
        let quarantine = Quarantine::NotOff(P::off_refused(cpu));
        *self.cpus.get(cpu).quarantine.lock() = Some(quarantine);
    }

    /// `prep:heap`, teardown: gives the memory that the CPU kept back to all CPUs, unless
    /// it may still run.
    pub(super) fn empty_heap_cache(&self, cpu: CpuId) {
        if self.quarantine(cpu).is_none() {
            P::empty_heap_cache(cpu);
        }
    }

    /// `prep:hardware`, teardown: dismisses a CPU that was started and is not wanted, and
    /// waits for its end. After a tear-down the CPU is off already, or quarantined.
    pub(super) fn cancel_start(&self, cpu: CpuId) {
        let handshake = self.handshake(cpu);
        // If the CPU arrives between the look and the move, `give_up` fails: it is ALIVE.
        let gave_up = handshake.state() == SyncState::Kicked && handshake.give_up().is_ok();
        match handshake.state() {
            SyncState::Dead if !gave_up => {}
            // Given up by `wait_alive`, which has quarantined it.
            SyncState::Cancelled if !gave_up => {}
            // DEAD: it arrived and left after `give_up`; firmware has yet to say OFF.
            SyncState::Cancelled | SyncState::Dead => self.wait_gone(cpu),
            SyncState::Alive => {
                let point = &self.cpus.get(cpu).arrival;
                point.publish::<P>(CpuMask::of(cpu).bits(), || {
                    let dismissed = handshake.dismiss();
                    assert!(dismissed.is_ok(), "BUG: ALIVE became {dismissed:?}");
                });
                self.wait_dead(&StepContext::of(cpu));
            }
            // `wait_dead` has waited for it in vain.
            SyncState::Online if self.quarantine(cpu).is_some() => {}
            state => panic!("BUG: {cpu:?} is {} before sync:alive", state.name()),
        }
    }

    /// Waits as [`Hotplug::wait_dead`] does, with its limit, for a CPU that was given up
    /// before it arrived. Such a CPU may also have refused itself, which leaves a reason and
    /// no DEAD. Then firmware's OFF is enough, and control writes the word.
    fn wait_gone(&self, cpu: CpuId) {
        let mut limit = limit::<P>(&self.limits.die);
        let handshake = self.handshake(cpu);
        loop {
            let look_again = limit.next_look().min(P::deadline(LOOK));
            let is_dead = || handshake.state() == SyncState::Dead;
            if self.wait_event(&self.talk.dead, look_again, is_dead) {
                return self.wait_end(cpu, limit.end(), None);
            }
            if self.refusal(cpu).is_some() {
                if !self.wait_off(cpu, None) {
                    return self.note_not_off(cpu);
                }
                // A CPU that refuses itself never touches the word, so control moves it.
                if handshake.seen_off(SyncState::Cancelled).is_ok() {
                    *self.cpus.get(cpu).quarantine.lock() = None;
                    return;
                }
            } else if limit.is_over(P::now()) {
                return self.wait_end(cpu, limit.end(), None);
            }
        }
    }

    /// Looks again at a quarantined CPU, and returns its quarantine if that goes on. The
    /// quarantine is over if the CPU has said DEAD or refused itself since, and firmware
    /// says OFF now.
    pub(super) fn settle(&self, cpu: CpuId) -> Option<Quarantine> {
        self.settle_if(cpu, || P::power_state(cpu) == Ok(PowerState::Off))
    }

    /// Does as [`Hotplug::settle`], but firmware may say OFF by `off_by`. May wait.
    pub(super) fn settle_until(&self, cpu: CpuId, off_by: Instant) -> Option<Quarantine> {
        self.settle_if(cpu, || self.wait_off(cpu, Some(off_by)))
    }

    /// Does as [`Hotplug::settle`]. `is_off_fn` says whether firmware says OFF.
    fn settle_if(&self, cpu: CpuId, is_off_fn: impl FnOnce() -> bool) -> Option<Quarantine> {
        let quarantine = self.quarantine(cpu)?;
        let handshake = self.handshake(cpu);
        let word = handshake.state();
        let refused = word == SyncState::Cancelled && self.refusal(cpu).is_some();
        if word != SyncState::Dead && !refused {
            return Some(quarantine);
        }
        if !is_off_fn() {
            self.note_not_off(cpu);
            return self.quarantine(cpu);
        }
        if refused {
            let failed = handshake.seen_off(SyncState::Cancelled);
            assert!(failed.is_ok(), "BUG: a CPU that is off moved: {failed:?}");
        }
        *self.cpus.get(cpu).quarantine.lock() = None;
        P::empty_heap_cache(cpu);
        None
    }

    /// Returns why `cpu` refused itself in the life for which control last started it. A
    /// reason of an earlier life, which can be written after control's retry has cleared
    /// the record, doesn't count.
    pub(super) fn refusal(&self, cpu: CpuId) -> Option<ApRefusal> {
        let (life, reason) = P::refusal(cpu)?;
        (life == self.life(cpu)).then_some(reason)
    }

    /// Returns the life for which `cpu` was last started.
    pub(super) fn life(&self, cpu: CpuId) -> Life {
        Life::from_number(self.cpus.get(cpu).life.load(Ordering::Relaxed))
    }

    /// Polls firmware until it says OFF; returns whether it did in time: by `off_by`, or within
    /// its limit from now on. Control asks once more where it did not run until the limit was
    /// past, as a virtual CPU may not.
    pub(super) fn wait_off(&self, cpu: CpuId, off_by: Option<Instant>) -> bool {
        let mut limit = match off_by {
            Some(until) => WaitLimit::until(P::now(), until),
            None => limit::<P>(&self.limits.off),
        };
        let mut turns = 0;
        loop {
            let is_late = limit.is_over(P::now());
            if P::power_state(cpu) == Ok(PowerState::Off) {
                return true;
            }
            if is_late {
                return false;
            }
            self.pause(&mut turns);
        }
    }

    /// Pauses between two questions to firmware: spins at first, then sleeps.
    pub(super) fn pause(&self, turns: &mut u32) {
        if *turns < SPINS {
            *turns += 1;
            P::relax();
        } else {
            P::sched().sleep_until(P::deadline(ASK_AGAIN));
        }
    }
}

/// Returns the first CPU that has held a grace period up until its limit, as an error.
fn late_one(over: Result<(), CpuMask>) -> Result<(), CpuId> {
    // If none is left, the last one has reported in this moment.
    over.or_else(|late| late.first().map_or(Ok(()), Err))
}
