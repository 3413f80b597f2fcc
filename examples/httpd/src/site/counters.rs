//! What happens, counted. The counters only rise; a gauge is the difference of two.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use core::time::Duration;

use crate::http::Status;

/// A resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // Their paths say what they are.
pub enum Route {
    Page,
    Events,
    Metrics,
    Work,
    Cpus,
    Governor,
    /// `*`, for OPTIONS.
    All,
    /// No resource: a wrong path, or a request that wasn't understood.
    None,
}

impl Route {
    /// Those that have a path.
    pub const ALL: [Route; 6] = [
        Route::Page,
        Route::Events,
        Route::Metrics,
        Route::Work,
        Route::Cpus,
        Route::Governor,
    ];

    /// Returns its path.
    pub fn path(self) -> &'static str {
        match self {
            Route::Page => "/",
            Route::Events => "/events",
            Route::Metrics => "/metrics",
            Route::Work => "/work",
            Route::Cpus => "/cpus",
            Route::Governor => "/governor",
            Route::All => "*",
            Route::None => "",
        }
    }

    /// Returns the field that tells its methods.
    pub fn allow(self) -> &'static str {
        match self {
            Route::Cpus | Route::Governor | Route::All => "Allow: GET, HEAD, OPTIONS, PUT\r\n",
            _ => "Allow: GET, HEAD, OPTIONS\r\n",
        }
    }
}

/// How many resources are told apart in the counters: those with a path, and all else.
const ROUTES: usize = Route::ALL.len() + 1;

/// The upper ends of the classes of durations, in microseconds.
pub(super) const BOUNDS_US: [u64; 10] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 1_000_000,
];

/// The counters. Relaxed: each is by itself, and a reader gets a value of a moment ago.
#[derive(Debug)]
pub struct Counters {
    answers: [[AtomicU64; Status::ALL.len()]; ROUTES],
    durations: [AtomicU64; BOUNDS_US.len() + 1],
    duration_ns: AtomicU64,
    pub(super) accepted: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) timed_out: AtomicU64,
    pub(super) broken: AtomicU64,
    pub(super) throttled: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
    pub(super) open: AtomicU32,
    pub(super) streams: AtomicU32,
}

impl Counters {
    pub(super) fn new() -> Counters {
        Counters {
            answers: core::array::from_fn(|_| core::array::from_fn(|_| AtomicU64::new(0))),
            durations: core::array::from_fn(|_| AtomicU64::new(0)),
            duration_ns: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            timed_out: AtomicU64::new(0),
            broken: AtomicU64::new(0),
            throttled: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            open: AtomicU32::new(0),
            streams: AtomicU32::new(0),
        }
    }

    /// Counts an answer, and the time from the end of its request to its beginning.
    pub(crate) fn answer(&self, route: Route, status: Status, took: Duration) {
        let route = Route::ALL.iter().position(|other| *other == route);
        let of_route = &self.answers[route.unwrap_or(ROUTES - 1)];
        of_route[status.index()].fetch_add(1, Ordering::Relaxed);
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let class = BOUNDS_US.partition_point(|bound| *bound < us);
        self.durations[class].fetch_add(1, Ordering::Relaxed);
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.duration_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// Counts a connection that is refused, because there are too many.
    pub fn connection_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn timed_out(&self) {
        self.timed_out.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn broken(&self) {
        self.broken.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn throttled(&self) {
        self.throttled.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts a connection as open until the returned value is dropped, if there are fewer than
    /// `most`.
    pub fn open(&self, most: u32) -> Option<Held<'_>> {
        let held = hold(&self.open, most)?;
        self.accepted.fetch_add(1, Ordering::Relaxed);
        Some(held)
    }

    /// As [`Counters::open`], for an answer that goes on.
    pub fn stream(&self, most: u32) -> Option<Held<'_>> {
        hold(&self.streams, most)
    }

    /// Returns how many connections are open.
    pub fn open_now(&self) -> u32 {
        self.open.load(Ordering::Relaxed)
    }

    /// Returns how many answers there have been.
    pub fn answers_total(&self) -> u64 {
        let all = self.answers.iter().flatten();
        all.map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Returns each path, status and number of answers that isn't 0; all else has the path ``.
    pub(super) fn answers(&self) -> impl Iterator<Item = (&'static str, u16, u64)> {
        self.answers
            .iter()
            .enumerate()
            .flat_map(|(route, counts)| {
                let path = Route::ALL.get(route).map_or("", |route| route.path());
                let counts = Status::ALL.iter().zip(counts);
                counts.map(move |(status, count)| {
                    (path, status.code(), count.load(Ordering::Relaxed))
                })
            })
            .filter(|(.., count)| *count > 0)
    }

    /// Returns how many durations were up to each of [`BOUNDS_US`], how many there were, and their
    /// sum in nanoseconds.
    pub(super) fn durations(&self) -> ([u64; BOUNDS_US.len()], u64, u64) {
        let mut sum = 0;
        let mut up_to = [0; BOUNDS_US.len()];
        for (index, count) in self.durations.iter().enumerate() {
            sum += count.load(Ordering::Relaxed);
            if let Some(place) = up_to.get_mut(index) {
                *place = sum;
            }
        }
        (up_to, sum, self.duration_ns.load(Ordering::Relaxed))
    }
}

/// Something counted as being there until this is dropped.
#[derive(Debug)]
#[must_use = "it is counted until this is dropped"]
pub struct Held<'a>(&'a AtomicU32);

fn hold(count: &AtomicU32, most: u32) -> Option<Held<'_>> {
    // Relaxed: the count is all there is to see.
    let more = |count| (count < most).then_some(count + 1);
    let counted = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    counted.is_ok().then_some(Held(count))
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // Relaxed: as in `hold`.
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
