//! Properties of boards that QEMU's virt machine doesn't have: the places of memory, the
//! numbers of CPUs, the description of firmware. And the whole tree of the Raspberry Pi 4.

use stillpoint::device::Layout;
use stillpoint::dt::{
    BoardPower, ConsoleKind, CpuStatus, DeviceTree, DtError, EnableMethod, GicDesc, NodeKind,
    PhysRange, PsciBinding,
};
use stillpoint::platform::Conduit;

use crate::blobs::{blob, checked, tree};
use crate::trees::{range, said, spi};

/// Returns what `ask` returns for the tree `name`.
fn of<T>(name: &str, ask: impl FnOnce(&DeviceTree<'_>) -> T) -> T {
    let copy = checked(&blob(name)).unwrap();
    ask(&DeviceTree::new(&copy).unwrap())
}

fn memory(name: &str) -> (Vec<PhysRange>, Vec<PhysRange>) {
    of(name, |tree| {
        let all = |ranges: Vec<Result<_, _>>| ranges.into_iter().map(Result::unwrap).collect();
        (all(tree.memory().collect()), all(tree.reserved().collect()))
    })
}

/// Returns the affinity of each CPU, and whether it may be started.
fn cpus(name: &str) -> Vec<(u64, bool)> {
    of(name, |tree| {
        let cpus = tree.cpus().map(Result::unwrap);
        cpus.map(|cpu| {
            assert_eq!(cpu.enable_method, EnableMethod::Psci);
            (cpu.mpidr.raw(), cpu.may_start())
        })
        .collect()
    })
}

#[test]
fn ram_may_lie_anywhere() {
    let (ram, reserved) = memory("ram-at-0");
    assert_eq!(ram, [range(0, 0x4000_0000)]);
    assert_eq!(
        reserved,
        [range(0, 0x8_0000), range(0x3fe0_0000, 0x20_0000)]
    );
    let (ram, reserved) = memory("ram-at-2g");
    assert_eq!(ram, [range(0x8000_0000, 0x8000_0000)]);
    assert_eq!(reserved, []);
    let (ram, reserved) = memory("ram-8g");
    let high = range(0x8_8000_0000, 0x1_8000_0000);
    assert_eq!(ram, [range(0x8000_0000, 0x8000_0000), high]);
    assert_eq!(reserved, [range(0x9_0000_0000, 0x100_0000)]);
}

#[test]
fn cpu_numbers_may_have_holes() {
    let one = [0x103, 0x100, 2, 0].map(|affinity| (affinity, true));
    assert_eq!(cpus("cpus-one-cell"), one);
    let two = [0, 0x200, 0x1_0000, 0x2_0700, 0x1_0003_0100].map(|affinity| (affinity, true));
    assert_eq!(cpus("cpus-two-cells"), two);
}

#[test]
fn a_disabled_cpu_is_one_that_is_started_and_one_that_failed_is_not() {
    let expected = [(0, true), (1, true), (2, true), (3, false)];
    assert_eq!(cpus("cpus-disabled"), expected);
    let status = |status: &str, method: &str| {
        let copy = tree(&format!(
            "cpus {{ #address-cells = <1>; #size-cells = <0>;
                 cpu@1 {{ reg = <1>; {status} {method} }}; }};"
        ));
        let cpu = DeviceTree::new(&copy).unwrap().cpus().next();
        let cpu = cpu.unwrap().unwrap();
        (cpu.status, cpu.may_start())
    };
    let psci = "enable-method = \"psci\";";
    for (text, meaning, may_start) in [
        ("", CpuStatus::Okay, true),
        ("status = \"okay\";", CpuStatus::Okay, true),
        ("status = [6f 6b];", CpuStatus::Okay, true),
        ("status = \"disabled\";", CpuStatus::Quiescent, true),
        ("status = \"fail\";", CpuStatus::Failed, false),
        ("status = \"fail-hot\";", CpuStatus::Failed, false),
        ("status = \"reserved\";", CpuStatus::Other, false),
        ("status = [ff];", CpuStatus::Other, false),
        ("status;", CpuStatus::Other, false),
    ] {
        assert_eq!(status(text, psci), (meaning, may_start), "{text}");
    }
    let nothing_starts_it = (CpuStatus::Quiescent, false);
    assert_eq!(status("status = \"disabled\";", ""), nothing_starts_it);
}

