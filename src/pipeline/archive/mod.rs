//! Archives: each member goes through the pipeline under a rule of its own, and all of them into a new archive.
//!
//! A spreadsheet whose sheets have rules goes the same way: each is a member, and they come out as a zip archive.
//!
//! All or nothing: a member that is refused refuses the archive. Members stream through pipes; nothing of them lies
//! anywhere in between. What the archive notes beside names, contents and times (owners, comments, extra fields) is not
//! taken over.

#![allow(clippy::result_large_err, reason = "failures are rare, and their shape is the pipeline's contract")]

mod member;
mod name;
mod pack;
mod survey;
mod unpack;

use std::collections::HashSet;
use std::fs::File;
use std::sync::Arc;

use globset::{GlobBuilder, GlobMatcher};

use self::member::Side;
use self::pack::Packer;
use self::unpack::Found;
use super::drain::Outlet;
use super::fault::of_file;
use super::reading::MemberRule;
use super::sieve::Rows;
use super::source::{digest_of, retry};
use super::tap::{Mishap, Tap};
use super::verify::{Sum, Verified};
use super::window::Window;
use super::{
    ColumnReport, DigestKind, Failure, Fault, Format, InputReport, Outgoing, OutputFormat, OutputReport, Reading,
    Report, Writing,
};
use crate::keys::MaskingKeys;
use crate::pipeline::expansion::Expansion;
use crate::pipeline::spreadsheet;
use crate::policy::Policy;

pub(super) use self::survey::survey;
pub(super) use self::unpack::{Kind, recognise};

/// An archive at work.
struct Archive<'a> {
    file: Arc<File>,
    window: Window,
    kind: Kind,
    reading: &'a Reading,
    rules: &'a [MemberRule],
    matchers: Vec<GlobMatcher>,
    policies: Vec<Policy>,
    /// What members are converted to.
    format: OutputFormat,
    keys: &'a MaskingKeys,
    threads: usize,
    progress: &'a (dyn Fn(u64) + Sync),
    /// What may come out of it; what has is in the [`Tally`], for a tar archive is read twice.
    expansion: Expansion,
    /// Of the whole, in bytes.
    len: u64,
}

/// What all members together have come to.
#[derive(Default)]
struct Tally {
    members: usize,
    names: HashSet<String>,
    /// Of what becomes of them.
    names_out: HashSet<String>,
    rows: u64,
    /// Of them, by output, what members' policies have left out.
    suppressed: Vec<u64>,
    expanded: u64,
    /// By output.
    columns: Vec<Vec<ColumnReport>>,
    verified: Vec<Verified>,
    /// Bytes of each member that was written, by output.
    sizes: Vec<Vec<u64>>,
    /// What conversions of all members may come to, by output.
    converted: Vec<Arc<Expansion>>,
}

