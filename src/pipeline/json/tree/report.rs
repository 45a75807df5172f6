//! What is told of the paths of a file: in faults and reports, and so that no key that may be a value shows.

use std::collections::HashSet;

use super::{NodeId, OutputRules, ROOT, Tree};
use crate::mask::Mask;
use crate::pipeline::json::decision::Act;
use crate::pipeline::json::fault::Why;
use crate::pipeline::{ColumnReport, Fault};
use crate::policy::looks_like_a_name;
use crate::policy::path::{Step, push_step};

impl Tree<'_> {
    /// The path as it may be given out: a key shows only if a rule spells it, or if it looks like a name and a rule
    /// knows another key beside it. Anything else may be a value that serves as a key.
    pub(in crate::pipeline::json) fn public_path(&self, id: NodeId) -> String {
        let mut way = Vec::new();
        let mut at = id;
        while at != ROOT {
            way.push(at);
            at = self.nodes[at].parent;
        }
        way.iter().rev().fold(String::new(), |mut path, &id| {
            let node = &self.nodes[id];
            let others = self.nodes[node.parent].known_children - u32::from(node.known);
            match &node.key {
                None => push_step(&mut path, Step::Element),
                Some(key) if node.spelled || (others > 0 && looks_like_a_name(key)) => {
                    push_step(&mut path, Step::Key(key));
                }
                Some(_) => push_step(&mut path, Step::Key("?")),
            }
            path
        })
    }

    /// Puts into words what an output's policy holds against the value at a path.
    pub(in crate::pipeline::json) fn describe(
        &self,
        why: Why,
        output: usize,
        node: NodeId,
        row: u64,
        offset: u64,
    ) -> Fault {
        let OutputRules { policy, rules, .. } = &self.outputs[output];
        let missing = if let Why::Missing(pattern) = why { rules.spelling(pattern) } else { "" };
        why.describe(&policy.name, missing, &self.public_path(node), row, offset)
    }

    /// A pattern of an output that must match something in the file, and did not.
    pub(in crate::pipeline::json) fn missing_pattern(&self) -> Option<Fault> {
        self.outputs.iter().find_map(|output| {
            let pattern = output.rules.wanted_somewhere().find(|pattern| !output.matched[*pattern])?;
            Some(Fault {
                code: "missing_column".to_owned(),
                sentence: format!(
                    "the file has no value for the rule {:?} of policy {:?}",
                    output.rules.spelling(pattern),
                    output.policy.name
                ),
                row: None,
                column: None,
                byte_offset: None,
                advice: "Ask the sender for it, take the rule out, or set `missing = \"ignore\"`.".to_owned(),
            })
        })
    }

    /// What one output did, path by path in the order in which they were met; paths that look alike are given once.
    pub(in crate::pipeline::json) fn report(&self, output: usize) -> Vec<ColumnReport> {
        let mut reports = Vec::new();
        let mut seen = HashSet::new();
        for (id, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.is_leaf) {
            let decision = &node.decisions[output];
            let rule = decision.rule.map(|rule| &self.outputs[output].policy.columns[rule].mask);
            let mask = match decision.scalar {
                Act::Mask => rule.map_or("redact", Mask::name),
                Act::Drop => "drop",
                _ => "keep",
            };
            let masks = node.column.map(|column| &self.columns[column as usize].masks[output]);
            let key_version = masks.and_then(Option::as_ref).and_then(|mask| mask.prepared.key_version());
            let report =
                ColumnReport { name: self.public_path(id), mask: mask.to_owned(), key_version, type_change: None };
            if seen.insert((report.name.clone(), report.mask.clone())) {
                reports.push(report);
            }
        }
        reports
    }
}
