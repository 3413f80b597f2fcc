//! Timelines: what the kernel's command `trace export` prints, read, checked and drawn.
//!
//! ```text
//!                                                ┌─► overview ─┐
//!   console ── exported ──► JSON ── reader ──► Trace ─► stop ──┼─► Chart ── draw ──► SVG
//!                            └─► perfetto        └─► walk ─────┘
//! ```
//! A [`Chart`] says what is where in time, and knows nothing of traces; so other tables of times
//! are drawn with it too: `lab` has those of the race lab, which have steps and no times.
//! `perfetto` has Perfetto's own trace processor count.
//!
//! [`Chart`]: chart::Chart

pub mod burst;
pub mod chart;
pub mod draw;
pub mod exported;
pub mod lab;
mod labels;
mod layout;
pub mod overview;
pub mod perfetto;
mod reader;
mod scale;
pub mod stays;
pub mod stop;
mod svg;
mod table;
pub mod trace;
pub mod walk;

#[cfg(test)]
pub mod samples;
#[cfg(test)]
mod tests;
