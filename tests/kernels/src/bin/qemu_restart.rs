//! A device tree that was cut short, handed to the boot path itself: one clear
//! line on the early console, and the CPU sleeps with the reason in memory.
//!
//! This kernel hands it over as a loader does: MMU and caches off, the address
//! in x0, a jump to the first byte of the Image. `bad-boot` of the rig does the same
//! to the shipped Image, from outside.

//@ smp: 1
//@ halts: 15
//@ output: ^restarting with a tree of [0-9]+ bytes, cut to 64$
//@ output: ^stillpoint: bad device tree: the structure block is out of bounds$

#![no_std]
#![no_main]

mod restart {
    use stillpoint::arch::aarch64::boot;
    use stillpoint::kernel::kernel;
    use stillpoint::println;

    /// Bytes that are left of the tree: its header, and a little more.
    const LEFT: u32 = 64;

    pub(super) fn main() {
        let tree = kernel().device_tree;
        println!(
            "restarting with a tree of {} bytes, cut to {LEFT}",
            tree.len()
        );

        // In whole words of 8 bytes, because boot wants them aligned so. On the stack: some
        // of the heap is in the Image's own memory, which an entry clears.
        let mut words = [0_u64; LEFT as usize / 8];
        for (word, bytes) in words.iter_mut().zip(tree.chunks_exact(8)) {
            *word = u64::from_ne_bytes(*bytes.first_chunk().expect("eight bytes"));
        }
        // The second half of the first word is the tree's size.
        let mut first = words[0].to_ne_bytes();
        first[4..].copy_from_slice(&LEFT.to_be_bytes());
        words[0] = u64::from_ne_bytes(first);
        let address = words.as_ptr().expose_provenance();
        // SAFETY: this is the only CPU, and the kernel's last act.
        unsafe { boot::restart(address) }
    }
}

stillpoint::entry!(restart::main);
