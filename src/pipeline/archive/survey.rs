//! A look at each member of an archive, or sheet, under the rules that its processing goes by.

use std::fs::File;

use jiff::Timestamp;

use super::unpack::{self, Found};
use super::{Archive, Failure, Kind, Tally, member, named};
use crate::keys::MaskingKeys;
use crate::pipeline::survey::{Part, Sample, Table, Tables, Visit};
use crate::pipeline::{OutputFormat, Reading};

pub(in crate::pipeline) fn survey(
    file: File,
    kind: Kind,
    reading: &Reading,
    all_rows: bool,
    visit: Visit<'_>,
) -> Result<Tables, Failure> {
    // Nothing is masked.
    let keys = MaskingKeys::parse(&MaskingKeys::generate(Timestamp::UNIX_EPOCH)).expect("a new key can be read");
    let archive = Archive::new(file, kind, reading, (Vec::new(), OutputFormat::Same), (&keys, 1), &|_| {})?;
    let mut tally = Tally::default();
    archive.each(&mut |found| archive.look(found, &mut tally, all_rows, visit))?;
    archive.refuse_empty(&tally)?;
    Ok(Tables { format: kind.format.compressed(kind.compression), noun: Some(kind.noun()) })
}

impl Archive<'_> {
    fn look(&self, found: Found<'_>, tally: &mut Tally, all_rows: bool, visit: Visit<'_>) -> Result<(), Failure> {
        let rule = self.admit(&found, tally)?;
        let (noun, number, expanded) = (self.kind.noun(), tally.members, &mut tally.expanded);
        let in_member = |failure| named(failure, noun, number);
        if rule.drops {
            return unpack::pass_over(found, expanded, &self.expansion, &self.window).map_err(in_member);
        }
        let name = found.name.clone();
        let surveyed = member::survey(self, found, expanded, Sample::new(all_rows)).map_err(in_member)?;
        let (pattern, has_policy) = (rule.pattern.clone(), rule.policy.is_some());
        visit(Table { part: Some(Part { name, pattern, has_policy }), surveyed });
        Ok(())
    }
}
