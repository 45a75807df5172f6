//! Sealed checkpoints: what whoever takes the host later can still change, and what shows it.

use super::epoch::{EpochKey, Secret};
use super::*;

/// A sealed trail, with what its operator keeps elsewhere.
pub(super) struct Sealed {
    pub fixture: Fixture,
    secret: PathBuf,
}

impl Sealed {
    pub fn new() -> Sealed {
        let fixture = Fixture::new();
        let secret = Secret::generate();
        EpochKey::create(&fixture.epoch_key(), &secret).unwrap();
        let file = fixture.dir.path().join("secret");
        fs::write(&file, secret.text().as_str()).unwrap();
        Sealed { fixture, secret: file }
    }

    /// Three runs of a daemon with two records each.
    fn three_runs(&self) {
        for run in 0..3 {
            let mut trail = self.fixture.open(1200).unwrap();
            trail.append(&[record(run * 10)]).unwrap();
            trail.append(&[record(run * 10 + 1)]).unwrap();
            trail.checkpoint(at(run * 10 + 2), true).unwrap();
        }
    }

    pub fn against(&self, checkpoint: Option<&Path>) -> Verdict {
        let evidence = || match checkpoint {
            Some(file) => Evidence::default().checkpoints(file),
            None => Evidence::default().secret(&self.secret, &self.fixture.epoch_key()),
        };
        verify_with(&self.fixture.trail_dir(), &self.fixture.key.verifying(), evidence, &|_, _| {}).unwrap()
    }

    pub fn problems(&self) -> Vec<Problem> {
        self.against(None).problems
    }

    /// Everything that is left, from a record on, written anew by whoever has the host's current keys.
    pub fn rewrite_from(&self, seq: u64) {
        let dir = self.fixture.trail_dir();
        let all = lines_after(&dir, 0).unwrap();
        let (first, mut prev) = segment::link(&all[0]).map(|(first, prev)| (first, prev.to_owned())).unwrap();
        for (_, path) in segment::list(&dir).unwrap() {
            fs::remove_file(path).unwrap();
        }
        let mut bytes = Vec::new();
        for line in all {
            let number = line["veild"]["seq"].as_u64().unwrap();
            let at: Timestamp = line["@timestamp"].as_str().unwrap().parse().unwrap();
            let line = if let Some(json) = line["veild"].get("checkpoint") {
                self.forge(checkpoint::Checkpoint::parse(json).unwrap(), &prev, number >= seq)
            } else {
                let name = if number == seq { "another.csv" } else { "people.csv" };
                let mut record = Record::new(at, Action::FileSealed, Outcome::Success).file(name);
                if let Some(pruned) = line["veild"].get("pruned") {
                    record = Record::new(at, Action::AuditPruned, Outcome::Success).veild("pruned", pruned.clone());
                }
                segment::render(&record, Some("host"), number, &prev)
            };
            prev = segment::hash(&line);
            bytes.extend_from_slice(&line);
        }
        fs::write(dir.join(segment::file_name(first)), bytes).unwrap();
    }

    /// A checkpoint for another chain, as good as the host's current keys make it.
    fn forge(&self, mut forged: checkpoint::Checkpoint, prev: &str, reseal: bool) -> Vec<u8> {
        let epoch = EpochKey::load(&self.fixture.epoch_key()).unwrap().unwrap();
        prev.clone_into(&mut forged.head);
        if reseal {
            let mac = epoch.mac(&forged.sealed_message());
            forged.seal.iter_mut().for_each(|seal| seal.mac.clone_from(&mac));
        }
        forged.signature = self.fixture.key.sign(NAMESPACE, &forged.signed_message()).trim_end().to_owned();
        segment::render(&forged.record(), forged.host.as_deref(), forged.seq + 1, prev)
    }
}

#[test]
fn a_sealed_trail_without_its_key_is_not_gone_on_with_however_young_its_segment() {
    let sealed = Sealed::new();
    // Rotated at the third record, and killed before the new segment has a checkpoint of its own.
    let mut trail = sealed.fixture.open(1).unwrap();
    trail.append(&[record(1)]).unwrap();
    trail.append(&[record(2)]).unwrap();
    drop(trail);
    fs::remove_file(sealed.fixture.epoch_key()).unwrap();
    assert!(sealed.fixture.open(1).is_err());
}

