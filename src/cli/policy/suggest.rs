//! `veild policy suggest`: what was found, as a policy that leaks nothing as far as can be seen.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::fs::File;
use std::path::Path;

use anyhow::Context;
use jiff::Timestamp;

use crate::cli::detect::{Found, look, part_in_words};
use crate::cli::mask::Rejected;
use crate::cli::reading::ReadingArguments;
use crate::config::policy_of;
use crate::detect::{Suggestion, suggest};
use crate::fsutil::{printable_name, printable_path};
use crate::keys::MaskingKeys;
use crate::pipeline::{DigestKind, Fault, Input, Leak, Output, Reading, Sink, Surveyed, Table, Writing, process};
use crate::policy::{Verify, check_header, normalise};

/// Most times that a policy is tried; each time what leaked is redacted.
const ROUNDS: usize = 3;

/// A rule of the policy under way.
struct Rule {
    name: String,
    suggestion: Suggestion,
    /// No cell of it was seen filled.
    is_empty: bool,
    /// What leaks may call the column.
    called: BTreeSet<String>,
}

/// A policy under way, over all tables that go by it.
struct Draft {
    rules: Vec<Rule>,
    /// Places of the rules by their normalised names.
    places: HashMap<String, usize>,
    rows: u64,
    looked_at: u64,
    /// Every row has every column of its table.
    is_rectangular: bool,
    /// Every table has the same columns, and these are they.
    has_all: bool,
    names: Option<BTreeSet<String>>,
    /// Tables that go by it, and all.
    tables: usize,
    all: usize,
    /// The first header for which no policy can be, and the part that it is of.
    refused: Option<(Option<String>, Fault)>,
}

pub fn run(config: &Path, file: &Path, arguments: &ReadingArguments, all_rows: bool) -> anyhow::Result<()> {
    let mut draft = Draft::new();
    let found = look(config, file, arguments, all_rows, &mut |table| draft.see(table))?;
    if let Some((part, fault)) = draft.refused.take() {
        let fault = Fault { sentence: part_in_words(&found.tables, part) + &fault.sentence, ..fault };
        return Err(Rejected { path: file.to_owned(), fault }.into());
    }
    let Found { tables, reading, writing, takes_each_sheet } = found;
    if let (0, Some(noun)) = (draft.tables, tables.noun) {
        let file = printable_path(file);
        anyhow::bail!("{file}: every {noun} is dropped, or goes by the policy that its rule names; none is suggested");
    }
    for _ in 0..ROUNDS {
        let leaks = leaks(file, (reading.clone(), writing), &draft.in_toml())?;
        if !redact(&mut draft.rules, &leaks) {
            break;
        }
    }
    let name = printable_name(file.file_name().unwrap_or_default());
    let flags = format!("{}{}", arguments.flags(), if takes_each_sheet { " --sheet each" } else { "" });
    println!("# A policy for files like {name}: {} of {} rows looked at.", draft.looked_at, draft.rows);
    if let Some(noun) = tables.noun {
        let key = if noun == "sheet" { "sheet = \"each\"" } else { "[[landing.member]] member = \"*\"" };
        let Draft { tables, all, .. } = draft;
        println!(
            "# It is for {tables} of its {all} {noun}s, those whose rule names no policy; a landing reads all by {key}."
        );
    }
    println!(
        "# Read every rule before you trust it: what was not recognised is kept. Save it as NAME.toml and try it with"
    );
    println!(
        "# `veild policy test FILE --policy NAME.toml{flags}`, or put it under [policy.NAME] in the configuration."
    );
    println!();
    print!("{}", draft.in_toml());
    Ok(())
}

impl Draft {
    fn new() -> Draft {
        let (rules, places, names) = (Vec::new(), HashMap::new(), None);
        let (rows, looked_at, tables, all) = (0, 0, 0, 0);
        Draft { rules, places, rows, looked_at, is_rectangular: true, has_all: true, names, tables, all, refused: None }
    }

    fn see(&mut self, table: Table) {
        let Table { part, surveyed } = table;
        self.all += 1;
        if part.as_ref().is_some_and(|part| part.has_policy) {
            return;
        }
        self.tables += 1;
        if let Err(fault) = has_a_policy(&surveyed) {
            self.refused.get_or_insert((part.as_ref().map(|part| part.name.clone()), fault));
        }
        self.rows += surveyed.rows;
        self.looked_at += surveyed.rows_looked_at;
        self.is_rectangular &= surveyed.is_rectangular;
        let names: BTreeSet<String> = surveyed.columns.iter().map(|column| normalise(&column.name)).collect();
        self.has_all &= *self.names.get_or_insert_with(|| names.clone()) == names;
        self.add(part.map(|part| part.pattern).as_deref(), surveyed);
    }

