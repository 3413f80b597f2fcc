//! The set-up of a CPU's part of a GICv2 or GICv3, on a fake whose writes arrive late, whose
//! SGIs may belong to the secure world, and whose registers may read as zero.

#[path = "host_gic/fake_gic.rs"]
mod fake_gic;
#[path = "host_gic/fake_interface.rs"]
mod fake_interface;
#[path = "host_gic/redistributors.rs"]
mod redistributors;

use fake_gic::{BOTH, FakeGic, Quirks, Version};
use fake_interface::{FakeInterface, GOOD, Interface};
use stillpoint::cpu::Mpidr;
use stillpoint::device::gic::{
    OUR_SGIS, OwnSgis, PPIS, SECURE_SGIS, WAKE_AND_PANIC, check_priorities, is_register_address,
};
use stillpoint::platform::{Irq, IrqChipError, Sgi, Trigger};

const PLAIN: Quirks = Quirks {
    pending_reads_zero: false,
    secure: false,
    all_sgis_secure: false,
    sgis_always_on: false,
    mask_stuck_open: false,
    mask_stuck_closed: false,
    one_priority: None,
    loses_sgis: false,
};

const SECURE: Quirks = Quirks {
    secure: true,
    ..PLAIN
};

const XEN: Quirks = Quirks {
    pending_reads_zero: true,
    ..PLAIN
};

const GIC_400: Quirks = Quirks {
    sgis_always_on: true,
    ..PLAIN
};

const USABLE: [Quirks; 4] = [PLAIN, SECURE, XEN, GIC_400];

/// Sets up a CPU's SGIs on a GIC on which no interrupt is pending or active.
fn fresh(version: Version, quirks: Quirks) -> FakeGic {
    let gic = FakeGic::new(version, quirks);
    gic.forget_the_past();
    assert!(gic.reset());
    gic
}

/// Does everything that the kernel ever does to the SGIs and PPIs of a CPU.
fn whole_life(gic: &FakeGic, version: Version) {
    assert!(gic.reset());
    match version {
        Version::V2 => {
            gic.v2().set_sgis(OUR_SGIS);
            gic.v2().enable_ppi(27, Trigger::Level);
            gic.v2().disable_ppis(1 << 27);
            gic.v2().quieten();
            gic.v2().clear_pending();
        }
        Version::V3 => {
            gic.v3().enable_sgis(OUR_SGIS);
            gic.v3().enable_ppi(27, Trigger::Level);
            gic.v3().disable_ppi(27);
            gic.v3().quieten();
            gic.v3().clear_pending();
        }
    }
    gic.rest();
}

#[test]
fn an_sgi_number_is_decoded_once_for_all() {
    for number in 0..16 {
        match Irq::from_sgi_number(number) {
            Irq::Sgi(sgi) => assert_eq!(sgi.number(), number),
            Irq::UnknownSgi(other) => {
                assert_eq!(other, number);
                assert!(Sgi::ALL.iter().all(|sgi| sgi.number() != number));
            }
            other => panic!("SGI {number} is {other:?}"),
        }
    }
}

#[test]
fn a_reset_leaves_nothing_of_what_was_there() {
    for version in BOTH {
        for quirks in [PLAIN, SECURE] {
            let gic = FakeGic::new(version, quirks);
            assert!(gic.reset());
            let state = gic.state();
            let ours = OUR_SGIS | PPIS;
            assert_eq!(state.enabled & ours, WAKE_AND_PANIC, "{version:?}");
            assert_eq!(state.pending & ours, 0, "{version:?}");
            assert_eq!(state.active & ours, 0, "{version:?}");
            if version == Version::V2 {
                assert_eq!(state.senders[..8], [0; 8]);
            }
            let all_low = |range: std::ops::Range<usize>| {
                state.priority[range].iter().all(|byte| *byte >= 0xc0)
            };
            assert_eq!(state.priority[..2], [0x40; 2], "{version:?}");
            assert!(all_low(2..8), "{version:?}");
            // The PPIs stay on, so that a CPU in a still point can use its timer.
            assert_eq!(state.priority[16..], [0x40; 16], "{version:?}");
            if quirks.secure {
                continue;
            }
            let group = match version {
                Version::V2 => 0,
                Version::V3 => ours,
            };
            assert_eq!(state.group & ours, group, "{version:?}");
            if version == Version::V3 {
                assert_eq!(state.modifier & ours, 0);
            }
        }
    }
}

