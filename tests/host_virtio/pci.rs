//! Functions on a PCI bus, honest ones and such that lie.

use std::cell::RefCell;

use stillpoint::device::pci::{
    ConfigSpace, Function, Identity, PciError, Region, Window, assign, capabilities, functions,
    interrupt_pin, turn_off, turn_on, virtio_regions,
};

/// A bus with one function, 1.0, and its configuration space.
struct Bus {
    words: RefCell<[u32; 64]>,
    /// The bits of each base address that can't be changed.
    fixed: [u32; 6],
}

const ONE: Function = Function {
    device: 1,
    function: 0,
};

impl Bus {
    /// Returns a bus with a virtio device whose fourth base address is one of 16 KiB and 64 bits,
    /// as QEMU has it, and whose capabilities are `list`: bytes of each from the fourth on.
    fn new(list: &[[u32; 5]]) -> Bus {
        let bus = Bus {
            words: RefCell::new([0; 64]),
            fixed: [u32::MAX, 0xfff, u32::MAX, u32::MAX, 0x3fff, 0],
        };
        let mut words = bus.words.borrow_mut();
        words[0] = 0x1041_1af4;
        words[1] = 1 << 20;
        words[5] = 0; // 32 bits, 4 KiB
        words[8] = 0xc; // 64 bits
        words[13] = 0x40;
        words[15] = 0x0100;
        for (number, capability) in list.iter().enumerate() {
            let at = 16 + 5 * number;
            let next = if number + 1 == list.len() {
                0
            } else {
                4 * (at as u32 + 5)
            };
            words[at] = capability[0] | next << 8;
            words[at + 1..at + 5].copy_from_slice(&capability[1..]);
        }
        drop(words);
        bus
    }
}

/// Returns the capability of `kind`, whose registers are at `offset` of base address 4.
fn capability(kind: u32, offset: u32, size: u32) -> [u32; 5] {
    let length = 20;
    [9 | length << 16 | kind << 24, 4, offset, size, 4]
}

fn honest() -> Vec<[u32; 5]> {
    vec![
        capability(1, 0, 0x38),
        capability(3, 0x1000, 1),
        capability(4, 0x2000, 0x1000),
        capability(2, 0x3000, 0x1000),
    ]
}

impl ConfigSpace for Bus {
    fn read(&self, function: Function, offset: u8) -> u32 {
        assert_eq!(offset % 4, 0);
        if function == ONE {
            self.words.borrow()[usize::from(offset / 4)]
        } else {
            u32::MAX
        }
    }

    fn write(&self, function: Function, offset: u8, value: u32) {
        assert_eq!(function, ONE, "only what is there is written");
        let mut words = self.words.borrow_mut();
        let word = &mut words[usize::from(offset / 4)];
        match offset {
            0x10..0x28 => {
                let fixed = self.fixed[usize::from((offset - 0x10) / 4)];
                *word = *word & fixed | value & !fixed;
            }
            4 => *word = *word & 0xffff_0000 | value & 0xffff,
            _ => panic!("a write to {offset:#x}"),
        }
    }
}

fn window() -> Window {
    Window {
        bus: 0x1000_1000,
        cpu: 0x5000_1000,
        size: 0x10_0000,
    }
}

