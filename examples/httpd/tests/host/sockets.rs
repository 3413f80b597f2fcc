//! The service on sockets of the host, a thread for each connection.

use std::future::{Future, ready};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use httpd::http::Limits;
use httpd::site::Site;
use httpd::{Change, CpuTimes, Governor, IoError, Machine, Stream, Walk, serve};
use stillpoint::api::cpu::CpuMask;

use crate::support::{Fake, answers, at_once};

/// [`Fake`] in the time of the host. Its CPUs are as busy as there is work.
struct Host {
    fake: Fake,
    booted: Instant,
    /// CPU time of all CPUs, in microseconds.
    worked: AtomicU64,
}

impl Machine for &Host {
    fn now(&self) -> Duration {
        self.booted.elapsed()
    }

    fn unix_time(&self) -> Option<u64> {
        None
    }

    fn sleep_until(&self, at: Duration) -> impl Future<Output = ()> + Send {
        thread::sleep(at.saturating_sub(self.now()));
        ready(())
    }

    fn work(&self, time: Duration) -> impl Future<Output = ()> + Send {
        thread::sleep(time);
        let us = u64::try_from(time.as_micros()).expect("not so long");
        self.worked.fetch_add(us, Ordering::Relaxed);
        ready(())
    }

    fn possible(&self) -> CpuMask {
        (&self.fake).possible()
    }

    fn online(&self) -> CpuMask {
        (&self.fake).online()
    }

    fn set_online(&self, wanted: &CpuMask) -> Change {
        (&self.fake).set_online(wanted)
    }

    fn cpu_times(&self, into: &mut Vec<CpuTimes>) {
        let online = self.online();
        let count = u32::try_from(online.count()).expect("few");
        let busy = Duration::from_micros(self.worked.load(Ordering::Relaxed)) / count;
        into.extend(self.possible().iter().map(|cpu| CpuTimes { cpu, busy }));
    }

    fn walks(&self, into: &mut Vec<Walk>) {
        (&self.fake).walks(into);
    }

    fn governor(&self) -> Option<Governor> {
        (&self.fake).governor()
    }

    fn set_governor(&self, name: &str) -> Result<(), &'static str> {
        (&self.fake).set_governor(name)
    }

    fn is_ending(&self) -> bool {
        false
    }
}

struct Socket<'a>(&'a TcpStream, &'a Host);

impl Socket<'_> {
    /// Returns the time until `until`, as a socket takes it.
    fn left(&self, until: Duration) -> Option<Duration> {
        let left = until.saturating_sub(self.1.booted.elapsed());
        Some(left.max(Duration::from_millis(1)))
    }
}

fn told(done: std::io::Result<usize>) -> Result<usize, IoError> {
    done.map_err(|error| match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => IoError::TimedOut,
        _ => IoError::Broken,
    })
}

impl Stream for Socket<'_> {
    fn read(
        &mut self,
        into: &mut [u8],
        until: Duration,
    ) -> impl Future<Output = Result<usize, IoError>> + Send {
        let limited = self.0.set_read_timeout(self.left(until));
        ready(told(limited.and_then(|()| self.0.read(into))))
    }

    fn write(
        &mut self,
        bytes: &[u8],
        until: Duration,
    ) -> impl Future<Output = Result<usize, IoError>> + Send {
        let limited = self.0.set_write_timeout(self.left(until));
        ready(told(limited.and_then(|()| self.0.write(bytes))))
    }

    fn shutdown(&mut self) {
        let _may_be_broken = self.0.shutdown(Shutdown::Write);
    }
}

/// Serves each connection that `listener` gets.
fn serve_all(listener: TcpListener) {
    let site = Site::new(
        &*Box::leak(Box::new(Host {
            fake: Fake::new(),
            booted: Instant::now(),
            worked: AtomicU64::new(0),
        })),
        Limits::DEFAULT,
    );
    let site = &*Box::leak(Box::new(site));
    for stream in listener.incoming() {
        let stream = stream.expect("a connection");
        thread::spawn(move || {
            let Some(_counted) = site.counters.open(64) else {
                return site.counters.connection_refused();
            };
            at_once(serve(&mut Socket(&stream, site.machine), site));
        });
    }
}

#[test]
fn sockets_of_the_host_carry_it() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(|| serve_all(listener));
    let mut client = TcpStream::connect(address).expect("it listens");
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3);
    client.write_all(get.as_bytes()).expect("it takes them");
    // An answer for the last one reaches a client that has sent more.
    client.write_all(b"GET /\n\n").expect("it takes it");
    client.write_all(&[b'x'; 5000]).expect("it takes them");
    let mut received = Vec::new();
    client.read_to_end(&mut received).expect("not reset");
    let statuses = answers(&received, false).expect("answers");
    let statuses: Vec<u16> = statuses.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 200, 200, 400]);
}