#[test]
fn a_sealed_trail_verifies_with_and_without_its_secret() {
    let sealed = Sealed::new();
    sealed.three_runs();
    let verdict = sealed.against(None);
    assert_eq!(verdict.problems, []);
    assert_eq!((verdict.sealed_checkpoints, verdict.trusted_seq), (verdict.checkpoints, verdict.last_seq));
    assert_eq!(sealed.fixture.verify().problems, []);
    fs::write(&sealed.secret, Secret::generate().text().as_str()).unwrap();
    assert!(sealed.problems()[0].what.contains("another secret"));
}

#[test]
fn a_trail_written_anew_with_the_hosts_keys_is_found_by_secret_or_old_checkpoint() {
    let sealed = Sealed::new();
    sealed.three_runs();
    let kept = sealed.fixture.dir.path().join("kept");
    let lines = lines_after(&sealed.fixture.trail_dir(), 0).unwrap();
    let last = lines.last().unwrap();
    // As the operational log has it.
    let log = serde_json::json!({"fields": {"checkpoint": last["veild"]["checkpoint"].to_string()}});
    fs::write(&kept, format!("{log}\n")).unwrap();
    assert_eq!(sealed.against(Some(&kept)).problems, []);
    fs::write(&kept, format!("INFO checkpoint code=\"x\" checkpoint={}\n", last["veild"]["checkpoint"])).unwrap();
    assert_eq!(sealed.against(Some(&kept)).problems, []);
    // A log of the whole time, which has some lines twice.
    let points = lines.iter().filter_map(|line| line["veild"].get("checkpoint")).map(Value::to_string);
    let points: Vec<String> = points.collect();
    fs::write(&kept, [points.as_slice(), &points[1..]].concat().join("\n")).unwrap();
    assert_eq!(sealed.against(Some(&kept)).problems, []);
    fs::write(&kept, last["veild"]["checkpoint"].to_string()).unwrap();
    sealed.rewrite_from(2);
    assert_eq!(sealed.fixture.verify().problems, [], "the host's keys alone vouch for it");
    let problems = sealed.problems();
    assert!(problems[0].what.contains("written anew later"), "{problems:?}");
    assert!(sealed.against(None).trusted_seq < 2);
    let problems = sealed.against(Some(&kept)).problems;
    assert!(problems.len() == 1 && problems[0].what.contains("was rewritten"), "{problems:?}");
}

#[test]
fn an_end_that_was_cut_off_or_rolled_back_is_found() {
    let sealed = Sealed::new();
    sealed.three_runs();
    let kept = sealed.fixture.dir.path().join("kept");
    let last = lines_after(&sealed.fixture.trail_dir(), 0).unwrap().pop().unwrap();
    fs::write(&kept, last.to_string()).unwrap();
    let segments = segment::list(&sealed.fixture.trail_dir()).unwrap();
    assert!(segments.len() > 2, "{segments:?}");
    fs::remove_file(&segments.last().unwrap().1).unwrap();
    assert_eq!(sealed.fixture.verify().problems, [], "nothing in the trail itself tells");
    assert!(sealed.problems()[0].what.contains("cut off"), "{:?}", sealed.problems());
    assert!(sealed.against(Some(&kept)).problems[0].what.contains("rolled back"));
    // The daemon goes on under the epoch that its key is of: the gap stays for ever.
    sealed.three_runs();
    assert!(sealed.problems()[0].what.contains("checkpoints were removed"), "{:?}", sealed.problems());
    fs::remove_file(sealed.fixture.epoch_key()).unwrap();
    assert!(sealed.problems().last().unwrap().what.contains("is gone"));
    let refused = sealed.fixture.open(1 << 20).err().unwrap().to_string();
    assert!(refused.contains("epoch key is gone"), "{refused}");
}

