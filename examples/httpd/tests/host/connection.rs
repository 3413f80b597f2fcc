//! Conversations with the service: what a client sends, and what it receives.

use std::time::Duration;

use crate::support::{Act, Fake, Received, answers, converse};
use httpd::End;
use httpd::http::{Limits, Refusal};

/// Sends `text` at once, and returns the answers and the end.
fn send(text: &str) -> (Vec<Received>, End) {
    send_to(&Fake::new(), text)
}

fn send_to(machine: &Fake, text: &str) -> (Vec<Received>, End) {
    let acts = vec![Act::Sends(text.as_bytes().to_vec())];
    let (received, end) = converse(machine, Limits::DEFAULT, acts);
    let answers = answers(&received, text.starts_with("HEAD"));
    let answers = answers.unwrap_or_else(|why| panic!("{why}: {}", received.escape_ascii()));
    (answers, end)
}

/// Sends `text`, which has one answer.
fn one(text: &str) -> Received {
    let (mut answers, _) = send(text);
    assert_eq!(answers.len(), 1, "{text:?}");
    answers.remove(0)
}

#[test]
fn each_resource_answers() {
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8"),
        ("/work?ms=5", "text/plain; charset=utf-8"),
        ("/cpus", "text/plain; charset=utf-8"),
        ("/governor", "text/plain; charset=utf-8"),
        ("/events", "text/event-stream"),
    ] {
        let answer = one(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.field("content-type"), Some(kind));
        assert_eq!(answer.field("date"), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
        assert!(!answer.body.is_empty(), "{path}");
        let head = one(&format!("HEAD {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
        let told = |answer: &Received| answer.field("content-length").map(str::to_owned);
        // The metrics are others a moment later.
        if path != "/metrics" {
            assert_eq!(told(&head), told(&answer), "{path}");
        }
        let options = one(&format!("OPTIONS {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(options.status, 204, "{path}");
        assert!(
            options
                .field("allow")
                .is_some_and(|allow| allow.contains("GET"))
        );
    }
    assert_eq!(one("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").status, 204);
    assert_eq!(
        one("GET http://a.b:80/%63pus HTTP/1.1\r\nHost: a\r\n\r\n").text(),
        "0-3\n"
    );
}

#[test]
fn what_is_not_there_or_not_a_method_is_told() {
    for (request, status) in [
        ("GET /none HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        ("GET /cpus/ HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        (
            "POST /cpus HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n0",
            405,
        ),
        (
            "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n0",
            405,
        ),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        ("PUT /cpus HTTP/1.1\r\nHost: a\r\n\r\n", 411),
        ("GET /work?ms=1001 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /work HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ] {
        let answer = one(request);
        assert_eq!(answer.status, status, "{request:?}");
        assert!(!answer.text().is_empty());
        assert_eq!(
            answer.field("allow").is_some(),
            status == 405,
            "{request:?}"
        );
    }
}

#[test]
fn what_two_readers_could_read_in_two_ways_ends_the_connection() {
    const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n";
    const SECOND: &str = "GET /cpus HTTP/1.1\r\nHost: a\r\n\r\n";
    for (fields, refusal) in [
        (
            "Content-Length: 1\r\nContent-Length: 1\r\n",
            Refusal::ContentLength,
        ),
        ("Content-Length: 1, 1\r\n", Refusal::ContentLength),
        ("Content-Length: +1\r\n", Refusal::ContentLength),
        ("Content-Length: 0x1\r\n", Refusal::ContentLength),
        ("Content-Length:\r\n", Refusal::ContentLength),
        (
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            Refusal::Framing,
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
            Refusal::Framing,
        ),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            Refusal::TransferEncoding,
        ),
        (
            "Transfer-Encoding: chunked, identity\r\n",
            Refusal::TransferEncoding,
        ),
        ("Transfer-Encoding: xchunked\r\n", Refusal::TransferEncoding),
        ("Transfer-Encoding: gzip, chunked\r\n", Refusal::Coding),
        ("Transfer-Encoding : chunked\r\n", Refusal::Field),
        ("Content-Length : 1\r\n", Refusal::Field),
        ("a b: c\r\n", Refusal::Field),
        (": c\r\n", Refusal::Field),
        ("a: b\r\n c: d\r\n", Refusal::Folded),
        ("a: b\rc\r\n", Refusal::BareCr),
        ("a: b\n", Refusal::BareLf),
        ("a: \0\r\n", Refusal::Nul),
        ("a: \x7f\r\n", Refusal::Field),
        ("Host: b\r\n", Refusal::Host),
        ("Expect: 200-ok\r\n", Refusal::Expectation),
        ("Content-Length: 4097\r\n", Refusal::BodyTooLarge),
        (
            "Content-Length: 99999999999999999999999\r\n",
            Refusal::BodyTooLarge,
        ),
    ] {
        let (answers, end) = send(&format!("{GET}{fields}\r\n{SECOND}"));
        assert_eq!(end, End::Refused(refusal), "{fields:?}");
        assert_eq!(
            answers.len(),
            1,
            "the second request isn't looked at: {fields:?}"
        );
        assert_eq!(answers[0].status, refusal.status().code(), "{fields:?}");
        assert_eq!(answers[0].field("connection"), Some("close"));
    }
    for (line, refusal) in [
        ("GET / HTTP/2.0", Refusal::Version),
        ("PRI * HTTP/2.0", Refusal::Version),
        ("GET / HTTP/1.2", Refusal::Version),
        ("GET /", Refusal::RequestLine),
        ("GET  / HTTP/1.1", Refusal::RequestLine),
        ("GET / HTTP/1.1 ", Refusal::RequestLine),
        (" GET / HTTP/1.1", Refusal::RequestLine),
        ("GET\t/\tHTTP/1.1", Refusal::RequestLine),
        ("GET / http/1.1", Refusal::RequestLine),
        ("G@T / HTTP/1.1", Refusal::RequestLine),
        ("GET a HTTP/1.1", Refusal::Target),
        ("GET /%4 HTTP/1.1", Refusal::Target),
        ("GET /%zz HTTP/1.1", Refusal::Target),
        ("GET /#a HTTP/1.1", Refusal::Target),
        ("GET http:///cpus HTTP/1.1", Refusal::Target),
        ("CONNECT a:80 HTTP/1.1", Refusal::Target),
    ] {
        let (answers, end) = send(&format!("{line}\r\nHost: a\r\n\r\n{SECOND}"));
        assert_eq!(end, End::Refused(refusal), "{line:?}");
        assert_eq!(answers.len(), 1, "{line:?}");
    }
    let (_, end) = send("GET / HTTP/1.1\r\n\r\n");
    assert_eq!(end, End::Refused(Refusal::Host));
    let (_, end) = send("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    assert_eq!(end, End::Refused(Refusal::Framing));
    let long = "x".repeat(9000);
    let (answers, _) = send(&format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_eq!(answers[0].status, 414);
    let (answers, _) = send(&format!("{GET}a: {long}\r\n\r\n"));
    assert_eq!(answers[0].status, 431);
    let (answers, _) = send(&format!("{GET}{}\r\n", "a: b\r\n".repeat(64)));
    assert_eq!(answers[0].status, 431);
    let (answers, _) = send(&format!("{GET}{}\r\n", "a: b\r\n".repeat(63)));
    assert_eq!(answers[0].status, 200);
}

#[test]
fn a_connection_stays_as_long_as_both_want_it() {
    let get = "GET /cpus HTTP/1.1\r\nHost: a\r\n\r\n";
    let (answers, end) = send(&format!("{get}{get}\r\n{get}"));
    assert_eq!((answers.len(), end), (3, End::Closed));
    assert!(
        answers
            .iter()
            .all(|answer| answer.field("connection").is_none())
    );
    let close = "GET /cpus HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n";
    let (answers, end) = send(&format!("{get}{close}{get}"));
    assert_eq!((answers.len(), end), (2, End::Closed));
    assert_eq!(answers[1].field("connection"), Some("close"));
    let (answers, _) = send("GET /cpus HTTP/1.0\r\n\r\nGET /cpus HTTP/1.0\r\n\r\n");
    assert_eq!(answers.len(), 1);
    let keep = "GET /cpus HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n";
    let (answers, _) = send(&format!("{keep}{keep}"));
    assert_eq!(answers.len(), 2);
    assert_eq!(answers[0].field("connection"), Some("keep-alive"));
    let limits = Limits {
        requests: 2,
        ..Limits::DEFAULT
    };
    let acts = vec![Act::Sends(get.repeat(3).into_bytes())];
    let (received, _) = converse(&Fake::new(), limits, acts);
    let answers = crate::support::answers(&received, false).expect("answers");
    assert_eq!(answers.len(), 2);
    assert_eq!(answers[1].field("connection"), Some("close"));
}

#[test]
fn bodies_are_taken_in_both_framings() {
    let put = |fields: &str, body: &str| {
        let text = format!("PUT /cpus HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}");
        one(&text).text().to_owned()
    };
    assert_eq!(put("Content-Length: 3\r\n", "0-1"), "0-1\n");
    assert_eq!(
        put(
            "Transfer-Encoding: Chunked\r\n",
            "2\r\n0,\r\n1\r\n2\r\n0\r\n\r\n"
        ),
        "0,2\n"
    );
    let refused = put("Content-Length: 3\r\n", "0-4");
    let refused: serde_json::Value = serde_json::from_str(&refused).expect("JSON");
    assert_eq!(refused["error"], "EINVAL");
    assert_eq!(refused["online"], "0-3");
    let stays = put("Content-Length: 3\r\n", "1-2");
    let stays: serde_json::Value = serde_json::from_str(&stays).expect("JSON");
    assert_eq!(
        (&stays["error"], &stays["online"]),
        (&"EBUSY".into(), &"0-2".into())
    );
    assert_eq!(stays["stays"][0]["cpu"], 0);
    // One that is not wanted is taken, too: the next request is behind it.
    let get = "GET /cpus HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nGET /";
    assert_eq!(send(&get.repeat(2)).0.len(), 2);
}

#[test]
fn a_client_is_told_to_go_on() {
    const PUT: &str = "PUT /cpus HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n";
    let go_on = format!("{PUT}Content-Length: 1\r\n\r\n");
    let acts = vec![
        Act::Sends(go_on.clone().into_bytes()),
        Act::Sends(b"0".to_vec()),
    ];
    let (received, _) = converse(&Fake::new(), Limits::DEFAULT, acts);
    let statuses: Vec<u16> = answers(&received, false)
        .expect("answers")
        .iter()
        .map(|it| it.status)
        .collect();
    assert_eq!(statuses, [100, 200]);
    let (answers, _) = send(&format!("{go_on}0"));
    assert_eq!(answers.len(), 1, "it didn't wait");
    let (answers, _) = send(&format!("{PUT}Content-Length: 9999\r\n\r\n"));
    assert_eq!(answers[0].status, 413);
    let wrong = go_on.replace("/cpus", "/none");
    let (answers, _) = send(&wrong);
    assert_eq!(
        (answers[0].status, answers[0].field("connection")),
        (404, Some("close"))
    );
}

#[test]
fn slow_clients_are_ended() {
    let ms = Duration::from_millis;
    let byte_by_byte = |text: &str, pause: Duration| {
        let bytes = text.bytes();
        let acts = bytes.flat_map(|byte| [Act::Sends(vec![byte]), Act::Waits(pause)]);
        converse(&Fake::new(), Limits::DEFAULT, acts.collect())
    };
    const GET: &str = "GET /cpus HTTP/1.1\r\nHost: a\r\n\r\n";
    let (received, end) = byte_by_byte(GET, ms(100));
    assert_eq!(
        (answers(&received, false).expect("answers").len(), end),
        (1, End::Closed)
    );
    let (received, end) = byte_by_byte(GET, ms(1000));
    assert_eq!(end, End::Refused(Refusal::Slow));
    assert_eq!(answers(&received, false).expect("answers")[0].status, 408);
    // Without a byte of a request there is nothing to answer.
    let (received, end) = converse(&Fake::new(), Limits::DEFAULT, vec![Act::Waits(ms(100_000))]);
    assert_eq!((received.len(), end), (0, End::Closed));
    let acts = vec![Act::Sends(b"GET /cpus HTTP/1.1\r\n".to_vec())];
    let (received, end) = converse(&Fake::new(), Limits::DEFAULT, acts);
    assert_eq!((received.len(), end), (0, End::Broken));
}

#[test]
fn a_client_that_takes_no_answer_is_ended() {
    let machine = Fake::new();
    let site = httpd::site::Site::new(&machine, Limits::DEFAULT);
    let mut client = crate::support::Client {
        machine: &machine,
        acts: [Act::Sends(
            b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        )]
        .into(),
        received: Vec::new(),
        takes: (1, Duration::from_secs(1)),
        is_shut_down: false,
    };
    assert_eq!(
        crate::support::at_once(httpd::serve(&mut client, &site)),
        End::TimedOut
    );
    assert_eq!(client.received.len(), 30);
    client.takes = (7, Duration::ZERO);
    client.received.clear();
    client.acts = [Act::Sends(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2))].into();
    assert_eq!(
        crate::support::at_once(httpd::serve(&mut client, &site)),
        End::Closed
    );
    assert_eq!(answers(&client.received, false).expect("answers").len(), 2);
}

#[test]
fn events_go_on_until_the_client_leaves() {
    let ms = Duration::from_millis;
    let get = b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n";
    let acts = vec![
        Act::Sends(get.to_vec()),
        Act::Waits(ms(1100)),
        Act::Sends(b"x".to_vec()),
    ];
    let (received, end) = converse(&Fake::new(), Limits::DEFAULT, acts);
    assert_eq!(end, End::Closed);
    let answers = answers(&received, false).expect("answers");
    let events: Vec<&str> = answers[0].text().split_terminator("\n\n").collect();
    assert_eq!(events.len(), 5);
    for event in events {
        let data = event.strip_prefix("data: ").expect("data");
        let event: serde_json::Value = serde_json::from_str(data).expect("JSON");
        assert_eq!(event["online"].as_array().map(Vec::len), Some(4));
        assert_eq!(event["walks"][0]["what"], "down");
    }
    let (streams, _) = send("GET /events HTTP/1.0\r\n\r\n");
    assert!(streams[0].text().starts_with("data: {"));
}

#[test]
fn requests_wait_for_their_turn() {
    let machine = Fake::new();
    let before = httpd::Machine::now(&&machine);
    let limits = Limits {
        rate: 10,
        ..Limits::DEFAULT
    };
    let get = b"GET /cpus HTTP/1.1\r\nHost: a\r\n\r\n".repeat(40);
    let (received, _) = converse(&machine, limits, vec![Act::Sends(get)]);
    assert_eq!(answers(&received, false).expect("answers").len(), 40);
    let took = httpd::Machine::now(&&machine) - before;
    assert!((3.0..4.1).contains(&took.as_secs_f64()), "{took:?}");
}

#[test]
fn the_policy_has_the_hashes_of_the_page() {
    use base64::Engine as _;
    use sha2::Digest as _;
    for tag in ["style", "script"] {
        let (_, rest) = httpd::site::PAGE
            .split_once(&format!("<{tag}>"))
            .expect("a tag");
        let (text, _) = rest.split_once(&format!("</{tag}>")).expect("its end");
        let hash = base64::prelude::BASE64_STANDARD.encode(sha2::Sha256::digest(text));
        let directive = format!("{tag}-src 'sha256-{hash}'");
        assert!(httpd::site::POLICY.contains(&directive), "{directive}");
    }
}
