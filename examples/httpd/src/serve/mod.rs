//! The life of a connection.
//!
//! ```text
//!          ┌───────────── the connection stays ◄─────────────┐
//!          ▼                                                 │
//!   head ──► body ──► answer, or a stream of events ─────────┤
//!     │       │                                              ▼
//!     └───────┴─ Refusal: an answer that ends it ──► linger ──► closed
//! ```
//!
//! Requests that come together are answered in their order, and their answers go out together:
//! what is written waits until no further request is complete.
//!
//! The server closes a connection in two moves: it says that nothing more comes, and then takes and
//! drops what the client still sends, for a moment. A socket that is dropped with bytes unread
//! would reset the connection, and the client might lose the answer.

mod buffer;
mod output;

use alloc::string::String;
use alloc::vec::Vec;
use core::future::Future;
use core::time::Duration;

use crate::http::{
    Answer, Body, BodyState, Date, Found, Framing, Head, Method, Refusal, Request, Scan, Version,
};
use crate::machine::Machine;
use crate::site::{INTERVAL, MOST_STREAMS, Route, Site, events};

use buffer::Input;
use output::Output;

/// A connection, as the service needs it. Instants are times since the machine was booted.
pub trait Stream: Send {
    /// Waits until bytes come, puts them into `into`, and returns how many; 0 if no more will.
    fn read(
        &mut self,
        into: &mut [u8],
        until: Duration,
    ) -> impl Future<Output = Result<usize, IoError>> + Send;

    /// Waits until some of `bytes` are taken, and returns how many.
    fn write(
        &mut self,
        bytes: &[u8],
        until: Duration,
    ) -> impl Future<Output = Result<usize, IoError>> + Send;

    /// Says that no more bytes come from here. What was written goes out before.
    fn shutdown(&mut self);
}

/// Why nothing was read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoError {
    /// It isn't possible before the instant.
    TimedOut,
    /// The connection is broken.
    Broken,
}

/// How a connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As HTTP means it: by the client between two requests, or by an answer that said so.
    Closed,
    /// A request wasn't understood, and its answer said so.
    Refused(Refusal),
    /// The client took too long.
    TimedOut,
    /// The client ended it in the middle of a request or of an answer.
    Broken,
}

/// For how long, and for how many bytes, what a client sends is dropped after the last answer.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 64 * 1024;

/// Serves a connection until its end. The caller drops it then.
pub async fn serve<S: Stream, M: Machine>(stream: &mut S, site: &Site<M>) -> End {
    let mut connection = Connection {
        input: Input::new(),
        output: Output::new(),
        text: String::new(),
        turn: site.machine.now(),
        stream,
        site,
    };
    let end = match connection.requests().await {
        Ok(()) => End::Closed,
        Err(end) => end,
    };
    match end {
        End::TimedOut => site.counters.timed_out(),
        End::Broken => site.counters.broken(),
        End::Refused(Refusal::Slow) => site.counters.timed_out(),
        End::Closed | End::Refused(_) => {}
    }
    if matches!(end, End::Closed | End::Refused(_)) {
        connection.linger().await;
    }
    end
}

struct Connection<'a, S, M> {
    stream: &'a mut S,
    site: &'a Site<M>,
    input: Input,
    output: Output,
    /// The body of the answer, and before it that of the request.
    text: String,
    /// When the next request has its turn, if their rate is limited.
    turn: Duration,
}

