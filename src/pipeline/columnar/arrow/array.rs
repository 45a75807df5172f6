//! Arrays of an output, made from the input's: nested ones are taken apart down to their columns and put together again.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{
    Array, ArrayRef, FixedSizeListArray, GenericListArray, GenericListViewArray, MapArray, OffsetSizeTrait,
    StructArray, make_array,
};
use arrow_buffer::{BooleanBufferBuilder, NullBuffer};
use arrow_schema::{ArrowError, DataType, FieldRef, Fields};

use super::leaf::Refused;
use super::schema::count;
use crate::pipeline::Failure;

/// Which places of an array belong to something, and are neither below a missing struct nor between lists; absent: all.
pub(super) type Live = Option<NullBuffer>;

/// Number of the row, from 0, that a place belongs to.
pub(super) type RowOf<'a> = &'a dyn Fn(usize) -> usize;

pub(super) enum Trouble {
    /// A column and the value in it.
    Refused(usize, Refused),
    /// The parts do not fit together.
    Misfit,
    Failed(Failure),
}

/// What the library says is dropped: it may quote values.
impl From<ArrowError> for Trouble {
    fn from(_: ArrowError) -> Trouble {
        Trouble::Misfit
    }
}

/// Makes a column's array of the input's, by the column's number.
pub(super) type Visit<'a> = &'a mut dyn FnMut(usize, &ArrayRef, &Live, RowOf<'_>) -> Result<ArrayRef, Trouble>;

pub(super) struct Walk<'a> {
    pub visit: Visit<'a>,
    /// The column that comes next.
    pub next: usize,
}

