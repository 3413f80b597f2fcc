//! The cases that need only a machine, commands, and lines.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use super::labs::LABS;
use crate::config::Config;

/// A function that changes a machine.
type With = fn(&mut Config);

/// A case.
#[derive(Clone, Copy)]
pub struct Case {
    pub name: &'static str,
    pub cpus: u32,
    /// The shell commands, as bytes, which the boot argument `init` has.
    commands: &'static [u8],
    /// Patterns of lines that must come, in order. No line may match a pattern that follows
    /// `! `.
    pub lines: &'static [&'static str],
    /// The status with which the machine must end.
    pub status: i32,
    /// Changes the machine.
    with: With,
}

impl Case {
    /// Returns a case on the default machine that must end with status 0.
    pub const fn new(
        name: &'static str,
        cpus: u32,
        commands: &'static str,
        lines: &'static [&'static str],
    ) -> Case {
        Case {
            name,
            cpus,
            commands: commands.as_bytes(),
            lines,
            status: 0,
            with: |_| {},
        }
    }

    /// Returns the case with a machine that `with` changes.
    pub const fn with(self, with: With) -> Case {
        Case { with, ..self }
    }

    /// Returns the case with another status.
    pub const fn ends(self, status: i32) -> Case {
        Case { status, ..self }
    }

    /// Returns the case's machine. `config` has the settings that the case doesn't have.
    pub fn machine(&self, config: &Config) -> Config {
        let mut machine = Config {
            smp: self.cpus.to_string(),
            init: OsString::from_vec(self.commands.to_vec()),
            ..config.clone()
        };
        (self.with)(&mut machine);
        machine
    }
}

/// Returns the cases that need no special version of QEMU.
pub fn everywhere() -> Vec<Case> {
    [USE, LABS, STATUS, LEVELS, CONSOLES, &on_each_gic()].concat()
}

const ALL_FOUR: &str = r"On-line CPU\(s\) list: +0-3$";

