//! Static keys: switches that are looked at often and turned seldom. A look costs one
//! instruction, a NOP on the way that is likely; a turn stops the machine and rewrites the code.
//! The names are Linux's where Linux has them.
//!
//! A key is a static. It counts: it is on while it was enabled more often than disabled.
//! `StaticKey` is off at first, `StaticKey<true>` is on.
//!
//! ```no_run
#![doc = include_str!("../../examples/api/static_key.rs")]
//! ```
//!
//! | Macro | While the key is off | While it is on |
//! |---|---|---|
//! | [`static_branch_unlikely!`](crate::static_branch_unlikely!) | NOP | a branch to the code in question, which is elsewhere |
//! | [`static_branch_likely!`](crate::static_branch_likely!) | a branch around the code | NOP |
//!
//! # What a turn promises
//! While one is under way a CPU may see either value. When it returns, every CPU sees the new
//! one at every look, and all that the caller did before is visible to code that sees it. The
//! code is never writable where it runs.

pub use crate::kernel::StaticKey;
pub use crate::kernel::static_key::change;
#[doc(hidden)]
pub use crate::kernel::static_key::{starts, static_branch};
pub use crate::patch::{Change, KeyError};
