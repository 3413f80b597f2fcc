//! The JSON of `trace export` in what a machine has printed.

use anyhow::{Result, bail};
use serde_json::{Deserializer, Value};

/// How the JSON begins.
const BEGIN: &str = "{\"displayTimeUnit\":";

/// Returns the last trace in what was `printed`, as it stands there, and as a value.
///
/// # Errors
///
/// There is none, or it isn't JSON: then the error says in which of its lines and columns.
pub fn exported(printed: &str) -> Result<(&str, Value)> {
    let Some(at) = printed.rfind(BEGIN) else {
        bail!("the kernel has printed no trace: `trace export` in its shell prints it");
    };
    let text = &printed[at..];
    let mut values = Deserializer::from_str(text).into_iter::<Value>();
    match values.next() {
        Some(Ok(value)) => Ok((&text[..values.byte_offset()], value)),
        Some(Err(error)) => bail!(
            "the exported trace is no JSON: {error}: {}",
            line(text, &error)
        ),
        None => bail!("the exported trace is empty"),
    }
}

/// Returns the line of `text` with the error.
fn line<'a>(text: &'a str, error: &serde_json::Error) -> &'a str {
    let lines = error.line().saturating_sub(1);
    text.lines().nth(lines).unwrap_or_default().trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_trace_is_found_between_other_lines() {
        let one = "{\"displayTimeUnit\":\"ns\",\r\n\"traceEvents\":[]}";
        let two = "{\"displayTimeUnit\":\"ns\",\n\"traceEvents\":[1]}";
        let printed = format!("stillpoint# trace export\r\n{one}\r\n$ \n{two}\n[    0.1] end\n");
        let (text, value) = exported(&printed).expect("a trace");
        assert_eq!(text, two);
        assert_eq!(value["traceEvents"][0], 1);
        assert_eq!(exported(one).expect("a trace").0, one);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let error = |printed: &str| exported(printed).expect_err("no trace").to_string();
        assert!(error("stillpoint# poweroff").contains("has printed no trace"));
        let torn = error("{\"displayTimeUnit\":\"ns\",\n\"traceEvents\":[\n[    0.1] CPU3 up\n");
        assert!(
            torn.contains("line 3") && torn.ends_with(": [    0.1] CPU3 up"),
            "{torn}"
        );
        let cut = error("{\"displayTimeUnit\":\"ns\",\n\"traceEvents\":[");
        assert!(cut.contains("EOF"), "{cut}");
    }
}
