//! One member's way: from the archive through a pipe into the pipeline, and out of it through pipes into each output.

use std::fs::File;
use std::io::{self, Read, Write};
use std::thread;

use super::pack::{Label, Packer};
use super::unpack::{self, BLOCK, Found};
use super::{Archive, Failure};
use crate::pipeline::fault::internal;
use crate::pipeline::source::retry;
use crate::pipeline::tap::Mishap;
use crate::pipeline::{Compress, DigestKind, Input, Output, Reading, Report, Sink, extension, pipe, process};
use crate::policy::Policy;

/// What one output does with a member.
pub(super) struct Side<'p> {
    pub policy: Policy,
    /// Where it goes; absent when only its size is wanted.
    pub packer: Option<&'p mut Packer>,
    pub size: Option<u64>,
}

/// Where an output's bytes come out.
struct Outflow<'p> {
    packer: &'p mut Packer,
    size: Option<u64>,
    content: File,
}

/// Passes a member through.
///
/// # Errors
///
/// Of several failures the one that caused the others.
pub(super) fn pass(
    archive: &Archive<'_>,
    found: Found<'_>,
    sides: Vec<Side<'_>>,
    expanded: &mut u64,
    mishaps: &[Mishap],
) -> Result<Report, Failure> {
    let label = Label { name: found.name, modified: found.modified, zip_time: found.zip_time };
    let (input, feed) = pipe()?;
    let (mut outputs, mut outflows) = (Vec::new(), Vec::new());
    for side in sides {
        let sink = match side.packer {
            None => Sink::Discard,
            Some(packer) => {
                let (content, sink) = pipe()?;
                outflows.push(Outflow { packer, size: side.size, content });
                Sink::Plain(Box::new(sink))
            }
        };
        outputs.push(Output { policy: side.policy, compress: Compress::Same, sink });
    }
    let reading = reading(archive.reading, &label.name);
    let (keys, threads) = (archive.keys, archive.threads);
    thread::scope(|scope| {
        let processing = scope.spawn(move || {
            let input = Input { file: input, reading, digest: DigestKind::None };
            process(input, outputs, keys, threads, &|_| {})
        });
        let append = |mut outflow: Outflow<'_>| outflow.packer.append(&label, outflow.size, &mut outflow.content);
        let appending: Vec<_> = outflows.into_iter().map(|outflow| scope.spawn(move || append(outflow))).collect();
        let fed = self::feed(archive, found.content, feed, expanded);
        let processed = processing.join().unwrap_or_else(|_| Err(internal("the thread of a member panicked")));
        let appended: Vec<_> = appending.into_iter().map(thread::ScopedJoinHandle::join).collect();
        // A panic of ours goes before the broken pipes that it has caused.
        if appended.iter().any(Result::is_err) {
            return Err(internal("the thread of an output panicked"));
        }
        fed?;
        if let Some(failure) = mishaps.iter().find_map(Mishap::take) {
            return Err(failure);
        }
        let report = processed?;
        appended.into_iter().flatten().collect::<io::Result<()>>().map_err(|error| retry("write a member", &error))?;
        Ok(report)
    })
}

/// How a member is read: as a file of that name that lands here, but no archive again.
fn reading(of_archive: &Reading, name: &str) -> Reading {
    let last = name.rsplit('/').next().unwrap_or(name);
    let accept = of_archive.accept.iter().copied().filter(|format| !format.is_archive()).collect();
    Reading { extension: extension(last.as_ref()), accept, members: Vec::new(), ..of_archive.clone() }
}

/// Feeds a member into its pipe; an end of the reader's is no failure of ours.
fn feed(archive: &Archive<'_>, content: &mut dyn Read, mut pipe: File, expanded: &mut u64) -> Result<(), Failure> {
    let mut block = vec![0; BLOCK];
    loop {
        let count = match content.read(&mut block) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return Err(unpack::unreadable(&archive.window, "its content is damaged or cut off")),
        };
        *expanded += count as u64;
        archive.expansion.check(*expanded)?;
        (archive.progress)((*expanded).min(archive.window.size()));
        if pipe.write_all(&block[..count]).is_err() {
            return Ok(());
        }
    }
}