impl Walk<'_> {
    /// The arrays that are left of a struct or batch.
    pub(super) fn columns(
        &mut self,
        (before, arrays): (&Fields, &[ArrayRef]),
        after: &Fields,
        live: &Live,
        row_of: RowOf<'_>,
    ) -> Result<Vec<ArrayRef>, Trouble> {
        let mut made = Vec::with_capacity(after.len());
        for (field, array) in before.iter().zip(arrays) {
            match after.iter().find(|it| it.name() == field.name()) {
                Some(after) => made.push(self.array(array, after.data_type(), live, row_of)?),
                None => self.next += count(field.data_type()),
            }
        }
        Ok(made)
    }

    fn array(
        &mut self,
        array: &ArrayRef,
        after: &DataType,
        live: &Live,
        row_of: RowOf<'_>,
    ) -> Result<ArrayRef, Trouble> {
        match (array.data_type(), after) {
            (DataType::Struct(before), DataType::Struct(fields)) => {
                let array = array.as_struct();
                let live = NullBuffer::union(live.as_ref(), array.nulls());
                let columns = self.columns((before, array.columns()), fields, &live, row_of)?;
                Ok(Arc::new(StructArray::try_new(fields.clone(), columns, array.nulls().cloned())?))
            }
            (DataType::List(_), DataType::List(field)) => self.list(array.as_list::<i32>(), field, live, row_of),
            (DataType::LargeList(_), DataType::LargeList(field)) => {
                self.list(array.as_list::<i64>(), field, live, row_of)
            }
            (DataType::ListView(_), DataType::ListView(field)) => {
                self.list_view(array.as_list_view::<i32>(), field, live, row_of)
            }
            (DataType::LargeListView(_), DataType::LargeListView(field)) => {
                self.list_view(array.as_list_view::<i64>(), field, live, row_of)
            }
            (DataType::FixedSizeList(..), DataType::FixedSizeList(field, size)) => {
                self.fixed_size_list(array.as_fixed_size_list(), field, *size, live, row_of)
            }
            (DataType::Map(..), DataType::Map(field, sorted)) => {
                let array = array.as_map();
                let entries = array.entries();
                let DataType::Struct(fields) = field.data_type() else { return Err(Trouble::Misfit) };
                let (offsets, places) = (array.offsets(), entries.len());
                let ranges = (0..array.len()).filter(|&index| is_there(array, live, index));
                let ranges = ranges.map(|index| offsets[index] as usize..offsets[index + 1] as usize);
                let live = NullBuffer::union(ranged(ranges, places).as_ref(), entries.nulls());
                let row = |place: usize| row_of(offsets.partition_point(|offset| *offset as usize <= place) - 1);
                let columns = self.columns((entries.fields(), entries.columns()), fields, &live, &row)?;
                let entries = StructArray::try_new(fields.clone(), columns, entries.nulls().cloned())?;
                let nulls = array.nulls().cloned();
                Ok(Arc::new(MapArray::try_new(field.clone(), offsets.clone(), entries, nulls, *sorted)?))
            }
            (DataType::Union(..) | DataType::RunEndEncoded(..), after) => {
                let made = self.column(array, live, row_of)?;
                // What was noted within the type is gone.
                let is_noted = made.data_type() == array.data_type() && made.data_type() != after;
                let data = made.to_data().into_builder().data_type(after.clone());
                if is_noted { Ok(make_array(data.build()?)) } else { Ok(made) }
            }
            _ => self.column(array, live, row_of),
        }
    }

    fn list<O: OffsetSizeTrait>(
        &mut self,
        array: &GenericListArray<O>,
        field: &FieldRef,
        live: &Live,
        row_of: RowOf<'_>,
    ) -> Result<ArrayRef, Trouble> {
        let offsets = array.offsets();
        let ranges = (0..array.len()).filter(|&index| is_there(array, live, index));
        let ranges = ranges.map(|index| offsets[index].as_usize()..offsets[index + 1].as_usize());
        let inside = ranged(ranges, array.values().len());
        let row = |place: usize| row_of(offsets.partition_point(|offset| offset.as_usize() <= place) - 1);
        let values = self.array(array.values(), field.data_type(), &inside, &row)?;
        let nulls = array.nulls().cloned();
        Ok(Arc::new(GenericListArray::try_new(field.clone(), offsets.clone(), values, nulls)?))
    }

    fn list_view<O: OffsetSizeTrait>(
        &mut self,
        array: &GenericListViewArray<O>,
        field: &FieldRef,
        live: &Live,
        row_of: RowOf<'_>,
    ) -> Result<ArrayRef, Trouble> {
        let range = |index: usize| {
            let start = array.offsets()[index].as_usize();
            start..start + array.sizes()[index].as_usize()
        };
        // Of views that overlap, each would want its own mask of the shared values.
        let named = (0..array.len()).fold(0_usize, |sum, index| sum.saturating_add(range(index).len()));
        if named > array.values().len() {
            return Err(Trouble::Misfit);
        }
        let ranges = (0..array.len()).filter(|&index| is_there(array, live, index)).map(range);
        let inside = ranged(ranges, array.values().len());
        let mut rows = vec![0; array.values().len()];
        (0..array.len()).rev().for_each(|index| rows[range(index)].fill(index));
        let row = |place: usize| row_of(rows[place]);
        let values = self.array(array.values(), field.data_type(), &inside, &row)?;
        let (offsets, sizes, nulls) = (array.offsets().clone(), array.sizes().clone(), array.nulls().cloned());
        Ok(Arc::new(GenericListViewArray::try_new(field.clone(), offsets, sizes, values, nulls)?))
    }

    fn fixed_size_list(
        &mut self,
        array: &FixedSizeListArray,
        field: &FieldRef,
        size: i32,
        live: &Live,
        row_of: RowOf<'_>,
    ) -> Result<ArrayRef, Trouble> {
        let width = size.unsigned_abs() as usize;
        let ranges = (0..array.len()).filter(|&index| is_there(array, live, index));
        let inside = ranged(ranges.map(|index| index * width..(index + 1) * width), array.values().len());
        let row = |place: usize| row_of(place / width.max(1));
        let values = self.array(array.values(), field.data_type(), &inside, &row)?;
        let nulls = array.nulls().cloned();
        Ok(Arc::new(FixedSizeListArray::try_new_with_length(field.clone(), size, values, nulls, array.len())?))
    }

    fn column(&mut self, array: &ArrayRef, live: &Live, row_of: RowOf<'_>) -> Result<ArrayRef, Trouble> {
        let index = self.next;
        self.next += 1;
        (self.visit)(index, array, live, row_of)
    }
}

fn is_there(array: &dyn Array, live: &Live, index: usize) -> bool {
    array.is_valid(index) && live.as_ref().is_none_or(|live| live.is_valid(index))
}

/// Places within the ranges, of all there are.
fn ranged(ranges: impl Iterator<Item = std::ops::Range<usize>>, places: usize) -> Live {
    let mut live = BooleanBufferBuilder::new(places);
    live.append_n(places, false);
    for place in ranges.flatten() {
        live.set_bit(place, true);
    }
    Some(NullBuffer::new(live.finish()))
}
