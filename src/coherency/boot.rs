//! How the boot CPU comes to its caches. It starts with them off, behind a loader
//! that had its own on and was asked to clean nothing but the Image.
//!
//! ```text
//!   assembly     BSS         zeroed, nothing dirty left over it
//!                RELOCATE
//!   Rust         READ_TREE   the tree may still be in the loader's cache
//!                BUILD       page tables, nothing dirty left over them
//!                TURN_ON     no older copy of what was written hides it
//! ```
//!
//! # Invariants
//! - **nothing-dirty-left**: before memory is written past the caches, no dirty line is
//!   left over it: it could be written back later.
//! - **no-line-at-turn-on**: before caches go on, no line at all is left over what was
//!   written past them; firmware may fetch one at any time, so this comes last.
//!
//! The sequences are run as [`super::steps`] says.

#![forbid(unsafe_code)]

use super::steps::{CacheStep, steps};

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

/// The device tree is read.
pub const READ_TREE: &[CacheStep] = steps!(Clean(Tree), Read(Tree));

/// The page tables are built (nothing-dirty-left).
pub const BUILD: &[CacheStep] = steps!(Invalidate(Tables), Write(Tables));

/// MMU and caches go on (no-line-at-turn-on).
pub const TURN_ON: &[CacheStep] = steps!(
    Invalidate(Bss),
    Invalidate(Relocated),
    Invalidate(Tables),
    CachesOn,
);
