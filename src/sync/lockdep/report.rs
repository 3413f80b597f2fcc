//! The validator's reports, in Linux's words.

use core::fmt;

use crate::sync::lockdep::{HeldLock, LinkRecord, LockClass, Place, Taking, Where};

/// Links of a circle that are shown.
const SHOWN: usize = 4;

/// The name of a thread, or as much of it as fits.
#[derive(Clone, Copy)]
pub struct Name {
    bytes: [u8; 16],
    length: u8,
}

impl Name {
    /// Returns the beginning of `name`.
    pub fn new(name: &str) -> Name {
        let mut bytes = [0; 16];
        let mut end = name.len().min(bytes.len());
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        bytes[..end].copy_from_slice(&name.as_bytes()[..end]);
        let length = u8::try_from(end).unwrap_or(0);
        Name { bytes, length }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = &self.bytes[..usize::from(self.length)];
        f.write_str(core::str::from_utf8(bytes).unwrap_or("?"))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What can deadlock, and how it came about.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    who: Name,
    taking: LockClass,
    at: Place,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Circular {
        holding: HeldLock,
        /// The way back, from its end.
        way: [Option<LinkRecord>; SHOWN],
        length: usize,
    },
    Recursive {
        holding: HeldLock,
    },
    /// One of a class is taken whose address is below that of one that is held.
    Descending {
        holding: HeldLock,
    },
    /// Taken in a handler; and with IRQs on. Where.
    Irqs {
        in_irq: (LockClass, Place),
        irqs_on: (LockClass, Place),
    },
}

impl Report {
    fn new(taking: &Taking<'_>, what: What) -> Report {
        Report {
            who: Name::new(taking.who),
            taking: taking.class,
            at: taking.at,
            what,
        }
    }

    pub(super) fn circular(taking: &Taking<'_>, holding: &HeldLock) -> Report {
        let (holding, way, length) = (*holding, [None; SHOWN], 0);
        Report::new(
            taking,
            What::Circular {
                holding,
                way,
                length,
            },
        )
    }

    pub(super) fn recursive(taking: &Taking<'_>, holding: &HeldLock) -> Report {
        Report::new(taking, What::Recursive { holding: *holding })
    }

    pub(super) fn descending(taking: &Taking<'_>, holding: &HeldLock) -> Report {
        Report::new(taking, What::Descending { holding: *holding })
    }

    pub(super) fn irqs(
        taking: &Taking<'_>,
        in_irq: &(LockClass, Place),
        irqs_on: &(LockClass, Place),
    ) -> Report {
        let (in_irq, irqs_on) = (*in_irq, *irqs_on);
        Report::new(taking, What::Irqs { in_irq, irqs_on })
    }

    pub(super) fn add(&mut self, link: &LinkRecord) {
        if let What::Circular { way, length, .. } = &mut self.what {
            if let Some(free) = way.get_mut(*length) {
                *free = Some(*link);
            }
            *length += 1;
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report {
            who, taking, at, ..
        } = self;
        match &self.what {
            What::Circular {
                holding,
                way,
                length,
            } => {
                writeln!(f, "possible circular locking dependency:")?;
                writeln!(f, "  {who} is about to take {taking}")?;
                writeln!(f, "    at {at}")?;
                writeln!(f, "  and holds {}", holding.class)?;
                writeln!(f, "    since {}", holding.at)?;
                write!(f, "  but the other way round there has been:")?;
                for link in way.iter().flatten().rev() {
                    write!(f, "\n  {} took {}", link.who, link.to)?;
                    write!(f, "\n    at {}", link.to_at)?;
                    write!(f, "\n    while it held {}", link.from)?;
                    write!(f, "\n    since {}", link.from_at)?;
                }
                if let Some(more) = length.checked_sub(SHOWN + 1) {
                    write!(f, "\n  and {} more before", more + 1)?;
                }
                Ok(())
            }
            What::Recursive { holding } => {
                writeln!(f, "possible recursive locking:")?;
                writeln!(f, "  {who} is about to take {taking}")?;
                writeln!(f, "    at {at}")?;
                writeln!(f, "  and holds that, or one made at the same place,")?;
                write!(f, "    since {}", holding.at)
            }
            What::Descending { holding } => {
                writeln!(f, "locks of one class are not taken in ascending order:")?;
                writeln!(f, "  {who} is about to take {taking}")?;
                writeln!(f, "    at {at}")?;
                writeln!(f, "  and holds one with a higher address")?;
                write!(f, "    since {}", holding.at)
            }
            What::Irqs { in_irq, irqs_on } if in_irq.0 == irqs_on.0 => {
                writeln!(f, "inconsistent lock state: {}", in_irq.0)?;
                writeln!(f, "  is taken in an interrupt handler")?;
                writeln!(f, "    at {}", in_irq.1)?;
                writeln!(f, "  and with IRQs on, when the handler may come in,")?;
                writeln!(f, "    at {}", irqs_on.1)?;
                write!(f, "  (seen by {who} at {at})")
            }
            What::Irqs { in_irq, irqs_on } => {
                writeln!(f, "possible irq lock inversion dependency:")?;
                writeln!(f, "  {} is taken in an interrupt handler", in_irq.0)?;
                writeln!(f, "    at {}", in_irq.1)?;
                writeln!(f, "  and its holder comes to wait for {}", irqs_on.0)?;
                writeln!(
                    f,
                    "  which is taken with IRQs on, when the handler may come in,"
                )?;
                writeln!(f, "    at {}", irqs_on.1)?;
                write!(f, "  (seen by {who}, which takes {taking} at {at})")
            }
        }
    }
}

impl fmt::Display for HeldLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n    since {}", self.class, self.at)
    }
}

/// A wait where a thread may not wait.
#[derive(Clone, Copy, Debug)]
pub struct SleepReport {
    pub(super) at: Place,
    pub(super) preempt_count: u32,
    pub(super) place: Where,
    /// The spin lock that was taken last.
    pub(super) holds: Option<HeldLock>,
}

impl fmt::Display for SleepReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let yes = |yes| if yes { "yes" } else { "no" };
        writeln!(f, "sleeping function called from invalid context:")?;
        writeln!(f, "  at {}", self.at)?;
        write!(
            f,
            "  preempt count {}, IRQs on: {}, in an interrupt handler: {}",
            self.preempt_count,
            yes(self.place.irqs_on),
            yes(self.place.in_irq)
        )?;
        match &self.holds {
            Some(lock) => write!(f, "\n  holds {lock}"),
            None => Ok(()),
        }
    }
}
