//! Sockets over loopback: bytes in are bytes out, in all three forms of calls, while CPUs come and
//! go; errors are Linux's.

//@ smp: 1 4
//@ timeout: 120

#![no_std]
#![no_main]

extern crate alloc;

#[path = "../../../../../examples/api"]
mod examples {
    pub(crate) mod client;
    pub(crate) mod datagrams;
    pub(crate) mod echo;
}
mod errors;

stillpoint::entry!(main);

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use stillpoint::api::cpu::{online_racy, possible};
use stillpoint::api::hotplug::{cpu_down, cpu_up};
use stillpoint::api::net::{Shutdown, TcpListener, TcpStream};
use stillpoint::api::pool::Pool;
use stillpoint::api::thread;
use stillpoint::sync::atomic::{AtomicBool, Ordering};

use kernel_support::ktap::Ktap;
use kernel_support::machine::{secondaries, states_say};
use kernel_support::unharmed::same;
use kernel_support::xorshift::Random;

fn main() {
    let mut ktap = Ktap::new();
    ktap.check(
        "threads that read and write",
        echo(Ipv4Addr::LOCALHOST.into()),
    );
    ktap.check("the same by IPv6", echo(Ipv6Addr::LOCALHOST.into()));
    ktap.check("tasks of a pool", tasks());
    ktap.check("a request and an answer", request());
    ktap.check("without waiting", {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        same("byte", examples::client::without_waiting(any), Ok(b'x'))
    });
    ktap.check("datagrams", {
        same("bytes", examples::datagrams::there_and_back(), Ok(4))
    });
    errors::check(&mut ktap);
    ktap.check("CPUs come and go meanwhile", while_cpus_move());
    ktap.check("masks and counters", states_say(&possible()));
    ktap.finish()
}

/// How many bytes are sent around.
const TOTAL: usize = 1 << 20;

/// Has a thread send [`TOTAL`] bytes to another one, which sends them back, and compares.
fn echo(ip: core::net::IpAddr) -> bool {
    let listener = TcpListener::bind(SocketAddr::new(ip, 0)).expect("a port is free");
    let addr = listener.local_addr().expect("it is open");
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a connection comes");
        let mut buffer = vec![0; 8000];
        loop {
            match stream.read(&mut buffer).expect("it reads") {
                0 => return,
                read => stream.write_all(&buffer[..read]).expect("it writes"),
            }
        }
    });
    let mut random = Random::new(5);
    let sent: Vec<u8> = (0..TOTAL)
        .map(|_| random.below(256).to_le_bytes()[0])
        .collect();
    let sent = Arc::new(sent);
    let stream = Arc::new(TcpStream::connect(addr).expect("it listens"));
    let writer = {
        let (sent, stream) = (Arc::clone(&sent), Arc::clone(&stream));
        thread::spawn(move || {
            for part in sent.chunks(5000) {
                stream.write_all(part).expect("it writes");
            }
            stream.shutdown(Shutdown::Write).expect("it is open");
        })
    };
    let mut back = Vec::with_capacity(TOTAL);
    let mut buffer = vec![0; 3000];
    loop {
        match stream.read(&mut buffer).expect("it reads") {
            0 => break,
            read => back.extend_from_slice(&buffer[..read]),
        }
    }
    writer.join();
    server.join();
    same("length", back.len(), TOTAL) && same("bytes", back == *sent, true)
}

fn tasks() -> bool {
    let pool = Pool::new().expect("there are stacks");
    same("answer", examples::echo::talk_to_echo(&pool), Ok(*b"hello"))
}

fn request() -> bool {
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let listener = TcpListener::bind(any).expect("a port is free");
    let port = listener.local_addr().expect("it is open").port();
    let server = thread::spawn(move || examples::client::answer_one(&listener));
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let line = examples::client::ask(to, b"GET /");
    same("answer", line, Ok(String::from("welcome"))) & same("server", server.join(), Ok(()))
}

/// Sends bytes around while CPUs go and come back.
fn while_cpus_move() -> bool {
    let over = Arc::new(AtomicBool::new(false));
    let mover = {
        let over = Arc::clone(&over);
        thread::spawn(move || {
            // Pairs with the store below: nothing else is read through it.
            while !over.load(Ordering::Relaxed) {
                for cpu in secondaries() {
                    cpu_down(cpu).expect("nothing keeps it");
                }
                for cpu in secondaries() {
                    cpu_up(cpu).expect("it has come before");
                }
            }
        })
    };
    let fine = (0..3).all(|_| echo(Ipv4Addr::LOCALHOST.into()));
    over.store(true, Ordering::Relaxed);
    mover.join();
    fine && online_racy() == possible()
}
