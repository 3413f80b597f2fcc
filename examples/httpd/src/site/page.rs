//! `/`: the page.

use crate::http::{Answer, Status};

/// The page. It has no other files; what it draws comes from `/events`.
pub const PAGE: &str = include_str!("page.html");

/// What the page may load and run: its own style and script, which are told by their SHA-256, and
/// nothing from elsewhere (W3C CSP3). A test has the hashes.
pub const POLICY: &str = concat!(
    "Content-Security-Policy: default-src 'none'; connect-src 'self'; img-src data:; ",
    "style-src 'sha256-fvbDobJ739KHPY2watwcKrvSrqpmh3ShVRYF7HLx0Tc='; script-src 'sha256-i0uwB6uJljAs1VBp/uoeBh2SbNcpeaC8rsJW+1i/IdE='; ",
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n",
    "Cache-Control: no-cache\r\n",
    "Referrer-Policy: no-referrer\r\n",
);

pub(super) fn answer() -> Answer {
    Answer {
        status: Status::Ok,
        content_type: "text/html; charset=utf-8",
        fields: POLICY,
        fixed: Some(PAGE),
    }
}
