//! Where the texts of the bars in one lane go.

use super::chart::Text;

/// The width of a column of text. Fonts of one width have six tenths of their size, which is 11.
const COLUMN: f64 = 6.6;

/// The least place between a text and what is beside it.
const GAP: f64 = 4.0;

/// Returns the width that `text` is drawn with. A letter outside of ASCII may take two columns.
pub fn width(text: &str) -> f64 {
    let columns = |letter: char| {
        if letter.is_ascii() || letter == 'µ' || letter == '…' {
            1.0
        } else {
            2.0
        }
    };
    COLUMN * text.chars().map(columns).sum::<f64>()
}

/// Returns as much of `text` as is at most `room` wide, with an ellipsis for the rest; nothing if
/// that would be less than three letters.
pub fn cut(text: &str, room: f64) -> Option<String> {
    if width(text) <= room {
        return Some(text.to_owned());
    }
    let mut short = String::new();
    for letter in text.chars() {
        if width(&short) + width(letter.encode_utf8(&mut [0; 4])) + COLUMN > room {
            break;
        }
        short.push(letter);
    }
    (short.chars().count() >= 3).then(|| short + "…")
}

/// A bar's place in its lane, and its text.
pub struct Span<'a> {
    pub left: f64,
    pub right: f64,
    pub text: &'a Text,
}

/// Returns for each of `spans`, which are in their order, where its text begins, and the text;
/// `None` if it has no place. All texts are right of `from` and left of `until`.
pub fn place(spans: &[Span], from: f64, until: f64) -> Vec<Option<(f64, String)>> {
    let mut taken = from;
    let mut places = Vec::new();
    for (number, span) in spans.iter().enumerate() {
        let next = spans.get(number + 1).map_or(until, |next| next.left - GAP);
        let inside = |text: &str| {
            let room = span.right - span.left - GAP;
            (width(text) <= room).then(|| span.left + (span.right - span.left - width(text)) / 2.0)
        };
        let beside = |text: &str| {
            let right = span.right + GAP;
            let left = span.left - GAP - width(text);
            if right + width(text) <= next {
                Some(right)
            } else {
                (left >= taken).then_some(left)
            }
        };
        let whole = |text: &String, at: Option<f64>| at.map(|at| (at, text.clone()));
        let place = match span.text {
            Text::Near(text) => whole(text, inside(text).or_else(|| beside(text))).or_else(|| {
                let (short, _) = text.rsplit_once(' ')?;
                Some((inside(short)?, short.to_owned()))
            }),
            Text::Beside(text) => whole(text, beside(text)),
            Text::Inside(text) => whole(text, inside(text)).or_else(|| {
                let short = cut(text, span.right - span.left - GAP)?;
                Some((span.left + GAP / 2.0, short))
            }),
        };
        let place = place.filter(|(_, text)| !text.is_empty());
        let end = place.as_ref().map_or(0.0, |(at, text)| at + width(text));
        taken = taken.max(end.max(span.right) + GAP);
        places.push(place);
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(spans: &[(f64, f64, Text)]) -> Vec<Option<(f64, String)>> {
        let spans: Vec<_> = spans
            .iter()
            .map(|(left, right, text)| Span {
                left: *left,
                right: *right,
                text,
            })
            .collect();
        place(&spans, 0.0, 200.0)
    }

    #[test]
    fn a_text_goes_in_its_bar_or_right_of_it_or_left_of_it() {
        let near = || Text::Near("abc".into());
        assert_eq!(
            placed(&[(50.0, 150.0, near())])[0],
            Some((90.1, "abc".into()))
        );
        assert_eq!(
            placed(&[(50.0, 60.0, near())])[0],
            Some((64.0, "abc".into()))
        );
        let two = placed(&[
            (50.0, 60.0, near()),
            (80.0, 180.0, Text::Inside("x".into())),
        ]);
        assert_eq!(two[0], Some((50.0 - 4.0 - width("abc"), "abc".into())));
        let short = placed(&[
            (0.0, 10.0, Text::Inside("x".into())),
            (10.0, 34.0, Text::Near("abc 1".into())),
            (34.0, 199.0, Text::Inside("x".into())),
        ]);
        assert_eq!(
            short[1].as_ref().map(|(_, text)| text.as_str()),
            Some("abc")
        );
        let none = placed(&[
            (10.0, 20.0, near()),
            (30.0, 40.0, near()),
            (45.0, 190.0, near()),
        ]);
        assert_eq!((none[0].clone(), none[1].clone()), (None, None));
    }

    #[test]
    fn two_texts_never_share_a_place() {
        let near = || Text::Near("abc".into());
        let spans = [
            (30.0, 31.0, near()),
            (90.0, 91.0, near()),
            (100.0, 101.0, near()),
        ];
        let placed = placed(&spans);
        let ends: Vec<_> = placed
            .iter()
            .flatten()
            .map(|(at, text)| (*at, at + width(text)))
            .collect();
        assert_eq!(ends.len(), 3);
        assert!(
            ends.windows(2).all(|pair| pair[0].1 <= pair[1].0),
            "{ends:?}"
        );
    }

    #[test]
    fn what_does_not_fit_is_cut_or_left_out() {
        assert_eq!(cut("prepare", 100.0).as_deref(), Some("prepare"));
        assert_eq!(cut("prepare", 34.0).as_deref(), Some("prep…"));
        assert_eq!(cut("prepare", 20.0), None);
        assert_eq!(cut("漢字漢字", 50.0).as_deref(), Some("漢字漢…"));
        let inside = placed(&[(0.0, 40.0, Text::Inside("prepare".into()))]);
        assert_eq!(inside[0], Some((2.0, "prep…".into())));
    }
}
