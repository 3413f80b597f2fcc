//! What the governor has measured and decided, as events of a timeline.

use core::fmt;

use super::events::{Events, Group, Place};
use crate::hotplug::way;
use crate::time::{Instant, Thousandths};
use crate::trace::{Direction, GovernorEvent, GovernorRecord, Load, recorded_decisions};

/// Writes `records`, which are in the order of their time.
pub(super) fn write(events: &mut Events<'_, '_>, records: &[GovernorRecord]) -> fmt::Result {
    for decision in recorded_decisions(records) {
        let Some((ticks, online)) = decision.done else {
            continue;
        };
        let (from, to) = (decision.from, decision.to);
        let way = way(if to > from {
            Direction::Up
        } else {
            Direction::Down
        });
        let place = Place {
            group: Group::Governor,
            cpu: decision.on,
            at: decision.at,
        };
        let name = format_args!("{way}: {}", decision.reason.name());
        let ok = online == to;
        let args = format_args!("\"ok\":{ok},\"from\":{from},\"to\":{to}");
        events.slice(place, ticks, &name, args)?;
    }
    for record in records {
        match record.event {
            GovernorEvent::Measured { online, load } => {
                cpus(events, record.at, online)?;
                self::load(events, record.at, load)?;
            }
            GovernorEvent::Decided { from, .. } => cpus(events, record.at, from)?,
            GovernorEvent::Done { online, .. } => cpus(events, record.at, online)?,
        }
    }
    Ok(())
}

fn cpus(events: &mut Events<'_, '_>, at: Instant, online: u16) -> fmt::Result {
    let args = format_args!("\"online\":{online}");
    events.counter(Group::Governor, at, "CPUs", args)
}

fn load(events: &mut Events<'_, '_>, at: Instant, load: Load) -> fmt::Result {
    let (busy, waiting) = (
        Thousandths(load.busy.into()),
        Thousandths(load.waiting.into()),
    );
    let args = format_args!("\"busy\":{busy},\"waiting\":{waiting}");
    events.counter(Group::Governor, at, "load", args)
}
