//! The race lab as a user has it. `qemu_lab` checks whole tables; the clock of these machines is
//! the count of instructions, on one thread of the host, and the tables are the same.

use super::table::Case;

pub const LABS: &[Case] = &[
    Case::new(
        "labs_by_instruction_count",
        4,
        "lab 2006; lab 2014; lab 2017; poweroff",
        &[
            "^  CPU 1  read--takes-------######------sleep STALE$",
            "^  CPU 1  read--takes-------uses  ######.     sleep$",
            "^lab 2006: the old way fails, ours holds$",
            r"^  CPU 1  \(off\)             \(on\)  .     MISS$",
            "^  CPU 2  read--loop~~~~~~~~~~~~~~wants~DEAD~~drops .     .$",
            "^lab 2014: the old way fails, ours holds$",
            r"^  \| possible circular locking dependency:$",
            "^  CPU 2  mutex-------------FOUND-waits~DEAD~~~~~~~~read--opens .$",
            "^lab 2017: the old way fails, ours holds$",
        ],
    )
    .with(|machine| machine.icount = "1".into()),
    Case::new(
        "a_lab_is_refused_to_one_cpu",
        1,
        "lab; lab 2006; poweroff",
        &[
            "^lab 2017  .*deadlock",
            r"^lab: Operation not supported \(EOPNOTSUPP: a race needs two CPUs online, and only 0 is\)$",
        ],
    )
    .ends(1),
];
