//! Delimited text by splicing.

use super::{Failure, Input, Output, Report};
use crate::keys::MaskingKeys;

pub(super) fn process(
    _input: Input,
    _outputs: Vec<Output>,
    _keys: &MaskingKeys,
    _threads: usize,
    _progress: &(dyn Fn(u64) + Sync),
) -> Result<Report, Failure> {
    todo!()
}