#[allow(clippy::too_many_arguments)] // as `process`, with what the file was found to be
pub(super) fn process(
    file: File,
    kind: Kind,
    reading: &Reading,
    digest_kind: DigestKind,
    outputs: Vec<Outgoing>,
    keys: &MaskingKeys,
    threads: usize,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Report, Failure> {
    let policies: Vec<Policy> = outputs.iter().map(|output| output.policy.clone()).collect();
    let format = outputs.first().map(|output| output.writing.format).unwrap_or_default();
    let archive = Archive::new(file, kind, reading, (policies, format), (keys, threads), progress)?;
    if archive.all_policies().any(|policy| policy.anonymity.is_some()) {
        return Err(Failure::Reject(not_anonymous()));
    }
    let (mut packers, mut mishaps) = (Vec::new(), Vec::new());
    for output in outputs {
        // Its members are what is looked at.
        let around = Outgoing { writing: output.writing.compress.into(), ..output };
        let tap = Tap::new(Outlet::open_binary(around, (kind.made(), kind.compression), Sum::off())?);
        mishaps.push(tap.mishap.clone());
        packers.push(Packer::new(kind.made(), tap));
    }
    // A tar archive says a member's size before its content, so that all are made twice, and must come out the same.
    if kind.format == Format::Tar && archive.is_randomized() {
        return Err(Failure::Reject(randomized()));
    }
    let sizes = if kind.format == Format::Tar { Some(archive.run(None, &[])?.sizes) } else { None };
    let tally = archive.run(Some((&mut packers, sizes.as_deref())), &mishaps)?;
    let (len, file) = (archive.len, &archive.file);
    let digest = digest_of(file, len, digest_kind, keys, progress)?;
    let mut reports = Vec::with_capacity(packers.len());
    let made = tally.columns.into_iter().zip(tally.verified).zip(tally.suppressed);
    for ((packer, mishap), ((columns, verify), suppressed)) in packers.into_iter().zip(&mishaps).zip(made) {
        let tap = packer.finish().map_err(|error| mishap.take().unwrap_or_else(|| retry("end the archive", &error)))?;
        let rows = Rows { suppressed, ..Rows::all(tally.rows - suppressed) };
        reports.push(tap.outlet.finish(kind.made(), rows, columns, verify)?);
    }
    let format = kind.format.compressed(kind.compression);
    Ok(Report { input: InputReport { digest, digest_kind, bytes: len, format }, rows_in: tally.rows, outputs: reports })
}

fn matchers(rules: &[MemberRule]) -> Result<Vec<GlobMatcher>, Fault> {
    let compile = |rule: &MemberRule| {
        let glob = GlobBuilder::new(&rule.pattern).case_insensitive(true).build();
        glob.map(|glob| glob.compile_matcher())
            .map_err(|_| of_file("bad_policy", "the pattern of a member rule is none", "Mend `member` of the landing."))
    };
    rules.iter().map(compile).collect()
}

/// Where members go, and how long they become if that must be known.
type Packing<'p, 's> = Option<(&'p mut Vec<Packer>, Option<&'s [Vec<u64>]>)>;

impl<'a> Archive<'a> {
    fn new(
        file: File,
        kind: Kind,
        reading: &'a Reading,
        (policies, format): (Vec<Policy>, OutputFormat),
        (keys, threads): (&'a MaskingKeys, usize),
        progress: &'a (dyn Fn(u64) + Sync),
    ) -> Result<Archive<'a>, Failure> {
        let len = file.metadata().map_err(|error| retry("look at the input", &error))?.len();
        let file = Arc::new(file);
        let rules = if kind.is_book() { &reading.sheets[..] } else { &reading.members[..] };
        Ok(Archive {
            window: Window::new(file.clone(), len),
            file,
            kind,
            reading,
            rules,
            matchers: matchers(rules).map_err(Failure::Reject)?,
            policies,
            format,
            keys,
            threads,
            progress,
            expansion: Expansion::of(len, reading.limits),
            len,
        })
    }
}

impl Archive<'_> {
    /// Passes every member through; without packers only to see what comes of them.
    fn run(&self, mut packing: Packing<'_, '_>, mishaps: &[Mishap]) -> Result<Tally, Failure> {
        let count = self.policies.len();
        let mut tally = Tally {
            columns: vec![Vec::new(); count],
            verified: vec![Verified::default(); count],
            suppressed: vec![0; count],
            sizes: vec![Vec::new(); count],
            converted: (0..count).map(|_| Arc::new(Expansion::of(self.len, self.reading.limits))).collect(),
            ..Tally::default()
        };
        let mut visit = |found: Found<'_>| self.member(found, &mut tally, &mut packing, mishaps);
        self.each(&mut visit)?;
        self.refuse_empty(&tally)?;
        Ok(tally)
    }

    /// Visits every member, in their order.
    fn each(&self, visit: unpack::Visit<'_>) -> Result<(), Failure> {
        if !self.kind.is_book() {
            return unpack::walk(&self.window, self.kind, &self.expansion, visit);
        }
        let (format, progress) = (self.kind.format, self.progress);
        spreadsheet::each(&self.file, format, self.reading, progress, &mut |name, content| {
            visit(Found { name: name.to_owned(), modified: None, zip_time: None, content })
        })
    }

    fn refuse_empty(&self, tally: &Tally) -> Result<(), Failure> {
        if tally.members > 0 {
            return Ok(());
        }
        let (advice, noun) = ("Ask the sender for what should be in it.", self.kind.noun());
        Err(Failure::Reject(of_file("empty_file", &format!("the file has no {noun}"), advice)))
    }

    /// The rule by which the next member goes.
    fn admit(&self, found: &Found<'_>, tally: &mut Tally) -> Result<&MemberRule, Failure> {
        tally.members += 1;
        let number = tally.members;
        let noun = self.kind.noun();
        let refused = |fault: Fault| Failure::Reject(of_member(fault, noun, number));
        if number > self.reading.limits.max_members {
            let sentence = format!("the file has more than {} {noun}s", self.reading.limits.max_members);
            let fault = of_file("too_many_members", &sentence, "If it is right, raise `max_members` in the limits.");
            return Err(Failure::Reject(fault));
        }
        name::check(&found.name).map_err(refused)?;
        if !tally.names.insert(found.name.clone()) {
            return Err(refused(of_file("duplicate_member", "another one has the same name", ADVICE)));
        }
        let is_match = |matcher: &GlobMatcher| matcher.is_match(&found.name);
        self.matchers.iter().position(is_match).map(|index| &self.rules[index]).ok_or_else(|| {
            let advice = format!("Add a `[[landing.{noun}]]` for it, with `drop = true` if nobody needs it.");
            let sentence = format!("no {noun} rule of the landing names it");
            refused(of_file(&format!("unlisted_{noun}"), &sentence, &advice))
        })
    }

    fn member(
        &self,
        found: Found<'_>,
        tally: &mut Tally,
        packing: &mut Packing<'_, '_>,
        mishaps: &[Mishap],
    ) -> Result<(), Failure> {
        let rule = self.admit(&found, tally)?;
        let (noun, number) = (self.kind.noun(), tally.members);
        if rule.drops {
            return unpack::pass_over(found, &mut tally.expanded, &self.expansion, &self.window)
                .map_err(|failure| named(failure, noun, number));
        }
        let refused = |fault: Fault| Failure::Reject(of_member(fault, noun, number));
        self.check_name_out(&found.name, tally).map_err(refused)?;
        let mut sides = Vec::with_capacity(self.policies.len());
        let mut packers = packing.as_mut().map(|(packers, sizes)| (packers.iter_mut(), *sizes));
        for (output, policy) in self.policies.iter().enumerate() {
            // Views have their own policy; the rule's is for the landing's own output.
            let policy = rule.policy.as_ref().filter(|_| output == 0).unwrap_or(policy).clone();
            let packer = packers.as_mut().and_then(|(packers, _)| packers.next());
            let sizes = packers.as_ref().and_then(|(_, sizes)| *sizes);
            let size = sizes.and_then(|sizes| sizes[output].get(tally.sizes[output].len()).copied());
            sides.push(Side { policy, packer, size, converted: tally.converted[output].clone() });
        }
        let report = member::pass(self, found, sides, &mut tally.expanded, mishaps)
            .map_err(|failure| named(failure, noun, number))?;
        tally.rows += report.rows_in;
        for (output, made) in report.outputs.into_iter().enumerate() {
            tally.sizes[output].push(made.bytes);
            tally.verified[output].add_member(&rule.pattern, &made.verify);
            tally.suppressed[output] += made.rows_suppressed;
            tally.add_columns(output, &rule.pattern, made);
        }
        Ok(())
    }

    /// Refuses a member that another one would take the name of.
    fn check_name_out(&self, name: &str, tally: &mut Tally) -> Result<(), Fault> {
        let name_out = self.name_out(name);
        // A sheet is unpacked where somebody wants it, and not every system tells its name from another in capitals.
        let told_by = if self.kind.is_book() { name_out.to_lowercase() } else { name_out };
        if tally.names_out.insert(told_by) {
            return Ok(());
        }
        let (noun, but) = (self.kind.noun(), if self.kind.is_book() { ", but for capitals" } else { "" });
        let advice =
            format!("Have one of them renamed, or leave one out by a `[[landing.{noun}]]` with `drop = true`.");
        Err(of_file("duplicate_member", &format!("it would come out under the name of another{but}"), &advice))
    }

    /// The name under which a member comes out; a sheet's is its own, as a file's.
    fn name_out(&self, name: &str) -> String {
        let of_file = if self.kind.is_book() { format!("{name}.csv") } else { name.to_owned() };
        name::of_output(&of_file, self.writing())
    }

    /// How members are written; what is around them all is written by itself.
    fn writing(&self) -> Writing {
        Writing { format: self.format, ..Writing::default() }
    }

    fn all_policies(&self) -> impl Iterator<Item = &Policy> {
        let of_rules = self.rules.iter().filter_map(|rule| rule.policy.as_ref());
        self.policies.iter().chain(of_rules)
    }

    fn is_randomized(&self) -> bool {
        self.all_policies().flat_map(|policy| &policy.columns).any(|rule| rule.mask.is_randomized())
    }
}

