//! No device tree can make boot read outside of it: each altered copy is refused with an error, or
//! its checked copy is a tree.
//!
//! The copies are passed to the function that every boot uses. Behind each is the guard page of a
//! stack, so a read past the size in the header is a fault, which ends this kernel.

//@ smp: 1

#![no_std]
#![no_main]

extern crate alloc;

mod bad_tree {
    use alloc::vec::Vec;
    use alloc::{format, vec};

    use stillpoint::arch::aarch64::thread_head;
    use stillpoint::boot::{EarlyError, load_device_tree};
    use stillpoint::cpu::CpuId;
    use stillpoint::dt::{Block, DeviceTree, DtError, MAX_DEPTH, MAX_SIZE};
    use stillpoint::kernel::kernel;
    use stillpoint::{api, println};

    use kernel_support::ktap::Ktap;
    use kernel_support::page;

    // Words of the header, by their index.
    const MAGIC: usize = 0;
    const TOTAL: usize = 1;
    const STRUCTURE: usize = 2;
    const STRINGS: usize = 3;
    const RESERVATIONS: usize = 4;
    const VERSION: usize = 5;
    const LAST_COMPATIBLE: usize = 6;
    const STRINGS_SIZE: usize = 8;
    const STRUCTURE_SIZE: usize = 9;
    const HEADER_WORDS: usize = 10;

    /// What the buffer for the copy is filled with.
    const FILL: u8 = 0xa5;

    type Loaded = Result<Vec<u8>, EarlyError>;

    fn word(blob: &[u8], index: usize) -> u32 {
        let bytes = blob[index * 4..].first_chunk().expect("a word");
        u32::from_be_bytes(*bytes)
    }

    fn set_word(blob: &mut [u8], index: usize, value: u32) {
        blob[index * 4..][..4].copy_from_slice(&value.to_be_bytes());
    }

    fn small(number: usize) -> u32 {
        u32::try_from(number).expect("a tree is smaller than that")
    }

    /// Memory that ends at a page which is not mapped.
    struct Edge {
        memory: &'static mut [u8],
        copy: Vec<u8>,
    }

    impl Edge {
        /// The stack of a thread that has ended: above it is the guard of the
        /// next one.
        fn new() -> Edge {
            let stack = api::spawn_on(CpuId::BOOT, "edge", || thread_head::current().stack())
                .expect("there are stacks")
                .join();
            // SAFETY: the thread has ended and is off its CPU, and this kernel,
            // which has one CPU, starts no other: its stack is mapped, and
            // not in use.
            let memory = unsafe {
                core::slice::from_raw_parts_mut(
                    core::ptr::with_exposed_provenance_mut(stack.start),
                    stack.len(),
                )
            };
            Edge {
                memory,
                copy: vec![FILL; 16 * 1024],
            }
        }

        /// The first address that is not mapped.
        fn end(&self) -> usize {
            self.memory.as_ptr_range().end.addr()
        }

        /// Puts `blob` so that it ends at the edge, and has it loaded.
        fn load(&mut self, blob: &[u8]) -> Loaded {
            // The boot protocol wants a multiple of 8. The bytes left at the edge are
            // padding of the blob's last word.
            let at = (self.memory.len() - blob.len()) & !7;
            self.memory[at..][..blob.len()].copy_from_slice(blob);
            let address = self.memory.as_ptr().expose_provenance() + at;
            // SAFETY: eight bytes are there, and as many as the header says, or a
            // number that is refused. Whether more is read is what is tested: that
            // would be a fault, here in the guard page.
            let result = unsafe { load_device_tree(address, &mut self.copy) };
            let used = *result.as_ref().unwrap_or(&0);
            let copy = self.copy[..used].to_vec();
            self.copy[..used].fill(FILL);
            assert!(
                self.copy.iter().all(|byte| *byte == FILL),
                "written beyond the copy, or without success"
            );
            result.map(|_| copy)
        }

