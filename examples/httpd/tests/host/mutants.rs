//! Requests with mistakes: whatever comes, each answer is one, and the connection ends.

use crate::support::{Act, Fake, answers, converse};
use httpd::End;
use httpd::http::Limits;

use crate::xorshift::Random;

const SEEDS: &[&str] = &[
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "HEAD /metrics HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
    "GET /work?ms=5 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\nConnection: close\r\n\r\n",
    "PUT /cpus HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n0-3",
    "PUT /cpus HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n0,\r\n1;x=\"y\"\r\n2\r\n0\r\nt: u\r\n\r\n",
    "PUT /governor HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 8\r\n\r\nondemand",
    "GET /events HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http://a/cpus?x=%20 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
];

/// What is put somewhere into a request.
const PARTS: &[&str] = &[
    "\r\n",
    "\r",
    "\n",
    "\0",
    " ",
    "\t",
    ":",
    "\r\n\r\n",
    "Content-Length: 5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Host: b\r\n",
    "%",
    "0\r\n\r\n",
    "HTTP/1.1",
    "\u{fffd}",
    "Connection: close\r\n",
    "HEAD ",
    "99999999999999999999",
];

fn mutant(random: &mut Random) -> Vec<u8> {
    let mut pick = |below| random.below(below);
    let mut bytes = Vec::new();
    for _ in 0..1 + pick(3) {
        bytes.extend_from_slice(SEEDS[pick(SEEDS.len())].as_bytes());
    }
    for _ in 0..pick(5) {
        let at = pick(bytes.len() + 1);
        let length = pick(8).min(bytes.len() - at);
        match pick(5) {
            0 => drop(bytes.drain(at..at + length)),
            1 => drop(bytes.splice(at..at, PARTS[pick(PARTS.len())].bytes())),
            2 => {
                let again = bytes[at..at + length].to_vec();
                drop(bytes.splice(at..at, again));
            }
            3 => bytes.truncate(at),
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = u8::try_from(pick(256)).expect("a byte");
                }
            }
        }
    }
    bytes
}

/// Splits `bytes` at some places, or nowhere.
fn split(bytes: &[u8], random: &mut Random) -> Vec<Act> {
    let size = 1 + random.below(64) * random.below(4);
    bytes
        .chunks(size)
        .map(|part| Act::Sends(part.to_vec()))
        .collect()
}

#[test]
fn each_of_100_000_has_well_formed_answers() {
    let mut random = Random::new(0x16);
    let mut statuses = std::collections::BTreeMap::new();
    for turn in 0..100_000 {
        let bytes = mutant(&mut random);
        let acts = split(&bytes, &mut random);
        let (received, end) = converse(&Fake::new(), Limits::DEFAULT, acts);
        // An answer to HEAD has no body.
        let heads = bytes.windows(4).any(|word| word == b"HEAD");
        match answers(&received, heads) {
            Ok(answers) => {
                let refused = matches!(end, End::Refused(_));
                assert!(
                    !refused || !answers.is_empty(),
                    "{turn}: {}",
                    bytes.escape_ascii()
                );
                for answer in answers {
                    *statuses.entry(answer.status).or_insert(0) += 1;
                }
            }
            Err(why) => panic!(
                "{turn}: {why}: {}\n{}",
                bytes.escape_ascii(),
                received.escape_ascii()
            ),
        }
    }
    // It has been everywhere.
    for status in [100, 200, 204, 400, 404, 405, 411, 413, 501, 505] {
        assert!(statuses.contains_key(&status), "{status} of {statuses:?}");
    }
}