impl<S: Stream, M: Machine> Connection<'_, S, M> {
    /// Answers requests until the connection is to be closed.
    async fn requests(&mut self) -> Result<(), End> {
        for left in (0..self.site.limits.requests).rev() {
            let Some(until) = self.wait_for_request().await? else {
                return Ok(());
            };
            let may_stay = left > 0 && !self.site.machine.is_ending();
            let answered = self.one(may_stay, until).await;
            match answered {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(End::Refused(refusal)) => return self.refuse(refusal).await,
                Err(end) => return Err(end),
            }
        }
        Ok(())
    }

    /// Waits for the first byte of a request and for its turn, and returns when the last byte has
    /// to be there; `None` if no request comes.
    async fn wait_for_request(&mut self) -> Result<Option<Duration>, End> {
        let limits = &self.site.limits;
        if self.input.bytes().is_empty() {
            self.flush().await?;
            let until = self.site.machine.now() + limits.idle;
            match self.read(until).await {
                Ok(0) | Err(End::TimedOut) => return Ok(None),
                // A client may end a connection on which it waits for nothing as it likes.
                Err(End::Broken) => return Ok(None),
                Ok(_) => {}
                Err(end) => return Err(end),
            }
        }
        self.throttle().await?;
        Ok(Some(self.site.machine.now() + limits.request))
    }

    /// Waits until a request has its turn: they have so many in a second, and all of a second's
    /// may come at once.
    async fn throttle(&mut self) -> Result<(), End> {
        let rate = self.site.limits.rate;
        if rate == 0 {
            return Ok(());
        }
        let now = self.site.machine.now();
        let second = Duration::from_secs(1);
        self.turn = self.turn.max(now.saturating_sub(second)) + second / rate;
        if self.turn > now {
            self.site.counters.throttled();
            self.flush().await?;
            self.site.machine.sleep_until(self.turn).await;
        }
        Ok(())
    }

    /// Answers a request, whose last byte has to be there at `until`. Returns whether the
    /// connection stays.
    async fn one(&mut self, may_stay: bool, until: Duration) -> Result<bool, End> {
        let site = self.site;
        let found = self.head(until).await?;
        let request = Request::parse(self.input.bytes(), found).map_err(End::Refused)?;
        let route = Site::<M>::route(request.path(self.input.bytes()));
        self.text.clear();
        let early = site.answer_early(route, &request, &mut self.text);
        let mut may_stay = may_stay && request.keep_alive;
        let mut body = Vec::new();
        let mut end = found.end;
        match &early {
            // The client waits to be told whether to send it, and is told not to.
            Some(_) if request.expects_continue => may_stay = false,
            _ => end = self.body(&request, found.end, &mut body, until).await?,
        }
        let began = site.machine.now();
        if early.is_none() && route == Route::Events {
            let stays = self.events(&request, may_stay, began).await;
            self.input.drop_first(end);
            return stays;
        }
        let answer = match early {
            Some(answer) => answer,
            None => {
                let bytes = self.input.bytes();
                site.answer(route, &request, bytes, &body, &mut self.text)
                    .await
            }
        };
        self.input.drop_first(end);
        site.counters
            .answer(route, answer.status, site.machine.now() - began);
        self.put(&answer, &request, may_stay).await?;
        Ok(may_stay)
    }

    /// Waits for the end of a head, and returns where it is.
    async fn head(&mut self, until: Duration) -> Result<Found, End> {
        let mut scan = Scan::default();
        loop {
            let found = scan.next(self.input.bytes(), &self.site.limits);
            if let Some(found) = found.map_err(End::Refused)? {
                return Ok(found);
            }
            self.more(until).await?;
        }
    }

    /// Waits for the end of a body that begins at the byte `at`, appends it to `body`, and returns
    /// where it ends.
    async fn body(
        &mut self,
        request: &Request,
        at: usize,
        body: &mut Vec<u8>,
        until: Duration,
    ) -> Result<usize, End> {
        if request.framing == Framing::None {
            return Ok(at);
        }
        let limits = &self.site.limits;
        let mut received = Body::new(request.framing, at, limits).map_err(End::Refused)?;
        // It is asked for at most once, and not if it comes unasked.
        let mut asks = request.expects_continue && self.input.bytes().len() == at;
        loop {
            let state = received.next(self.input.bytes(), body, limits);
            if let BodyState::Complete(end) = state.map_err(End::Refused)? {
                return Ok(end);
            }
            if asks {
                self.output.text("HTTP/1.1 100 Continue\r\n\r\n");
                asks = false;
            }
            self.more(until).await?;
        }
    }

    /// Waits for more of a request, and lets the client have the answers so far.
    async fn more(&mut self, until: Duration) -> Result<(), End> {
        self.flush().await?;
        match self.read(until).await {
            Ok(0) => Err(End::Broken),
            Ok(_) => Ok(()),
            Err(End::TimedOut) => Err(End::Refused(Refusal::Slow)),
            Err(end) => Err(end),
        }
    }

    /// Puts an answer behind those that wait to go out.
    async fn put(&mut self, answer: &Answer, request: &Request, stays: bool) -> Result<(), End> {
        let body = answer.body(&self.text);
        let head = Head {
            version: request.version,
            keep_alive: stays,
            length: Some(body.len()),
            date: self.site.machine.unix_time().map(Date),
        };
        self.output.head(&head, answer);
        if request.method != Method::Head {
            match answer.fixed {
                Some(fixed) => self.output.fixed(fixed.as_bytes()),
                None => self.output.text(&self.text),
            }
        }
        if self.output.is_full() || !stays {
            self.flush().await?;
        }
        Ok(())
    }

    /// Answers a request that wasn't understood. The connection ends after it.
    async fn refuse(&mut self, refusal: Refusal) -> Result<(), End> {
        let answer = Answer::text(refusal.status());
        self.text.clear();
        let _always_ok = core::fmt::Write::write_fmt(&mut self.text, format_args!("{refusal}\n"));
        let head = Head {
            version: Version::Http11,
            keep_alive: false,
            length: Some(self.text.len()),
            date: self.site.machine.unix_time().map(Date),
        };
        let counters = &self.site.counters;
        counters.answer(Route::None, answer.status, Duration::ZERO);
        self.output.head(&head, &answer);
        self.output.text(&self.text);
        self.flush().await?;
        Err(End::Refused(refusal))
    }

    /// Answers with events, until the client has enough or the service ends. Returns whether the
    /// connection stays.
    async fn events(
        &mut self,
        request: &Request,
        may_stay: bool,
        began: Duration,
    ) -> Result<bool, End> {
        let site = self.site;
        let Some(_counted) = site.counters.stream(MOST_STREAMS) else {
            let answer = events::too_many(&mut self.text);
            site.counters
                .answer(Route::Events, answer.status, site.machine.now() - began);
            self.put(&answer, request, may_stay).await?;
            return Ok(may_stay);
        };
        let answer = events::answer();
        site.counters
            .answer(Route::Events, answer.status, site.machine.now() - began);
        let head = Head {
            version: request.version,
            keep_alive: false,
            length: None,
            date: site.machine.unix_time().map(Date),
        };
        self.output.head(&head, &answer);
        let mut next = began;
        while request.method == Method::Get && !site.machine.is_ending() {
            self.text.clear();
            events::write(site, &mut self.text);
            match request.version {
                Version::Http11 => self.output.chunk(&self.text),
                Version::Http10 => self.output.text(&self.text),
            }
            self.flush().await?;
            // No event is sent for the time in which the client didn't take one.
            next = (next + INTERVAL).max(site.machine.now());
            if self.client_has_left(next).await {
                return Ok(false);
            }
        }
        if request.method == Method::Get && request.version == Version::Http11 {
            self.output.text("0\r\n\r\n");
        }
        self.flush().await?;
        Ok(false)
    }

    /// Returns at `until`, or earlier if the client ends the connection. What it sends is dropped.
    async fn client_has_left(&mut self, until: Duration) -> bool {
        let mut dropped = [0; 64];
        loop {
            match self.stream.read(&mut dropped, until).await {
                Err(IoError::TimedOut) => return false,
                Ok(0) | Err(IoError::Broken) => return true,
                Ok(_) if self.site.machine.now() >= until => return false,
                Ok(_) => {}
            }
        }
    }

    /// Reads behind what is there, and returns how many bytes have come.
    async fn read(&mut self, until: Duration) -> Result<usize, End> {
        let read = self.stream.read(self.input.space(), until).await;
        let read = read.map_err(end)?;
        self.input.came(read);
        self.site.counters.received(read);
        Ok(read)
    }

    /// Has the client take all that waits to go out.
    async fn flush(&mut self) -> Result<(), End> {
        let until = self.site.machine.now() + self.site.limits.answer;
        while let Some(bytes) = self.output.next() {
            let written = self.stream.write(bytes, until).await.map_err(end)?;
            self.output.went(written);
            self.site.counters.sent(written);
        }
        Ok(())
    }

    /// Ends the connection so that the client gets the last answer.
    async fn linger(&mut self) {
        self.stream.shutdown();
        let until = self.site.machine.now() + LINGER;
        let mut dropped = [0; 256];
        let mut left = LINGER_BYTES;
        while let Ok(read @ 1..) = self.stream.read(&mut dropped, until).await {
            left = left.saturating_sub(read);
            if left == 0 || self.site.machine.now() >= until {
                break;
            }
        }
    }
}

fn end(error: IoError) -> End {
    match error {
        IoError::TimedOut => End::TimedOut,
        IoError::Broken => End::Broken,
    }
}
