//! The texts that end the help of a command: examples, and what its output means.

/// The text that ends the help of `states`.
pub(super) const STATES: &str = "\
One line for each step, in the order in which a CPU passes them on its way up; on
its way down it passes them from the last to the first. The number of a step is how
many steps are up once it is.
 up N, down N                 how often CPUs have passed it, either way
 past LIST                    the CPUs that are beyond it, and not back yet
 rest                         a CPU can be moved there, and stay
";

/// The text that ends the help of `stop`.
pub(super) const STOP: &str = "\
Every CPU comes to a still point, one of them runs a function that does nothing, and
all go on:
 Time to fn                   from the call until the function ran, all CPUs still
 Whole                        from the call until all CPUs had been let go
 SGI writes                   register writes that the interrupts took, of which one
                              may reach many CPUs
 IRQs off                     how long CPUs had their interrupts off

Under an emulator these are the times of the emulator, and of what else its host does.
";

/// The text that ends the help of `free`.
pub(super) const FREE: &str = "\
 Mem                          the heap; cache is what CPUs, and depots between them, keep
                              of it for their next requests
 Stacks                       the pool from which threads get their stacks
";

/// The text that ends the help of `ps`.
pub(super) const PS: &str = "\
One line for each thread, the oldest first:
 PSR                          the CPU that it runs on, or ran on last
 CLS                          FF, RR: realtime, with its priority in RTPRIO; TS: ordinary,
                              with its niceness in NI; STP: a stopper
 S                            R runs or wants to, S waits, P is parked, Z has ended
 TIME                         for how long it has had a CPU, in seconds
 NVCSW, NIVCSW                how often it gave its CPU away, and how often it lost it
 MIGR                         how often it was moved to another CPU
";

/// The text that ends the help of `top`.
pub(super) const TOP: &str = "\
It measures for a second and shows the CPUs, and the threads that used most, in per cent
of one CPU; and so on until q or another key is pressed. It says if that key, or what was
typed before it, is dropped.

Example:
 top -bn1                     once, without a key: in init=
";

/// The text that ends the help of `sysctl`.
pub(super) const SYSCTL: &str = "\
Keys:
 kernel.cpu_down_timeout_ms   after how many milliseconds taking a CPU down turns back; 0:
                              never
 kernel.sched_rt_runtime_us   for how long of each period realtime threads may have a CPU
                              that ordinary threads want, in microseconds; -1: for all of it
 kernel.sched_rt_period_us    the length of a period, which can't be changed
 kernel.watchdog_thresh       after how many seconds the log says that a wait goes on; 0: never

Examples:
 sysctl -a                                    show all
 sysctl kernel.sched_rt_runtime_us=-1         realtime threads without a bound
";

/// The text that ends the help of `trace`.
pub(super) const GOVERNOR: &str = "\
performance   all CPUs are online, up to the ceiling
ondemand      the load decides: CPUs come when threads wait for one, and go when
              they are idle
userspace     nothing happens by itself; with CPUS, so many are online

It brings up only CPUs that it has taken down itself: one that chcpu has disabled stays
so until chcpu enables it. The boot argument governor=NAME chooses one at boot; floor,
ceiling and other settings are files in /sys/devices/system/cpu/governor.
";

pub(super) const TRACE: &str = "\
What the rings still hold of each time that a CPU came or went: a line for each step
and for what lay between the steps, with when it began, the CPU that it ran on, and
how long it took. The lines add up to the whole. With loglevel=7 they are printed
after each command that brings CPUs up or takes them down, and after the boot.

While 0 is in /sys/kernel/tracing/tracing_on nothing is recorded, and the kernel doesn't
even look. The boot argument tracing_on=0 begins so.

With export it is a timeline of all CPUs, with what each did in still points, as JSON:
save it as a file, and open that in ui.perfetto.dev or chrome://tracing. While 1 is in
/sys/kernel/tracing/events/enable it also has what has run since: threads, interrupts,
the states of each stop, and arrows from an SGI to what it has woken.

Examples:
 trace export                                 a timeline in JSON
 echo 1 > /sys/kernel/tracing/events/enable   record also threads and interrupts
 echo 0 > /sys/kernel/tracing/tracing_on      record nothing any more
 echo 1 > /sys/kernel/tracing/tracing_on      record again
";

/// The text that ends the help of `cat` and `ls`.
pub(super) const FILES: &str = "\
These files are in /sys/devices/system/cpu, as in Linux:
 possible, present, online, offline           lists of CPUs
 kernel_max                                   the highest number that a CPU can have
 cpuN/online                                  1 or 0; may be written
 cpuN/hotplug/state, cpuN/hotplug/target      the number of its state; target may be
                                              written, and moves the CPU there
 cpuN/hotplug/fail                            the number of a state whose step is to fail
                                              once, or -1; may be written
 hotplug/states                               the numbers (see also 'states')
 hotplug/history                              the recorded walks (see also 'trace')
