//! Calls and returns that lead elsewhere while scheduling events are recorded, and cost nothing more
//! while they aren't: sites of a static key (see [`patch`](crate::patch)). The key is the kernel's,
//! under the name `stillpoint_sched_tracing`.

/// Expands to the entry of a call in the table of static keys: assembly. The call is the instruction
/// at the label 771.
///
/// * `$on` — what it calls while scheduling events are recorded
/// * `$off` — what it calls while they aren't, and at first
macro_rules! traced_call_entry {
    ($on:literal, $off:literal) => {
        concat!(
            "    .pushsection .static_keys, \"a\"\n",
            "    .balign 4\n",
            "    .long 771b - .\n",
            "    .long ",
            $on,
            " - .\n",
            "    .long stillpoint_sched_tracing - .\n",
            "    .long 2\n",
            "    .long ",
            $off,
            " - .\n",
            "    .popsection\n"
        )
    };
}

/// Expands to the entry of a return, as [`traced_call_entry`].
///
/// * `$on` — where it leads while scheduling events are recorded
macro_rules! traced_return_entry {
    ($on:literal) => {
        concat!(
            "    .pushsection .static_keys, \"a\"\n",
            "    .balign 4\n",
            "    .long 771b - .\n",
            "    .long ",
            $on,
            " - .\n",
            "    .long stillpoint_sched_tracing - .\n",
            "    .long 3\n",
            "    .long 0\n",
            "    .popsection\n"
        )
    };
}
pub(super) use {traced_call_entry, traced_return_entry};
