//! The parts of a trail of which only stubs are left.

use std::path::Path;

use serde_json::Value;

use super::super::segment;
use super::super::stub::Stub;
use super::super::{AuditError, Problem};
use super::{Between, Check};

impl Check<'_> {
    /// Follows the chain across what was pruned.
    pub(super) fn stub(&mut self, first: u64, path: &Path) -> Result<(), AuditError> {
        let name = segment::label(path);
        let problem = |what: String| Problem { segment: name.clone(), line: 1, byte_offset: 0, what };
        let stub = match Stub::read(path) {
            Ok(stub) => stub,
            Err(AuditError::Broken { what, .. }) => {
                self.add(problem(what));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if let Err(what) = stub.verify(self.key) {
            self.add(problem(format!("bad stub: {what}")));
        }
        if stub.first_seq != first || stub.last_seq < stub.first_seq {
            self.add(problem(format!("the file name promises record {first}, the stub begins at {}", stub.first_seq)));
        }
        for what in self.joint(stub.first_seq, &stub.prev).into_iter().chain(self.last_of(&stub)) {
            self.add(problem(what));
        }
        self.verdict.pruned_segments += 1;
        self.verdict.pruned_records += stub.last_seq.saturating_sub(stub.first_seq).saturating_add(1);
        self.verdict.last_seq = stub.last_seq;
        self.expected_seq = stub.last_seq.saturating_add(1);
        self.expected_prev = stub.head.clone();
        self.stubs.push(stub);
        Ok(())
    }

    /// What is wrong with the checkpoint that ended a pruned segment. Which others were in there is not known; but what
    /// its seal covers was written when it says, for its key has been erased since.
    fn last_of(&mut self, stub: &Stub) -> Vec<String> {
        self.between = Between::Pruned;
        if stub.stub_version == 1 {
            self.epoch = None;
            let pins_nothing = "an earlier veild left it without the checkpoint that ended it: the secret says nothing of \
                what stands behind it; give a later checkpoint";
            return if self.evidence.secrets.is_empty() { Vec::new() } else { vec![pins_nothing.to_owned()] };
        }
        let line = stub.last_line.as_bytes();
        let value: Option<Value> = serde_json::from_slice(line).ok();
        let Some((seq, prev)) = value.as_ref().and_then(segment::link) else {
            return vec!["the last line that it gives is no audit line".to_owned()];
        };
        if seq != stub.last_seq || segment::hash(line) != stub.head {
            return vec!["the last line that it gives is not the one where the chain left".to_owned()];
        }
        prev.clone_into(&mut self.expected_prev);
        let mut problems: Vec<String> =
            self.compare(seq.saturating_sub(1), prev).into_iter().chain(self.compare(seq, &stub.head)).collect();
        let checkpoint = value.as_ref().and_then(|value| value["veild"].get("checkpoint"));
        match self.checkpoint(checkpoint, seq, line) {
            Ok(at) => self.trust(seq, at, problems.is_empty()),
            Err(what) => problems.push(format!("bad checkpoint: {what}")),
        }
        problems
    }

    /// Nothing goes without a record that it went; the record itself may have been pruned later.
    pub(super) fn unannounced(&mut self) {
        let last = self.stubs.last().map_or(0, |stub| stub.last_seq);
        let silent: Vec<_> = self
            .stubs
            .iter()
            .filter(|stub| !self.announced.contains(&stub.first_seq) && stub.recorded_after >= last)
            .map(|stub| (segment::file_name(stub.first_seq), stub.recorded_after))
            .collect();
        for (segment, after) in silent {
            let what = format!("it is pruned, and no record after {after} says so");
            self.add(Problem { segment, line: 1, byte_offset: 0, what });
        }
    }
}
