//! Draws a chart as SVG.
//!
//! # Invariants
//! - **inside**: all that is drawn lies in the picture. What is before or after its panel's time is
//!   cut off, or left out.
//! - **apart**: the bars of a lane have no common place. A bar that is too thin to be seen is made
//!   wider only as far as the next one lets it.

use super::chart::{Arrow, Axis, Bar, Chart, Panel, Point, Rank, STEP, Sign};
use super::labels::{Span, cut, place, width};
use super::layout::{LABEL_GAP, LINE, Layout, MARGIN, ROW_GAP, SIGN, WIDTH};
use super::scale::Scale;
use super::svg::{Anchor, Svg, number};

/// The width with which a bar is seen.
const SEEN: f64 = 1.6;
/// A bar below this is drawn in the colour of its edge.
const THIN: f64 = 4.0;
/// The least place between two ticks of the axis.
const TICKS: f64 = 64.0;
/// Half the width of a mark.
const MARK: f64 = 3.5;

/// Returns the picture of `chart` as the text of an SVG file.
#[must_use]
pub fn draw(chart: &Chart) -> String {
    let layout = Layout::new(chart);
    let mut svg = Svg::new(WIDTH, layout.height, &chart.title, &chart.description);
    let ground = [0.5, 0.5, WIDTH - 1.0, layout.height - 1.0];
    svg.rectangle("ground", ground, "");
    svg.text("title", (MARGIN, 26.0), Anchor::Start, None, &chart.title);
    layout.draw_stripes(&mut svg);
    let panels = || chart.panels.iter().zip(&layout.scales);
    for (panel, scale) in panels() {
        layout.draw_ground(&mut svg, panel, scale);
    }
    layout.draw_labels(&mut svg);
    for (panel, scale) in panels() {
        for row in 0..chart.rows.len() {
            for lane in 0..chart.rows[row].lanes {
                layout.draw_lane(&mut svg, panel, scale, (row, lane));
            }
        }
        layout.draw_edges(&mut svg, panel, scale);
        for arrow in &panel.arrows {
            layout.draw_arrow(&mut svg, arrow, scale);
        }
    }
    layout.draw_below(&mut svg);
    svg.finish()
}

