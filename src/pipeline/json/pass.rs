//! Passes over values that no output looks into; they must be well formed all the same.

use std::borrow::Cow;
use std::collections::HashSet;

use super::fault::{Broken, Kind};
use super::found::CellKind;
use super::lex::{Data, Stop, Text, expected, unescape};

/// What is met on the way: of texts and numbers from where to where, without quotes, and the kind.
pub(super) enum Met {
    Value((usize, usize, CellKind)),
    Key(Text),
}

/// Is told everything that is met.
pub(super) type Visit<'v> = &'v mut dyn FnMut(Met);

pub(super) struct Pass<'d> {
    pub data: Data<'d>,
    pub max_depth: usize,
}

impl Pass<'_> {
    /// Passes over a value that no output looks into; it must be well formed all the same.
    pub(super) fn value(&self, at: usize, depth: usize, visit: Visit<'_>) -> Result<usize, Stop> {
        match self.data.byte(at)? {
            b'"' => {
                let Text { start, end, escaped } = self.data.string(at)?;
                visit(Met::Value((start, end, if escaped { CellKind::EscapedText } else { CellKind::Text })));
                Ok(end + 1)
            }
            b'{' => self.object(at, depth, visit),
            b'[' => self.array(at, depth, visit),
            b'-' | b'0'..=b'9' => {
                let end = self.data.number(at)?;
                visit(Met::Value((at, end, CellKind::Number)));
                Ok(end)
            }
            b't' => self.data.word(at, "true"),
            b'f' => self.data.word(at, "false"),
            b'n' => self.data.word(at, "null"),
            _ => Err(expected("a value", at)),
        }
    }

    fn object(&self, at: usize, depth: usize, visit: Visit<'_>) -> Result<usize, Stop> {
        self.check_depth(depth, at)?;
        let mut keys = Keys::default();
        let mut next = self.data.skip_space(at + 1);
        if self.data.byte(next)? == b'}' {
            return Ok(next + 1);
        }
        loop {
            if self.data.byte(next)? != b'"' {
                return Err(expected("a key in quotes", next));
            }
            let key = self.data.string(next)?;
            if !keys.is_new(self.data.bytes, key).ok_or(Stop::Broken(Broken { kind: Kind::BadKey, at: next }))? {
                return Err(Stop::Broken(Broken { kind: Kind::DuplicateKey, at: next }));
            }
            let colon = self.data.skip_space(key.end + 1);
            if self.data.byte(colon)? != b':' {
                return Err(expected("a colon behind a key", colon));
            }
            visit(Met::Key(key));
            let end = self.value(self.data.skip_space(colon + 1), depth + 1, visit)?;
            next = self.data.skip_space(end);
            match self.data.byte(next)? {
                b',' => next = self.data.skip_space(next + 1),
                b'}' => return Ok(next + 1),
                _ => return Err(expected("a comma or the end of an object", next)),
            }
        }
    }

    fn array(&self, at: usize, depth: usize, visit: Visit<'_>) -> Result<usize, Stop> {
        self.check_depth(depth, at)?;
        let mut next = self.data.skip_space(at + 1);
        if self.data.byte(next)? == b']' {
            return Ok(next + 1);
        }
        loop {
            let end = self.value(next, depth + 1, visit)?;
            next = self.data.skip_space(end);
            match self.data.byte(next)? {
                b',' => next = self.data.skip_space(next + 1),
                b']' => return Ok(next + 1),
                _ => return Err(expected("a comma or the end of an array", next)),
            }
        }
    }

    fn check_depth(&self, depth: usize, at: usize) -> Result<(), Stop> {
        if depth <= self.max_depth {
            return Ok(());
        }
        Err(Stop::Broken(Broken { kind: Kind::TooDeep { limit: self.max_depth }, at }))
    }
}

/// Keys of an object that is passed over, to find one that stands twice.
#[derive(Default)]
struct Keys<'d> {
    few: Vec<Cow<'d, [u8]>>,
    many: HashSet<Cow<'d, [u8]>>,
}

impl<'d> Keys<'d> {
    const FEW: usize = 16;

    /// Whether a key was not there before; `None` when it cannot be decoded.
    fn is_new(&mut self, data: &'d [u8], key: Text) -> Option<bool> {
        let raw = &data[key.start..key.end];
        let key = if key.escaped {
            let mut plain = Vec::new();
            unescape(raw, &mut plain)?;
            plain.into()
        } else {
            raw.into()
        };
        if !self.many.is_empty() {
            return Some(self.many.insert(key));
        }
        if self.few.contains(&key) {
            return Some(false);
        }
        self.few.push(key);
        if self.few.len() > Self::FEW {
            self.many = self.few.drain(..).collect();
        }
        Some(true)
    }
}