const USE: &[Case] = &[
    Case::new(
        "boots_alone",
        1,
        "lscpu; poweroff",
        &[r"On-line CPU\(s\) list: +0$"],
    ),
    Case::new(
        "says_one_cpu",
        1,
        "poweroff",
        &["Stillpoint .*: 1 CPU, GICv3"],
    ),
    Case::new(
        "states_fits_a_screen",
        4,
        "states; poweroff",
        &["prep:percpu +up 4 ", "^     no teardown: ", "! .{101}"],
    ),
    Case::new(
        "empty_command_is_an_exit",
        2,
        "lscpu ;; lscpu",
        &[
            "sh: syntax error near unexpected token ';'",
            "! Architecture",
        ],
    )
    .ends(2),
    Case::new("boots_with_four", 4, "lscpu; poweroff", &[ALL_FOUR]),
    Case::new(
        "boots_with_twenty",
        20,
        "lscpu; poweroff",
        &[r"On-line CPU\(s\) list: +0-19$"],
    ),
    Case::new(
        "cpu_leaves_and_returns",
        4,
        "chcpu -d 3; lscpu; chcpu -e 3; lscpu; poweroff",
        &[
            "CPU 3 disabled",
            r"On-line CPU\(s\) list: +0-2$",
            r"Off-line CPU\(s\) list: +3$",
            "CPU 3 enabled",
            ALL_FOUR,
        ],
    ),
    Case::new(
        "files_of_linux",
        4,
        "echo 0 > /sys/devices/system/cpu/cpu3/online; cat /sys/devices/system/cpu/online; \
         echo 9 > /sys/devices/system/cpu/cpu3/hotplug/target; \
         echo 1 > /sys/devices/system/cpu/cpu3/online; lscpu; poweroff",
        &[
            "^0-2$",
            r"echo: write error: Invalid argument \(EINVAL: state 9 is none",
            ALL_FOUR,
        ],
    ),
    Case::new(
        "boot_cpu_leaves_and_returns",
        4,
        "chcpu -d 0; lscpu; chcpu -e 0; lscpu; chcpu -d 0; poweroff",
        &[
            "CPU 0 disabled",
            r"On-line CPU\(s\) list: +1-3$",
            r"Off-line CPU\(s\) list: +0$",
            "CPU 0 enabled",
            ALL_FOUR,
        ],
    ),
    Case::new(
        "others_leave_before_the_end",
        4,
        "chcpu -d 0; poweroff",
        &["The machine ends, with CPUs 1 online"],
    ),
    // The shell's thread is on CPU 3 when it ends the machine.
    Case::new(
        "the_end_from_another_cpu",
        4,
        "chcpu -d 0-2; chcpu -e 0-2; poweroff",
        &["The machine ends, with CPUs 0 online"],
    ),
    Case::new(
        "reset_without_the_boot_cpu",
        4,
        "chcpu -d 0-1; reboot",
        &["The machine ends, with CPUs 2 online"],
    )
    .with(|machine| machine.qemu = "-no-reboot".into()),
    Case::new(
        "last_cpu_stays",
        4,
        "chcpu -d 0-3; lscpu; stop; selftest; poweroff",
        &[
            "CPU 2 disabled",
            "CPU 3 disable failed: .*EBUSY: CPU3 is the last enabled CPU",
            r"On-line CPU\(s\) list: +3$",
            "SGI writes: ",
            "CPUs 3 of 0-3",
        ],
    ),
    Case::new(
        "bad_input_changes_nothing",
        2,
        "chcpu -d 1-99; frobnicate; lscpu; poweroff",
        &[
            "does not exist",
            "command not found",
            r"On-line CPU\(s\) list: +0-1$",
        ],
    ),
    Case::new(
        "machine_stops_and_goes_on",
        4,
        "stop; lscpu; poweroff",
        &[ALL_FOUR],
    ),
    Case::new(
        "boot_argument_limits_cpus",
        5,
        "lscpu; chcpu -e 2-3; lscpu; chcpu -e 4; nproc; poweroff",
        &[
            "CPUs left alone: 1, as nr_cpus= or possible_cpus= is 4",
            r"On-line CPU\(s\) list: +0-1$",
            ALL_FOUR,
            "CPU 4 does not exist",
            "^4$",
        ],
    )
    .with(|machine| machine.append = "maxcpus=2 nr_cpus=4 possible_cpus=9".into()),
    Case::new(
        "entered_at_el2",
        2,
        "chcpu -d 1; chcpu -e 1; lscpu; poweroff",
        &[r"On-line CPU\(s\) list: +0-1$"],
    )
    .with(|machine| machine.virt = "on".into()),
];

// The status of the commands in init= is the machine's status if the last command ends the
// machine. A failed command there must not end at a prompt, which no user sees.
const STATUS: &[Case] = &[
    Case::new(
        "last_status_is_the_exit",
        2,
        "lscpu; chcpu -d 0; chcpu -d 1; poweroff",
        &["CPU 0 disabled", "CPU 1 disable failed"],
    )
    .ends(1),
    Case::new(
        "unknown_is_an_exit",
        2,
        "nosuch; exit",
        &["nosuch: command not found", "Try 'help'"],
    )
    .ends(127),
    Case::new(
        "exit_with_a_number",
        2,
        "nosuch; exit 7",
        &["command not found"],
    )
    .ends(7),
    Case::new(
        "syntax_error_is_an_exit",
        2,
        "lscpu; stop | cat",
        &[
            r"sh: syntax error: '\|' is not supported",
            "! Architecture",
            "! On-line",
        ],
    )
    .ends(2),
    Case {
        commands: b"echo \xfc; poweroff",
        ..Case::new(
            "init_that_is_no_text_is_an_exit",
            2,
            "",
            &[
                "warning: boot arguments: boot argument .init=.* ignored: not UTF-8",
                "! Type .help",
            ],
        )
        .ends(2)
    },
    Case::new(
        "mistyped_end_is_an_exit",
        2,
        "lscpu; powerof",
        &["powerof: command not found"],
    )
    .ends(127),
    Case::new(
        "comments_are_passed_over",
        2,
        "echo a # echo b; exit 3\npoweroff",
        &["^a$", "! ^b$"],
    ),
];