#[test]
fn what_was_written_before_the_first_seal_still_verifies_and_seals_never_stop() {
    let sealed = Sealed::new();
    let key = sealed.fixture.epoch_key();
    let aside = sealed.fixture.dir.path().join("aside");
    fs::rename(&key, &aside).unwrap();
    sealed.fixture.closed();
    fs::rename(&aside, &key).unwrap();
    sealed.three_runs();
    assert_eq!(sealed.problems(), []);
    // A checkpoint without a seal behind a sealed one, signed with the host's key.
    let all = lines_after(&sealed.fixture.trail_dir(), 0).unwrap();
    let (seq, dir) = (all.len() as u64, sealed.fixture.trail_dir());
    let (_, path) = segment::list(&dir).unwrap().pop().unwrap();
    let text = fs::read(&path).unwrap();
    let head = segment::hash(text.split_inclusive(|byte| *byte == b'\n').next_back().unwrap());
    let bare = checkpoint::Checkpoint::new(seq, &head, at(99), "host", None, &sealed.fixture.key);
    append_raw(&path, &segment::render(&bare.record(), bare.host.as_deref(), seq + 1, &head));
    assert!(sealed.fixture.verify().problems[0].what.contains("not sealed"), "{:?}", sealed.fixture.verify().problems);
}

#[test]
fn a_next_epoch_that_cannot_be_reached_stops_what_follows_and_doubles_nothing() {
    let sealed = Sealed::new();
    let mut trail = sealed.fixture.open(1 << 20).unwrap();
    let aside = sealed.fixture.dir.path().join("aside");
    fs::rename(sealed.fixture.epoch_key(), &aside).unwrap();
    trail.append(&[record(700)]).unwrap();
    assert!(trail.append(&[record(701)]).is_err(), "the key of the last checkpoint is still there");
    fs::rename(&aside, sealed.fixture.epoch_key()).unwrap();
    trail.append(&[record(701)]).unwrap();
    trail.checkpoint(at(702), true).unwrap();
    drop(trail);
    assert_eq!((sealed.problems(), sealed.fixture.verify().records), (vec![], 5));
}

#[test]
fn behind_what_was_pruned_nothing_can_be_written_anew() {
    let sealed = Sealed::new();
    let dir = sealed.fixture.trail_dir();
    sealed.fixture.of_days(6);
    let kept = sealed.fixture.dir.path().join("kept");
    let whole = lines_after(&dir, 0).unwrap();
    let points: Vec<&Value> =
        whole.iter().filter_map(|line| line["veild"].get("checkpoint")).filter(|point| point["seq"] != 0).collect();
    let pruned = super::retention::prune(&sealed.fixture, 6);
    let ends = |point: &Value| pruned.iter().any(|stub| point["seq"] == stub.last_seq - 1);
    let first = points.iter().find(|point| !ends(point)).unwrap();
    let last = points[points.len() - 1];
    assert!(first["seq"].as_u64() < pruned.last().map(|stub| stub.last_seq) && first["seq"] != last["seq"]);
    fs::write(&kept, first.to_string()).unwrap();
    let verdict = sealed.against(None);
    assert_eq!(verdict.problems, []);
    assert!(
        verdict.pruned_segments > 2 && verdict.trusted_seq + verdict.unsigned_records == verdict.last_seq,
        "{verdict:?}"
    );
    assert_eq!(verdict.sealed_checkpoints, verdict.checkpoints + verdict.pruned_segments);
    let problems = sealed.against(Some(&kept)).problems;
    assert!(problems.len() == 1 && problems[0].what.contains("was pruned"), "{problems:?}");
    fs::write(&kept, format!("{first}\n{last}\n")).unwrap();
    assert_eq!(sealed.against(Some(&kept)).problems, [], "the later one pins the earlier one too");
    // One of the first version says nothing that the secret could tell.
    let (_, path) = stub::list(&dir).unwrap().pop().unwrap();
    let whole = fs::read_to_string(&path).unwrap();
    let mut old: Value = serde_json::from_str(&whole).unwrap();
    old["stub_version"] = 1.into();
    fs::write(&path, old.to_string()).unwrap();
    assert_eq!(sealed.fixture.verify().problems, []);
    let problems = sealed.problems();
    assert!(problems.len() == 1 && problems[0].what.contains("earlier veild"), "{problems:?}");
    fs::write(&path, whole).unwrap();
    // The last stub leads on to another chain, of which the checkpoint is the best that the host can make today.
    let (_, path) = stub::list(&dir).unwrap().pop().unwrap();
    let genuine = Stub::read(&path).unwrap();
    let line: Value = serde_json::from_str(&genuine.last_line).unwrap();
    let forged =
        sealed.forge(checkpoint::Checkpoint::parse(&line["veild"]["checkpoint"]).unwrap(), &"1".repeat(64), true);
    let mut stub =
        Stub { head: segment::hash(&forged), last_line: String::from_utf8(forged).unwrap(), ..genuine.clone() };
    stub.sign(&sealed.fixture.key);
    stub.write(&dir).unwrap();
    let problems = sealed.problems();
    assert!(problems[0].what.contains("written anew later"), "{problems:?}");
    // A genuine stub, and another chain behind it.
    genuine.write(&dir).unwrap();
    assert_eq!(sealed.problems(), []);
    sealed.rewrite_from(genuine.last_seq + 2);
    assert_eq!(sealed.fixture.verify().problems, [], "the host's keys alone vouch for it");
    let verdict = sealed.against(None);
    assert!(verdict.problems[0].what.contains("written anew later"), "{verdict:?}");
    assert_eq!(verdict.trusted_seq, genuine.last_seq);
}

