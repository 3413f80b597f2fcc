//! How the boot CPU turns its caches on. It starts with its caches off. The loader before
//! it had its caches on, and the boot protocol has it clean only the Image.
//!
//! ```text
//!   assembly     BSS          zeroed, nothing dirty left over it
//!                RELOCATE
//!   Rust         read_tree    the tree may still be in the loader's cache
//!                build        page tables, nothing dirty left over them
//!                turn_on      no older copy of what was written hides it
//! ```
//!
//! # Invariants
//! - **nothing-dirty-left**: before a write bypasses the caches, no cache has a dirty copy
//!   of that memory, which could be written back over it later.
//! - **no-line-at-turn-on**: before caches go on, no cache has any copy of the memory that
//!   was written bypassing them. Firmware may fetch a copy at any time, so this comes last.
//!
//! [`super::steps`] says how these sequences are run.

#![forbid(unsafe_code)]

use super::steps::{CacheStep, steps};
use super::words::{Bss, CachesOn, Clean, Invalidate, Read, Relocated, Tables, Tree, Write};

/// The sequence that zeroes the Image's memory, for `$with!` to make something of.
macro_rules! bss {
    ($with:ident) => {
        $with! { Invalidate(Bss), Write(Bss) }
    };
}

/// The sequence that relocates the Image.
macro_rules! relocate {
    ($with:ident) => {
        $with! { Write(Relocated) }
    };
}

#[allow(
    unused_imports,
    reason = "the assembly made of them is for the target alone"
)]
pub(crate) use {bss, relocate};

/// The Image's memory is zeroed.
pub const BSS: &[CacheStep] = bss!(steps);

/// The Image is relocated.
pub const RELOCATE: &[CacheStep] = relocate!(steps);

/// Reads the device tree, and returns what it says.
pub fn read_tree<M>(memory: &mut M) -> <M as Read<Tree>>::Value
where
    M: Clean<Tree> + Read<Tree>,
{
    memory.clean(Tree);
    memory.read(Tree)
}

/// Builds the page tables (nothing-dirty-left), and returns what comes of it.
pub fn build<M>(memory: &mut M) -> <M as Write<Tables>>::Outcome
where
    M: Invalidate<Tables> + Write<Tables>,
{
    memory.invalidate(Tables);
    memory.write(Tables)
}

/// Turns MMU and caches on (no-line-at-turn-on).
#[inline]
pub fn turn_on<M>(memory: &mut M)
where
    M: Invalidate<Bss> + Invalidate<Relocated> + Invalidate<Tables> + CachesOn,
{
    memory.invalidate(Bss);
    memory.invalidate(Relocated);
    memory.invalidate(Tables);
    memory.caches_on();
}
