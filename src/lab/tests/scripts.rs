//! The scripts: which threads take part, whether each line fits, and what follows from what is seen.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt::Debug;

use super::cpu;
use crate::cpu::CpuMask;
use crate::lab::y2006::{self, Section};
use crate::lab::y2014::{self, Count};
use crate::lab::y2017;
use crate::lab::{Line, Outcome, Protocol};

/// The seeds that are tried.
const SEEDS: u64 = 200;

/// Returns each cast that `choose_fn` makes for two CPUs and for four, once.
fn casts<C: PartialEq + Debug + Copy>(choose_fn: fn(u64, &CpuMask) -> Option<C>) -> Vec<C> {
    for few in [CpuMask::EMPTY, CpuMask::of(cpu(3))] {
        assert_eq!(choose_fn(1, &few), None);
    }
    let mut casts = vec![];
    for online in [CpuMask::first_n(2), CpuMask::first_n(4)] {
        for seed in 0..SEEDS {
            let cast = choose_fn(seed, &online).expect("two CPUs");
            assert_eq!(choose_fn(seed, &online), Some(cast), "seed {seed}");
            if !casts.contains(&cast) {
                casts.push(cast);
            }
        }
    }
    assert!(casts.len() > 150, "only {} casts", casts.len());
    casts
}

/// Checks that each line fits into a row of the table, and its mark into a column.
fn fit(lines: &[Line]) {
    for line in lines {
        assert!(line.thread.len() <= 8 && line.mark.len() <= 5, "{line:?}");
        assert!(line.what.len() <= 58, "{} bytes: {line:?}", line.what.len());
    }
}

/// Checks that `outcome` says that the protocol failed, or that it held, in lines that fit.
fn says(outcome: &Outcome, fails: bool) {
    let (has_failed, text) = match outcome {
        Outcome::Failed(text) => (true, text),
        Outcome::Held(text) => (false, text),
    };
    assert_eq!(has_failed, fails, "{text}");
    assert!(
        text.lines()
            .all(|line| line.len() <= 68 || line.starts_with(' ')),
        "{text}"
    );
    assert!(text.lines().all(|line| line.len() <= 80), "{text}");
}

#[test]
fn a_cast_of_2006_has_two_cpus_and_two_slots() {
    for cast in casts(y2006::Cast::choose) {
        assert_ne!(cast.reader, cast.writer);
        assert_ne!(cast.slot, cast.next);
        assert!(cast.slot < y2006::SLOTS && cast.next < y2006::SLOTS);
        for section in [Section::Open, Section::PreemptOff, Section::NoFlush] {
            fit(&[
                cast.reads(section),
                cast.takes(),
                cast.keeps(),
                cast.calls(section),
                cast.changes(),
                cast.frees(),
                cast.sleeps(),
                cast.uses(cast.slot, true),
                cast.uses(cast.slot, false),
            ]);
            says(&cast.outcome(section, true), true);
            says(&cast.outcome(section, false), false);
        }
    }
}

#[test]
fn a_cast_of_2014_moves_one_cpu_and_stays_on_others() {
    for cast in casts(y2014::Cast::choose) {
        assert!(cast.driver != cast.moving && cast.admin != cast.moving);
        assert!(cast.stay.contains(cast.driver) && cast.stay.contains(cast.admin));
        assert!(!cast.stay.contains(cast.moving) && cast.stay.contains(cast.first()));
        fit(&[
            cast.loops(&cast.stay),
            cast.registers(),
            cast.reads(),
            cast.wants(),
            cast.deadlock(),
            cast.gives_way(),
            cast.locks(),
            cast.calls_and_waits(),
            cast.half_way(),
            cast.goes_on(),
            cast.tells(true),
            cast.tells(false),
            cast.installs(true),
            cast.installs(false),
            cast.gives(cast.moving),
            cast.installed(&cast.stay),
            cast.takes_back(cast.moving),
            cast.removes(),
            cast.removed(),
            cast.finds(0),
            cast.finds(1),
            cast.finds(2),
        ]);
        for play in y2014::Play::ALL {
            fit(&[cast.calls(play), cast.returns(play)]);
        }
    }
}

#[test]
fn an_outcome_of_2014_is_what_was_counted() {
    let cast = y2014::Cast::choose(1, &CpuMask::first_n(2)).expect("two CPUs");
    for play in y2014::Play::ALL {
        let counted = |got, back| {
            let count = |at, got, back| Count {
                cpu: cpu(at),
                got,
                back,
            };
            [count(0, 1, usize::from(play.goes())), count(1, got, back)]
        };
        let well = counted(1, usize::from(play.goes()));
        says(&cast.outcome(play, &well, false), false);
        says(&cast.outcome(play, &well, true), true);
        for (got, back) in [
            (0, 0),
            (2, 0),
            (2, 1),
            (1, usize::from(!play.goes())),
            (1, 2),
        ] {
            says(&cast.outcome(play, &counted(got, back), false), true);
        }
    }
}

#[test]
fn a_cast_of_2017_moves_one_cpu_and_stays_on_others() {
    for cast in casts(y2017::Cast::choose) {
        assert!(cast.alloc != cast.coming && cast.admin != cast.coming);
        fit(&[
            cast.locks(),
            cast.drains(),
            cast.wants_cpus(),
            cast.waits_for_cpus(),
            cast.copies(&CpuMask::first_n(4)),
            cast.opens(),
            cast.calls(),
            cast.wants_mutex(),
            cast.waits_for_mutex(),
            cast.allocates(),
            cast.deadlock(),
            cast.gives_way(),
            cast.returns(true),
            cast.returns(false),
        ]);
        for (found, deadlock) in [(true, false), (true, true), (false, true)] {
            says(&cast.outcome(found, deadlock), true);
        }
        says(&cast.outcome(false, false), false);
    }
}

#[test]
fn each_lab_plays_both_protocols_and_the_old_one_first() {
    let y2014 = y2014::Play::ALL.map(y2014::Play::protocol);
    let y2017 = y2017::Play::ALL.map(y2017::Play::protocol);
    for plays in [&y2014[..], &y2017] {
        let old = plays.iter().take_while(|play| **play == Protocol::Old);
        let old = old.count();
        assert!(old > 0 && old < plays.len(), "{plays:?}");
        assert!(plays[old..].iter().all(|play| *play == Protocol::Ours));
    }
    for title in y2014::Play::ALL.map(y2014::Play::title) {
        assert!(title.len() < 66, "{title}");
    }
}
