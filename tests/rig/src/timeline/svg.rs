//! The text of an SVG: elements, numbers, escapes, and the style sheet.
//!
//! GitHub shows the file as an image: without scripts, fonts from elsewhere, or the page's
//! colours. So the ground is drawn too, and the style sheet has colours for both kinds of pages.

use std::fmt::Write;

use super::chart::Paint;

/// An SVG as it is written.
pub struct Svg {
    text: String,
}

/// The end of a line of text at which its place is.
#[derive(Clone, Copy)]
pub enum Anchor {
    Start,
    Middle,
}

impl Svg {
    /// Begins a picture of this size.
    pub fn new(width: f64, height: f64, title: &str, description: &str) -> Svg {
        let (width, height) = (number(width), number(height));
        let text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\" aria-labelledby=\"title desc\">\n\
             <title id=\"title\">{}</title>\n<desc id=\"desc\">{}</desc>\n<style>\n{}</style>\n\
             <defs><marker id=\"head\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" \
             markerHeight=\"7\" orient=\"auto\"><path class=\"head\" d=\"M0 0L8 4L0 8z\"/></marker>\
             </defs>\n",
            escape(title),
            escape(description),
            style(),
        );
        Svg { text }
    }

    /// Draws a rectangle: its left and upper edge, its width and height.
    pub fn rectangle(&mut self, class: &str, at: [f64; 4], about: &str) {
        let [x, y, width, height] = at.map(number);
        let attributes = format!(
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\""
        );
        self.with_title(&attributes, "rect", about);
    }

    /// Draws a path.
    pub fn path(&mut self, class: &str, path: &str, more: &str, about: &str) {
        let attributes = format!("<path class=\"{class}\" d=\"{path}\"{more}");
        self.with_title(&attributes, "path", about);
    }

    /// Writes an element with a title, if it has one.
    fn with_title(&mut self, attributes: &str, element: &str, about: &str) {
        self.text.push_str(attributes);
        if about.is_empty() {
            self.text.push_str("/>\n");
        } else {
            let about = escape(about);
            self.text
                .push_str(&format!("><title>{about}</title></{element}>\n"));
        }
    }

    /// Writes a line of text. `width` is what it must be wide, whatever the font is.
    pub fn text(
        &mut self,
        class: &str,
        at: (f64, f64),
        anchor: Anchor,
        width: Option<f64>,
        text: &str,
    ) {
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
        };
        let class = if class.is_empty() {
            String::new()
        } else {
            format!(" class=\"{class}\"")
        };
        let (x, y) = (number(at.0), number(at.1));
        self.text
            .push_str(&format!("<text{class} x=\"{x}\" y=\"{y}\"{anchor}"));
        if let Some(width) = width {
            let width = number(width);
            self.text.push_str(&format!(
                " textLength=\"{width}\" lengthAdjust=\"spacingAndGlyphs\""
            ));
        }
        self.text.push_str(&format!(">{}</text>\n", escape(text)));
    }

    /// Ends the picture, and returns its text.
    pub fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }
}

/// Returns a number with two places at most.
pub fn number(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Returns `text` as it stands in XML, in an element or in double quotes. XML 1.0 has no place for
/// control characters.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\0'..' ' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            _ => escaped.push(letter),
        }
    }
    escaped
}

/// Fonts of one width, of which each system has one.
const MONOSPACE: &str = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace";
/// Fonts for titles.
const SANS: &str = "system-ui,-apple-system,'Segoe UI','Noto Sans','DejaVu Sans',sans-serif";

/// The colours of a ground: its class, and what it has on light and on dark pages.
const GROUNDS: [(&str, [&str; 2]); 10] = [
    (
        ".ground",
        ["fill:#fff;stroke:#d1d9e0", "fill:#0d1117;stroke:#3d444d"],
    ),
    ("text", ["fill:#1f2328", "fill:#f0f6fc"]),
    (".quiet", ["fill:#59636e", "fill:#9198a1"]),
    (".grid", ["stroke:#e3e8ed", "stroke:#262c36"]),
    (".row", ["fill:#f6f8fa", "fill:#151b23"]),
    (".band", ["fill:#fff1a8", "fill:#3b2f00"]),
    (".blank", ["fill:#fff", "fill:#0d1117"]),
    (".edge", ["stroke:#9a6700", "stroke:#d29922"]),
    (".arrow", ["stroke:#1f2328", "stroke:#f0f6fc"]),
    (".head", ["fill:#1f2328", "fill:#f0f6fc"]),
];

fn style() -> String {
    let mut style = format!(
        "text{{font-family:{MONOSPACE};font-size:11px}}\n\
         .title{{font-family:{SANS};font-size:15px;font-weight:600}}\n\
         .plain{{font-family:{SANS};font-size:12px}}\n\
         .strong{{font-weight:600}}\n\
         .grid,.arrow,.edge{{fill:none}}\n\
         .edge{{stroke-dasharray:3 2}}\n\
         .band{{fill-opacity:.7}}\n"
    );
    for (which, begin, end) in [
        (0, "", ""),
        (1, "@media (prefers-color-scheme:dark){\n", "}\n"),
    ] {
        style.push_str(begin);
        for (class, colours) in GROUNDS {
            style.push_str(&format!("{class}{{{}}}\n", colours[which]));
        }
        for paint in Paint::ALL {
            let (inside, edge) = paint.colours()[which];
            let class = paint.class();
            let written = writeln!(
                style,
                ".{class}{{fill:{inside};stroke:{edge}}}\n.{class}.thin{{fill:{edge};stroke:none}}"
            );
            written.expect("a String takes all");
        }
        style.push_str(end);
    }
    style
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_is_well_formed() {
        let mut svg = Svg::new(10.0, 10.0, "a<b", "\"c\" & d");
        svg.text("", (1.0, 2.0), Anchor::Start, None, "</text>\u{1}&");
        svg.rectangle("blue", [0.0; 4], "]]>");
        let text = svg.finish();
        let tree = roxmltree::Document::parse(&text).expect("well-formed");
        let texts: Vec<_> = tree.descendants().filter_map(|node| node.text()).collect();
        assert!(texts.contains(&"a<b") && texts.contains(&"\"c\" & d"));
        assert!(texts.contains(&"</text>\u{fffd}&") && texts.contains(&"]]>"));
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [0.0, 1.5, 2.004, 10.0, 0.999].map(number),
            ["0", "1.5", "2", "10", "1"]
        );
    }

    #[test]
    fn both_kinds_of_pages_have_all_colours() {
        let style = style();
        let (light, dark) = style.split_once("@media").expect("two kinds");
        for paint in Paint::ALL {
            let class = format!(".{}{{", paint.class());
            assert!(light.contains(&class) && dark.contains(&class), "{class}");
        }
    }
}
