//! `/governor`: what lets the CPUs follow the load, read and set.

use alloc::string::String;
use core::fmt::Write as _;

use crate::http::{Answer, Status};
use crate::machine::Machine;

pub(super) fn get(machine: &impl Machine, text: &mut String) -> Answer {
    match machine.governor() {
        Some(governor) => {
            let _always_ok = writeln!(text, "{}", governor.name);
            Answer::text(Status::Ok)
        }
        None => refuse(
            Status::NotImplemented,
            "ENOSYS",
            "this machine has no governor",
            text,
        ),
    }
}

pub(super) fn put(machine: &impl Machine, body: &[u8], text: &mut String) -> Answer {
    let name = core::str::from_utf8(body).unwrap_or_default().trim_ascii();
    match machine.set_governor(name) {
        Ok(()) => get(machine, text),
        Err(errno @ "EINVAL") => {
            let all = machine.governor().map_or("", |governor| governor.available);
            let _always_ok = writeln!(
                text,
                r#"{{"error":"{errno}","why":"not a governor; there are: {all}"}}"#
            );
            Answer::json(Status::BadRequest)
        }
        Err(errno @ "ENOSYS") => refuse(
            Status::NotImplemented,
            errno,
            "this machine has no governor",
            text,
        ),
        Err(errno) => refuse(Status::Conflict, errno, "it stays as it was", text),
    }
}

fn refuse(status: Status, errno: &str, why: &str, text: &mut String) -> Answer {
    let _always_ok = writeln!(text, r#"{{"error":"{errno}","why":"{why}"}}"#);
    Answer::json(status)
}