#[test]
fn a_forged_epoch_neither_spends_the_key_nor_holds_up_a_start() {
    let sealed = Sealed::new();
    sealed.three_runs();
    let (dir, key) = (sealed.fixture.trail_dir(), fs::read(sealed.fixture.epoch_key()).unwrap());
    let (_, path) = segment::list(&dir).unwrap().pop().unwrap();
    let whole = fs::read(&path).unwrap();
    let last = lines_after(&dir, 0).unwrap().pop().unwrap();
    let seq = last["veild"]["seq"].as_u64().unwrap();
    let head = segment::hash(whole.split_inclusive(|byte| *byte == b'\n').next_back().unwrap());
    let genuine = checkpoint::Checkpoint::parse(&last["veild"]["checkpoint"]).unwrap();
    let trusted = sealed.against(None).trusted_seq;
    for epoch in [9000, u64::MAX] {
        let mut forged = checkpoint::Checkpoint { seq, head: head.clone(), ..genuine.clone() };
        forged.seal.iter_mut().for_each(|seal| seal.epoch = epoch);
        let bare = Record::new(at(99), Action::FileSealed, Outcome::Success);
        let bare =
            bare.veild("checkpoint", serde_json::json!({"key": forged.seal.as_ref().unwrap().key, "epoch": epoch}));
        for (forged, said) in [(forged.record(), "was forged"), (bare, "no whole checkpoint")] {
            append_raw(&path, &segment::render(&forged, Some("host"), seq + 1, &head));
            let refused = sealed.fixture.open(1 << 20).err().unwrap().to_string();
            assert!(refused.contains(said) && refused.contains("audit verify"), "{refused}");
            assert_eq!(fs::read(sealed.fixture.epoch_key()).unwrap(), key);
            let verdict = sealed.against(None);
            assert!(verdict.problems.len() == 1 && verdict.problems[0].what.contains("bad checkpoint"), "{verdict:?}");
            assert_eq!(verdict.trusted_seq, trusted);
            fs::write(&path, &whole).unwrap();
        }
    }
    // Signed with the host's key, and still no epoch that a trail ever comes to.
    let mut signed = checkpoint::Checkpoint { seq, head: head.clone(), ..genuine };
    signed.seal.iter_mut().for_each(|seal| seal.epoch = u64::MAX);
    signed.signature = sealed.fixture.key.sign(NAMESPACE, &signed.signed_message()).trim_end().to_owned();
    append_raw(&path, &segment::render(&signed.record(), Some("host"), seq + 1, &head));
    let refused = sealed.fixture.open(1 << 20).err().unwrap().to_string();
    assert!(refused.contains("no trail comes to epoch"), "{refused}");
    fs::write(&path, &whole).unwrap();
    assert_eq!(fs::read(sealed.fixture.epoch_key()).unwrap(), key);
    sealed.three_runs();
    assert_eq!(sealed.problems(), []);
}

#[test]
fn a_key_that_was_restored_goes_on_from_the_last_epoch_that_was_sealed() {
    let sealed = Sealed::new();
    let kept = fs::read(sealed.fixture.epoch_key()).unwrap();
    sealed.three_runs();
    fs::write(sealed.fixture.epoch_key(), kept).unwrap();
    sealed.three_runs();
    assert_eq!(sealed.problems(), []);
}
