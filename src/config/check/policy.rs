//! `[policy.NAME]`

use toml::Spanned;

use crate::config::locate::Findings;
use crate::config::raw;
use crate::mask::Mask;
use crate::policy::{ColumnRule, Policy, Selector};

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
    let column = column.into_inner();
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
    match Mask::from_params(column.mask.get_ref(), &column.params()) {
        Ok(mask) => Some(ColumnRule { columns, mask, mistyped: column.mistyped }),
        Err(error) => {
            findings.add(column.mask.span(), error);
            None
        }
    }
}
