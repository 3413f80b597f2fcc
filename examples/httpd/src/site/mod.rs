//! The resources of the service.
//!
//! | Resource | Methods | Is |
//! |---|---|---|
//! | `/` | GET | a page that draws what the machine does |
//! | `/events` | GET | the same as numbers, four times a second: server-sent events |
//! | `/metrics` | GET | the same for Prometheus |
//! | `/work?ms=5` | GET | computes for that long |
//! | `/cpus` | GET, PUT | the CPUs online: `0-3` |
//! | `/governor` | GET, PUT | the governor: `ondemand` |
//!
//! Each with GET has HEAD, and all have OPTIONS.

mod counters;
mod cpus;
pub(crate) mod events;
mod governor;
mod list;
mod metrics;
mod page;

use alloc::string::String;
use core::fmt::Write as _;
use core::time::Duration;

use percent_encoding::percent_decode_str;

use crate::http::{Answer, Framing, Limits, Method, Request, Status};
use crate::machine::Machine;

pub use counters::{Counters, Held, Route};
pub use events::INTERVAL;
pub use page::{PAGE, POLICY};

/// The longest time that `/work` computes.
pub const MOST_WORK_MS: u32 = 1000;

/// The most answers of `/events` at a time.
pub const MOST_STREAMS: u32 = 8;

/// All that connections share.
#[derive(Debug)]
pub struct Site<M> {
    /// The machine.
    pub machine: M,
    /// The limits of each connection.
    pub limits: Limits,
    /// What happens, counted.
    pub counters: Counters,
}

impl<M: Machine> Site<M> {
    /// Returns the site of `machine`.
    pub fn new(machine: M, limits: Limits) -> Site<M> {
        Site {
            machine,
            limits,
            counters: Counters::new(),
        }
    }

    /// Returns the resource that a request is for.
    pub fn route(path: &str) -> Route {
        let is = |other: &str| percent_decode_str(path).eq(other.bytes());
        let known = Route::ALL.iter().find(|route| is(route.path()));
        match known {
            Some(route) => *route,
            None if path == "*" => Route::All,
            None => Route::None,
        }
    }

    /// Returns the answer to a request that needs no body for it: one with a mistake, or `OPTIONS`.
    pub fn answer_early(
        &self,
        route: Route,
        request: &Request,
        text: &mut String,
    ) -> Option<Answer> {
        let mut refuse = |status, why: &str| {
            text.push_str(why);
            text.push('\n');
            Some(Answer::text(status))
        };
        match (route, request.method) {
            (_, Method::Unknown) => refuse(Status::NotImplemented, "not a method"),
            (Route::None, _) => refuse(Status::NotFound, "there is nothing here"),
            (_, Method::Options) => Some(Answer {
                content_type: "",
                fields: route.allow(),
                ..Answer::text(Status::NoContent)
            }),
            (_, Method::Get | Method::Head) if route != Route::All => None,
            (Route::Cpus | Route::Governor, Method::Put) => match request.framing {
                Framing::None => refuse(Status::LengthRequired, "a PUT needs a body"),
                Framing::Length(_) | Framing::Chunked => None,
            },
            _ => {
                let answer = refuse(Status::MethodNotAllowed, "not a method of this resource");
                answer.map(|answer| Answer {
                    fields: route.allow(),
                    ..answer
                })
            }
        }
    }

    /// Returns the answer to a request with a known length. A body that isn't always the same is
    /// put into `text`.
    pub async fn answer(
        &self,
        route: Route,
        request: &Request,
        bytes: &[u8],
        body: &[u8],
        text: &mut String,
    ) -> Answer {
        match (route, request.method) {
            (Route::Page, _) => page::answer(),
            (Route::Metrics, _) => metrics::answer(self, text),
            (Route::Work, method) => {
                self.work(request.query(bytes).only_number("ms"), method, text)
                    .await
            }
            (Route::Cpus, Method::Put) => cpus::put(&self.machine, body, text),
            (Route::Cpus, _) => cpus::get(&self.machine, text),
            (Route::Governor, Method::Put) => governor::put(&self.machine, body, text),
            (Route::Governor, _) => governor::get(&self.machine, text),
            (Route::Events | Route::All | Route::None, _) => Answer::text(Status::NotFound),
        }
    }

    async fn work(
        &self,
        asked: Result<Option<u32>, crate::http::BadQuery>,
        method: Method,
        text: &mut String,
    ) -> Answer {
        match asked {
            Ok(Some(ms @ 0..=MOST_WORK_MS)) => {
                if method == Method::Get {
                    self.machine.work(Duration::from_millis(ms.into())).await;
                }
                let _always_ok = writeln!(text, "worked for {ms} ms");
                Answer::text(Status::Ok)
            }
            _ => {
                let _always_ok = writeln!(text, "/work?ms=N, N from 0 to {MOST_WORK_MS}");
                Answer::text(Status::BadRequest)
            }
        }
    }
}
