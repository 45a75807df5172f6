//! A masked column under construction: its cells lie end to end in one buffer, Polars views point into it.

use polars::prelude::StringChunked;
use polars_arrow::array::{Utf8ViewArray, View};
use polars_arrow::datatypes::ArrowDataType;
use polars_buffer::Buffer;

/// A buffer that has passed this size is closed; views keep offsets in 32 bits.
const FULL: usize = 1 << 30;

pub(super) struct Cells {
    text: String,
    closed: Vec<Buffer<u8>>,
    views: Vec<View>,
}

impl Cells {
    pub(super) fn with_capacity(rows: usize) -> Cells {
        Cells { text: String::with_capacity(rows * 16), closed: Vec::new(), views: Vec::with_capacity(rows) }
    }

    pub(super) fn len(&self) -> usize {
        self.views.len()
    }

    /// Adds the cell that `write` appends to the text of the cells before it; when `write` refuses, nothing is added.
    #[inline]
    pub(super) fn push_with(&mut self, write: impl FnOnce(&mut String) -> bool) -> bool {
        if self.text.len() >= FULL {
            self.closed.push(Buffer::from(std::mem::take(&mut self.text).into_bytes()));
        }
        let start = self.text.len();
        if !write(&mut self.text) {
            self.text.truncate(start);
            return false;
        }
        let view = View::new_from_bytes(&self.text.as_bytes()[start..], self.closed.len() as u32, start as u32);
        if view.is_inline() {
            self.text.truncate(start);
        }
        self.views.push(view);
        true
    }

    #[inline]
    pub(super) fn push(&mut self, value: &str) {
        let view = self.keep(value);
        self.views.push(view);
    }

    #[inline]
    pub(super) fn push_empty(&mut self) {
        self.views.push(View::default());
    }

    /// Keeps a text for any number of [`Cells::push_view`].
    pub(super) fn keep(&mut self, value: &str) -> View {
        let start = self.text.len();
        let view = View::new_from_bytes(value.as_bytes(), self.closed.len() as u32, start as u32);
        if !view.is_inline() {
            self.text.push_str(value);
        }
        view
    }

    /// Adds a cell that [`Cells::keep`] has given out.
    #[inline]
    pub(super) fn push_view(&mut self, kept: View) {
        self.views.push(kept);
    }

    /// The column, with the name and the nulls of the one that it was made from.
    pub(super) fn finish(self, from: &StringChunked) -> StringChunked {
        let mut buffers = self.closed;
        buffers.push(Buffer::from(self.text.into_bytes()));
        let validity = from.rechunk_validity().filter(|validity| validity.len() == self.views.len());
        // SAFETY: a view is either inline or was made from the range of the buffer that it names, which only grows
        // afterwards; what it spans was appended to a `String` as whole characters.
        let array = unsafe {
            Utf8ViewArray::new_unchecked_unknown_md(
                ArrowDataType::Utf8View,
                self.views.into(),
                buffers.into(),
                validity,
                None,
            )
        };
        StringChunked::with_chunk(from.name().clone(), array)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polars::prelude::NewChunkedArray;

    #[test]
    fn cells_of_every_length_stand_where_they_were_put() {
        let values = ["", "a", "exactly12byt", "thirteen bytes and more", "ÄÖÜ", "", "thirteen bytes and more"];
        let mut cells = Cells::with_capacity(values.len());
        values[..5].iter().for_each(|value| cells.push(value));
        let half = |text: &mut String| {
            text.push_str("half");
            false
        };
        assert!(!cells.push_with(half));
        cells.push_empty();
        let kept = cells.keep(values[6]);
        cells.push_view(kept);
        let column = cells.finish(&StringChunked::from_slice("c".into(), &values));
        assert_eq!(column.iter().map(Option::unwrap).collect::<Vec<_>>(), values);
        assert_eq!(column.name(), "c");
    }
}
