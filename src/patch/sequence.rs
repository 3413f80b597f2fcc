//! How words of text are written, so that no CPU executes an old one afterwards.
//!
//! ```text
//!   for each page with sites in it:
//!       alias on     descriptor; DSB: a walk sees it; ISB: so does this CPU's next access
//!       write        one store for each site: no CPU reads half of an instruction
//!       alias off    descriptor; DSB; TLBI on all CPUs; DSB, here or below: it is done
//!   clean each word to where instructions are fetched from (DC CVAU); DSB
//!   drop each old instruction from all CPUs' caches (IC IVAU); DSB
//!   ISB: this CPU. The others synchronize before the change returns
//! ```
//!
//! # Sources
//! Arm ARM, "Concurrent modification and execution of instructions" and "Ordering and completion
//! of data and instruction cache instructions"; "TLB maintenance requirements" for the
//! break-before-make of the alias.

use crate::config::PAGE_SIZE;

/// What writing text does to the machine, an instruction or a store at a time. On hardware the
/// type behind it executes them, in the model (`tests/host_patch.rs`) it plays them.
pub trait Text {
    /// Stores the alias's descriptor: the page of text at `page`, writable and never executable.
    fn set_alias(&mut self, page: usize);

    /// Stores the alias's descriptor: nothing is there.
    fn clear_alias(&mut self);

    /// Has all CPUs drop the alias's translation (TLBI VALE1IS); done after
    /// [`Text::complete`].
    fn drop_translations(&mut self);

    /// Writes `word` at `site` in the page that the alias has, with a single store.
    fn store(&mut self, site: usize, word: u32);

    /// Writes the cached word at `site` back to where instructions are fetched from (DC CVAU);
    /// done after [`Text::complete`].
    fn clean(&mut self, site: usize);

    /// Has all CPUs drop the cached instruction at `site` (IC IVAU); done after
    /// [`Text::complete`].
    fn invalidate(&mut self, site: usize);

    /// Completes all of the above that came before (DSB ISH).
    fn complete(&mut self);

    /// Has this CPU see all that is complete, in translations and instructions (ISB).
    fn synchronize(&mut self);
}

/// Writes `words`, each an address and an instruction, in their order.
///
/// On return no other CPU fetches an old instruction from memory or from a cache. It may still
/// execute one that it has fetched, until it synchronizes its context (`fetched-anew` of
/// [`patch`](crate::patch)).
///
/// # Context
/// The still point, or one CPU that is alone; IRQs masked.
pub fn write(text: &mut impl Text, words: impl Iterator<Item = (usize, u32)> + Clone) {
    let mut mapped = None;
    for (site, word) in words.clone() {
        let page = site & !(PAGE_SIZE - 1);
        if mapped != Some(page) {
            if mapped.is_some() {
                alias_off(text);
                // The alias has no page before it has the next one.
                text.complete();
            }
            alias_on(text, page);
            mapped = Some(page);
        }
        text.store(site, word);
    }
    if mapped.is_some() {
        alias_off(text); // (`alias-only-to-write` of `patch`)
    }
    for (site, _) in words.clone() {
        text.clean(site);
    }
    text.complete(); // Also the translations are dropped now.
    for (site, _) in words {
        text.invalidate(site);
    }
    text.complete();
    text.synchronize();
}

fn alias_on(text: &mut impl Text, page: usize) {
    text.set_alias(page);
    text.complete();
    text.synchronize();
}

fn alias_off(text: &mut impl Text) {
    text.clear_alias();
    text.complete();
    text.drop_translations();
}
