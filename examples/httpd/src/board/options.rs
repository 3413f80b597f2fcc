//! The program's arguments.

use alloc::format;
use alloc::string::String;
use core::time::Duration;

use httpd::http::Limits;

/// What the arguments say.
pub(super) struct Options {
    pub(super) port: u16,
    pub(super) connections: u32,
    pub(super) limits: Limits,
}

impl Options {
    /// Reads words like `port=80`.
    ///
    /// # Errors
    /// Which word is wrong.
    pub(super) fn read(words: &[String]) -> Result<Options, String> {
        let mut options = Options {
            port: 80,
            connections: 256,
            limits: Limits::DEFAULT,
        };
        for word in words {
            let wrong =
                || format!("{word} is none of port=, connections=, idle=, rate= and a number");
            let (name, value) = word.split_once('=').ok_or_else(wrong)?;
            let number: u32 = value.parse().map_err(|_| wrong())?;
            match name {
                "port" => options.port = u16::try_from(number).map_err(|_| wrong())?,
                "connections" => options.connections = number,
                "idle" => options.limits.idle = Duration::from_secs(number.into()),
                "rate" => options.limits.rate = number,
                _ => return Err(wrong()),
            }
        }
        Ok(options)
    }
}
