//! Tests of whole pictures: a reader of XML that isn't ours takes them, and everything is in its
//! place.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use roxmltree::{Document, Node};
use serde_json::Value;

use super::chart::{Bar, Chart, Paint, Panel, Point, Row, Text};
use super::draw::draw;
use super::trace::Trace;
use super::{overview, samples, stop, walk};

/// How far two numbers may differ: each is rounded to hundredths.
const ROUNDED: f64 = 0.021;

fn trace(json: &Value) -> Trace {
    Trace::read(json).expect("a trace")
}

fn number(node: Node, attribute: &str) -> f64 {
    let text = node.attribute(attribute);
    let text = text.unwrap_or_else(|| panic!("{attribute} of {node:?}"));
    text.parse().expect("a number")
}

fn has_class(node: Node, class: &str) -> bool {
    let classes = node.attribute("class").unwrap_or_default();
    classes.split(' ').any(|of| of == class)
}

/// Returns from where to where a rectangle or a line of text goes, and its upper edge or base line.
fn span(node: Node) -> Option<(f64, f64, String)> {
    let (x, y) = (number(node, "x"), node.attribute("y")?.to_owned());
    let width = match node.tag_name().name() {
        "rect" => number(node, "width"),
        _ => node.attribute("textLength")?.parse().expect("a number"),
    };
    let left = match node.attribute("text-anchor") {
        Some("middle") => x - width / 2.0,
        _ => x,
    };
    Some((left, left + width, y))
}

/// Checks that `svg` is well-formed, that all is inside of it, and that no two bars and no two
/// texts of a line have a common place. Returns how many bars it has.
fn judge(svg: &str) -> usize {
    let document = Document::parse(svg).unwrap_or_else(|error| panic!("{error} in {svg}"));
    let root = document.root_element();
    let (width, height) = (number(root, "width"), number(root, "height"));
    let title = root.first_element_child().expect("a title");
    assert!(title.has_tag_name(("http://www.w3.org/2000/svg", "title")));
    assert!(title.text().is_some_and(|text| !text.is_empty()));
    let mut lines = BTreeMap::<(bool, String), Vec<(f64, f64)>>::new();
    let mut bars = 0;
    for node in root.descendants().filter(Node::is_element) {
        let name = node.tag_name().name();
        assert!(!["script", "image", "foreignObject", "a"].contains(&name));
        if !["rect", "text"].contains(&name) {
            continue;
        }
        let is_bar = has_class(node, "bar");
        bars += usize::from(is_bar);
        let Some((left, right, y)) = span(node) else {
            continue;
        };
        let top: f64 = y.parse().expect("a number");
        let bottom = top
            + node
                .attribute("height")
                .map_or(0.0, |_| number(node, "height"));
        let is_inside = left >= 0.0 && right <= width && top >= 0.0 && bottom <= height;
        assert!(
            is_inside && left <= right,
            "{node:?} is outside of the picture"
        );
        if is_bar || name == "text" {
            lines.entry((is_bar, y)).or_default().push((left, right));
        }
    }
    for (line, mut spans) in lines {
        spans.sort_by(|one, other| one.0.total_cmp(&other.0));
        for pair in spans.windows(2) {
            assert!(
                pair[0].1 <= pair[1].0 + ROUNDED,
                "{pair:?} overlap in {line:?}"
            );
        }
    }
    bars
}

fn texts(svg: &str) -> Vec<String> {
    let document = Document::parse(svg).expect("well-formed");
    let texts = document
        .descendants()
        .filter(|node| node.has_tag_name(("http://www.w3.org/2000/svg", "text")));
    texts
        .filter_map(|node| node.text().map(str::to_owned))
        .collect()
}