// loglevel= limits the messages on the console, as in Linux, but not the output of commands.
const LEVELS: &[Case] = &[
    Case::new(
        "loglevel_0_says_nothing",
        2,
        "chcpu -d 1; poweroff",
        &[
            "CPU 1 disabled",
            "! Stillpoint 0",
            "! Brought up",
            "! down in",
        ],
    )
    .with(|machine| machine.append = "loglevel=0".into()),
    Case::new(
        "quiet_says_no_warning",
        2,
        "lscpu; poweroff",
        &[r"On-line CPU\(s\) list: +0-1$", "! Brought up", "! unknown"],
    )
    .with(|machine| machine.append = "quiet nonsense".into()),
    Case::new(
        "loglevel_5_warns",
        2,
        "lscpu; poweroff",
        &["warning: boot arguments: unknown nonsense", "! Brought up"],
    )
    .with(|machine| machine.append = "loglevel=5 nonsense".into()),
    // A line for each CPU, when all have come. By instruction count each comes in 11 us.
    Case::new(
        "each_cpu_has_a_line",
        4,
        "poweroff",
        &[
            "Stillpoint 0",
            r"+ CPU1 up in 0\.0[0-9]+ ms, 0\.0[0-9]+ ms of it in [a-z:-]+( and [0-9.]+ ms for others)?$",
            r"+ CPU2 up in 0\.0[0-9]+ ms, 0\.0[0-9]+ ms of it in [a-z:-]+( and [0-9.]+ ms for others)?$",
            r"+ CPU3 up in 0\.0[0-9]+ ms, 0\.0[0-9]+ ms of it in [a-z:-]+( and [0-9.]+ ms for others)?$",
            "+ Brought up 4 of 4 CPUs in [0-9]{2} us: online 0-3$",
            "! prep:hardware +on",
        ],
    )
    .with(|machine| machine.icount = "1".into()),
    Case::new(
        "loglevel_7_shows_the_steps",
        2,
        "chcpu -d 1; poweroff",
        &[
            "CPU0   up    init:online",
            "CPU0   up    sched:active",
            "CPU1   up    prep:hardware +on CPU0",
            "CPU1   up    between",
            "+ CPU1 up in [0-9.]+ ms, [0-9.]+ ms of it in [a-z:-]+( and [0-9.]+ ms for others)?$",
            "+ Brought up 2 of 2",
            "CPU1   down  sched:active +on CPU1",
            "CPU1 down in",
            "CPU 1 disabled",
        ],
    )
    .with(|machine| machine.append = "loglevel=7".into()),
    // Nothing is printed while CPUs come up. By instruction count, which doesn't depend on the
    // host, the first to the last take 61 us; with the printing they took 412.
    Case::new(
        "printing_is_not_bringing_up",
        4,
        "poweroff",
        &[
            "CPU3   up    sched:active",
            "Brought up 4 of 4 CPUs in [0-9]{1,2} us",
        ],
    )
    .with(|machine| {
        machine.icount = "1".into();
        machine.append = "loglevel=7".into();
    }),
    Case::new(
        "on_a_cortex_a72",
        4,
        "chcpu -d 1-3; chcpu -e 1-3; lscpu; poweroff",
        &[ALL_FOUR],
    )
    .with(|machine| machine.cpu = "cortex-a72".into()),
];

