//! Outputs that are made anonymous: a first reading that counts, and what the second one then does.
//!
//! The first reading looks at the quasi-identifiers and the sensitive columns only, and at what rules about rows look at.
//! It goes the way of every reading with a sieve that lets no row through.

use std::fs::File;
use std::io::Seek;
use std::sync::Arc;

use super::expansion::Expansion;
use super::fault::{internal, of_file};
use super::sieve::Sieve;
use super::source::retry;
use super::{DigestKind, Failure, Fault, Input, Outgoing, Output, Reading, Sink, process_as_found};
use crate::anonymity::{Anonymity, Decision, Mode, Tally, Unmet, decide};
use crate::keys::MaskingKeys;
use crate::pipeline::Compress;
use crate::policy::Policy;

/// What is read, and with what means.
#[derive(Clone, Copy)]
pub(super) struct Means<'a> {
    pub keys: &'a MaskingKeys,
    pub threads: usize,
    pub progress: &'a (dyn Fn(u64) + Sync),
}

/// Whether an output's rows depend on all rows of the file.
pub(super) fn is_enforced(policy: &Policy) -> bool {
    policy.anonymity.as_ref().is_some_and(|asked| asked.mode == Mode::Enforce)
}

/// The outputs ready for the reading that makes them, each with the count of what conversions may make; the input is read
/// once before where a policy wants that.
pub(super) fn outgoing(
    input: &Input,
    (outputs, converted): (Vec<Output>, Vec<Arc<Expansion>>),
    means: Means<'_>,
) -> Result<Vec<Outgoing>, Failure> {
    let enforced = outputs.iter().map(|output| &output.policy).filter(|policy| is_enforced(policy));
    let enforced = enforced.map(|policy| (policy, None)).collect();
    let mut tallies = count_all(&input.file, &input.reading, enforced, means)?.into_iter();
    let mut all = Vec::with_capacity(outputs.len());
    for (Output { policy, writing, sink }, expansion) in outputs.into_iter().zip(converted) {
        let (policy, sieve) = match is_enforced(&policy) {
            false => {
                let sieve = Sieve::of(&policy, means.keys);
                (policy, sieve)
            }
            true => {
                let tally = tallies.next().ok_or_else(|| internal("a tally is missing"))?;
                let bytes = input.file.metadata().map_or(0, |metadata| metadata.len());
                let decision = choose(tally, &policy, &|| (means.progress)(bytes)).map_err(Failure::Reject)?;
                crate::faults::point("levels_chosen");
                (policy.at_levels(&decision.levels), Some(Sieve::choosing(&policy, decision, means.keys)))
            }
        };
        all.push(Outgoing { policy, writing, sink, expansion, sieve: sieve.map(Arc::new) });
    }
    Ok(all)
}

/// Chooses what is done to the rows that were counted.
///
/// # Errors
///
/// A [`Fault`] for a file of which what the policy asks for cannot be had.
pub fn choose(tally: Tally, policy: &Policy, progress: &dyn Fn()) -> Result<Decision, Fault> {
    let Some(asked) = &policy.anonymity else {
        return Err(of_file("bad_policy", "the policy asks for no anonymity", "Mend the policy."));
    };
    decide(tally, asked, progress).map_err(|unmet| unmet_by(policy, asked, unmet))
}

/// Counts the rows of a file by what a policy asks its anonymity of; with `population` those of that file, too.
///
/// # Errors
///
/// As [`super::process`] has them.
pub fn count(
    file: &File,
    population: Option<&File>,
    reading: &Reading,
    policy: &Policy,
    keys: &MaskingKeys,
    threads: usize,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Tally, Failure> {
    let means = Means { keys, threads, progress };
    let only = |tallies: Vec<Tally>| tallies.into_iter().next().ok_or_else(|| internal("a tally is missing"));
    let tally = only(count_all(file, reading, vec![(policy, None)], means)?)?;
    match population {
        None => Ok(tally),
        Some(file) => only(count_all(file, reading, vec![(policy, Some(tally.with_population()))], means)?),
    }
}

/// Counts a file for several policies in one reading; a tally that was begun goes on.
fn count_all(
    mut file: &File,
    reading: &Reading,
    counted: Vec<(&Policy, Option<Tally>)>,
    means: Means<'_>,
) -> Result<Vec<Tally>, Failure> {
    if counted.is_empty() {
        return Ok(Vec::new());
    }
    let doing = |error: std::io::Error| retry("read the input twice", &error);
    if !file.metadata().map_err(doing)?.is_file() {
        return Err(Failure::Reject(read_once()));
    }
    let again = file.try_clone().map_err(doing)?;
    let (mut sieves, mut outgoing) = (Vec::new(), Vec::new());
    for (policy, begun) in counted {
        let sieve = Arc::new(Sieve::counting(policy, means.keys, begun));
        sieves.push(sieve.clone());
        let (policy, sieve) = (policy.for_counting(), Some(sieve));
        // Nothing is converted where nothing comes out.
        let expansion = Arc::new(Expansion::of(u64::MAX, reading.limits));
        outgoing.push(Outgoing { policy, writing: Compress::None.into(), sink: Sink::Discard, expansion, sieve });
    }
    let input = Input { file: again, reading: reading.clone(), digest: DigestKind::None };
    process_as_found(input, outgoing, means.keys, means.threads, means.progress)?;
    crate::faults::point("counted");
    file.rewind().map_err(doing)?;
    let tallies = sieves.into_iter().map(|sieve| Arc::into_inner(sieve).and_then(Sieve::into_tally));
    tallies.map(|tally| tally.ok_or_else(|| internal("a tally is still in use"))).collect()
}

fn read_once() -> Fault {
    let sentence = "what the policy asks of the rows takes two readings, and this is a pipe or a member of an archive";
    of_file("read_once", sentence, "Have it sent as a file of its own.")
}

fn unmet_by(policy: &Policy, asked: &Anonymity, unmet: Unmet) -> Fault {
    let Unmet { rows, suppressed, most_suppressed, frozen } = unmet;
    let levels = if frozen { "at the levels of the landing's first file" } else { "even at the coarsest levels" };
    let mut demands = vec![format!("k = {}", asked.k)];
    for sensitive in &asked.sensitive {
        demands.extend(sensitive.l.map(|l| format!("l = {l} of {:?}", sensitive.column)));
        demands.extend(sensitive.t.map(|t| format!("t = {t} of {:?}", sensitive.column)));
    }
    let sentence = format!(
        "policy {:?} asks for {}: {levels} {suppressed} of {rows} rows would have to be left out, and {most_suppressed} may be",
        policy.name,
        demands.join(", ")
    );
    let advice = if frozen {
        "Look whether the file is like the first one; raise `max_suppressed`, or change `freeze` to choose levels anew."
    } else {
        "Have more rows sent together, name fewer or coarser quasi-identifiers, or raise `max_suppressed`."
    };
    of_file("not_anonymous", &sentence, advice)
}
