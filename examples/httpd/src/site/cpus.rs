//! `/cpus`: which CPUs are online, read and set.

use alloc::string::String;
use core::fmt::Write as _;

use crate::http::{Answer, Status};
use crate::machine::{Machine, Stays};
use crate::site::list;

pub(super) fn get(machine: &impl Machine, text: &mut String) -> Answer {
    let _always_ok = writeln!(text, "{}", machine.online());
    Answer::text(Status::Ok)
}

/// Sets the CPUs online. What has been done and what hasn't is in the answer.
pub(super) fn put(machine: &impl Machine, body: &[u8], text: &mut String) -> Answer {
    let wanted = core::str::from_utf8(body).ok().and_then(list::parse);
    let Some(wanted) = wanted else {
        return refuse(machine, "EINVAL", "not a list of CPUs, such as 0-3,8", text);
    };
    if !wanted.is_subset_of(&machine.possible()) {
        return refuse(machine, "EINVAL", "the machine has no such CPU", text);
    }
    let change = machine.set_online(&wanted);
    let Some(first) = change.stays.first() else {
        return get(machine, text);
    };
    let status = match first.errno {
        "EINVAL" => Status::BadRequest,
        "EBUSY" | "EPERM" | "EDEADLK" | "EAGAIN" => Status::Conflict,
        _ => Status::InternalServerError,
    };
    failed(machine, first.errno, &change.stays, text);
    Answer::json(status)
}

fn refuse(machine: &impl Machine, errno: &str, why: &str, text: &mut String) -> Answer {
    let online = machine.online();
    let _always_ok = writeln!(
        text,
        r#"{{"error":"{errno}","why":"{why}","online":"{online}","stays":[]}}"#
    );
    Answer::json(Status::BadRequest)
}

/// Writes which CPUs are not as they were to be.
fn failed(machine: &impl Machine, errno: &str, stays: &[Stays], text: &mut String) {
    let online = machine.online();
    let _always_ok = write!(
        text,
        r#"{{"error":"{errno}","why":"some CPUs stay as they were","online":"{online}","stays":["#
    );
    for (index, Stays { cpu, errno, why }) in stays.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let _always_ok = write!(text, r#"{comma}{{"cpu":{cpu},"error":"{errno}","why":""#);
        quote(why, text);
        text.push_str("\"}");
    }
    text.push_str("]}\n");
}

/// Appends `part` as a part of a string of JSON.
fn quote(part: &str, text: &mut String) {
    for char in part.chars() {
        let _always_ok = match char {
            '"' | '\\' => write!(text, "\\{char}"),
            '\0'..='\x1f' => write!(text, "\\u{:04x}", u32::from(char)),
            _ => write!(text, "{char}"),
        };
    }
}
