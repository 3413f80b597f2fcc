//! What only the machine has: sockets, CPUs, the governor, time.

mod alarm;
mod cpus;
mod machine;
mod options;
mod socket;
mod work;

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use core::convert::Infallible;
use core::net::{Ipv6Addr, SocketAddr};

use httpd::serve;
use httpd::site::Site;
use stillpoint::api::net::{TcpListener, TcpStream};
use stillpoint::api::pool::Pool;
use stillpoint::api::{args, log};

use machine::Board;
use options::Options;
use socket::Socket;

/// How many connections wait to be accepted, at most.
const BACKLOG: usize = 256;

/// Serves, and runs the shell.
///
/// # Errors
/// Why the service can't begin.
pub(super) fn run() -> Result<Infallible, String> {
    let options = Options::read(&args::args())?;
    let site = Arc::new(Site::new(Board, options.limits));
    let pool = Pool::new().map_err(|error| format!("no pool: {error}"))?;
    let pool = Arc::new(pool);
    let address = SocketAddr::from((Ipv6Addr::UNSPECIFIED, options.port));
    let listener = TcpListener::bind_with_backlog(address, BACKLOG)
        .map_err(|errno| format!("port {}: {}", options.port, errno.name()))?;
    log::info!("httpd: port {}", options.port);
    let (its, most) = (Arc::clone(&pool), options.connections);
    let _goes_on = pool.spawn_async(async move {
        loop {
            match listener.accept_async().await {
                Ok((stream, _)) => take(&its, &site, stream, most),
                Err(errno) => log::warn!("httpd: a connection is lost: {}", errno.name()),
            }
        }
    });
    stillpoint::api::run_shell()
}

/// Serves a connection, unless there are too many: then it is closed at once.
fn take(pool: &Pool, site: &Arc<Site<Board>>, stream: TcpStream, most: u32) {
    let site = Arc::clone(site);
    if site.counters.open_now() >= most {
        site.counters.connection_refused();
        return;
    }
    // Small answers are whole ones here: none has to wait for more.
    let _always_ok = stream.set_nodelay(true);
    let _goes_on = pool.spawn_async(async move {
        let Some(_counted) = site.counters.open(most) else {
            return site.counters.connection_refused();
        };
        serve(&mut Socket::new(stream), &*site).await;
    });
}
