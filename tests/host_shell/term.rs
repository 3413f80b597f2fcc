//! A terminal of some columns, with what ECMA-48 has of it that the editor draws with.

/// The content of the second column of a wide character.
const SECOND_HALF: char = '\0';

/// A terminal without an end of rows. Like xterm it goes to the next row when a character
/// comes behind the last column, not before.
pub(crate) struct Term {
    columns: usize,
    rows: Vec<Vec<char>>,
    row: usize,
    column: usize,
    /// Whether the last column was written, and the cursor is still in it.
    waits: bool,
    saved: (usize, usize, bool),
    /// What the terminal answers.
    pub(crate) answers: Vec<String>,
}

impl Term {
    pub(crate) fn new(columns: usize) -> Term {
        Term {
            columns,
            rows: vec![Vec::new()],
            row: 0,
            column: 0,
            waits: false,
            saved: (0, 0, false),
            answers: Vec::new(),
        }
    }

    /// Changes the width. What is shown is arranged anew only when it is drawn again.
    pub(crate) fn resize(&mut self, columns: usize) {
        self.columns = columns;
        self.column = self.column.min(columns - 1);
        for row in &mut self.rows {
            row.truncate(columns);
        }
    }

    pub(crate) fn show(&mut self, drawn: &str) {
        let mut rest = drawn;
        while let Some(c) = rest.chars().next() {
            if let Some(sequence) = rest.strip_prefix("\x1b[") {
                let end = sequence.find(|c: char| c.is_ascii_alphabetic());
                let end = end.expect("a final byte");
                self.sequence(&sequence[..end], &sequence[end..=end]);
                rest = &sequence[end + 1..];
                continue;
            }
            if let Some(after) = rest.strip_prefix("\x1b7") {
                self.saved = (self.row, self.column, self.waits);
                rest = after;
                continue;
            }
            if let Some(after) = rest.strip_prefix("\x1b8") {
                (self.row, self.column, self.waits) = self.saved;
                rest = after;
                continue;
            }
            match c {
                '\r' => self.go(self.row, 0),
                // The console adds a carriage return.
                '\n' => self.go(self.row + 1, 0),
                '\x07' => {}
                c => self.put(c),
            }
            rest = &rest[c.len_utf8()..];
        }
    }

    fn sequence(&mut self, parameter: &str, last: &str) {
        let count = parameter.parse().unwrap_or(1);
        match last {
            // At the edges the cursor stays: an editor that does not know of a new width goes there.
            "A" => self.go(self.row.saturating_sub(count), self.column),
            "B" => self.go(self.row + count, self.column),
            "C" => self.go(self.row, (self.column + count).min(self.columns - 1)),
            "D" => self.go(self.row, self.column.saturating_sub(count)),
            "H" => self.go(0, 0),
            "J" => {
                self.rows.truncate(self.row + 1);
                self.rows[self.row].truncate(self.column);
            }
            "n" => {
                let answer = format!("\x1b[{};{}R", self.row + 1, self.column + 1);
                self.answers.push(answer);
            }
            other => panic!("unexpected sequence {parameter}{other:?}"),
        }
    }

    fn go(&mut self, row: usize, column: usize) {
        (self.row, self.column, self.waits) = (row, column, false);
        if self.rows.len() <= row {
            self.rows.resize(row + 1, Vec::new());
        }
    }

    /// Puts a character where the cursor is. One that takes two columns fills the second
    /// with [`SECOND_HALF`].
    fn put(&mut self, c: char) {
        let halves: &[char] = match c {
            '日' => &[c, SECOND_HALF],
            '\u{301}' => &[],
            _ => &[c],
        };
        if halves.is_empty() {
            // It is drawn over the character before it, which this terminal doesn't show.
            return;
        }
        if self.waits || self.column + halves.len() > self.columns {
            self.go(self.row + 1, 0);
        }
        for half in halves {
            let row = &mut self.rows[self.row];
            if self.column >= row.len() {
                row.resize(self.column + 1, ' ');
            }
            row[self.column] = *half;
            self.column += 1;
        }
        if self.column == self.columns {
            self.column -= 1;
            self.waits = true;
        }
    }

    /// Returns what is shown from the last row on that begins with `start`, row behind row,
    /// without blanks at the end.
    pub(crate) fn from(&self, start: &str) -> String {
        let text =
            |row: &Vec<char>| -> String { row.iter().filter(|c| **c != SECOND_HALF).collect() };
        let begins = |row: &Vec<char>| text(row).starts_with(start);
        let first = self.rows.iter().rposition(begins).unwrap_or(self.row);
        let shown = self.rows[first..].iter().map(text);
        shown.collect::<String>().trim_end().into()
    }
}
