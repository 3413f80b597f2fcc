//! The metrics are what Prometheus reads, and counters only rise.

use std::collections::BTreeMap;

use crate::support::{Act, Fake, answers, converse};
use httpd::http::Limits;

/// Reads the text format: the value of each series, and the type of each metric.
fn read(text: &str) -> (BTreeMap<String, f64>, BTreeMap<String, String>) {
    let (mut values, mut types) = (BTreeMap::new(), BTreeMap::new());
    let mut told = None;
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').expect("a help");
            assert!(help.ends_with('.'), "{line}");
            told = Some(name.to_owned());
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a type");
            assert_eq!(
                told.as_deref(),
                Some(name),
                "HELP and TYPE are of one metric"
            );
            assert!(
                types.insert(name.to_owned(), kind.to_owned()).is_none(),
                "{name} twice"
            );
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            let name = series.split('{').next().expect("a name");
            let metric = told.as_deref().expect("a metric");
            let is_histogram = types[metric] == "histogram";
            let ends = ["_bucket", "_sum", "_count"];
            let name = ends
                .iter()
                .find_map(|end| name.strip_suffix(end).filter(|_| is_histogram))
                .unwrap_or(name);
            assert_eq!(name, metric, "its series follow a metric");
            assert_eq!(
                types[metric] == "counter",
                metric.ends_with("_total"),
                "{metric}"
            );
            let value: f64 = value.parse().expect("a number");
            assert!(value >= 0.0);
            assert!(
                values.insert(series.to_owned(), value).is_none(),
                "{series} twice"
            );
        }
    }
    (values, types)
}

#[test]
fn counters_rise_and_the_format_is_right() {
    const GET: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut sends = GET.to_vec();
    for path in ["/", "/none", "/work?ms=7", "/work?ms=3000", "/cpus"] {
        sends.extend(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").bytes());
    }
    sends.extend(GET);
    sends.extend(b"GET /\r\n\r\n");
    let (received, _) = converse(&Fake::new(), Limits::DEFAULT, vec![Act::Sends(sends)]);
    let answers = answers(&received, false).expect("answers");
    let (before, _) = read(answers[0].text());
    let (after, types) = read(answers[6].text());
    for (series, value) in &before {
        let name = series.split('{').next().expect("a name");
        if types.get(name).is_some_and(|kind| kind == "counter") {
            assert!(after[series] >= *value, "{series}");
        }
    }
    assert_eq!(
        after[r#"httpd_requests_total{path="/work",code="200"}"#],
        1.0
    );
    assert_eq!(after[r#"httpd_requests_total{path="",code="404"}"#], 1.0);
    assert_eq!(after["httpd_request_duration_seconds_count"], 6.0);
    assert_eq!(
        after[r#"httpd_request_duration_seconds_bucket{le="0.005"}"#],
        5.0
    );
    assert_eq!(
        after[r#"httpd_request_duration_seconds_bucket{le="0.01"}"#],
        6.0
    );
    assert_eq!(after[r#"stillpoint_cpu_online{cpu="3"}"#], 1.0);
}
