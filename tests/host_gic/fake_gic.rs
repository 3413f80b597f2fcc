//! A fake of one CPU's part of a GIC: SGIs, PPIs, and the CPU interface as far as they need
//! it.
//!
//! A write is *posted*: it stays under way until a register of the same frame is read,
//! or until a while has passed. What other CPUs send doesn't wait for that.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

use stillpoint::device::gic::{
    CPENDSGIR, GicV2Bank, GicV3Bank, ICACTIVER, ICENABLER, ICFGR, ICPENDR, IGROUPR, IGRPMODR,
    IPRIORITYR, ISENABLER, ITARGETSR, OUR_SGIS, OwnSgis, PPIS, PrivateRegisters, SECURE_SGIS,
    WAKE_AND_PANIC,
};
use stillpoint::platform::{Irq, Sgi};

/// The version of a fake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V2,
    V3,
}

pub(crate) const BOTH: [Version; 2] = [Version::V2, Version::V3];

/// The unusual properties of a fake.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Quirks {
    /// Pending and active registers read as zero, and a write to a GICv2's pending registers
    /// aborts, as on Xen.
    pub(crate) pending_reads_zero: bool,
    /// SGIs 8 to 15 are in group 0, and read as zero, as firmware sets them up.
    pub(crate) secure: bool,
    /// All SGIs are in group 0, as with firmware that reserves all of them.
    pub(crate) all_sgis_secure: bool,
    /// SGIs can't be turned off, as on a GIC-400.
    pub(crate) sgis_always_on: bool,
    /// The priority mask lets every interrupt through, whatever is written.
    pub(crate) mask_stuck_open: bool,
    /// The priority mask lets only the wake and panic SGIs through, whatever is written.
    pub(crate) mask_stuck_closed: bool,
    /// All interrupts have the priority of this one.
    pub(crate) one_priority: Option<u8>,
    /// SGIs are sent and don't arrive.
    pub(crate) loses_sgis: bool,
}

/// The settings and the state of an interrupt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) enabled: u32,
    pub(crate) pending: u32,
    pub(crate) active: u32,
    /// A GICv2's pending SGIs, by their senders.
    pub(crate) senders: [u8; 16],
    pub(crate) group: u32,
    pub(crate) modifier: u32,
    pub(crate) priority: [u8; 32],
    pub(crate) config: [u32; 2],
    pub(crate) mask: u8,
}

pub(crate) struct FakeGic {
    version: Version,
    quirks: Quirks,
    state: RefCell<State>,
    /// The writes that have not arrived.
    posted: RefCell<VecDeque<(usize, u32)>>,
    /// The writes that were for an SGI of the secure world, or aborted.
    wrong: RefCell<Vec<(usize, u32)>>,
}

impl FakeGic {
    /// Returns a GIC as the CPU's last user may have left it: every bit that can be set is set.
    pub(crate) fn new(version: Version, quirks: Quirks) -> FakeGic {
        FakeGic {
            version,
            quirks,
            state: RefCell::new(State {
                enabled: u32::MAX,
                pending: u32::MAX,
                active: u32::MAX,
                senders: [0b1111_0101; 16],
                group: match version {
                    Version::V2 => u32::MAX,
                    Version::V3 => 0,
                },
                modifier: u32::MAX,
                priority: [0x10; 32],
                config: [0xaaaa_aaaa, 0xaaaa_aaaa],
                mask: 0xf0,
            }),
            posted: RefCell::new(VecDeque::new()),
            wrong: RefCell::new(Vec::new()),
        }
    }

    /// Clears all pending and active bits, and disables the SGIs of the secure world.
    pub(crate) fn forget_the_past(&self) {
        let mut state = self.state.borrow_mut();
        (state.pending, state.active, state.senders) = (0, 0, [0; 16]);
        state.enabled &= !SECURE_SGIS;
    }

    pub(crate) fn v2(&self) -> GicV2Bank<&FakeGic> {
        GicV2Bank::new(self)
    }

    pub(crate) fn v3(&self) -> GicV3Bank<&FakeGic> {
        GicV3Bank::new(self)
    }

    pub(crate) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Returns the writes that were for an SGI of the secure world, or aborted.
    pub(crate) fn wrong(&self) -> Vec<(usize, u32)> {
        self.wrong.borrow().clone()
    }

