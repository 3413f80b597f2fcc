//! Text that is written while CPUs run, against caches, translations and pipelines that QEMU
//! doesn't have, in every order.
//!
//! The tests run the sequence that ships (`stillpoint::patch::write`), for two sites in two pages.
//! A recorder notes its steps. Then two models play them, each with a second CPU that only
//! looks on, and visit every state that can be reached: hardware may walk the tables, write a
//! line back, drop or fetch one, or fetch an instruction, at any moment.
//!
//! | Model | Must hold |
//! |---|---|
//! | `host_patch/alias.rs` | each store goes to the page of its site; at the end no CPU can write text (`alias-only-to-write`) |
//! | `host_patch/caches.rs` | at the end no CPU executes an old instruction (`fetched-anew`) |
//!
//! Then the tests leave out each step, one at a time. Each time one of the models must find a
//! fault.

#[path = "host_patch/alias.rs"]
mod alias;
#[path = "host_patch/caches.rs"]
mod caches;
#[path = "host_caches/search.rs"]
mod search;

use stillpoint::patch::{NOP, Text, write};

use search::search;

/// What the sequence does, a step at a time. Sites and pages are numbers from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    SetAlias(u8),
    ClearAlias,
    DropTranslations,
    Store(u8),
    Clean(u8),
    Invalidate(u8),
    Complete,
    Synchronize,
}

/// The addresses of the sites, each in a page of its own, as its number says.
const SITES: [usize; 2] = [0x4000_0010, 0x4000_1ffc];

struct Recorder(Vec<Step>);

/// Returns the number of a site.
fn number(site: usize) -> u8 {
    let at = SITES.iter().position(|it| *it == site);
    u8::try_from(at.expect("a site")).expect("a small number")
}

impl Text for Recorder {
    fn set_alias(&mut self, page: usize) {
        let at = SITES.iter().position(|site| site & !0xfff == page);
        let page = u8::try_from(at.expect("the page of a site")).expect("a small number");
        self.0.push(Step::SetAlias(page));
    }
    fn clear_alias(&mut self) {
        self.0.push(Step::ClearAlias);
    }
    fn drop_translations(&mut self) {
        self.0.push(Step::DropTranslations);
    }
    fn store(&mut self, site: usize, word: u32) {
        assert_eq!(word, NOP);
        self.0.push(Step::Store(number(site)));
    }
    fn clean(&mut self, site: usize) {
        self.0.push(Step::Clean(number(site)));
    }
    fn invalidate(&mut self, site: usize) {
        self.0.push(Step::Invalidate(number(site)));
    }
    fn complete(&mut self) {
        self.0.push(Step::Complete);
    }
    fn synchronize(&mut self) {
        self.0.push(Step::Synchronize);
    }
}

/// Returns the steps that ship.
fn steps() -> Vec<Step> {
    let mut recorder = Recorder(Vec::new());
    write(&mut recorder, SITES.into_iter().map(|site| (site, NOP)));
    recorder.0
}

/// Plays `steps` in both models, and returns how many states they have.
///
/// # Errors
/// A description of the first fault.
fn play(steps: &[Step]) -> Result<usize, String> {
    let mut states = search(alias::Machine::new(steps))?;
    for site in [0, 1] {
        states += search(caches::Machine::new(steps, site, true))?;
    }
    Ok(states)
}

#[test]
fn text_is_written_so_that_all_cpus_execute_it() {
    let states = play(&steps()).expect("sound");
    assert!(states > 1000, "only {states} states");
}

#[test]
fn each_step_is_needed() {
    let steps = steps();
    for (at, step) in steps.iter().enumerate() {
        let mut without = steps.clone();
        without.remove(at);
        let played = play(&without);
        assert!(
            played.is_err(),
            "without {step:?} (step {at}) nothing fails"
        );
    }
}

#[test]
fn the_other_cpu_has_to_synchronize() {
    for site in [0, 1] {
        let played = search(caches::Machine::new(&steps(), site, false));
        assert_eq!(played, Err("CPU 1 executes an old instruction".into()));
    }
}

#[test]
fn sites_of_a_page_share_its_alias() {
    let mut recorder = Recorder(Vec::new());
    write(
        &mut recorder,
        [SITES[0]; 3].into_iter().map(|site| (site, NOP)),
    );
    let count = |step| recorder.0.iter().filter(|it| **it == step).count();
    let counts = [Step::SetAlias(0), Step::ClearAlias, Step::Store(0)].map(count);
    assert_eq!(counts, [1, 1, 3]);
}