        /// Returns whether `blob` is refused for its form.
        fn refuses(&mut self, blob: &[u8]) -> bool {
            matches!(self.load(blob), Err(EarlyError::DeviceTree(_)))
        }

        /// Returns whether `blob` is refused for its form, or its copy is sane.
        fn is_safe_with(&mut self, blob: &[u8]) -> bool {
            match self.load(blob) {
                Err(error) => matches!(error, EarlyError::DeviceTree(_)),
                Ok(copy) => self.is_sane(&copy),
            }
        }

        /// Returns whether `copy` is a tree, every question about it has an answer, and
        /// it is its own copy.
        fn is_sane(&mut self, copy: &[u8]) -> bool {
            let Ok(tree) = DeviceTree::new(copy) else {
                return false;
            };
            let _ = (tree.bootargs(), tree.model(), tree.console(), tree.psci());
            let _ = (tree.gic(), tree.timer());
            let _ = (tree.memory().count(), tree.reserved().count());
            let _ = tree.cpus().count();
            self.load(copy).as_deref() == Ok(copy)
        }
    }

    /// The blob of `structure` and `strings`, with no reservations.
    fn assemble(structure: &[u8], strings: &[u8]) -> Vec<u8> {
        let structure_at = HEADER_WORDS * 4 + 16;
        let strings_at = structure_at + structure.len();
        let total = strings_at + strings.len();
        let mut blob = vec![0; structure_at];
        let header = [
            0xd00d_feed,
            small(total),
            small(structure_at),
            small(strings_at),
            40,
            17,
            16,
            0,
            small(strings.len()),
            small(structure.len()),
        ];
        for (index, value) in header.into_iter().enumerate() {
            set_word(&mut blob, index, value);
        }
        blob.extend_from_slice(structure);
        blob.extend_from_slice(strings);
        blob
    }

    /// `depth` nodes in each other.
    fn nested(depth: usize) -> Vec<u8> {
        let mut structure = Vec::new();
        for level in 0..depth {
            structure.extend([0, 0, 0, 1]);
            let name: &[u8] = if level == 0 { &[0; 4] } else { b"n\0\0\0" };
            structure.extend_from_slice(name);
        }
        for _ in 0..depth {
            structure.extend([0, 0, 0, 2]);
        }
        structure.extend([0, 0, 0, 9]);
        assemble(&structure, b"")
    }

    pub(super) fn main() {
        let tree = kernel().device_tree;
        let mut edge = Edge::new();
        let mut ktap = Ktap::new();
        println!("# a tree of {} bytes", tree.len());

        // The other checks need this.
        ktap.check(
            "behind the copies nothing is mapped",
            page::is_mapped(edge.end() - 1) && !page::is_mapped(edge.end()),
        );
        ktap.check(
            "the tree itself is accepted, and is its own copy",
            edge.load(tree).as_deref() == Ok(tree) && edge.is_sane(tree),
        );

        addresses(&mut ktap, &mut edge, tree);
        sizes(&mut ktap, &mut edge, tree);
        headers(&mut ktap, &mut edge, tree);
        blocks(&mut ktap, &mut edge, tree);
        nesting(&mut ktap, &mut edge);
        mutants(&mut ktap, &mut edge, tree);
        ktap.finish();
    }

    fn addresses(ktap: &mut Ktap, edge: &mut Edge, tree: &[u8]) {
        let copy = &mut edge.copy;
        // SAFETY: 0 is not read.
        let null = unsafe { load_device_tree(0, copy) };
        ktap.equal("no address", null, Err(EarlyError::NoDeviceTree));

        edge.memory[1..][..tree.len()].copy_from_slice(tree);
        let start = edge.memory.as_ptr().expose_provenance();
        let odd = (1..8).all(|offset| {
            // SAFETY: the bytes are there; a multiple of 8 it is not.
            let result = unsafe { load_device_tree(start + offset, &mut edge.copy) };
            result == Err(EarlyError::MisalignedDeviceTree(start + offset))
        });
        // Reading even one byte there would fault.
        let end = edge.end() + 4;
        // SAFETY: as above: it must not be read.
        let behind = unsafe { load_device_tree(end, &mut edge.copy) };
        ktap.check(
            "no multiple of 8, and not even read",
            odd && behind == Err(EarlyError::MisalignedDeviceTree(end)),
        );
    }