/// After the reset another CPU is told, and then sends the wake SGI.
#[test]
fn what_is_sent_after_a_reset_is_not_taken_back_by_it() {
    for version in BOTH {
        for quirks in USABLE {
            let gic = FakeGic::new(version, quirks);
            assert!(gic.reset());
            assert_eq!(gic.under_way(), 0, "{version:?} {quirks:?}");
            gic.others_send(Sgi::Wake.number());
            gic.rest();
            let pending = gic.state().pending;
            assert_ne!(pending & 1, 0, "{version:?} {quirks:?}: it is gone");
        }
    }
}

#[test]
fn what_is_sent_after_the_check_is_not_taken_back_by_it() {
    for version in BOTH {
        let gic = fresh(version, PLAIN);
        check_priorities(&gic).expect("a good GIC");
        gic.others_send(Sgi::Wake.number());
        gic.rest();
        assert_ne!(gic.state().pending & 1, 0, "{version:?}: it is gone");
    }
}

#[test]
fn what_is_turned_off_is_off_on_return() {
    for version in BOTH {
        let gic = fresh(version, PLAIN);
        gic.turn_on(Sgi::Call);
        match version {
            Version::V2 => gic.v2().quieten(),
            Version::V3 => gic.v3().quieten(),
        }
        gic.others_send(Sgi::Call.number());
        assert_eq!(gic.take(), None, "{version:?}");
        let ppi = 27;
        match version {
            Version::V2 => {
                gic.v2().enable_ppi(ppi, Trigger::Level);
                gic.v2().disable_ppis(1 << ppi);
            }
            Version::V3 => {
                gic.v3().enable_ppi(ppi, Trigger::Level);
                gic.v3().disable_ppi(ppi);
                gic.v3().quieten(); // Until then it may still come.
            }
        }
        assert_eq!(gic.state().enabled & 1 << ppi, 0, "{version:?}");
        assert_eq!(gic.under_way(), 0, "{version:?}");
    }
}

#[test]
fn the_secure_world_s_sgis_are_never_touched() {
    for version in BOTH {
        for quirks in USABLE {
            let gic = FakeGic::new(version, quirks);
            let before = gic.state();
            whole_life(&gic, version);
            let gic_checked = fresh(version, quirks);
            check_priorities(&gic_checked).expect("a good GIC");
            gic_checked.rest();
            let wrong = (gic.wrong(), gic_checked.wrong());
            assert_eq!(wrong, (vec![], vec![]), "{version:?} {quirks:?}");
            let after = gic.state();
            let theirs = |state: &fake_gic::State| {
                let bits = [
                    state.enabled,
                    state.pending,
                    state.active,
                    state.group,
                    state.modifier,
                ];
                (
                    bits.map(|bits| bits & SECURE_SGIS),
                    state.priority[8..16].to_vec(),
                    state.senders[8..16].to_vec(),
                )
            };
            assert_eq!(theirs(&after), theirs(&before), "{version:?} {quirks:?}");
        }
    }
}

#[test]
fn sgis_that_are_all_secure_are_noticed() {
    let quirks = Quirks {
        all_sgis_secure: true,
        ..PLAIN
    };
    assert!(!FakeGic::new(Version::V2, quirks).reset());
}

#[test]
fn good_priorities_are_proved_whatever_pending_bits_read() {
    for version in BOTH {
        for quirks in USABLE {
            let gic = fresh(version, quirks);
            let proof = check_priorities(&gic);
            assert_eq!(proof, Ok(()), "{version:?} {quirks:?}");
            assert_eq!(gic.take(), None, "{version:?} {quirks:?}: left over");
            let enabled = gic.state().enabled & (OUR_SGIS | PPIS);
            if !quirks.sgis_always_on {
                assert_eq!(enabled, WAKE_AND_PANIC, "{version:?} {quirks:?}");
            }
        }
    }
}

#[test]
fn priorities_that_separate_nothing_are_refused() {
    let useless = [
        Quirks {
            mask_stuck_open: true,
            ..PLAIN
        },
        Quirks {
            mask_stuck_closed: true,
            ..PLAIN
        },
        Quirks {
            one_priority: Some(0x40),
            ..PLAIN
        },
        Quirks {
            one_priority: Some(0xc0),
            ..PLAIN
        },
        Quirks {
            loses_sgis: true,
            ..PLAIN
        },
    ];
    for version in BOTH {
        for quirks in useless {
            for pending_reads_zero in [false, true] {
                let quirks = Quirks {
                    pending_reads_zero,
                    ..quirks
                };
                let proof = check_priorities(&fresh(version, quirks));
                let refused = Err(IrqChipError::PrioritiesUnusable);
                assert_eq!(proof, refused, "{version:?} {quirks:?}");
            }
        }
    }
}

