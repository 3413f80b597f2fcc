//! Calls and returns that lead elsewhere while scheduling events are recorded, and cost nothing more
//! while they aren't: sites of a static key (see [`patch`](crate::patch)). The key is the kernel's,
//! under the name `stillpoint_sched_tracing`.

/// Expands to an entry of the table of static keys: assembly. Its instruction is at the label 771.
///
/// * `$on` — where that leads while scheduling events are recorded
/// * `$kind` — the kind of the site, and what that kind has besides
macro_rules! traced_entry {
    ($on:literal, $($kind:literal),+) => {
        concat!(
            "    .pushsection .static_keys, \"a\"\n",
            "    .balign 4\n",
            "    .long 771b - .\n",
            "    .long ",
            $on,
            " - .\n",
            "    .long stillpoint_sched_tracing - .\n",
            $($kind,)+
            "    .popsection\n"
        )
    };
}

/// Expands to the entry of a call, as [`traced_entry`].
///
/// * `$on` — what it calls while scheduling events are recorded
/// * `$off` — what it calls while they aren't, and at first
macro_rules! traced_call_entry {
    ($on:literal, $off:literal) => {
        $crate::arch::aarch64::traced_call::traced_entry!(
            $on,
            "    .long 2\n",
            "    .long ",
            $off,
            " - .\n"
        )
    };
}

/// Expands to the entry of a return, as [`traced_entry`].
///
/// * `$on` — where it leads while scheduling events are recorded
macro_rules! traced_return_entry {
    ($on:literal) => {
        $crate::arch::aarch64::traced_call::traced_entry!($on, "    .long 3\n", "    .long 0\n")
    };
}
pub(super) use {traced_call_entry, traced_entry, traced_return_entry};
