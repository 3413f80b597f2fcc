//! A Rust source file as the rules need it: tokens, paths, and which code is test code.
//!
//! This is no parser. It knows comments, literals, brackets, attributes and `use` trees, and
//! the rules need no more.

use std::ops::Range;

/// A word or a single punctuation mark. Comments and literals are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    /// The number of the line, counted from 1.
    pub(crate) line: usize,
    /// Whether the token is under `#[cfg(test)]`.
    pub(crate) test: bool,
}

/// A path as written, a `use` tree flattened: `["crate", "sched", "Thread"]`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NamedPath {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
    pub(crate) test: bool,
    /// How many modules of this file the path is inside.
    pub(crate) inline_modules: usize,
}

/// A file of `src`.
#[derive(Debug)]
pub(crate) struct Source {
    /// The path relative to `src`, with `/`.
    pub(crate) path: String,
    pub(crate) lines: Vec<String>,
    pub(crate) tokens: Vec<Token>,
    pub(crate) paths: Vec<NamedPath>,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let mut tokens = tokens(text);
        for range in test_items(&tokens) {
            for token in &mut tokens[range] {
                token.test = true;
            }
        }
        let paths = paths(&tokens);
        Source {
            path: path.to_owned(),
            lines: text.lines().map(str::to_owned).collect(),
            tokens,
            paths,
        }
    }

    /// Returns the module of this file: `["cpu", "mask"]` for `cpu/mask.rs`.
    pub(crate) fn module(&self) -> Vec<&str> {
        let path = self.path.trim_end_matches(".rs").trim_end_matches("/mod");
        path.split('/').collect()
    }

    /// Returns the places where the next tokens are `words`.
    pub(crate) fn find<'a>(&'a self, words: &'a [&str]) -> impl Iterator<Item = &'a Token> {
        self.tokens
            .windows(words.len())
            .filter(move |window| {
                window
                    .iter()
                    .zip(words)
                    .all(|(token, word)| token.text == *word)
            })
            .map(|window| &window[0])
    }
}

/// Splits `text` into tokens.
fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < chars.len() {
        let end = match literal_or_comment(&chars, at) {
            Some(end) => end,
            None if is_word(chars[at]) => {
                let end = skip(&chars, at, is_word);
                tokens.push((chars[at..end].iter().collect(), line));
                end
            }
            None => {
                if !chars[at].is_whitespace() {
                    tokens.push((chars[at].to_string(), line));
                }
                at + 1
            }
        };
        line += chars[at..end].iter().filter(|c| **c == '\n').count();
        at = end;
    }
    let token = |(text, line)| Token {
        text,
        line,
        test: false,
    };
    tokens.into_iter().map(token).collect()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn skip(chars: &[char], from: usize, accept: impl Fn(char) -> bool) -> usize {
    (from..chars.len())
        .find(|i| !accept(chars[*i]))
        .unwrap_or(chars.len())
}

/// Returns the end of the comment, literal or lifetime that starts at `at`, if one does.
fn literal_or_comment(chars: &[char], at: usize) -> Option<usize> {
    let rest = &chars[at..];
    match rest {
        ['/', '/', ..] => Some(skip(chars, at, |c| c != '\n')),
        ['/', '*', ..] => Some(at + block_comment(rest)),
        ['"', ..] => Some(at + 1 + quoted(&rest[1..], '"')),
        // A quote that is closed begins a character; any other begins a lifetime.
        ['\'', '\\', ..] => Some(at + 1 + quoted(&rest[1..], '\'')),
        ['\'', _, '\'', ..] => Some(at + 3),
        ['\'', ..] => Some(skip(chars, at + 1, is_word)),
        [c, ..] if is_word(*c) => {
            let end = skip(chars, at, is_word);
            let prefix: String = chars[at..end].iter().collect();
            match (prefix.as_str(), chars.get(end)) {
                ("b" | "c", Some('"')) => Some(end + 1 + quoted(&chars[end + 1..], '"')),
                ("b", Some('\'')) => Some(end + 1 + quoted(&chars[end + 1..], '\'')),
                ("r" | "br" | "cr", Some('"' | '#')) => raw_string(chars, end),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Returns the length of a block comment, which may contain others.
fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut i) = (0, 0);
    while i < rest.len() {
        match &rest[i..] {
            ['/', '*', ..] => (depth, i) = (depth + 1, i + 2),
            ['*', '/', ..] => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            break;
        }
    }
    i
}

/// Returns the length up to and including the closing `quote`.
fn quoted(rest: &[char], quote: char) -> usize {
    let mut i = 0;
    while i < rest.len() && rest[i] != quote {
        i += if rest[i] == '\\' { 2 } else { 1 };
    }
    (i + 1).min(rest.len())
}

/// Returns the end of the raw string whose `#`s start at `at`; `None` for `r#name`.
fn raw_string(chars: &[char], at: usize) -> Option<usize> {
    let open = skip(chars, at, |c| c == '#');
    if chars.get(open) != Some(&'"') {
        return None;
    }
    let close: Vec<char> = std::iter::once('"')
        .chain(chars[at..open].iter().copied())
        .collect();
    let body = &chars[open + 1..];
    let length = body
        .windows(close.len())
        .position(|window| window == close)?;
    Some(open + 1 + length + close.len())
}

/// Returns the index just behind the bracket that closes the one at `open`.
pub(crate) fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0usize;
    for (i, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return i + 1;
        }
    }
    tokens.len()
}

