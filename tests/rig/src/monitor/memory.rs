//! What the monitor shows of a machine's registers and memory.

use std::io;

use crate::monitor::Monitor;

/// The registers of a CPU that show what it executes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registers {
    /// Its number in QEMU.
    pub cpu: u32,
    /// The address of its next instruction.
    pub pc: u64,
    /// The frame pointer.
    pub x29: u64,
    /// The link register.
    pub x30: u64,
    /// The process state, PSTATE.
    pub pstate: u64,
}

impl Monitor {
    /// Returns the registers of all CPUs.
    ///
    /// # Errors
    ///
    /// QEMU doesn't answer.
    pub fn registers(&mut self) -> io::Result<Vec<Registers>> {
        Ok(registers(&self.human("info registers -a")?))
    }

    /// Returns `COUNT` words of `size` from the guest's memory at `address`; `None` if there
    /// is no memory.
    ///
    /// # Errors
    ///
    /// QEMU doesn't answer.
    pub fn memory<const COUNT: usize>(
        &mut self,
        address: u64,
        size: WordSize,
    ) -> io::Result<Option<[u64; COUNT]>> {
        let size = size as u8 as char;
        let text = self.human(&format!("xp /{COUNT}x{size} {address:#x}"))?;
        Ok(words(&text).and_then(|words| words.try_into().ok()))
    }
}

/// The size of a word in the guest's memory, by its letter in the monitor's `xp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum WordSize {
    /// 1 byte.
    Byte = b'b',
    /// 4 bytes.
    Four = b'w',
    /// 8 bytes.
    Eight = b'g',
}

/// Parses the output of `info registers -a`.
fn registers(text: &str) -> Vec<Registers> {
    let mut all = Vec::new();
    let mut now = Registers {
        cpu: 0,
        pc: 0,
        x29: 0,
        x30: 0,
        pstate: 0,
    };
    for line in text.lines() {
        if let Some(number) = line.strip_prefix("CPU#") {
            now.cpu = number.trim().parse().unwrap_or_default();
        }
        for (name, value) in line
            .split_whitespace()
            .filter_map(|word| word.split_once('='))
        {
            let value = u64::from_str_radix(value, 16).unwrap_or_default();
            match name {
                "PC" => now.pc = value,
                "X29" => now.x29 = value,
                "X30" => now.x30 = value,
                // QEMU prints PSTATE after the other registers used here.
                "PSTATE" => {
                    now.pstate = value;
                    all.push(now);
                }
                _ => {}
            }
        }
    }
    all
}

/// Parses all lines of the hexadecimal output of `xp`.
fn words(text: &str) -> Option<Vec<u64>> {
    let mut words = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let (address, values) = line.split_once(": ")?;
        u64::from_str_radix(address, 16).ok()?;
        for value in values.split_whitespace() {
            words.push(u64::from_str_radix(value.strip_prefix("0x")?, 16).ok()?);
        }
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::tests::talk;

    const PRINTED: &str = "\nCPU#0\n PC=0000000040201810 X00=0000000000000000\n\
        X29=0000000040300000 X30=0000000040201234 SP=0000000040300000\n\
        PSTATE=800003c5 N--- EL1h FPCR=00000000\n\n\
        CPU#1\n PC=0000000040200010 X29=0000000000000000 X30=0000000000000000\nPSTATE=00000005 ----\n";

    #[test]
    fn registers_are_read() {
        let all = registers(PRINTED);
        assert_eq!(
            all,
            [
                Registers {
                    cpu: 0,
                    pc: 0x4020_1810,
                    x29: 0x4030_0000,
                    x30: 0x4020_1234,
                    pstate: 0x8000_03c5,
                },
                Registers {
                    cpu: 1,
                    pc: 0x4020_0010,
                    x29: 0,
                    x30: 0,
                    pstate: 5
                },
            ]
        );
    }

    #[test]
    fn memory_is_read() {
        let line = "0000000040200038: 0x644d5241 0x00000001\n";
        assert_eq!(words(line), Some(vec![0x644d_5241, 1]));
        assert_eq!(words("Cannot access memory\n"), None);
        assert_eq!(words("0000000040200038: 14\n"), None);
        let answer = "{\"return\": \"0000000040200038: 0x644d5241\\r\\n\"}\n";
        let heard = talk(answer, |monitor| {
            let word = monitor
                .memory(0x4020_0038, WordSize::Four)
                .expect("an answer");
            assert_eq!(word, Some([0x644d_5241]));
        });
        assert!(heard.contains("xp /1xw 0x40200038"), "{heard}");
    }
}