#[test]
fn registers_are_put_where_the_bus_has_room() {
    let bus = Bus::new(&honest());
    let found: Vec<_> = functions(&bus).collect();
    let identity = Identity {
        vendor: 0x1af4,
        device: 0x1041,
    };
    assert_eq!(found, [(ONE, identity)]);
    turn_off(&bus, ONE);
    let mut window = window();
    let bars = assign(&bus, ONE, &mut window).unwrap();
    let of = |start, size| Some(Region { start, size });
    assert_eq!(bars[1], of(0x5000_1000, 0x1000));
    assert_eq!(
        bars[4],
        of(0x5000_4000, 0x4000),
        "at a multiple of its size"
    );
    assert_eq!(bus.read(ONE, 0x14), 0x1000_1000);
    assert_eq!(bus.read(ONE, 0x20), 0x1000_400c);
    assert_eq!(bus.read(ONE, 0x24), 0);
    assert_eq!((window.bus, window.cpu), (0x1000_8000, 0x5000_8000));
    assert_eq!(window.size, 0x10_0000 - 0x7000);
    let regions = virtio_regions(&bus, ONE, &bars).unwrap();
    assert_eq!(Some(regions.common), of(0x5000_4000, 0x38));
    assert_eq!(Some(regions.isr), of(0x5000_5000, 1));
    assert_eq!(regions.device, of(0x5000_6000, 0x1000));
    assert_eq!(Some(regions.notify), of(0x5000_7000, 0x1000));
    assert_eq!(regions.notify_multiplier, 4);
    assert_eq!(interrupt_pin(&bus, ONE), Some(1));
    assert_eq!(bus.read(ONE, 4) & 0xffff, 0x400, "it decodes nothing");
    turn_on(&bus, ONE);
    assert_eq!(bus.read(ONE, 4) & 0xffff, 6);
}

#[test]
fn registers_that_can_not_be_are_refused() {
    let refused = |change_fn: fn(&mut Bus)| {
        let mut bus = Bus::new(&honest());
        change_fn(&mut bus);
        assign(&bus, ONE, &mut window()).expect_err("an error")
    };
    assert_eq!(
        refused(|bus| bus.fixed[1] = 0xffff_f00f),
        PciError::BadBar(1),
        "a size that is no power of two"
    );
    assert_eq!(
        refused(|bus| bus.fixed[4] = 0xff_ffff),
        PciError::NoRoom(4, 0x100_0000)
    );
    assert_eq!(
        refused(|bus| {
            bus.words.get_mut()[9] = 0xc;
            bus.words.get_mut()[8] = 0;
            bus.fixed[4] = u32::MAX;
            bus.fixed[5] = 0xff;
        }),
        PciError::BadBar(5),
        "64 bits in the last one"
    );
    // All that there are: more than all memory.
    assert!(matches!(
        refused(|bus| {
            bus.fixed[4] = u32::MAX;
            bus.fixed[5] = 0x7fff_ffff;
        }),
        PciError::BadBar(4) | PciError::NoRoom(4, _)
    ));
}

#[test]
fn regions_outside_of_the_registers_are_refused() {
    let regions = |list: &[[u32; 5]]| {
        let bus = Bus::new(list);
        let bars = assign(&bus, ONE, &mut window()).unwrap();
        virtio_regions(&bus, ONE, &bars)
    };
    assert!(regions(&honest()).is_ok());
    for kind in 1..=3_u8 {
        let mut list = honest();
        list.retain(|capability| capability[0] >> 24 != kind.into());
        assert_eq!(regions(&list), Err(PciError::Missing(kind)));
    }
    for (kind, offset, size) in [
        (1, 0, 0x37),
        (1, 2, 0x38),
        (1, 0x3fe0, 0x38),
        (2, u32::MAX, u32::MAX),
        (2, 1, 0x1000),
        (3, 0x4000, 1),
        (3, 0, 0),
        (4, 0x3000, 0x1001),
    ] {
        let mut list = honest();
        list.retain(|capability| capability[0] >> 24 != kind);
        list.insert(0, capability(kind, offset, size));
        let kind = u8::try_from(kind).unwrap();
        assert_eq!(regions(&list), Err(PciError::BadRegion(kind)), "{list:x?}");
    }
    // A base address that there isn't is passed over.
    let mut list = honest();
    for capability in &mut list {
        capability[1] = 7;
    }
    assert_eq!(regions(&list), Err(PciError::Missing(1)));
}

#[test]
fn a_list_that_goes_in_circles_ends() {
    let mut bus = Bus::new(&honest());
    let last = 16 + 5 * 3;
    bus.words.get_mut()[last] |= 0x40 << 8;
    assert_eq!(capabilities(&bus, ONE).count(), 48);
    let bars = assign(&bus, ONE, &mut window()).unwrap();
    assert!(virtio_regions(&bus, ONE, &bars).is_ok());
    bus.words.get_mut()[13] = 0x3c;
    assert_eq!(capabilities(&bus, ONE).count(), 0, "into the header");
}
