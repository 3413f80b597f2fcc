//! A client, a machine and a time that a test makes up.

use std::collections::VecDeque;
use std::future::{Future, ready};
use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use httpd::http::Limits;
use httpd::site::Site;
use httpd::{Change, CpuTimes, End, Governor, IoError, Machine, Stays, Stream, Walk, serve};
use stillpoint::api::cpu::{CpuId, CpuMask};

/// A machine of four CPUs, of which CPU 0 can't go.
pub(crate) struct Fake {
    /// Microseconds.
    now: AtomicU64,
    online: Mutex<CpuMask>,
    governor: Mutex<&'static str>,
    pub(crate) worked: AtomicU64,
}

pub(crate) const GOVERNORS: &str = "performance ondemand userspace";

impl Fake {
    pub(crate) fn new() -> Fake {
        Fake {
            now: AtomicU64::new(1_000_000),
            online: Mutex::new(CpuMask::first_n(4)),
            governor: Mutex::new("userspace"),
            worked: AtomicU64::new(0),
        }
    }

    /// Lets the time pass until `at`.
    pub(crate) fn pass(&self, at: Duration) {
        let at = u64::try_from(at.as_micros()).expect("not so late");
        self.now.fetch_max(at, Ordering::Relaxed);
    }
}

impl Machine for &Fake {
    fn now(&self) -> Duration {
        Duration::from_micros(self.now.load(Ordering::Relaxed))
    }

    fn unix_time(&self) -> Option<u64> {
        Some(784_111_777)
    }

    fn sleep_until(&self, at: Duration) -> impl Future<Output = ()> + Send {
        self.pass(at);
        ready(())
    }

    fn work(&self, time: Duration) -> impl Future<Output = ()> + Send {
        let ms = u64::try_from(time.as_millis()).expect("not so long");
        self.worked.fetch_add(ms, Ordering::Relaxed);
        self.pass(self.now() + time);
        ready(())
    }

    fn possible(&self) -> CpuMask {
        CpuMask::first_n(4)
    }

    fn online(&self) -> CpuMask {
        *self.online.lock().expect("no panic")
    }

    fn set_online(&self, wanted: &CpuMask) -> Change {
        let mut wanted = *wanted;
        let mut change = Change::default();
        if !wanted.contains(CpuId::BOOT) {
            wanted.insert(CpuId::BOOT);
            change.stays.push(Stays {
                cpu: CpuId::BOOT,
                errno: "EBUSY",
                why: "it has \"something\"".to_owned(),
            });
        }
        *self.online.lock().expect("no panic") = wanted;
        change
    }

    fn cpu_times(&self, into: &mut Vec<CpuTimes>) {
        let busy = self.now() / 2;
        into.extend(self.possible().iter().map(|cpu| CpuTimes { cpu, busy }));
    }

    fn walks(&self, into: &mut Vec<Walk>) {
        into.push(Walk {
            what: "down",
            cpu: CpuId::from_index(3),
            at: Duration::from_millis(12),
            took: Duration::from_micros(42),
            stopped: Some(Duration::from_micros(3)),
        });
    }

    fn governor(&self) -> Option<Governor> {
        Some(Governor {
            name: *self.governor.lock().expect("no panic"),
            available: GOVERNORS,
        })
    }

    fn set_governor(&self, name: &str) -> Result<(), &'static str> {
        let known = GOVERNORS.split(' ').find(|known| *known == name);
        *self.governor.lock().expect("no panic") = known.ok_or("EINVAL")?;
        Ok(())
    }

    fn is_ending(&self) -> bool {
        false
    }
}

/// What a client does next.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Sends(Vec<u8>),
    /// It does nothing for so long.
    Waits(Duration),
}

/// A client. After all that it does it ends the connection.
pub(crate) struct Client<'a> {
    pub(crate) machine: &'a Fake,
    pub(crate) acts: VecDeque<Act>,
    /// What it has received.
    pub(crate) received: Vec<u8>,
    /// How many bytes it takes at a time, and how long it needs for that.
    pub(crate) takes: (usize, Duration),
    pub(crate) is_shut_down: bool,
}

impl Client<'_> {
    fn read_now(&mut self, into: &mut [u8], until: Duration) -> Result<usize, IoError> {
        let machine = self.machine;
        while let Some(act) = self.acts.pop_front() {
            match act {
                Act::Sends(mut bytes) => {
                    let count = bytes.len().min(into.len());
                    into[..count].copy_from_slice(&bytes[..count]);
                    if count < bytes.len() {
                        bytes.drain(..count);
                        self.acts.push_front(Act::Sends(bytes));
                    }
                    if count > 0 {
                        return Ok(count);
                    }
                }
                Act::Waits(time) => {
                    let now = Machine::now(&machine);
                    let left = until.saturating_sub(now);
                    machine.pass(now + time.min(left));
                    if time >= left {
                        self.acts.push_front(Act::Waits(time - left));
                        return Err(IoError::TimedOut);
                    }
                }
            }
        }
        Ok(0)
    }
}