fn not_anonymous() -> Fault {
    let sentence = "the policy asks for anonymity, and members of an archive would each have it for themselves only";
    of_file("unsupported_member", sentence, "Have the files sent by themselves.")
}

fn randomized() -> Fault {
    let sentence = "the policy adds noise, and a tar archive tells the length of a member before it is made";
    of_file("unsupported_member", sentence, "Have a zip archive sent, or mask by `round` instead of `noise`.")
}

const ADVICE: &str = "Have the archive made anew, of plain files only.";
const ONE_SHEET: &str = "Name the sheet by `sheet` in the landing's configuration (`--sheet` on the command line), or have \
                         the spreadsheet sent by itself.";

impl Tally {
    /// Columns go by their member's rule: a member's name may be personal data.
    fn add_columns(&mut self, output: usize, pattern: &str, made: OutputReport) {
        for column in made.columns {
            let column = ColumnReport { name: format!("{pattern}: {}", column.name), ..column };
            if !self.columns[output].contains(&column) {
                self.columns[output].push(column);
            }
        }
    }
}

/// Says which member a fault is in, by its number: a member's name may be personal data.
fn of_member(fault: Fault, noun: &str, number: usize) -> Fault {
    let fault = match fault.code.as_str() {
        // The archive itself was recognised.
        code if code == super::UNRECOGNISED.0 => Fault { code: "unrecognised_member".to_owned(), ..fault },
        // Rules for sheets count for a spreadsheet by itself only.
        "many_sheets" => Fault { code: "unsupported_member".to_owned(), advice: ONE_SHEET.to_owned(), ..fault },
        _ => fault,
    };
    Fault { sentence: format!("{noun} {number}: {}", fault.sentence), ..fault }
}

fn named(failure: Failure, noun: &str, number: usize) -> Failure {
    match failure {
        Failure::Reject(fault) => Failure::Reject(of_member(fault, noun, number)),
        failure => failure,
    }
}