#[test]
fn firmware_may_say_more_or_less_of_itself() {
    let psci = |name| of(name, |tree| tree.psci().unwrap().unwrap());
    let plain = psci("psci-0.2");
    assert_eq!(
        (plain.version, plain.conduit),
        (PsciBinding::V0_2, Conduit::Hvc)
    );
    let numbered = psci("psci-old-numbers");
    assert_eq!(
        (numbered.version, numbered.conduit),
        (PsciBinding::V1_0, Conduit::Hvc)
    );
}

#[test]
fn the_raspberry_pi_4_is_read() {
    of("bcm2711-rpi-4-b", |tree| {
        assert_eq!(said(tree.model()), "Raspberry Pi 4 Model B");
        assert_eq!(tree.memory().count(), 0, "firmware fills it in");
        let stub = Ok(range(0, 0x1000));
        assert_eq!(tree.reserved().collect::<Vec<_>>(), [stub]);
        let console = tree.console().unwrap().unwrap();
        assert_eq!(console.kind, ConsoleKind::Pl011);
        assert_eq!(console.registers, range(0xfe20_1000, 0x200));
        assert_eq!(console.interrupt, spi(32 + 121));
        let gic = GicDesc::V2 {
            distributor: range(0xff84_1000, 0x1000),
            cpu_interface: range(0xff84_2000, 0x2000),
        };
        assert_eq!(tree.gic(), Ok(gic));
        assert_eq!(tree.psci(), Ok(None));
        let timer = tree.timer().unwrap();
        assert_eq!((timer.virtual_ppi, timer.clock_frequency), (27, None));
        let registers = range(0xfe10_0000, 0x114);
        let power = BoardPower::BcmWatchdog { registers };
        assert_eq!(tree.board_power(), Ok(Some(power)));
        let cpus = tree.cpus().map(Result::unwrap);
        let cpus: Vec<_> = cpus
            .map(|cpu| (cpu.mpidr.raw(), cpu.enable_method, cpu.may_start()))
            .collect();
        let waits_on = |release_addr| EnableMethod::SpinTable { release_addr };
        let expected = [0xd8, 0xe0, 0xe8, 0xf0].into_iter().zip(0..);
        let expected: Vec<_> = expected
            .map(|(word, number)| (number, waits_on(word), true))
            .collect();
        assert_eq!(cpus, expected);
    });
}

#[test]
fn the_raspberry_pi_4_has_a_mini_uart_too() {
    of("bcm2711-rpi-4-b-mini-uart", |tree| {
        let console = tree.console().unwrap().unwrap();
        assert_eq!(console.kind, ConsoleKind::Ns16550(Layout::MINI_UART));
        assert_eq!(console.registers, range(0xfe21_5040, 0x40));
        assert_eq!(console.interrupt, spi(32 + 93));
    });
}

#[test]
fn a_board_that_nothing_turns_off_says_so() {
    assert_eq!(of("virt-gicv3-smp4", |tree| tree.board_power()), Ok(None));
    let power = |node: &str| {
        let cells = "#address-cells = <1>; #size-cells = <1>;";
        let copy = tree(&format!(
            "{cells} pm {{ compatible = \"brcm,bcm2835-pm\", \"brcm,bcm2835-pm-wdt\"; {node} }};"
        ));
        DeviceTree::new(&copy).unwrap().board_power()
    };
    let registers = range(0x100, 0x28);
    let found = BoardPower::BcmWatchdog { registers };
    assert_eq!(power("reg = <0x100 0x28 0x200 0x24>;"), Ok(Some(found)));
    assert_eq!(
        power("reg = <0x100 0x28>; status = \"disabled\";"),
        Ok(None)
    );
    let bad = DtError::BadProperty(NodeKind::PowerManager, "reg");
    assert_eq!(power("reg = <0x100 0x24>;"), Err(bad));
    assert_eq!(power("reg = <0x102 0x28>;"), Err(bad));
}
