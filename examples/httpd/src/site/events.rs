//! `/events`: what the machine does, as server-sent events (WHATWG HTML, 9.2).

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write as _};
use core::time::Duration;

use crate::http::{Answer, Status};
use crate::machine::{Machine, Walk};
use crate::site::Site;

/// The time between two events.
pub const INTERVAL: Duration = Duration::from_millis(250);

/// How many walks an event tells at most.
const LAST: usize = 8;

/// Returns the answer that events follow.
pub(crate) fn answer() -> Answer {
    Answer {
        content_type: "text/event-stream",
        ..Answer::text(Status::Ok)
    }
}

/// Returns the answer if there are too many that go on.
pub(crate) fn too_many(text: &mut String) -> Answer {
    text.push_str("there are too many streams\n");
    Answer {
        fields: "Cache-Control: no-store\r\nRetry-After: 5\r\n",
        ..Answer::text(Status::ServiceUnavailable)
    }
}

/// Appends an event to `text`. Numbers that rise are told as they are: the page takes the
/// difference.
pub(crate) fn write(site: &Site<impl Machine>, text: &mut String) {
    let _always_ok = try_write(site, text);
}

fn try_write(site: &Site<impl Machine>, text: &mut String) -> fmt::Result {
    let machine = &site.machine;
    let now = machine.now().as_secs_f64();
    let (possible, online) = (machine.possible(), machine.online());
    write!(text, r#"data: {{"now":{now:.6},"possible":["#)?;
    list(text, possible.iter(), |text, cpu| write!(text, "{cpu}"))?;
    text.push_str(r#"],"online":["#);
    list(text, online.iter(), |text, cpu| write!(text, "{cpu}"))?;
    text.push_str(r#"],"busy":["#);
    let mut times = Vec::new();
    machine.cpu_times(&mut times);
    list(text, times.iter(), |text, times| {
        write!(text, "{:.6}", times.busy.as_secs_f64())
    })?;
    let (requests, open) = (site.counters.answers_total(), site.counters.open_now());
    write!(
        text,
        r#"],"requests":{requests},"connections":{open},"governor":"#
    )?;
    match machine.governor() {
        Some(governor) => {
            write!(text, r#""{}","governors":["#, governor.name)?;
            let all = governor.available.split(' ');
            list(text, all, |text, name| write!(text, r#""{name}""#))?;
        }
        None => text.push_str(r#"null,"governors":["#),
    }
    text.push_str(r#"],"walks":["#);
    let mut walks = Vec::new();
    machine.walks(&mut walks);
    let last = &walks[walks.len().saturating_sub(LAST)..];
    list(text, last.iter(), |text, walk| {
        let Walk {
            what,
            cpu,
            at,
            took,
            stopped,
        } = walk;
        let (at, took) = (at.as_secs_f64(), took.as_secs_f64() * 1e6);
        write!(
            text,
            r#"{{"what":"{what}","cpu":{cpu},"at":{at:.6},"us":{took:.1},"stopped":"#
        )?;
        match stopped {
            Some(stopped) => write!(text, "{:.1}}}", stopped.as_secs_f64() * 1e6),
            None => write!(text, "null}}"),
        }
    })?;
    text.push_str("]}\n\n");
    Ok(())
}

/// Appends `items` with commas between.
fn list<T>(
    text: &mut String,
    items: impl Iterator<Item = T>,
    mut write_fn: impl FnMut(&mut String, T) -> fmt::Result,
) -> fmt::Result {
    for (index, item) in items.enumerate() {
        if index > 0 {
            text.push(',');
        }
        write_fn(text, item)?;
    }
    Ok(())
}
