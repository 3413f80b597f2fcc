use core::net::{Ipv4Addr, SocketAddr};

use stillpoint::api::Errno;
use stillpoint::api::net::{TcpListener, TcpStream};
use stillpoint::api::pool::Pool;
use stillpoint::api::task::{TaskHandle, block_on};

/// Sends back what comes, until the peer has written its last.
async fn echo(stream: TcpStream) -> Result<(), Errno> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; 1024];
    loop {
        let read = stream.read_async(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        stream.write_all_async(&buffer[..read]).await?;
    }
}

/// Talks to an echo that a task of `pool` serves, from another task.
pub(crate) fn talk_to_echo(pool: &Pool) -> Result<[u8; 5], Errno> {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let addr = listener.local_addr()?;
    let served: TaskHandle<Result<(), Errno>> = pool.spawn_async(async move {
        let (stream, _peer) = listener.accept_async().await?;
        echo(stream).await
    });
    let answer = pool.spawn_async(async move {
        let stream = TcpStream::connect_async(addr).await?;
        let mut sent = 0;
        while sent < 5 {
            sent += stream.write_async(&b"hello"[sent..]).await?;
        }
        let mut answer = [0; 5];
        let mut read = 0;
        while read < answer.len() {
            read += stream.read_async(&mut answer[read..]).await?;
        }
        Ok(answer)
    });
    let answer = block_on(answer);
    block_on(served)?;
    answer
}
