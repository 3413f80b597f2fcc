//! The tables and timelines of scripts without threads, and the verdicts.

use alloc::string::{String, ToString};
use alloc::vec;

use super::*;
use crate::cpu::{CpuId, CpuMask};

mod scripts;

fn cpu(index: usize) -> CpuId {
    CpuId::new(index).expect("few")
}

fn act(protocol: Protocol, outcome: Outcome) -> Act {
    let events = vec![
        Event {
            cpu: cpu(0),
            line: Line::new("one", "begin", "begins"),
        },
        Event {
            cpu: cpu(2),
            line: Line::new("two", "up", "brings CPU 1 up")
                .then(Then::Waits)
                .scene(Scene::Comes(cpu(1))),
        },
        Event {
            cpu: cpu(1),
            line: Line::new("three", "runs", "runs there"),
        },
        Event {
            cpu: cpu(2),
            line: Line::new("two", "fn", "stops all").scene(Scene::Still),
        },
        Event {
            cpu: cpu(0),
            line: Line::new("one", "down", "takes CPU 1 down")
                .then(Then::Idle)
                .scene(Scene::Goes(cpu(1))),
        },
        Event {
            cpu: cpu(0),
            line: Line::new("one", "end", "ends").then(Then::Idle),
        },
    ];
    Act {
        title: "a title",
        protocol,
        cpus: CpuMask::first_n(4),
        away: CpuMask::of(cpu(1)),
        events,
        found: String::new(),
        outcome,
    }
}

fn failed() -> Outcome {
    Outcome::Failed("so.".into())
}

fn held() -> Outcome {
    Outcome::Held("so.".into())
}

#[test]
fn an_act_is_a_table_a_timeline_and_a_sentence() {
    let shown = act(Protocol::Old, failed()).to_string();
    let wanted = "\
The old way: a title

  step CPU thread   what it does
     1   0 one      begins
     2   2 two      brings CPU 1 up
     3   1 three    runs there
     4   2 two      stops all
     5   0 one      takes CPU 1 down
     6   0 one      ends

         1     2     3     4     5     6
  CPU 0  begin-------------######down  end
  CPU 1  (off) (on)  runs--######(off)
  CPU 2  .     up~~~~~~~~~~fn####------------
  CPU 3  .     .     .     ######.     .

  IT FAILS: so.
";
    assert_eq!(shown, wanted, "{shown}");
    let shown = act(Protocol::Ours, held()).to_string();
    assert!(shown.starts_with("Ours: a title\n"), "{shown}");
    assert!(shown.ends_with("\n  It holds: so.\n"), "{shown}");
}

#[test]
fn a_large_machine_has_lines_for_the_cpus_of_the_act_and_one_for_the_others() {
    let mut large = act(Protocol::Old, failed());
    large.cpus = CpuMask::first_n(64);
    let shown = large.to_string();
    let lines = shown.lines().filter(|line| line.starts_with("  CPU "));
    assert_eq!(lines.count(), 3, "{shown}");
    assert!(
        shown.contains("  others .     .     .     ######.     .\n"),
        "{shown}"
    );
}

#[test]
fn a_long_act_goes_on_below() {
    let mut long = act(Protocol::Old, failed());
    let more = long.events.clone();
    long.events
        .extend(more.into_iter().chain(long.events.clone()));
    let shown = long.to_string();
    assert!(shown.contains("\n         12    13    14 "), "{shown}");
    assert!(shown.lines().all(|line| line.len() <= 80), "{shown}");
}

#[test]
fn the_verdict_is_what_was_seen() {
    let old = |outcome| act(Protocol::Old, outcome);
    let ours = |outcome| act(Protocol::Ours, outcome);
    for (acts, verdict) in [
        (vec![old(failed()), ours(held())], Ok(())),
        // The old protocol, were it ours: what a lab must not pass over.
        (
            vec![old(held()), ours(held())],
            Err(Wrong::DidNotFail("a title")),
        ),
        (
            vec![old(failed()), ours(held()), ours(failed())],
            Err(Wrong::DidNotHold("a title")),
        ),
        (vec![old(failed())], Err(Wrong::OneSided)),
        (vec![ours(held())], Err(Wrong::OneSided)),
        (vec![], Err(Wrong::OneSided)),
    ] {
        assert_eq!(judge(&acts), verdict);
    }
    let wrong = Wrong::DidNotFail("a title").to_string();
    assert_eq!(wrong, "the old way did not fail: a title");
}