    /// Returns how many writes have not arrived.
    pub(crate) fn under_way(&self) -> usize {
        self.posted.borrow().len()
    }

    /// Sets up the CPU's part as a CPU that comes up does, for either version.
    pub(crate) fn reset(&self) -> bool {
        match self.version {
            Version::V2 => self.v2().reset(),
            Version::V3 => {
                self.v3().reset(2);
                true
            }
        }
    }

    /// Sends SGI `number` from another CPU.
    pub(crate) fn others_send(&self, number: u8) {
        if self.quirks.loses_sgis {
            return;
        }
        let mut state = self.state.borrow_mut();
        state.pending |= 1 << number;
        state.senders[usize::from(number)] |= 1 << 3;
    }

    /// Lets all writes arrive.
    pub(crate) fn rest(&self) {
        while self.arrive() {}
    }

    /// Lets one write arrive, if one is under way.
    fn arrive(&self) -> bool {
        let Some((offset, value)) = self.posted.borrow_mut().pop_front() else {
            return false;
        };
        if self.is_wrong(offset, value) {
            self.wrong.borrow_mut().push((offset, value));
        }
        self.land(offset, value);
        true
    }

    fn is_wrong(&self, offset: usize, value: u32) -> bool {
        let theirs = value & SECURE_SGIS;
        let priority_words = IPRIORITYR + 8..IPRIORITYR + 16;
        let pending_words = CPENDSGIR + 8..CPENDSGIR + 16;
        let state = self.state.borrow();
        let aborted = self.quirks.pending_reads_zero
            && self.version == Version::V2
            && (offset == ICPENDR || (CPENDSGIR..CPENDSGIR + 16).contains(&offset));
        aborted
            || match offset {
                ISENABLER | ICENABLER | ICPENDR | ICACTIVER => theirs != 0,
                IGROUPR => theirs != self.visible(state.group) & SECURE_SGIS,
                IGRPMODR => theirs != self.visible(state.modifier) & SECURE_SGIS,
                _ => priority_words.contains(&offset) || pending_words.contains(&offset),
            }
    }

    /// Returns the SGIs that belong to the secure world.
    fn hidden(&self) -> u32 {
        if self.quirks.all_sgis_secure {
            OUR_SGIS | SECURE_SGIS
        } else if self.quirks.secure {
            SECURE_SGIS
        } else {
            0
        }
    }

    fn visible(&self, bits: u32) -> u32 {
        bits & !self.hidden()
    }

    fn land(&self, offset: usize, value: u32) {
        let bits = self.visible(value);
        let always_on = match self.quirks.sgis_always_on {
            true => OUR_SGIS | SECURE_SGIS,
            false => 0,
        };
        // The pending bits of a GICv2's SGIs are computed from the CPUs that have sent them.
        let pends = match self.version {
            Version::V2 => PPIS,
            Version::V3 => u32::MAX,
        };
        let hidden = self.hidden();
        let group_is_ours = hidden == 0;
        let mut state = self.state.borrow_mut();
        match offset {
            ISENABLER => state.enabled |= bits,
            ICENABLER => state.enabled &= !bits | always_on,
            ICPENDR => state.pending &= !(bits & pends),
            ICACTIVER => state.active &= !bits,
            // With two security states the register ignores non-secure writes.
            IGROUPR if group_is_ours => state.group = value,
            IGRPMODR if group_is_ours => state.modifier = value,
            IGROUPR | IGRPMODR => {}
            ICFGR => {}
            _ if offset == ICFGR + 4 => {
                // The trigger of an interrupt that is on may not change.
                let changed = state.config[1] ^ value;
                let mut on = (16..32).filter(|ppi| state.enabled & 1 << ppi != 0);
                if on.any(|ppi| changed >> ((ppi - 16) * 2) & 0b11 != 0) {
                    self.wrong.borrow_mut().push((offset, value));
                }
                state.config[1] = value;
            }
            _ if (IPRIORITYR..IPRIORITYR + 32).contains(&offset) => {
                for (at, byte) in value.to_le_bytes().into_iter().enumerate() {
                    let number = offset - IPRIORITYR + at;
                    if hidden & 1 << number == 0 {
                        state.priority[number] = byte;
                    }
                }
            }
            _ if (CPENDSGIR..CPENDSGIR + 16).contains(&offset) => {
                for (at, byte) in value.to_le_bytes().into_iter().enumerate() {
                    let number = offset - CPENDSGIR + at;
                    if hidden & 1 << number == 0 {
                        state.senders[number] &= !byte;
                        if state.senders[number] == 0 {
                            state.pending &= !(1 << number);
                        }
                    }
                }
            }
            // Extended PPIs.
            _ if (ICENABLER + 4..ICENABLER + 12).contains(&offset) => {}
            _ => panic!("{offset:#x} can't be written"),
        }
    }
}