#[test]
fn an_sgi_that_is_off_does_not_come_though_it_can_t_be_turned_off() {
    let gic = fresh(Version::V2, GIC_400);
    gic.others_send(Sgi::Call.number());
    assert_eq!(gic.take(), None);
    gic.v2().set_sgis(OUR_SGIS);
    assert_eq!(gic.take(), Some(Irq::Sgi(Sgi::Call)));
}

#[test]
fn registers_may_be_where_hypervisors_put_them() {
    // The addresses of QEMU's virt, of a Raspberry Pi 4's CPU interface, and of Xen's guests.
    for address in [0x0800_0000, 0xff84_2000, 0x0300_1000] {
        assert!(is_register_address(address), "{address:#x}");
    }
    for address in [0, 0x0800_0004, 0x0300_1800] {
        assert!(!is_register_address(address), "{address:#x}");
    }
}

#[test]
fn a_trigger_changes_that_of_one_interrupt() {
    for version in BOTH {
        let gic = fresh(version, PLAIN);
        let before = gic.state().config;
        match version {
            Version::V2 => gic.v2().enable_ppi(27, Trigger::Level),
            Version::V3 => gic.v3().enable_ppi(27, Trigger::Level),
        }
        gic.rest();
        let edge = 2 << ((27 - 16) * 2);
        let config = [before[0], before[1] & !edge];
        assert_eq!(gic.state().config, config, "{version:?}");
        assert_ne!(gic.state().enabled & 1 << 27, 0, "{version:?}");
        assert_eq!(gic.wrong(), vec![], "{version:?}");
    }
}

#[test]
fn an_interface_lets_interrupts_through_once_all_else_is_set_up() {
    for is_on in [false, true] {
        let fake = FakeInterface::new(Interface { is_on, ..GOOD });
        let brought_up = fake.interface().bring_up(|| {
            assert!(fake.is_set_up() && !fake.lets_through());
            assert_eq!(
                fake.without_effect(),
                0,
                "before the redistributor is reset"
            );
            Ok(())
        });
        assert_eq!(brought_up, Ok(()));
        assert!(fake.lets_through());
        assert_eq!(fake.without_effect(), 0, "on return");
        assert_eq!(fake.undefined(), []);
        fake.interface().close();
        assert!(!fake.lets_through());
        assert_eq!(fake.without_effect(), 0, "on return");
    }
}

/// A CPU can refuse itself at each of these places. Code that turns its interface off
/// then must not do so by a register that isn't there.
#[test]
fn a_refusal_touches_no_register_that_is_not_there_and_lets_nothing_through() {
    let asleep = IrqChipError::RedistributorAsleep(Mpidr::from_register(1));
    let absent = Interface {
        exists: false,
        ..GOOD
    };
    let kept_off = Interface {
        can_be_on: false,
        ..GOOD
    };
    let stale = Interface {
        running: 0x40,
        ..GOOD
    };
    let none = Err(IrqChipError::NoSystemRegisters);
    let active = Err(IrqChipError::StaleRunningPriority(0x40));
    for (what, others, refusal) in [
        (absent, Ok(()), none),
        (kept_off, Ok(()), none),
        (GOOD, Err(asleep), Err(asleep)),
        (stale, Ok(()), active),
    ] {
        let fake = FakeInterface::new(what);
        assert_eq!(fake.interface().bring_up(|| others), refusal);
        assert_eq!(fake.undefined(), [], "{what:?}");
        assert_eq!(fake.without_effect(), 0, "{what:?}");
        let usable = what.exists && what.can_be_on;
        assert!(!usable || !fake.lets_through(), "{what:?}");
    }
}

/// A panic asks whether the interface works. The answer must not access a register that may
/// fault, and must not come from a life before the CPU's last reset.
#[test]
fn an_interface_that_is_not_up_is_not_used() {
    let first_life = FakeInterface::new(GOOD);
    assert!(!first_life.interface().is_usable(false));
    assert_eq!(first_life.accesses(), 0, "even ICC_SRE_EL1 may trap");

    let reset = FakeInterface::new(GOOD);
    assert!(!reset.interface().is_usable(true));
    assert_eq!(reset.undefined(), []);

    let up = FakeInterface::new(GOOD);
    assert_eq!(up.interface().bring_up(|| Ok(())), Ok(()));
    assert!(up.interface().is_usable(true));
    // The interface lets no interrupt in, but can send SGIs.
    up.interface().close();
    assert!(up.interface().is_usable(true));
    assert_eq!(up.undefined(), []);
}
