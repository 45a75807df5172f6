//! The dialects of delimited text and of text in columns of fixed width.

use serde::{Deserialize, Serialize};

use crate::policy::normalise;

/// How delimited text is to be read; what is absent is found out from the header record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dialect {
    /// Field separator; absent: sniffed among `,` `;` tab `|`.
    pub delimiter: Option<u8>,
    /// Quote; `None` inside means that the format has no quoting.
    pub quote: Option<u8>,
    /// Takes the meaning from the byte behind it.
    pub escape: Option<u8>,
    /// Characters beyond ASCII that separate or quote, each with the control character that stands for it.
    pub swaps: Vec<(char, char)>,
    /// Names of the columns of a file without a header record; empty: it has one.
    pub columns: Vec<String>,
    /// Number of lines before the first record.
    pub preamble: u32,
    /// First byte of lines that are no records.
    pub comment: Option<u8>,
    /// Whether preamble and comments are passed on, though no rule and no leak scan looks at them.
    pub keep_comments: bool,
    /// Widths in characters of the columns of fixed-width text; empty: it is delimited.
    pub widths: Vec<u32>,
}

/// Control characters that stand for a delimiter and a quote beyond ASCII.
const STAND_INS: [char; 2] = ['\u{1f}', '\u{1e}'];

impl Default for Dialect {
    fn default() -> Dialect {
        Dialect {
            delimiter: None,
            quote: Some(b'"'),
            escape: None,
            swaps: Vec::new(),
            columns: Vec::new(),
            preamble: 0,
            comment: None,
            keep_comments: false,
            widths: Vec::new(),
        }
    }
}

impl Dialect {
    /// The byte that stands for a delimiter or quote in the text that is worked on; `None` for what can be neither.
    pub fn byte_for(&mut self, character: char) -> Option<u8> {
        if matches!(character, '\r' | '\n' | '\0') {
            return None;
        }
        if character.is_ascii() {
            return u8::try_from(character).ok();
        }
        let stand_in = STAND_INS[self.swaps.len().min(1)];
        self.swaps.push((character, stand_in));
        u8::try_from(stand_in).ok()
    }

    /// Says what cannot be together; a sentence for the operator.
    pub fn check(&self) -> Result<(), &'static str> {
        let bytes: Vec<u8> = [self.delimiter, self.quote, self.escape, self.comment].into_iter().flatten().collect();
        let bad = |byte: &u8| !byte.is_ascii() || matches!(byte, b'\r' | b'\n' | 0);
        if bytes.iter().any(bad) {
            return Err("delimiter, quote, escape and comment must be other characters than CR, LF and NUL");
        }
        if bytes.iter().enumerate().any(|(index, byte)| bytes[..index].contains(byte)) {
            return Err("delimiter, quote, escape and comment must be different characters");
        }
        if self.widths.contains(&0) {
            return Err("a width is at least 1");
        }
        if !self.widths.is_empty() && (self.delimiter.is_some() || self.escape.is_some()) {
            return Err("text of fixed width has no delimiter and no escape");
        }
        if !self.widths.is_empty() && !self.columns.is_empty() && self.widths.len() != self.columns.len() {
            return Err("each column needs a width");
        }
        let names: Vec<String> = self.columns.iter().map(|name| normalise(name)).collect();
        if names.iter().any(String::is_empty) {
            return Err("each of `columns` needs a name");
        }
        if names.iter().enumerate().any(|(index, name)| names[..index].contains(name)) {
            return Err("`columns` has a name twice; case and spaces do not tell names apart");
        }
        Ok(())
    }
}