    /// Adds a table's columns; columns of one name are one rule's.
    fn add(&mut self, pattern: Option<&str>, table: Surveyed) {
        let called = |name: &str| pattern.map_or_else(|| name.to_owned(), |pattern| format!("{pattern}: {name}"));
        let mut columns: Vec<_> = table.columns.into_iter().map(|column| (column.name, column.survey)).collect();
        let suggestions = suggest(&mut columns, table.is_rectangular);
        for (index, ((name, survey), suggestion)) in columns.into_iter().zip(suggestions).enumerate() {
            let is_empty = survey.cells().1 == 0;
            let called = BTreeSet::from([called(&name), called(&format!("column {}", index + 1))]);
            match self.places.get(&normalise(&name)) {
                Some(place) => self.rules[*place].add(suggestion, is_empty, called),
                None => {
                    self.places.insert(normalise(&name), self.rules.len());
                    self.rules.push(Rule { name, suggestion, is_empty, called });
                }
            }
        }
    }

    fn in_toml(&self) -> String {
        let mut text = "unlisted = \"reject\"\n".to_owned();
        text.push_str(match (self.is_rectangular, self.has_all) {
            (true, true) => "missing = \"reject\"\n",
            (true, false) => "missing = \"ignore\"   # not every table has every column\n",
            (false, _) => {
                "missing = \"ignore\"   # not every record has every path\n\
                 mistyped = \"redact\"  # objects and arrays where single values were seen, too\n"
            }
        });
        for Rule { name, suggestion, .. } in &self.rules {
            let name = toml::Value::String(name.clone());
            let _ = write!(text, "\n[[column]]  # {}\nname = {name}\nmask = {:?}\n", suggestion.why, suggestion.mask);
            for (name, value) in &suggestion.parameters {
                let _ = writeln!(text, "{name} = {value}");
            }
        }
        text
    }
}

/// Refuses a header record that no policy could have rules for; of other formats the survey has refused such names.
fn has_a_policy(table: &Surveyed) -> Result<(), Fault> {
    let has_header = ["csv", "xlsx", "ods"].contains(&table.format.split('.').next().unwrap_or_default());
    let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
    if has_header { check_header(&names) } else { Ok(()) }
}

impl Rule {
    /// Takes on what another table suggests for a column of the name: what takes more away.
    fn add(&mut self, other: Suggestion, is_empty: bool, called: BTreeSet<String>) {
        self.called.extend(called);
        let is_alike = (self.suggestion.mask, &self.suggestion.parameters) == (other.mask, &other.parameters);
        // Who the dates are of may stand in one table alone.
        let fits = |suggestion: &Suggestion| suggestion.mask != "date_shift";
        match (self.suggestion.mask, other.mask) {
            _ if is_empty || (is_alike && !self.is_empty) => {}
            _ if self.is_empty => (self.suggestion, self.is_empty) = (other, false),
            ("keep", _) if fits(&other) => self.suggestion = other,
            (_, "keep") if fits(&self.suggestion) => {}
            _ => {
                let why = format!("tables differ: {}; {}", self.suggestion.why, other.why);
                self.suggestion = Suggestion { mask: "redact", parameters: Vec::new(), why };
            }
        }
    }
}

/// What the leak scan finds in the file as the policy would let it go out. What can be read but once is not tried.
fn leaks(path: &Path, (reading, writing): (Reading, Writing), policy: &str) -> anyhow::Result<Vec<Leak>> {
    let file = File::open(path).with_context(|| format!("cannot open {}", printable_path(path)))?;
    if !file.metadata().is_ok_and(|it| it.is_file()) {
        return Ok(Vec::new());
    }
    let mut policy = policy_of(Path::new("suggested"), policy)?;
    policy.verify = Verify::Warn;
    // No pseudonym leaves this process: any key will do.
    let keys = MaskingKeys::parse(&MaskingKeys::generate(Timestamp::now()))?;
    let input = Input { file, reading, digest: DigestKind::None };
    let output = Output { policy, writing, sink: Sink::Discard };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(4);
    // A file that would be refused is `policy test`'s to explain.
    let report = process(input, vec![output], &keys, threads, &|_| {});
    Ok(report.map_or_else(|_| Vec::new(), |report| report.outputs.into_iter().flat_map(|it| it.verify.leaks).collect()))
}

/// Redacts the columns that leak; whether there was one.
fn redact(rules: &mut [Rule], leaks: &[Leak]) -> bool {
    let mut changed = false;
    for leak in leaks {
        let here = rules.iter_mut().filter(|rule| rule.called.contains(&leak.column));
        for Rule { suggestion, .. } in here.filter(|rule| rule.suggestion.mask != "redact") {
            let why = format!("{} would leak: {}", suggestion.mask, leak.in_words());
            *suggestion = Suggestion { mask: "redact", parameters: Vec::new(), why };
            changed = true;
        }
    }
    changed
}