These are in /proc: cmdline, cpuinfo, interrupts, meminfo, schedstat, uptime; and below
/proc/sys the settings, which may be written (see 'help sysctl').
These are in /sys/kernel/tracing:
 tracing_on, events/enable                    1 or 0; may be written (see 'help trace')

Examples:
 ls /sys/devices/system/cpu
 cat /sys/devices/system/cpu/hotplug/states
 echo 0 > /sys/devices/system/cpu/cpu2/online
";

/// The text that ends the help of `date`.
pub(super) const DATE: &str = "\
FORMAT may have %Y %m %d %e, %H %M %S, %F (%Y-%m-%d), %T (%H:%M:%S), %s (seconds
since 1970), %a, %b, %Z and %%.
";

/// The text that ends the help of `exit` and `poweroff`.
pub(super) const POWEROFF: &str = "\
The emulator exits with this status if the kernel was booted with exit=semihosting.
Without a number it is the status of the command before it in the same line, as in a
script: 0 if there is none.
";

/// The text that ends the help of `reboot`.
pub(super) const REBOOT: &str = "\
The kernel command line stays what it was: commands in init= run again.
";

/// The text that ends the help of `chcpu`.
pub(super) const CHCPU: &str = "\
A CPU list names CPUs by number, from 0 on, without spaces:
 1,4-7                        CPU 1, and CPUs 4 to 7
 0-7:2                        every second one of 0 to 7: CPUs 0, 2, 4, 6
 0-7:2/4                      the first two of every four: CPUs 0, 1, 4, 5

Examples:
 chcpu -d 1,4-7               take them down, all in one operation
 chcpu -e 1-7                 bring them up; those that are up stay so

The status is 0, 1 if no CPU of the list came or went, 64 if some did.
";

/// The text that ends the help of `lscpu`.
pub(super) const LSCPU: &str = "\
Examples:
 lscpu                        how many CPUs there are, which are on, what they are
 lscpu -e                     the state of each: online, offline, or what went wrong
";

/// The text that ends the help of `fail`.
pub(super) const FAIL: &str = "\
A STEP is a name or a number of 'states', such as sched:drain. The step fails once, when the
CPU next passes it, and the walk goes back to where it began. Without a step, or with 'off' or
-1, none is to fail any more. Without a CPU it shows which will.

Example:
 fail 2 sched:drain; chcpu -d 2; trace 2      a way down that turns back, step by step
";

/// The text that ends the help of `target`.
pub(super) const TARGET: &str = "\
Only states with 'rest' in the table of 'states' take a CPU; offline and online do too.

Examples:
 target 2 sched:drain         down, or up, to this state
 target 2 online              all the way up again
";

/// The text that ends the help of `hold`.
pub(super) const HOLD: &str = "\
A CPU that is held starts, and says nothing: bringing it up fails when it has taken too
long. Its stacks stay reserved for it, and lscpu -e tells of it, until it is let go.

Example:
 hold 2; chcpu -e 2; lscpu -e; hold 2 off
";

/// The text that ends the help of `psci`.
pub(super) const PSCI: &str = "\
Calls:
 version                      of PSCI
 affinity_info CPU            whether firmware has the CPU on or off
 features FUNCTION            whether firmware has a function: a name such as cpu_off, or
                              a number such as 0x84000002; 0 or more: it has
 migrate_info_type            whether a trusted OS needs a CPU
Calls that would change the machine behind the kernel's back are refused.
";

/// The text that ends the help of `stress`.
pub(super) const STRESS: &str = "\
In each of N rounds a CPU comes or goes, chosen at random. For one in four a step fails,
chosen at random too, and the walk must go back. At the end the CPUs that were online are
again, and no others. Ctrl-C ends it early. With the same seed it chooses the same.
";

/// The text that ends the help of `taskset`.
pub(super) const TASKSET: &str = "\
A mask is hexadecimal, with CPU 0 in its last bit; with -c it is a list such as 0,2-3. 'ps'
shows the pid of each thread.

Examples:
 taskset -pc 5                the CPUs of thread 5
 taskset -pc 0,2 5            set them
 taskset -c 1 stop            run a command on CPU 1
";

/// The text that ends the help of `watch`.
pub(super) const WATCH: &str = "\
Ctrl-C or q ends it. At its end it says how much else was typed, which it drops.

Example:
 watch -n 0.5 cat /sys/devices/system/cpu/online
";
