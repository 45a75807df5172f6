//! Whether a footer that anybody can read says that the file is encrypted: the library passes over that.
//!
//! Thrift's compact protocol, as far as it takes to pass over fields: <https://github.com/apache/thrift>,
//! `doc/specs/thrift-compact-protocol.md`.

/// `encryption_algorithm` in `FileMetaData` of parquet.thrift: there only where some column is encrypted.
const ENCRYPTION_ALGORITHM: i64 = 8;
/// Structs in structs; Parquet's own are not so deep.
const MAX_DEPTH: usize = 16;

pub(super) fn is_encrypted(footer: &[u8]) -> bool {
    Compact { rest: footer }.encryption_algorithm().is_some()
}

/// What is left to read; `None` from all of its functions where that ends, or makes no sense.
struct Compact<'f> {
    rest: &'f [u8],
}

impl Compact<'_> {
    fn encryption_algorithm(&mut self) -> Option<()> {
        let mut field = 0;
        loop {
            let kind = self.field(&mut field)?;
            if field == ENCRYPTION_ALGORITHM {
                return Some(());
            }
            self.pass(kind, MAX_DEPTH)?;
        }
    }

    /// The next field's type, and its number in the place of the one before; `None` at the end of a struct.
    fn field(&mut self, number: &mut i64) -> Option<u8> {
        let head = self.byte()?;
        let (step, kind) = (head >> 4, head & 15);
        if kind == 0 {
            return None;
        }
        *number = match step {
            0 => {
                let zigzag = self.varint()?;
                (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64)
            }
            step => number.checked_add(i64::from(step))?,
        };
        Some(kind)
    }

    fn pass(&mut self, kind: u8, depth: usize) -> Option<()> {
        match kind {
            // A truth value's type says it.
            1 | 2 => Some(()),
            3 => self.skip(1),
            4..=6 => self.varint().map(|_| ()),
            7 => self.skip(8),
            8 => {
                let length = self.varint()?;
                self.skip(length)
            }
            9 | 10 => self.pass_list(depth.checked_sub(1)?),
            12 => self.pass_struct(depth.checked_sub(1)?),
            // Maps are nowhere in Parquet's metadata.
            _ => None,
        }
    }

    fn pass_list(&mut self, depth: usize) -> Option<()> {
        let head = self.byte()?;
        let count = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
        for _ in 0..count {
            match head & 15 {
                1 | 2 => self.skip(1)?,
                kind => self.pass(kind, depth)?,
            }
        }
        Some(())
    }

    fn pass_struct(&mut self, depth: usize) -> Option<()> {
        let mut number = 0;
        while *self.rest.first()? & 15 != 0 {
            let kind = self.field(&mut number)?;
            self.pass(kind, depth)?;
        }
        self.skip(1)
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 127) << shift;
            if byte < 128 {
                return Some(value);
            }
        }
        None
    }

    fn skip(&mut self, count: u64) -> Option<()> {
        self.rest = self.rest.get(usize::try_from(count).ok()?..)?;
        Some(())
    }
}