impl Layout<'_> {
    /// Draws a ground for every second row.
    fn draw_stripes(&self, svg: &mut Svg) {
        for (number, top) in self.rows.iter().enumerate().step_by(2) {
            let height = self.row_height(number) + ROW_GAP;
            let (left, width) = (LABEL_GAP / 2.0, self.right() - LABEL_GAP / 2.0);
            let at = [left, top - ROW_GAP / 2.0, width, height];
            svg.rectangle("row", at, "");
        }
    }

    /// Draws the labels of the rows and of their groups, whose lines have nothing else.
    fn draw_labels(&self, svg: &mut Svg) {
        for (number, (row, top)) in self.chart.rows.iter().zip(&self.rows).enumerate() {
            if let Some(group) = &row.group {
                let blank = [
                    LABEL_GAP / 2.0,
                    top - LINE - 5.0,
                    self.right() - LABEL_GAP / 2.0,
                    LINE + 4.0,
                ];
                svg.rectangle("blank", blank, "");
                let at = (MARGIN, top - 7.0);
                svg.text("plain strong", at, Anchor::Start, None, group);
            }
            if let Some(label) = cut(&row.label, self.label_room()) {
                let class = match row.rank {
                    Rank::Strong => "strong",
                    Rank::Plain => "",
                    Rank::Quiet => "quiet",
                };
                let at = (MARGIN, top + self.row_height(number) / 2.0 + 4.0);
                svg.text(class, at, Anchor::Start, Some(width(&label)), &label);
            }
            for (lane, name) in row.names.iter().enumerate() {
                let y = top + self.chart.lane * (lane as f64 + 0.5) + 3.5;
                let at = (self.names, y);
                svg.text("quiet", at, Anchor::Start, Some(width(name)), name);
            }
        }
    }

    /// Draws the bands, the axis and the heading of a panel.
    fn draw_ground(&self, svg: &mut Svg, panel: &Panel, scale: &Scale) {
        let top = self.rows.first().map_or(self.bottom, |top| top - 2.0);
        let [heading, bands] = self.headings;
        let (ticks, labels) = match self.chart.axis {
            Axis::Time => (scale.ticks(panel.zero, TICKS), 0.0),
            Axis::Steps => (scale.steps(STEP), STEP as f64 * scale.per_ns / 2.0),
        };
        for (at, label) in ticks {
            let x = scale.x(at);
            let line = format!(
                "M{} {}V{}",
                number(x),
                number(top),
                number(self.bottom + 4.0)
            );
            svg.path("grid", &line, "", "");
            let last = scale.right() - width(&label) / 2.0;
            let at = ((x + labels).min(last.max(scale.left)), self.bottom + 17.0);
            svg.text("quiet", at, Anchor::Middle, None, &label);
        }
        // A sans-serif font in bold is about as wide as the text of a row.
        let last = WIDTH - MARGIN - 1.1 * width(&panel.heading);
        let at = (scale.left.min(last), heading);
        svg.text("plain strong", at, Anchor::Start, None, &panel.heading);
        for band in &panel.bands {
            let (left, right) = (scale.x(band.from), scale.x(band.to));
            let height = self.bottom - top;
            svg.rectangle("band", [left, top, right - left, height], &band.label);
            let room = width(&band.label);
            let middle = f64::midpoint(left, right).min(scale.right() - room / 2.0);
            let at = (middle.max(scale.left + room / 2.0), bands);
            svg.text("", at, Anchor::Middle, Some(room), &band.label);
        }
    }

    /// Draws the bars of a lane and their texts.
    fn draw_lane(&self, svg: &mut Svg, panel: &Panel, scale: &Scale, (row, lane): (usize, usize)) {
        let is_here = |bar: &&Bar| {
            let is_inside = bar.to >= panel.from && bar.from <= panel.to;
            bar.row == row && bar.lane == lane && is_inside
        };
        let mut bars: Vec<&Bar> = panel.bars.iter().filter(is_here).collect();
        bars.sort_by_key(|bar| (bar.from, bar.to));
        let nexts = bars.iter().skip(1).map(|bar| scale.x(bar.from));
        let nexts = nexts.chain([scale.right()]);
        let spans: Vec<Span> = bars
            .iter()
            .zip(nexts)
            .map(|(bar, next)| bar.span(scale, next))
            .collect();
        let top = self.rows[row] + self.chart.lane * lane as f64;
        for (bar, span) in bars.iter().zip(&spans) {
            draw_bar(svg, bar, span, top, self.chart.lane - 1.0);
        }
        let base = top + self.chart.lane / 2.0 + 3.5;
        let places = place(&spans, scale.left, scale.right());
        for (x, text) in places.into_iter().flatten() {
            svg.text("", (x, base), Anchor::Start, Some(width(&text)), &text);
        }
    }

    /// Draws the edges of the bands, over the bars that hide them.
    fn draw_edges(&self, svg: &mut Svg, panel: &Panel, scale: &Scale) {
        let top = self.rows.first().map_or(self.bottom, |top| top - 2.0);
        for at in panel.bands.iter().flat_map(|band| [band.from, band.to]) {
            let x = number(scale.x(at));
            let path = format!("M{x} {}V{}", number(top), number(self.bottom));
            svg.path("edge", &path, "", "");
        }
    }

    /// Draws an arrow from the middle of a lane to the near edge of another, or along one.
    fn draw_arrow(&self, svg: &mut Svg, arrow: &Arrow, scale: &Scale) {
        let is_inside = |point: Point| scale.from <= point.at && point.at <= scale.to;
        if !is_inside(arrow.from) || !is_inside(arrow.to) {
            return;
        }
        let middle =
            |point: Point| self.rows[point.row] + self.chart.lane * (point.lane as f64 + 0.5);
        let (from, mut to) = (middle(arrow.from), middle(arrow.to));
        if from < to {
            to -= self.chart.lane / 2.0;
        } else if from > to {
            to += self.chart.lane / 2.0;
        }
        let (x_from, x_to) = (scale.x(arrow.from.at), scale.x(arrow.to.at));
        let middle = f64::midpoint(from, to);
        let [x_from, x_to, from, to, middle] = [x_from, x_to, from, to, middle].map(number);
        let path = format!("M{x_from} {from}C{x_from} {middle} {x_to} {middle} {x_to} {to}");
        svg.path("arrow", &path, HEAD, &arrow.about);
    }

    /// Draws the legend and the note.
    fn draw_below(&self, svg: &mut Svg) {
        let mut y = self.below();
        for line in &self.legend {
            let mut x = MARGIN;
            for entry in line {
                let entry = &self.chart.legend[*entry];
                match entry.sign {
                    Sign::Bar(paint) => {
                        svg.rectangle(paint.class(), [x + 0.5, y - 9.5, 11.0, 11.0], "");
                    }
                    Sign::Mark(paint) => {
                        let class = format!("{} thin", paint.class());
                        svg.path(&class, &diamond(x + 6.0, y - 10.0, 12.0), "", "");
                    }
                    Sign::Arrow => {
                        let (x, y) = (number(x), number(y - 4.0));
                        svg.path("arrow", &format!("M{x} {y}h12"), HEAD, "");
                    }
                }
                let (at, room) = ((x + SIGN, y), width(&entry.text));
                svg.text("", at, Anchor::Start, Some(room), &entry.text);
                x += SIGN + room + SIGN;
            }
            y += LINE;
        }
        for line in &self.note {
            svg.text("quiet", (MARGIN, y), Anchor::Start, Some(width(line)), line);
            y += LINE;
        }
    }
}

/// Gives a path the head of an arrow.
const HEAD: &str = " marker-end=\"url(#head)\"";

fn draw_bar(svg: &mut Svg, bar: &Bar, span: &Span, top: f64, height: f64) {
    let class = bar.paint.class();
    let wide = span.right - span.left;
    if bar.is_mark() {
        let path = diamond(span.left, top, height);
        svg.path(&format!("mark {class} thin"), &path, "", &bar.about);
    } else if wide < THIN {
        let at = [span.left, top, wide, height];
        svg.rectangle(&format!("bar {class} thin"), at, &bar.about);
    } else {
        let at = [span.left + 0.5, top + 0.5, wide - 1.0, height - 1.0];
        svg.rectangle(&format!("bar {class}"), at, &bar.about);
    }
}

/// Returns the path of a mark, whose uppermost point is given.
fn diamond(x: f64, top: f64, height: f64) -> String {
    let (x, top, half) = (number(x), number(top), number(height / 2.0));
    format!("M{x} {top}l{MARK} {half}l-{MARK} {half}l-{MARK} -{half}z")
}

impl Bar {
    /// Returns the place of the bar, whose next one in the lane begins at `next`.
    fn span(&self, scale: &Scale, next: f64) -> Span<'_> {
        let (left, right) = (scale.x(self.from), scale.x(self.to));
        let seen = (left + SEEN).min(next);
        Span {
            left,
            right: if self.is_mark() {
                left
            } else {
                right.max(seen)
            },
            text: &self.text,
        }
    }

    fn is_mark(&self) -> bool {
        self.from == self.to
    }
}