    fn sizes(ktap: &mut Ktap, edge: &mut Edge, tree: &[u8]) {
        // Each tree is as long as its header says, and ends at the edge. So a tree that is
        // cut short is read up to the end that its header gives, and no further.
        let cut = (36..tree.len()).filter(|size| size % 8 == 0).all(|size| {
            let mut blob = tree[..size].to_vec();
            set_word(&mut blob, TOTAL, small(size));
            edge.refuses(&blob)
        });
        ktap.check("cut short at every multiple of 8 bytes", cut);

        // Only eight bytes are readable. Their size is impossible, so nothing else may be
        // read.
        let mut head = tree[..8].to_vec();
        let impossible = [0, 1, 7, 8, 35, small(MAX_SIZE) + 1, 0x8000_0000, u32::MAX];
        let refused = impossible.into_iter().all(|size| {
            set_word(&mut head, TOTAL, size);
            edge.load(&head) == Err(EarlyError::DeviceTree(DtError::BadTotalSize(size)))
        });
        ktap.check("a size that can't be, with only eight bytes there", refused);

        let mut refused = true;
        for magic in [0, 1, 0xedfe_0dd0, 0xd00d_feec, 0x500d_feed, u32::MAX] {
            let mut head = tree[..8].to_vec();
            set_word(&mut head, MAGIC, magic);
            let wanted = Err(EarlyError::DeviceTree(DtError::BadMagic(magic)));
            refused &= edge.load(&head) == wanted;
        }
        ktap.check("another magic number, with only eight bytes there", refused);
    }

    fn headers(ktap: &mut Ktap, edge: &mut Edge, tree: &[u8]) {
        let total = word(tree, TOTAL);
        let mut safe = true;
        for index in 2..HEADER_WORDS {
            let was = word(tree, index);
            let values = [
                0,
                1,
                was.wrapping_sub(4),
                was.wrapping_add(4),
                was ^ 1,
                total - 4,
                total,
                total + 4,
                0x7fff_fffc,
                0x8000_0000,
                !3,
                u32::MAX,
                was.swap_bytes(),
            ];
            for value in values {
                let mut blob = tree.to_vec();
                set_word(&mut blob, index, value);
                if !edge.is_safe_with(&blob) {
                    println!("# header word {index} of {value:#x}");
                    safe = false;
                }
            }
        }
        ktap.check("every word of the header, with values at every edge", safe);

        let refused_with = |edge: &mut Edge, index: usize, value: u32| {
            let mut blob = tree.to_vec();
            set_word(&mut blob, index, value);
            edge.load(&blob)
        };
        let out = |block| Err(EarlyError::DeviceTree(DtError::BlockOutOfBounds(block)));
        let beyond = [
            (STRUCTURE, Block::Structure),
            (STRINGS, Block::Strings),
            (RESERVATIONS, Block::Reservations),
            (STRUCTURE_SIZE, Block::Structure),
            (STRINGS_SIZE, Block::Strings),
        ];
        let refused = beyond.into_iter().all(|(index, block)| {
            [(total + 8) & !7, 0x8000_0000, !7]
                .into_iter()
                .all(|value| refused_with(edge, index, value) == out(block))
        });
        let version = |version, last_compatible| {
            Err(EarlyError::DeviceTree(DtError::UnsupportedVersion {
                version,
                last_compatible,
            }))
        };
        ktap.check(
            "blocks out of bounds and formats of other times, by name",
            refused
                && refused_with(edge, VERSION, 15) == version(15, word(tree, LAST_COMPATIBLE))
                && refused_with(edge, LAST_COMPATIBLE, 18) == version(word(tree, VERSION), 18),
        );
    }