impl Stream for Client<'_> {
    fn read(
        &mut self,
        into: &mut [u8],
        until: Duration,
    ) -> impl Future<Output = Result<usize, IoError>> + Send {
        ready(self.read_now(into, until))
    }

    fn write(
        &mut self,
        bytes: &[u8],
        until: Duration,
    ) -> impl Future<Output = Result<usize, IoError>> + Send {
        assert!(!self.is_shut_down, "nothing more was to come");
        let (most, time) = self.takes;
        let machine = self.machine;
        let now = Machine::now(&machine);
        let written = match now + time <= until {
            true => {
                machine.pass(now + time);
                let count = bytes.len().min(most);
                self.received.extend_from_slice(&bytes[..count]);
                Ok(count)
            }
            false => Err(IoError::TimedOut),
        };
        ready(written)
    }

    fn shutdown(&mut self) {
        self.is_shut_down = true;
    }
}

/// Serves a client that does `acts`. Returns what it has received, and how it ended.
pub(crate) fn converse(machine: &Fake, limits: Limits, acts: Vec<Act>) -> (Vec<u8>, End) {
    let site = Site::new(machine, limits);
    let mut client = Client {
        machine,
        acts: acts.into(),
        received: Vec::new(),
        takes: (usize::MAX, Duration::ZERO),
        is_shut_down: false,
    };
    let end = at_once(serve(&mut client, &site));
    (client.received, end)
}

/// Returns the value of a future that never waits.
pub(crate) fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}

/// An answer, as a client reads it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) status: u16,
    /// With names in small letters.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Received {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut all = self.fields.iter().filter(|(other, _)| other == name);
        let first = all.next().map(|(_, value)| value.as_str());
        assert!(all.next().is_none(), "{name} is there twice");
        first
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }
}

/// Reads all answers in `bytes`. With `heads` an answer may lack its body, if the next or none
/// follows.
pub(crate) fn answers(mut bytes: &[u8], heads: bool) -> Result<Vec<Received>, String> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let (answer, length) = one_answer(bytes, heads)?;
        bytes = &bytes[length..];
        all.push(answer);
    }
    Ok(all)
}

fn one_answer(bytes: &[u8], heads: bool) -> Result<(Received, usize), String> {
    let mut room = [httparse::EMPTY_HEADER; 32];
    let mut parsed = httparse::Response::new(&mut room);
    let complete = parsed.parse(bytes).map_err(|error| error.to_string())?;
    let httparse::Status::Complete(head) = complete else {
        return Err("a part of a head".to_owned());
    };
    if bytes[..head]
        .windows(2)
        .any(|two| two[1] == b'\n' && two[0] != b'\r')
    {
        return Err("a bare LF".to_owned());
    }
    let fields = parsed.headers.iter().map(|field| {
        let value = String::from_utf8_lossy(field.value).into_owned();
        (field.name.to_ascii_lowercase(), value)
    });
    let mut answer = Received {
        status: parsed.code.ok_or("no status")?,
        fields: fields.collect(),
        body: Vec::new(),
    };
    let rest = &bytes[head..];
    let length = answer.field("content-length").map(str::parse::<usize>);
    let is_chunked = answer.field("transfer-encoding") == Some("chunked");
    let taken = match length {
        _ if matches!(answer.status, 100 | 204) => 0,
        None if is_chunked => {
            let (body, length) = chunks(rest)?;
            answer.body = body;
            length
        }
        // It goes on to the end.
        None if answer.field("connection") == Some("close") => {
            answer.body = rest.to_vec();
            rest.len()
        }
        None => return Err(format!("{} without a length", answer.status)),
        Some(Ok(length)) => match rest.get(..length) {
            _ if heads && (rest.is_empty() || rest.starts_with(b"HTTP/1.1 ")) => 0,
            Some(body) => {
                answer.body = body.to_vec();
                length
            }
            None => return Err(format!("{} of {length} bytes", rest.len())),
        },
        Some(Err(why)) => return Err(why.to_string()),
    };
    Ok((answer, head + taken))
}

/// Reads chunks. The last one may be missing: the client may have left.
fn chunks(bytes: &[u8]) -> Result<(Vec<u8>, usize), String> {
    let (mut body, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let size = httparse::parse_chunk_size(&bytes[at..]).map_err(|_| "no size")?;
        let httparse::Status::Complete((length, size)) = size else {
            return Err("a part of a size".to_owned());
        };
        let size = usize::try_from(size).map_err(|why| why.to_string())?;
        at += length;
        let data = bytes.get(at..at + size + 2).ok_or("a part of a chunk")?;
        body.extend_from_slice(&data[..size]);
        if &data[size..] != b"\r\n" {
            return Err("a chunk without an end".to_owned());
        }
        at += size + 2;
        if size == 0 {
            break;
        }
    }
    Ok((body, at))
}
