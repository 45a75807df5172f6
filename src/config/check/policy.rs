//! `[policy.NAME]`

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use toml::Value;

use super::absolute;
use super::anonymity;
use super::when::{Condition, Rules, row_rule};
use crate::config::PRESETS;
use crate::config::locate::Findings;
use crate::config::raw;
use crate::config::spanned::Spanned;
use crate::detect::Class;
use crate::mask::{Hierarchy, Mask};
use crate::pipeline::LeakClass;
use crate::policy::{Acceptance, ColumnRule, Policy, Selector, normalise};

/// Largest hierarchy file.
const MAX_HIERARCHY_BYTES: u64 = 4 << 20;

pub fn policy(name: &str, raw: raw::Policy, findings: &mut Findings<'_>) -> Policy {
    let mut rules = Rules::default();
    let mut last = 0..0;
    for column in raw.column {
        last = column.span();
        if let Some((rule, condition)) = column_rule(column, findings) {
            rules.push(rule, condition, findings);
        }
    }
    let mut columns = rules.rules;
    if let Some(extends) = raw.extends {
        columns.extend(preset(extends, findings));
    }
    let accept = raw.accept.into_iter().flat_map(|accept| acceptances(accept, findings)).collect();
    let suppress_rows = raw.suppress_rows.into_iter().filter_map(|rule| row_rule(rule, findings)).collect();
    let mut policy = Policy {
        name: name.to_owned(),
        unlisted: raw.unlisted,
        missing: raw.missing,
        mistyped: raw.mistyped,
        verify: raw.verify,
        accept,
        columns,
        suppress_rows,
        anonymity: None,
        sha256: String::new(),
    };
    let before = findings.count();
    if let Some(asked) = raw.anonymity {
        anonymity::add(asked, &mut policy, findings);
    }
    // What is wrong there would be found a second time.
    if findings.count() == before
        && let Err(error) = policy.check()
    {
        findings.add(last, format!("policy {name:?}: {error}"));
    }
    policy.sha256 = policy.digest();
    policy
}

/// False alarms of one column, one for each class.
fn acceptances(accept: raw::Accept, findings: &mut Findings<'_>) -> Vec<Acceptance> {
    let (column, place) = (accept.column.get_ref().clone(), accept.column.span());
    if normalise(&column).is_empty() {
        findings.add(place, "a column's name must not be empty");
    }
    let place = accept.class.span();
    let names = match accept.class.into_inner() {
        Value::Array(names) if !names.is_empty() => names,
        name => vec![name],
    };
    let mut all = Vec::new();
    for name in names {
        match name.as_str() {
            Some(class) if LeakClass::of_name(class).is_some() => {
                all.push(Acceptance { column: column.clone(), class: class.to_owned() });
            }
            Some(class) => {
                let nearest = Class::nearest(class).name();
                let others = format!("{:?} and {:?}", LeakClass::REPEATED, LeakClass::UNCHANGED);
                let what =
                    format!("there is no class {class:?} of leaks, did you mean {nearest:?}? Others are {others}");
                findings.add(place.clone(), what);
            }
            None => findings.add(place.clone(), "`class` is a class of leaks, or a list"),
        }
    }
    all
}

/// The rules of what a policy extends.
fn preset(extends: Spanned<String>, findings: &mut Findings<'_>) -> Vec<ColumnRule> {
    let Some((name, text)) = PRESETS.iter().find(|(name, _)| name == extends.get_ref()) else {
        let names = PRESETS.map(|(name, _)| format!("{name:?}")).join(", ");
        findings.add(extends.span(), format!("a policy can extend {names}"));
        return Vec::new();
    };
    let raw: raw::Policy = toml::from_str(text).expect("a test reads every preset");
    let mut of_preset = Findings::new(Path::new(name), text);
    let rules = raw.column.into_iter().filter_map(|it| column_rule(it, &mut of_preset));
    rules.map(|(rule, _)| ColumnRule { preset: true, ..rule }).collect()
}

fn column_rule(column: Spanned<raw::Column>, findings: &mut Findings<'_>) -> Option<(ColumnRule, Condition)> {
    let place = column.span();
    let mut column = column.into_inner();
    let class = match column.class.take().map(classes).transpose() {
        Ok(class) => class,
        Err((place, error)) => {
            findings.add(place, error);
            return None;
        }
    };
    let selectors = [
        column.name.clone().map(|name| Selector::Names(vec![name])),
        column.names.clone().map(Selector::Names),
        column.glob.clone().map(Selector::Glob),
        column.regex.clone().map(Selector::Regex),
        class.map(Selector::Class),
    ];
    let mut selectors = selectors.into_iter().flatten();
    let (Some(columns), None) = (selectors.next(), selectors.next()) else {
        findings.add(place, "a column rule has exactly one of `name`, `names`, `glob`, `regex` and `class`");
        return None;
    };
    let mut params = column.params();
    if let Some(path) = column.hierarchy.take() {
        params.hierarchy = Some(hierarchy(path, findings)?);
    }
    match Mask::from_params(column.mask.get_ref(), &params) {
        Ok(mask) => {
            let condition = Condition::take(&mut column, &mask, findings)?;
            Some((ColumnRule { columns, mask, mistyped: column.mistyped, preset: false }, condition))
        }
        Err(error) => {
            findings.add(column.mask.span(), error);
            None
        }
    }
}

/// Classes of personal data, one or a list.
fn classes(class: Spanned<Value>) -> Result<Vec<Class>, (Range<usize>, String)> {
    let place = class.span();
    let names = match class.into_inner() {
        Value::Array(names) if !names.is_empty() => names,
        name => vec![name],
    };
    let mut all = Vec::new();
    for name in names {
        let name = name.as_str().map(str::to_owned);
        let name = name.ok_or_else(|| (place.clone(), "`class` is a class of personal data, or a list".to_owned()))?;
        all.extend(Class::of_rule(&name).ok_or_else(|| {
            let nearest = Class::nearest(&name).name();
            (place.clone(), format!("there is no class {name:?} of personal data, did you mean {nearest:?}?"))
        })?);
    }
    Ok(all)
}

/// The content of a hierarchy file: workers open no path, so the table goes to them with the policy.
pub(super) fn hierarchy(path: Spanned<String>, findings: &mut Findings<'_>) -> Option<Hierarchy> {
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
