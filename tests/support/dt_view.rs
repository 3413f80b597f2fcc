//! Calls every method of a device tree's view, and checks what must be true of each result,
//! whatever the blob was. The host tests and the fuzzer use it.

use stillpoint::dt::{
    BoardPower, ConsoleDesc, ConsoleKind, DeviceTree, DtError, GicDesc, InterruptSpec, PhysRange,
    check,
};
use stillpoint::platform::Irq;

/// Passes `blob` to [`check`], and calls every method of the view of the copy; returns the
/// copy if `blob` is a tree.
///
/// `blob` and the copy each fill an allocation of their own exactly. So a read behind the
/// end is out of the allocation: a panic in safe code, and a report by AddressSanitizer
/// under the fuzzer.
pub(crate) fn examine(blob: &[u8]) -> Result<Box<[u8]>, DtError> {
    const CANARY: u8 = 0xa5;
    let blob: Box<[u8]> = blob.into();
    if let Ok(tree) = DeviceTree::new(&blob) {
        read_all(&tree, &blob);
    }
    // A compact copy is never longer than the blob, except by the header's last field,
    // which version 16 doesn't have.
    let untouched = vec![CANARY; blob.len() + 4].into_boxed_slice();
    let mut room = untouched.clone();
    let written = match check(&blob, &mut room) {
        Ok(size) => size,
        Err(error) => {
            let too_small = matches!(error, DtError::OutputTooSmall { .. });
            assert!(!too_small, "the copy is longer than the blob: {error}");
            assert!(
                *room == *untouched,
                "the output was changed in spite of the error {error}"
            );
            // Code that reports an error formats it, which must not panic.
            assert!(!error.to_string().is_empty());
            return Err(error);
        }
    };
    let (copy, rest) = room.split_at(written);
    assert!(
        *rest == untouched[written..],
        "more than the returned {written} bytes were written"
    );
    let copy: Box<[u8]> = copy.into();
    let tree = DeviceTree::new(&copy).expect("a copy of `check` is a tree");
    read_all(&tree, &copy);
    let mut again = vec![0; copy.len()];
    assert_eq!(check(&copy, &mut again), Ok(copy.len()));
    assert!(*again == *copy, "a copy's copy is itself");
    Ok(copy)
}

/// Calls every method of `tree`, a view of `copy`, and runs every iterator to its end.
fn read_all(tree: &DeviceTree<'_>, copy: &[u8]) {
    for text in [tree.bootargs(), tree.model(), tree.stdout_path()]
        .into_iter()
        .flatten()
    {
        assert!(!text.bytes().contains(&0));
        let _ = text.to_string();
        let (inside, text) = (copy.as_ptr_range(), text.bytes().as_ptr_range());
        assert!(inside.start <= text.start && text.end <= inside.end);
    }
    if let Ok(Some(ConsoleDesc {
        kind,
        registers,
        interrupt,
        named: _,
    })) = tree.console()
    {
        holds_bytes(registers);
        if let ConsoleKind::Ns16550(layout) = kind {
            let size = layout.size().expect("a layout that can be");
            assert!(u64::from(size) <= registers.size(), "{layout:?}");
        }
        interrupt.into_iter().for_each(sane_line);
    }
    let _ = tree.psci();
    if let Ok(Some(BoardPower::BcmWatchdog { registers })) = tree.board_power() {
        holds_bytes(registers);
    }
    for place in bounded(tree.virtio_mmio(), copy).flatten() {
        holds_bytes(place.registers);
        assert!(place.registers.size() >= 0x100, "{place:?}");
        place.interrupt.into_iter().for_each(sane_line);
    }
    if let Ok(Some(host)) = tree.pci_host() {
        holds_bytes(host.config);
        holds_bytes(host.window);
        assert!(host.bus_start + host.window.size() <= 1 << 32, "{host:?}");
    }
    for (device, pin) in [(0, 1), (31, 4)] {
        tree.pci_line(device, pin).into_iter().for_each(sane_line);
    }
    tree.rtc().into_iter().flatten().for_each(holds_bytes);
    if let Ok(Some(key)) = tree.power_key() {
        holds_bytes(key.registers);
        sane_line(key.interrupt);
        assert!(key.line < 8);
    }
    match tree.gic() {
        Ok(GicDesc::V3 {
            distributor,
            redistributors,
            ..
        }) => {
            holds_bytes(distributor);
            assert!(!redistributors.as_slice().is_empty());
            redistributors
                .as_slice()
                .iter()
                .copied()
                .for_each(holds_bytes);
        }
        Ok(GicDesc::V2 {
            distributor,
            cpu_interface,
        }) => {
            holds_bytes(distributor);
            holds_bytes(cpu_interface);
        }
        Err(_) => {}
    }
    if let Ok(timer) = tree.timer() {
        assert!((16..32).contains(&timer.virtual_ppi), "{timer:?}");
    }
    bounded(tree.memory(), copy).flatten().for_each(holds_bytes);
    bounded(tree.reserved(), copy)
        .flatten()
        .for_each(holds_bytes);
    bounded(tree.cpus(), copy).for_each(drop);
}

/// Returns the items of an iterator over `copy`. Each item takes at least a byte of the
/// copy, which bounds their number.
fn bounded<T>(items: impl Iterator<Item = T>, copy: &[u8]) -> impl Iterator<Item = T> {
    items.enumerate().map(|(count, item)| {
        assert!(count < copy.len(), "more items than bytes");
        item
    })
}

fn holds_bytes(range: PhysRange) {
    assert!(range.size() != 0 && range.start() < range.end(), "{range}");
}

fn sane_line(line: InterruptSpec) {
    match line.irq {
        Irq::Ppi(intid) => assert!((16..32).contains(&intid), "{line:?}"),
        Irq::Spi(intid) => assert!((32..1020).contains(&intid), "{line:?}"),
        Irq::Sgi(_) | Irq::UnknownSgi(_) | Irq::Lpi(_) => panic!("a device that raises {line:?}"),
    }
}
