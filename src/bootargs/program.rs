//! The words of the command line that the kernel passes to the program, as Linux does.
//!
//! A word that the kernel doesn't know is an argument of the program, or, if it has a
//! value, a variable. A word with a dot in its name is neither, because Linux uses such names
//! for its modules. Every word after `--` is an argument.
//!
//! # Sources
//! Linux `init/main.c`, `unknown_bootoption` and `set_init_arg`.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::words::words;
use super::{BootArg, BootArgs, Setting, ends_ours, setting};

impl<'a> BootArgs<'a> {
    /// Returns the arguments of the program, in their order, without words that aren't UTF-8.
    pub fn program_args(&self) -> Vec<String> {
        let mut words = words(self.line);
        let before = words.by_ref().take_while(|word| !ends_ours(word));
        let plain = before.filter_map(|word| match setting(word) {
            Ok(Setting::Unknown(BootArg { name, value: None })) if !name.contains('.') => {
                Some(String::from(name))
            }
            _ => None,
        });
        let mut args: Vec<String> = plain.collect();
        args.extend(words.filter_map(|word| {
            let arg = BootArg::new(str::from_utf8(word).ok()?);
            Some(match arg.value {
                None => String::from(arg.name),
                Some(value) => format!("{}={value}", arg.name),
            })
        }));
        args
    }

    /// Returns the value of the program's variable `name`, or `None` if the line doesn't have
    /// it. If it has the variable more than once, the last one wins.
    pub fn program_var(&self, name: &str) -> Option<&'a str> {
        let named = self.unknown().filter(|arg| arg.name == name);
        let values = named.filter_map(|arg| arg.value);
        values.last().filter(|_| !name.contains('.'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_shared_out_as_in_linux() {
        let args = BootArgs::parse(
            b"maxcpus=2 single mode=fast usb.debug usb.level=2 \"two words\" n\xff maxcpus=x \
              mode=slow text=\"a b\" -- maxcpus=1 mode=late a.b t=\"c d\" n\xff --",
        );
        assert_eq!(
            args.program_args(),
            [
                "single",
                "two words",
                "maxcpus=1",
                "mode=late",
                "a.b",
                "t=c d",
                "--"
            ]
        );
        assert_eq!(args.program_var("mode"), Some("slow"));
        assert_eq!(args.program_var("text"), Some("a b"));
        for none in ["maxcpus", "single", "usb.level", "t", ""] {
            assert_eq!(args.program_var(none), None, "{none}");
        }
        assert!(BootArgs::parse("").program_args().is_empty());
    }
}