// If a console is named that doesn't exist, the output goes to another.
const CONSOLES: &[Case] = &[
    Case::new(
        "earlycon_is_memory",
        2,
        "lscpu; poweroff",
        &[
            "warning: boot arguments: earlycon= is passed over: 0x48000000 is memory$",
            r"On-line CPU\(s\) list: +0-1$",
        ],
    )
    .with(|machine| machine.append = "earlycon=pl011,0x48000000".into()),
    Case::new(
        "earlycon_is_nothing",
        2,
        "lscpu; poweroff",
        &[
            "earlycon= is passed over: no UART answers at 0x9040000$",
            r"On-line CPU\(s\) list: +0-1$",
        ],
    )
    .with(|machine| machine.append = "earlycon=pl011,0x9040000".into()),
    Case::new(
        "earlycon_is_no_16550",
        2,
        "poweroff",
        &["earlycon= is passed over: no UART answers at 0x9040000$"],
    )
    .with(|machine| machine.append = "earlycon=uart8250,mmio32,0x9040000".into()),
    Case::new(
        "earlycon_is_too_far",
        2,
        "poweroff",
        &["earlycon= is passed over: this CPU has no address 0x1000000000000$"],
    )
    .with(|machine| machine.append = "earlycon=pl011,0x1000000000000".into()),
    Case::new(
        "console_is_nothing",
        4,
        "lscpu; poweroff",
        &[
            "warning: console: no UART answers at 0x9040000: no input, and output by the early console$",
            ALL_FOUR,
        ],
    )
    .with(|machine| machine.dtb = "dts/console-absent.dts".into()),
];

/// Returns a case for each GIC in each of its views. CPUs go offline and come back, and sleep
/// in still points.
fn on_each_gic() -> [Case; 5] {
    let machines: [(&str, With); 5] = [
        ("gicv2", |machine| machine.gic = "2".into()),
        ("gicv2_at_el2", |machine| {
            machine.gic = "2".into();
            machine.virt = "on".into();
        }),
        ("gicv2_non_secure", |machine| {
            machine.gic = "2".into();
            machine.secure = "on".into();
        }),
        ("gicv3_non_secure", |machine| machine.secure = "on".into()),
        ("gicv4", |machine| {
            machine.gic = "4".into();
            machine.virt = "on".into();
        }),
    ];
    machines.map(|(name, with)| {
        Case::new(
            name,
            8,
            "chcpu -d 0-6; stop; chcpu -e 0-6; chcpu -d 1-7; stop; chcpu -e 1-7; stop; stop; \
             lscpu; poweroff",
            &[
                "CPU 0 disabled",
                "CPU 0 enabled",
                "CPU 7 disabled",
                "CPU 7 enabled",
                "SGI writes: +1 for the request, [1-9][0-9]* to wake",
                "SGI writes: +1 for the request",
                r"On-line CPU\(s\) list: +0-7$",
            ],
        )
        .with(with)
    })
}

const NO_SEMIHOSTING: &str = "-semihosting-config enable=off";

/// Returns the cases on a Raspberry Pi 4: on each of its UARTs, and with an end by its
/// watchdog. There, semihosting is off, and an exit that asks for it uses the watchdog
/// instead.
pub fn on_a_pi() -> [Case; 3] {
    let leaves = |name| {
        Case::new(
            name,
            4,
            "chcpu -d 1-3; chcpu -e 1-3; chcpu -d 0-2; lscpu; chcpu -e 0-2; lscpu; poweroff",
            &[
                "on Raspberry Pi 4 Model B: 4 CPUs, GICv2",
                r"On-line CPU\(s\) list: +3$",
                r"Off-line CPU\(s\) list: +0-2$",
                ALL_FOUR,
                "^stillpoint: exit 0$",
            ],
        )
    };
    [
        leaves("rpi4_pl011").with(|machine| {
            machine.board = "rpi4".into();
            machine.qemu = NO_SEMIHOSTING.into();
        }),
        leaves("rpi4_mini_uart").with(|machine| {
            machine.board = "rpi4".into();
            machine.qemu = format!("{NO_SEMIHOSTING} -serial null");
            machine.dtb = "dts/bcm2711-rpi-4-b-mini-uart.dts".into();
        }),
        // QEMU ends at a reset, where the board would boot again.
        Case::new("rpi4_reset", 4, "reboot", &["Brought up 4 of 4 CPUs"]).with(|machine| {
            machine.board = "rpi4".into();
            machine.qemu = format!("{NO_SEMIHOSTING} -no-reboot");
        }),
    ]
}
