//! A TCP connection as the service needs it.

use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;
use core::time::Duration;

use httpd::{IoError, Stream};
use stillpoint::api::Errno;
use stillpoint::api::net::{Shutdown, TcpStream};

use crate::board::alarm::Alarm;
use crate::board::machine::instant;

/// A connection, with a limit for each wait.
pub(super) struct Socket {
    stream: TcpStream,
    alarm: Alarm,
}

impl Socket {
    pub(super) fn new(stream: TcpStream) -> Socket {
        Socket {
            stream,
            alarm: Alarm::new(),
        }
    }
}

impl Stream for Socket {
    async fn read(&mut self, into: &mut [u8], until: Duration) -> Result<usize, IoError> {
        limited(self.stream.read_async(into), &mut self.alarm, until).await
    }

    async fn write(&mut self, bytes: &[u8], until: Duration) -> Result<usize, IoError> {
        limited(self.stream.write_async(bytes), &mut self.alarm, until).await
    }

    fn shutdown(&mut self) {
        // Whether the connection is over is seen by what comes next.
        let _may_be_over = self.stream.shutdown(Shutdown::Write);
    }
}

/// Waits for `done`, until `until`.
async fn limited(
    done: impl Future<Output = Result<usize, Errno>>,
    alarm: &mut Alarm,
    until: Duration,
) -> Result<usize, IoError> {
    let (mut done, until) = (pin!(done), instant(until));
    poll_fn(|context| match done.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(done.map_err(|_| IoError::Broken)),
        Poll::Pending => alarm.poll(until, context).map(|()| Err(IoError::TimedOut)),
    })
    .await
}