#[test]
fn a_still_point_has_a_row_for_each_cpu_with_its_states_and_arrows() {
    let chart = stop::chart(&trace(&samples::stop())).expect("a stop");
    let labels: Vec<_> = chart
        .rows
        .iter()
        .map(|row| (row.label.as_str(), row.lanes))
        .collect();
    assert_eq!(
        labels,
        [("CPU 0", 1), ("CPU 1", 1), ("CPU 2", 1), ("CPU 3", 1)]
    );
    let panel = &chart.panels[0];
    // The SGIs were sent before the first CPU arrived.
    assert_eq!(panel.zero, 99_500);
    assert!(panel.from < panel.zero && panel.to > 106_700);
    let arrows: Vec<_> = panel
        .arrows
        .iter()
        .map(|arrow| (arrow.from, arrow.to))
        .collect();
    let point = |row, at| Point { row, lane: 0, at };
    assert_eq!(arrows[2], (point(0, 99_500), point(3, 102_700)));
    // All are masked when the last one runs, until the first leaves.
    assert_eq!((panel.bands[0].from, panel.bands[0].to), (103_400, 104_000));
    let svg = draw(&chart);
    // The slices of the states, without those around them.
    assert_eq!(judge(&svg), 12);
    assert_eq!(
        svg.matches("marker-end").count(),
        3 + 1,
        "three arrows, and that of the legend"
    );
    assert!(texts(&svg).contains(&"prepare".to_owned()));
}

#[test]
fn a_stop_of_all_is_shown_before_one_of_few_or_of_a_walk() {
    let of = |events: &[(u64, &str, u32, u32)]| {
        let chart = stop::chart(&trace(&samples::of(events)))?;
        Some((chart.rows.len(), chart.panels[0].zero))
    };
    assert_eq!(of(&[]), None);
    let pair = [(2, "stop", 100, 200), (2, "stop", 150, 210)];
    let later = [(2, "stop", 1100, 1200), (2, "stop", 1150, 1210)];
    assert_eq!(of(&[&pair[..], &later].concat()), Some((2, 100)));
    assert_eq!(of(&[&pair[..1], &later].concat()), Some((2, 1100)));
    // A slice in another one is a state.
    let state = (2, "run", 1100, 1150);
    assert_eq!(of(&[&pair[..], &later, &[state]].concat()), Some((2, 1100)));
    let walk = (1, "down", 50, 300);
    assert_eq!(of(&[&pair[..], &later, &[walk]].concat()), Some((2, 1100)));
}

#[test]
fn a_walk_down_goes_up_the_table_and_a_walk_up_down() {
    let chart = walk::chart(&trace(&samples::walk())).expect("a walk");
    let labels: Vec<_> = chart.rows.iter().map(|row| row.label.as_str()).collect();
    assert_eq!(
        labels,
        [
            "offline",
            "prep:threads",
            "hand-over",
            "init:cpu",
            "init:online",
            "to the still point",
            "sched:active",
            "online"
        ]
    );
    let rows = |panel: &Panel| panel.bars.iter().map(|bar| bar.row).collect::<Vec<_>>();
    assert_eq!(rows(&chart.panels[0]), [7, 6, 5, 5, 4, 3, 2, 2, 1, 0, 2]);
    assert_eq!(rows(&chart.panels[1]), [0, 1, 2, 3, 4, 6, 7]);
    let band = &chart.panels[0].bands[0];
    assert_eq!((band.from, band.to), (503_950, 506_000));
    let legend: Vec<_> = chart
        .legend
        .iter()
        .map(|entry| entry.text.as_str())
        .collect();
    assert_eq!(legend, ["runs on CPU 1", "runs on CPU 0", "CPU 1 is dead"]);
    assert_eq!(judge(&draw(&chart)), 17);
}

