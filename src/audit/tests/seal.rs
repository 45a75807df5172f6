//! Sealed checkpoints: what whoever takes the host later can still change, and what shows it.

use super::epoch::{EpochKey, Secret};
use super::*;

/// A sealed trail, with what its operator keeps elsewhere.
struct Sealed {
    fixture: Fixture,
    secret: PathBuf,
}

impl Sealed {
    fn new() -> Sealed {
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

    fn against(&self, checkpoint: Option<&Path>) -> Verdict {
        let evidence = || match checkpoint {
            Some(file) => Evidence::default().checkpoints(file),
            None => Evidence::default().secret(&self.secret, &self.fixture.epoch_key()),
        };
        verify_with(&self.fixture.trail_dir(), &self.fixture.key.verifying(), evidence, &|_, _| {}).unwrap()
    }

    fn problems(&self) -> Vec<Problem> {
        self.against(None).problems
    }

    /// Everything from a record on, written anew by whoever has the host's current keys.
    fn rewrite_from(&self, seq: u64) {
        let dir = self.fixture.trail_dir();
        let all = lines_after(&dir, 0).unwrap();
        for (_, path) in segment::list(&dir).unwrap() {
            fs::remove_file(path).unwrap();
        }
        let options = TrailOptions {
            dir: dir.clone(),
            rotate_size: 1 << 30,
            rotate_daily: false,
            checkpoint_every: Duration::from_secs(600),
            keep: Duration::MAX,
            total_size: u64::MAX,
            epoch_key: self.fixture.epoch_key(),
        };
        let mut bytes = Vec::new();
        let mut prev = segment::GENESIS.to_owned();
        let epoch = EpochKey::load(&options.epoch_key).unwrap().unwrap();
        for line in all {
            let number = line["veild"]["seq"].as_u64().unwrap();
            let at: Timestamp = line["@timestamp"].as_str().unwrap().parse().unwrap();
            let (record, host) = if let Some(json) = line["veild"].get("checkpoint") {
                let mut forged = checkpoint::Checkpoint::parse(json).unwrap();
                forged.head.clone_from(&prev);
                if number >= seq {
                    let mac = epoch.mac(&forged.sealed_message());
                    forged.seal.iter_mut().for_each(|seal| seal.mac.clone_from(&mac));
                }
                forged.signature = self.fixture.key.sign(NAMESPACE, &forged.signed_message()).trim_end().to_owned();
                (forged.record(), None)
            } else {
                let name = if number == seq { "another.csv" } else { "people.csv" };
                (Record::new(at, Action::FileSealed, Outcome::Success).file(name), Some("host"))
            };
            let line = segment::render(&record, host, number, &prev);
            prev = segment::hash(&line);
            bytes.extend_from_slice(&line);
        }
        fs::write(dir.join(segment::file_name(1)), bytes).unwrap();
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
    let bare = checkpoint::Checkpoint::new(seq, &head, at(99), None, &sealed.fixture.key);
    append_raw(&path, &segment::render(&bare.record(), None, seq + 1, &head));
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