    fn blocks(ktap: &mut Ktap, edge: &mut Edge, tree: &[u8]) {
        // The strings come last in a copy: their end is the edge.
        let strings = word(tree, STRINGS) as usize;
        let mut open = tree.to_vec();
        for byte in &mut open[strings..] {
            if *byte == 0 {
                *byte = b'x';
            }
        }
        // A root whose name begins at the last string, which doesn't end.
        let property = |name: u8| {
            let root = [
                0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, name,
            ];
            let mut structure = root.to_vec();
            structure.extend([0, 0, 0, 2, 0, 0, 0, 9]);
            structure
        };
        let no_end = assemble(&property(0), b"abcdefgh");
        let outside = assemble(&property(8), b"abcdefg\0");
        // Node names and values that go on to the end of the structure block,
        // which is the edge.
        let name = assemble(
            &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, b'n', b'n', b'n', b'n'],
            b"",
        );
        let mut value = property(0);
        value[15] = 0xf0;
        let value = assemble(&value, b"x\0\0\0\0\0\0\0");
        let mut reservations = tree.to_vec();
        let at = word(tree, RESERVATIONS) as usize;
        let to = word(tree, STRUCTURE) as usize;
        reservations.truncate(to);
        reservations[at..].fill(1);
        set_word(&mut reservations, TOTAL, small(to));
        ktap.check(
            "strings, names, values and reservations without an end",
            [open, no_end, outside, name, value, reservations]
                .iter()
                .all(|blob| edge.refuses(blob)),
        );
    }

    fn nesting(ktap: &mut Ktap, edge: &mut Edge) {
        let at_limit = edge.load(&nested(MAX_DEPTH)).is_ok();
        let too_deep = [MAX_DEPTH + 1, 64, 65, 500].into_iter().all(|depth| {
            matches!(
                edge.load(&nested(depth)),
                Err(EarlyError::DeviceTree(DtError::TooDeep { .. }))
            )
        });
        ktap.check("nodes nested too deep, and just not", at_limit && too_deep);
    }

    fn mutants(ktap: &mut Ktap, edge: &mut Edge, tree: &[u8]) {
        const ROUNDS: usize = 3000;
        const WORDS: [u32; 12] = [0, 1, 2, 3, 4, 5, 9, 16, 0x7fff_ffff, 0x8000_0000, !3, !0];
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move |limit: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            usize::try_from(seed % small(limit) as u64).expect("it is below the limit")
        };
        let (mut accepted, mut unsafe_ones) = (0, 0);
        for _ in 0..ROUNDS {
            let mut mutant = tree.to_vec();
            for _ in 0..=random(6) {
                // The header is small, so it is hit as often as the rest.
                let end = if random(2) == 0 { 56 } else { mutant.len() };
                let at = random(end);
                match random(3) {
                    0 => mutant[at] ^= 1 << random(8),
                    1 => set_word(&mut mutant, at / 4 % (end / 4), WORDS[random(12)]),
                    _ => mutant[at] = 0,
                }
            }
            // The header's size may be larger than the memory that can be read. The kernel
            // can't detect that, and only a loader can cause it.
            if word(&mutant, MAGIC) == word(tree, MAGIC) {
                let said = word(&mutant, TOTAL).min(small(mutant.len()));
                set_word(&mut mutant, TOTAL, said);
            }
            accepted += usize::from(edge.load(&mutant).is_ok());
            unsafe_ones += usize::from(!edge.is_safe_with(&mutant));
        }
        println!("# {accepted} of {ROUNDS} mutants are trees");
        ktap.check(
            &format!("{ROUNDS} mutants: refused, or a tree"),
            unsafe_ones == 0 && accepted > 0 && accepted < ROUNDS,
        );
    }
}

stillpoint::entry!(bad_tree::main);
