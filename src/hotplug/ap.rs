//! The side of the CPU that comes or goes.
//!
//! # Invariants
//! - **nothing-before-verdict**: until SHOULD_ONLINE the AP touches its boot record,
//!   its handshake and its wait point, the words that name the control CPU and say whether
//!   control sleeps there, those that say how long a wait spins, and the interrupt controller: no
//!   lock, no heap, no console, not
//!   its per-CPU area, nothing that a still point may change, because no still point waits
//!   for it.
//! - **short-locks-until-online**: from SHOULD_ONLINE to its online bit the AP takes no
//!   lock that another CPU holds for long. No other CPU takes its stopper's lock. Its
//!   run queue's lock is also taken by a CPU that wakes a thread which was asleep here
//!   when this CPU went, changes its affinity or looks at its state, with IRQs masked and
//!   for a few instructions. So are the locks of the slots, and those by which a stop from here
//!   queues works.
//! - **nothing-after-dead**: after DEAD the AP uses nothing but the stack that it is
//!   on, the words by which it finds out whether control sleeps, and where, the interrupt
//!   controller and firmware. DEAD alone doesn't make its memory free
//!   for its next life: only firmware's OFF after that does, or that it has come to the
//!   pen. If CPU_OFF returns, it also uses its boot record and its slot in the pen.

use crate::cpu::CpuId;
use crate::hotplug::{Hotplug, HotplugHost, StepContext, SyncState, UP_TO_ONLINE};
use crate::platform::Sgi;
use crate::sync::atomic::Ordering;
use crate::trace::Event;

impl<P: HotplugHost> Hotplug<P> {
    /// Says ALIVE, waits for the verdict, and goes online or turns itself off: what a
    /// CPU that was started does once it has set up all that may fail.
    ///
    /// # Context
    /// `cpu` itself on its entry stack, IRQs masked, its interface on with the
    /// priority mask closed and only the wake and panic SGIs enabled.
    pub fn arrive(&'static self, cpu: CpuId) -> ! {
        while P::is_held(cpu) {
            P::relax();
        }
        let handshake = self.handshake(cpu);
        if !handshake.arrive() {
            // Control has given up, or has not called this CPU: the word says DEAD already.
            P::disable_cpu_interface(cpu);
            self.tell_control(cpu);
            P::cpu_off(cpu);
        }
        self.tell_control(cpu);
        // (nothing-before-verdict)
        let go_on = self.cpus.get(cpu).arrival.wait_masked::<P, bool>(
            cpu.index(),
            &self.talk.verdict,
            || handshake.verdict(),
        );
        if !go_on {
            P::disable_cpu_interface(cpu);
            handshake.dead(SyncState::ShouldDie);
            self.tell_control(cpu);
            P::cpu_off(cpu);
        }
        P::synchronize_context();
        P::set_priority_mask_closed(false);
        self.start_here(cpu);
        self.tell_control(cpu);
        P::sched().idle(|| self.idle(cpu))
    }

    /// Walks the INIT steps.
    ///
    /// # Context
    /// `cpu` itself, IRQs masked.
    pub(super) fn start_here(&self, cpu: CpuId) {
        let record = self.cpus.get(cpu);
        let idle = record
            .idle
            .get()
            .expect("BUG: a CPU is released before prep:threads");
        P::sched().start_cpu(idle);
        let context = StepContext::of(cpu);
        // (short-locks-until-online)
        let walked = self.walker(&context).up(UP_TO_ONLINE);
        assert!(walked.is_ok(), "BUG: an INIT step failed: {walked:?}");
        P::grace_periods().arrived();
    }

    /// `init:online`, startup.
    pub(super) fn go_online(&self, cpu: CpuId) {
        self.handshake(cpu).online();
        P::masks().set_online(cpu);
    }

    /// `init:online`, teardown.
    pub(super) fn go_offline(&self, cpu: CpuId) {
        assert!(
            P::sched().is_drained(cpu),
            "BUG: {cpu:?} goes with threads that are not its own"
        );
        P::masks().clear_online(cpu);
    }

    /// Does one turn of the idle thread: leaves if the CPU is no longer online, otherwise
    /// sleeps until an interrupt is pending.
    ///
    /// # Context
    /// Idle thread of `cpu`, IRQs masked, nothing runnable.
    pub fn idle(&self, cpu: CpuId) {
        if P::masks().is_online(cpu) {
            P::grace_periods().idle();
        } else {
            self.leave(cpu);
        }
    }

    /// Says DEAD, and turns this CPU off.
    // A function of its own, where a debugger finds it: tests/rig/src/commands/held.rs.
    #[inline(never)]
    fn leave(&self, cpu: CpuId) {
        P::trace(Event::Dead);
        P::disable_cpu_interface(cpu);
        self.handshake(cpu).dead(SyncState::Online); // (nothing-after-dead)
        self.tell_control(cpu);
        P::cpu_off(cpu);
    }

    /// Sends the event SGI to the CPU that runs the operation on this one, if the control thread
    /// sleeps there. The caller has stored what control waits for.
    fn tell_control(&self, cpu: CpuId) {
        let control = self.cpus.get(cpu).control.load(Ordering::Relaxed);
        if let Some(control) = CpuId::new(control as usize)
            && self.asleep.sleeps_after_store(control.index())
        {
            P::send_sgi_to(Sgi::Event, cpu, control);
        }
    }
}