#[test]
fn a_cpu_that_only_goes_or_only_comes_is_shown_alone() {
    let of = |events: &[(u64, &str, u32, u32)]| {
        let chart = walk::chart(&trace(&samples::of(events)))?;
        assert_eq!(judge(&draw(&chart)), 0, "no part is recorded");
        Some((chart.title, chart.panels.len()))
    };
    assert_eq!(of(&[(2, "stop", 0, 10)]), None);
    let up = of(&[(1, "up", 0, 10)]).expect("a walk");
    assert_eq!(up, ("CPU 0 comes, step by step".to_owned(), 1));
    let both = of(&[(1, "up", 0, 10), (1, "down", 20, 30)]).expect("a walk");
    assert_eq!(both, ("CPU 0 goes, step by step".to_owned(), 1));
    let goes = |at| (1, "down", at, at + 10);
    let comes = |at| (1, "up", at, at + 10);
    let events = samples::of(&[
        comes(0),
        goes(20),
        comes(40),
        goes(60),
        comes(80),
        goes(100),
    ]);
    let chart = walk::chart(&trace(&events)).expect("a walk");
    let zeros: Vec<_> = chart.panels.iter().map(|panel| panel.zero).collect();
    assert_eq!(zeros, [20, 40], "the first pair");
}

#[test]
fn an_overview_has_all_slices() {
    for json in [samples::stop(), samples::walk()] {
        let trace = trace(&json);
        let chart = overview::chart(&trace).expect("slices");
        assert_eq!(judge(&draw(&chart)), trace.slices());
    }
    assert!(overview::chart(&Trace::default()).is_none());
}

#[test]
fn any_names_and_times_make_a_picture() {
    let names = [
        "a",
        "<&\">'",
        "\u{1}\u{7f}\n",
        "日本語の名前",
        "a name that is longer than its bar may be",
    ];
    // A generator of the kind of Lehmer's, so that each run has the same pictures.
    let mut state = 7_u64;
    let mut random = |below: u64| {
        state = state * 48_271 % 0x7fff_ffff;
        state % below
    };
    for _ in 0..200 {
        let mut chart = Chart {
            title: names[random(5) as usize].to_owned(),
            lane: 14.0,
            note: "word ".repeat(random(60) as usize),
            ..Chart::default()
        };
        let mut panel = Panel {
            from: 500,
            to: 501 + random(1_000_000),
            zero: 400,
            ..Panel::default()
        };
        for row in 0..1 + random(4) as usize {
            chart.rows.push(Row {
                label: names[random(5) as usize].repeat(1 + random(6) as usize),
                lanes: 2,
                ..Row::default()
            });
            for lane in 0..2 {
                let mut at = random(600);
                for _ in 0..random(30) {
                    let name = names[random(5) as usize].to_owned();
                    let longest = 1 + random(200_000);
                    let to = at + random(longest);
                    panel.bars.push(Bar {
                        row,
                        lane,
                        from: at,
                        to,
                        text: match random(3) {
                            0 => Text::Inside(name),
                            1 => Text::Near(name),
                            _ => Text::Beside(name),
                        },
                        about: names[random(5) as usize].to_owned(),
                        paint: Paint::ALL[random(7) as usize],
                    });
                    let farthest = 1 + random(50_000);
                    at = to + random(farthest);
                }
            }
        }
        chart.panels.push(panel);
        judge(&draw(&chart));
    }
}

/// The tests don't draw the pictures of the documents, but see what was drawn.
#[test]
fn the_pictures_of_the_documents_are_well_formed_and_shown() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = |path: &str| fs::read_to_string(root.join(path)).expect("it is there");
    let mut documents = vec![text("README.md")];
    for entry in fs::read_dir(root.join("docs")).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            documents.push(fs::read_to_string(path).expect("it is text"));
        }
    }
    let mut pictures = 0;
    for entry in fs::read_dir(root.join("docs/pictures")).expect("a directory") {
        let name = entry.expect("an entry").file_name();
        let name = format!("pictures/{}", name.display());
        let is_shown = documents.iter().any(|document| document.contains(&name));
        assert!(is_shown, "no document shows {name}");
        assert!(judge(&text(&format!("docs/{name}"))) > 3, "{name} has bars");
        pictures += 1;
    }
    assert!(pictures > 2, "{pictures} pictures");
}
