//! A list of CPUs as Linux writes it: `0-3,8`.

use stillpoint::api::cpu::{CpuId, CpuMask};

/// Returns the CPUs of `list`; `None` if it isn't a list, names no CPU, or one whose number is too
/// high for any machine.
pub(super) fn parse(list: &str) -> Option<CpuMask> {
    let mut cpus = CpuMask::EMPTY;
    for item in list.trim_ascii().split(',') {
        let (from, to) = item.split_once('-').unwrap_or((item, item));
        let (from, to) = (number(from)?, number(to)?);
        if from > to {
            return None;
        }
        for cpu in from..=to {
            cpus.insert(CpuId::new(cpu)?);
        }
    }
    Some(cpus)
}

/// Returns the number of a CPU. `str::parse` would take a sign.
fn number(digits: &str) -> Option<usize> {
    let is_number = (1..=4).contains(&digits.len()) && digits.bytes().all(|it| it.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::parse;

    #[test]
    fn a_list_is_read_as_it_is_printed() {
        for list in ["0", "0-3", "0,2,5-7", "511"] {
            assert_eq!(parse(list).expect("a list").to_string(), list);
        }
        assert_eq!(parse("1,0-1\n").expect("a list").to_string(), "0-1");
        for wrong in [
            "", "-", "0-", "-1", "+1", "3-1", "0,,1", "0 1", "512", "0-99999", "a", "0x1",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
