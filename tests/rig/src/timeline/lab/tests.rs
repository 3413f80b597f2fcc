//! Tests of the pictures of labs.

use super::*;

/// What a replay prints, with an act that goes on below.
const PRINTED: &str = "\
stillpoint# lab 2006
Lab 2006, seed 1
\"Is it safe?\" (Keith Owens)
----- runs  ~~~~~ waits  ##### stands still  . has no part

The old way: stop_machine()

  step CPU thread   what it does
     1   1 reader   reads: slot 6 is in use
     2   2 writer   calls stop_machine()
     3   1 reader   uses slot 6, which has been freed

         1     2
  CPU 0  .     ######
  CPU 1  read--######
  CPU 2  .     call~~
         3
  CPU 0  .
  CPU 1  STALE
  CPU 2  ~~~~~~

  IT FAILS: the reader has used slot 6 after it was freed.

Ours: a stop that flushes

  step CPU thread   what it does
     1   1 reader   reads

         1     2
  CPU 1  (off)
  others read--------

  It holds: the reader was let finish.

lab 2006: the old way fails, ours holds
";

#[test]
fn each_act_is_a_group_of_rows() {
    let labs = charts(PRINTED).expect("a lab");
    let [(name, chart)] = &labs[..] else {
        panic!("{} labs", labs.len());
    };
    assert_eq!(
        (name.as_str(), chart.title.as_str()),
        ("2006", "Lab 2006: \"Is it safe?\" (Keith Owens)")
    );
    let rows: Vec<_> = chart
        .rows
        .iter()
        .map(|row| (row.group.as_deref(), row.label.as_str()))
        .collect();
    let old = Some("The old way: stop_machine(): it fails");
    let ours = Some("Ours: a stop that flushes: it holds");
    let expected = [
        (old, "CPU 0"),
        (None, "CPU 1"),
        (None, "CPU 2"),
        (ours, "CPU 1"),
        (None, "others"),
    ];
    assert_eq!(rows, expected);
    assert_eq!(chart.panels[0].to, 3 * STEP);
    let bars: Vec<_> = chart.panels[0]
        .bars
        .iter()
        .map(|bar| {
            (
                bar.row,
                bar.from / STEP,
                bar.to / STEP,
                bar.about.as_str(),
                bar.paint,
            )
        })
        .collect();
    let expected = [
        (0, 1, 2, "", Paint::Blue),
        (1, 0, 1, "read", Paint::Green),
        (1, 1, 2, "", Paint::Blue),
        (1, 2, 3, "STALE", Paint::Red),
        (2, 1, 2, "call", Paint::Green),
        (2, 2, 3, "", Paint::Yellow),
        (3, 0, 2, "(off)", Paint::Grey),
        (4, 0, 2, "read", Paint::Green),
    ];
    assert_eq!(bars, expected);
    assert!(
        chart
            .description
            .contains("IT FAILS: the reader has used slot 6")
    );
}

#[test]
fn a_lab_that_is_cut_off_is_refused() {
    assert!(charts("no lab").expect("nothing").is_empty());
    let error = |end: &str| {
        let at = PRINTED.find(end).expect("it is there");
        charts(&PRINTED[..at])
            .expect_err("it is cut off")
            .to_string()
    };
    assert_eq!(error("The old way"), "lab 2006 has no act with a timeline");
    assert_eq!(error("  IT FAILS"), "an act of a lab has no outcome");
    let odd = charts("Lab ../x, seed 1\n")
        .expect_err("no name")
        .to_string();
    assert_eq!(odd, "../x is no name of a lab");
}