/// Returns the items under `#[cfg(test)]`, including the attribute.
fn test_items(tokens: &[Token]) -> Vec<Range<usize>> {
    let text = |i: usize| tokens.get(i).map_or("", |token| token.text.as_str());
    let mut items = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if !(text(at) == "#" && text(at + 1) == "[" && text(at + 2) == "cfg") {
            at += 1;
            continue;
        }
        let end = closing(tokens, at + 1);
        let has = |word| tokens[at..end].iter().any(|token| token.text == word);
        if has("test") && !has("not") {
            let end = item_end(tokens, end);
            items.push(at..end);
            at = end;
        } else {
            at = end;
        }
    }
    items
}

/// Returns the index just behind the item that starts at `at`, which ends with `;` or a body.
fn item_end(tokens: &[Token], mut at: usize) -> usize {
    while at < tokens.len() {
        match tokens[at].text.as_str() {
            ";" => return at + 1,
            "{" => return closing(tokens, at),
            "(" | "[" => at = closing(tokens, at),
            _ => at += 1,
        }
    }
    at
}

/// Returns all paths of more than one segment.
fn paths(tokens: &[Token]) -> Vec<NamedPath> {
    let mut paths = Vec::new();
    // The ends of the modules of this file that are open here.
    let mut modules: Vec<usize> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        modules.retain(|end| at < *end);
        if tokens[at].text == "mod" && tokens.get(at + 2).is_some_and(|t| t.text == "{") {
            modules.push(closing(tokens, at + 2));
        }
        let before = paths.len();
        let next = tree(tokens, at, &[], &mut paths);
        for path in &mut paths[before..] {
            path.inline_modules = modules.len();
        }
        at = next.max(at + 1);
    }
    paths.retain(|path| path.segments.len() > 1);
    paths
}

/// Reads the path or `use` tree at `at`, below `parent`; returns the index behind it.
fn tree(tokens: &[Token], mut at: usize, parent: &[String], paths: &mut Vec<NamedPath>) -> usize {
    let is = |i: usize, text: &str| tokens.get(i).is_some_and(|token| token.text == text);
    let mut segments = parent.to_vec();
    let Some(first) = tokens.get(at) else {
        return at;
    };
    while let Some(token) = tokens.get(at) {
        if token.text == "{" && !segments.is_empty() {
            let end = closing(tokens, at);
            at += 1;
            while at + 1 < end {
                at = tree(tokens, at, &segments, paths).max(at + 1);
                // Skips a comma, or the name that `as` gives.
                while at + 1 < end && !is(at - 1, ",") {
                    at += 1;
                }
            }
            return end;
        }
        if !token.text.starts_with(is_word) {
            break;
        }
        segments.push(token.text.clone());
        if !(is(at + 1, ":") && is(at + 2, ":")) {
            at += 1;
            break;
        }
        at += 3;
    }
    paths.push(NamedPath {
        segments,
        line: first.line,
        test: first.test,
        inline_modules: 0,
    });
    at
}
