//! `[policy.NAME]`

use std::fs::File;
use std::io::Read;

use super::absolute;
use crate::config::locate::Findings;
use crate::config::raw;
use crate::config::spanned::Spanned;
use crate::mask::{Hierarchy, Mask};
use crate::policy::{ColumnRule, Policy, Selector};

/// Largest hierarchy file.
const MAX_HIERARCHY_BYTES: u64 = 4 << 20;

pub fn policy(name: &str, raw: raw::Policy, findings: &mut Findings<'_>) -> Policy {
    if let Some(verify) = raw.verify.as_ref().filter(|verify| verify.get_ref() != "off") {
        findings.add(verify.span(), "the leak scan is not built yet: only \"off\" is accepted");
    }
    let mut columns = Vec::new();
    let mut last = 0..0;
    for column in raw.column {
        last = column.span();
        columns.extend(column_rule(column, findings));
    }
    let mut policy = Policy {
        name: name.to_owned(),
        unlisted: raw.unlisted,
        missing: raw.missing,
        mistyped: raw.mistyped,
        columns,
        sha256: String::new(),
    };
    if let Err(error) = policy.check() {
        findings.add(last, format!("policy {name:?}: {error}"));
    }
    policy.sha256 = policy.digest();
    policy
}

fn column_rule(column: Spanned<raw::Column>, findings: &mut Findings<'_>) -> Option<ColumnRule> {
    let place = column.span();
    let mut column = column.into_inner();
    findings.refuse("class", &column.class);
    let selectors = [
        column.name.clone().map(|name| Selector::Names(vec![name])),
        column.names.clone().map(Selector::Names),
        column.glob.clone().map(Selector::Glob),
        column.regex.clone().map(Selector::Regex),
    ];
    let mut selectors = selectors.into_iter().flatten();
    let (Some(columns), None) = (selectors.next(), selectors.next()) else {
        findings.add(place, "a column rule has exactly one of `name`, `names`, `glob` and `regex`");
        return None;
    };
    let mut params = column.params();
    if let Some(path) = column.hierarchy.take() {
        params.hierarchy = Some(hierarchy(path, findings)?);
    }
    match Mask::from_params(column.mask.get_ref(), &params) {
        Ok(mask) => Some(ColumnRule { columns, mask, mistyped: column.mistyped }),
        Err(error) => {
            findings.add(column.mask.span(), error);
            None
        }
    }
}

/// The content of a hierarchy file: workers open no path, so the table goes to them with the policy.
fn hierarchy(path: Spanned<String>, findings: &mut Findings<'_>) -> Option<Hierarchy> {
    let place = path.span();
    let path = absolute(Some(path), "", findings);
    let mut content = Vec::new();
    let read = File::open(&path).and_then(|file| file.take(MAX_HIERARCHY_BYTES + 1).read_to_end(&mut content));
    let hierarchy = match read {
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
        Ok(_) if content.len() as u64 > MAX_HIERARCHY_BYTES => {
            Err(format!("{} is larger than 4 MiB; list fewer values", path.display()))
        }
        Ok(_) => Hierarchy::parse(&content).map_err(|error| format!("{}: {error}", path.display())),
    };
    hierarchy.map_err(|error| findings.add(place, error)).ok()
}