impl PrivateRegisters for &FakeGic {
    fn read(&self, offset: usize) -> u32 {
        self.rest();
        let state = self.state.borrow();
        let zero = self.quirks.pending_reads_zero;
        match offset {
            ISENABLER | ICENABLER => self.visible(state.enabled),
            ICPENDR | ICACTIVER if zero => 0,
            ICPENDR => self.visible(state.pending),
            ICACTIVER => self.visible(state.active),
            // A non-secure read returns 0 for the group.
            IGROUPR if self.hidden() != 0 => 0,
            IGROUPR => state.group,
            IGRPMODR => self.visible(state.modifier),
            ITARGETSR => 0x0404_0404,
            ICFGR => state.config[0],
            _ if offset == ICFGR + 4 => state.config[1],
            _ if (IPRIORITYR..IPRIORITYR + 32).contains(&offset) => {
                let number = offset - IPRIORITYR;
                let byte = |at: usize| match self.hidden() & 1 << (number + at) {
                    0 => state.priority[number + at],
                    _ => 0,
                };
                u32::from_le_bytes(std::array::from_fn(byte))
            }
            _ if (CPENDSGIR..CPENDSGIR + 16).contains(&offset) => {
                let number = offset - CPENDSGIR;
                let byte = |at: usize| match self.hidden() & 1 << (number + at) {
                    0 if !zero => state.senders[number + at],
                    _ => 0,
                };
                u32::from_le_bytes(std::array::from_fn(byte))
            }
            _ => panic!("{offset:#x} can't be read"),
        }
    }

    fn write(&self, offset: usize, value: u32) {
        self.posted.borrow_mut().push_back((offset, value));
    }

    fn settle(&self) {
        self.rest();
    }
}

impl OwnSgis for FakeGic {
    fn turn_on(&self, sgi: Sgi) {
        let bit = 1 << sgi.number();
        match self.version {
            Version::V2 => self.v2().set_sgis(WAKE_AND_PANIC | bit),
            Version::V3 => self.v3().enable_sgis(bit),
        }
    }

    fn quieten(&self) {
        match self.version {
            Version::V2 => {
                self.v2().quieten();
                self.v2().clear_pending();
            }
            Version::V3 => {
                self.v3().quieten();
                self.v3().clear_pending();
            }
        }
    }

    fn set_priority_mask(&self, mask: u8) {
        self.state.borrow_mut().mask = if self.quirks.mask_stuck_open {
            0xf0
        } else if self.quirks.mask_stuck_closed {
            0xb0
        } else {
            mask
        };
    }

    fn send(&self, sgi: Sgi) {
        self.others_send(sgi.number());
    }

    fn take(&self) -> Option<Irq> {
        let mut state = self.state.borrow_mut();
        assert_eq!(state.active, 0, "something of a former life is active");
        let of = |number: u8| {
            self.quirks
                .one_priority
                .unwrap_or(state.priority[usize::from(number)])
        };
        let ready = state.pending & state.enabled;
        let next = (0..32u8)
            .filter(|number| ready & 1 << number != 0 && of(*number) < state.mask)
            .min_by_key(|number| (of(*number), *number))?;
        state.pending &= !(1 << next);
        if next < 16 {
            state.senders[usize::from(next)] = 0;
            return Some(Irq::from_sgi_number(next));
        }
        Some(Irq::Ppi(next.into()))
    }

    fn poll(&self, limit: Duration, done: &mut dyn FnMut() -> bool) -> bool {
        for _ in 0..limit.as_micros() {
            if done() {
                return true;
            }
            // Time passes: a write arrives.
            self.arrive();
        }
        done()
    }
}
