use super::*;
use crate::pipeline::{DigestKind, InputReport, Verified};
use crate::seal::Identities;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use std::ffi::OsStr;
use std::io::{ErrorKind, Write};

fn sign(message: &[u8]) -> String {
    format!("{:x}", Sha256::digest(message))
}

fn signed(message: &[u8], armoured: &str) -> bool {
    sign(message) == armoured
}

fn finished(dir: &Path, second: i64, content: &[u8]) -> Finished {
    let now = Timestamp::from_second(second).unwrap();
    output(dir, JobId::claimed_at(now), None, content)
}

/// One job with a main output and two views.
fn trio(dir: &Path, job: JobId) -> Vec<Finished> {
    [None, Some("a"), Some("b")].map(|view| output(dir, job, view, view.unwrap_or("main").as_bytes())).into()
}

fn output(dir: &Path, job: JobId, view: Option<&str>, content: &[u8]) -> Finished {
    let now = job.claim_time();
    let incoming = dir.join(INCOMING).join(format!("{job}.{}.age", view.unwrap_or("main")));
    fs::write(&incoming, content).unwrap();
    let path = object_path("l", Path::new("sub"), job, OsStr::new("people.csv"), view, false);
    let receipt = Receipt {
        receipt_version: RECEIPT_VERSION,
        job,
        landing: "l".into(),
        view: view.map(str::to_owned),
        original_name: "people.csv".into(),
        arrived_at: now,
        claimed_at: now,
        sealed_at: now,
        input: InputReport { digest: None, digest_kind: DigestKind::None, bytes: 1, format: "csv".into() },
        output: ReceiptOutput {
            path: path.to_str().unwrap().into(),
            sha256: format!("{:x}", Sha256::digest(content)),
            bytes: content.len() as u64,
            format: "csv".into(),
        },
        rows_in: 1,
        rows_out: 1,
        rows_suppressed: 0,
        anonymity: None,
        columns: vec![],
        policy: Some(ReceiptPolicy { name: "p".into(), sha256: "0".into() }),
        recipients: vec![],
        verify: Verified::default(),
        veild: "0".into(),
        amended: Vec::new(),
    };
    Finished { incoming, receipt }
}

fn publish_all(dir: &Path, jobs: Vec<Vec<Finished>>) -> Result<Vec<Published>, PathError> {
    let published = publish::publish(dir, &jobs, &sign, &signed)?;
    Ok(published.into_iter().flatten().map(|(_, published)| published).collect())
}

fn publish_one(dir: &Path, finished: &Finished) -> Result<Published, PathError> {
    let again = Finished { incoming: finished.incoming.clone(), receipt: finished.receipt.clone() };
    Ok(publish_all(dir, vec![vec![again]])?.remove(0))
}

fn vault() -> (tempfile::TempDir, PathBuf) {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("v");
    prepare(&dir).unwrap();
    (temp, dir)
}

fn whats(dir: &Path, identity: Option<&[u8]>) -> Vec<String> {
    let identities = identity.map(|identity| Identities::parse(identity).unwrap());
    let evidence = Evidence { identities: identities.as_ref(), ..Evidence::default() };
    verify::verify_with(dir, &signed, evidence, &|_, _| {})
        .unwrap()
        .problems
        .into_iter()
        .map(|problem| problem.what)
        .collect()
}

#[test]
fn publishes_batches_small_and_large() {
    let (_temp, dir) = vault();
    for (start, count) in [(1_760_000_000, 2), (1_770_000_000, 20)] {
        let batch: Vec<_> = (0..count).map(|i| finished(&dir, start + i, b"sealed")).collect();
        let receipts: Vec<_> = batch.iter().map(|finished| finished.receipt.clone()).collect();
        let published = publish_all(&dir, batch.into_iter().map(|finished| vec![finished]).collect()).unwrap();
        for (published, receipt_given) in published.iter().zip(receipts) {
            let found = find_with(&dir, &published.object, &signed).unwrap();
            assert_eq!(found, (receipt_given, published.clone()));
            let (receipt, signature) = siblings(&dir.join(&published.object)).unwrap();
            for path in [&dir.join(&published.object), &receipt, &signature] {
                assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o440);
            }
            assert!(receipt.to_str().unwrap().ends_with(&format!("people.{}.csv.receipt.json", published.job)));
            assert!(fs::read(&receipt).unwrap().ends_with(b"}\n"));
        }
    }
    assert_eq!(fs::read_dir(dir.join(INCOMING)).unwrap().count(), 0);
    let entries = list(&dir).unwrap();
    assert_eq!(entries.len(), 22);
    assert!(entries.is_sorted_by_key(|entry| entry.receipt.as_ref().unwrap().job));
    assert_eq!(whats(&dir, None), Vec::<String>::new());
}

#[test]
fn converges_from_every_partial_state() {
    for state in 0..5 {
        let (_temp, dir) = vault();
        let finished = finished(&dir, 1_760_000_000, b"sealed");
        let object = dir.join(&finished.receipt.output.path);
        let (receipt, signature) = siblings(&object).unwrap();
        if state > 0 {
            fs::write(dir.join(INCOMING).join(format!("{}.age.receipt", finished.receipt.job)), "{").unwrap();
        }
        if state > 1 {
            fs::create_dir_all(object.parent().unwrap()).unwrap();
        }
        if state > 2 {
            fs::write(&receipt, "of an earlier attempt").unwrap();
        }
        if state > 3 {
            fs::write(&signature, "of an earlier attempt").unwrap();
        }
        publish_one(&dir, &finished).unwrap();
        assert_eq!(whats(&dir, None), Vec::<String>::new(), "{state}");
    }
}

#[test]
fn a_visible_object_and_its_receipt_are_never_replaced() {
    let (_temp, dir) = vault();
    let mut finished = finished(&dir, 1_760_000_000, b"sealed");
    let first = publish_one(&dir, &finished).unwrap();
    fs::write(&finished.incoming, "another").unwrap();
    finished.receipt.rows_in = 7;
    assert_eq!(publish_one(&dir, &finished).unwrap(), first, "the earlier one counts");
    assert!(verify::check(&dir, &first.object, &signed, &|_| {}).is_ok());
    // Not one of ours: nothing is said about it, and it stays.
    let receipt = siblings(&dir.join(&first.object)).unwrap().0;
    fs::remove_file(&receipt).unwrap();
    assert_eq!(publish_one(&dir, &finished).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(fs::read(dir.join(&first.object)).unwrap(), b"sealed");
}

#[test]
fn an_unannounced_object_of_another_content_gives_way() {
    let (_temp, dir) = vault();
    let mut finished = finished(&dir, 1_760_000_000, b"sealed");
    publish_one(&dir, &finished).unwrap();
    fs::write(&finished.incoming, "sealed again").unwrap();
    finished.receipt.input.bytes = 2;
    finished.receipt.output.bytes = 12;
    finished.receipt.output.sha256 = sign(b"sealed again");
    let second = publish_one(&dir, &finished).unwrap();
    assert_eq!(fs::read(dir.join(&second.object)).unwrap(), b"sealed again");
    assert_eq!(whats(&dir, None), Vec::<String>::new());
}

/// What is left when the process dies after `shown` of a job's three objects have been renamed.
fn cut_off(dir: &Path, shown: usize) -> Vec<PathBuf> {
    let outputs = trio(dir, JobId::claimed_at(Timestamp::from_second(1_760_000_000).unwrap()));
    let objects: Vec<PathBuf> = outputs.iter().map(|it| dir.join(&it.receipt.output.path)).collect();
    let incoming: Vec<PathBuf> = outputs.iter().map(|it| it.incoming.clone()).collect();
    intent::write(dir, &outputs).unwrap();
    let intent = dir.join(INCOMING).join(format!("{}.intent", outputs[0].receipt.job));
    let kept = fs::read(&intent).unwrap();
    publish_all(dir, vec![outputs]).unwrap();
    fs::write(&intent, kept).unwrap();
    // The main output comes last.
    for (object, incoming) in objects.iter().zip(incoming).take(3 - shown) {
        fs::rename(object, incoming).unwrap();
    }
    objects
}

fn recover_all(dir: &Path) {
    recover(dir, |_| Ok::<_, PathError>(false)).unwrap();
    assert_eq!(fs::read_dir(dir.join(INCOMING)).unwrap().count(), 0);
}

#[test]
fn a_cut_off_publication_becomes_visible_as_a_whole_or_not_at_all() {
    for shown in 0..=3 {
        let (_temp, dir) = vault();
        let objects = cut_off(&dir, shown);
        recover_all(&dir);
        let visible = objects.iter().filter(|object| object.exists()).count();
        assert_eq!(visible, if shown == 0 { 0 } else { 3 }, "{shown} shown");
        assert_eq!(whats(&dir, None), Vec::<String>::new(), "{shown} shown");
    }
}

#[test]
fn what_cannot_be_completed_is_taken_back() {
    for lost in [true, false] {
        let (_temp, dir) = vault();
        let objects = cut_off(&dir, 2);
        let main = fs::read_dir(dir.join(INCOMING)).unwrap().map(|it| it.unwrap().path());
        let main = main.into_iter().find(|path| path.to_string_lossy().ends_with("main.age")).unwrap();
        // Gone, or half of what the next attempt has begun to write there.
        fs::remove_file(&main).unwrap();
        if !lost {
            fs::write(&main, "ma").unwrap();
        }
        recover_all(&dir);
        assert!(objects.iter().all(|object| !object.exists()));
        assert_eq!(whats(&dir, None), Vec::<String>::new());
    }
}

#[test]
fn recovery_leaves_recorded_jobs_alone() {
    let (_temp, dir) = vault();
    let objects = cut_off(&dir, 3);
    // Somebody has moved an object elsewhere since.
    fs::remove_file(&objects[1]).unwrap();
    recover(&dir, |_| Ok::<_, PathError>(true)).unwrap();
    assert!(objects[0].exists() && objects[2].exists());
}

#[test]
fn an_attempt_completes_what_an_earlier_one_has_shown() {
    let (_temp, dir) = vault();
    let job = JobId::claimed_at(Timestamp::from_second(1_760_000_000).unwrap());
    let view = publish_one(&dir, &trio(&dir, job)[1]).unwrap();
    let published = publish_all(&dir, vec![trio(&dir, job)]).unwrap();
    assert_eq!((published.len(), &published[1]), (3, &view));
    assert_eq!(fs::read_dir(dir.join(INCOMING)).unwrap().count(), 0);
    assert_eq!(whats(&dir, None), Vec::<String>::new());
    assert_eq!(list(&dir).unwrap().len(), 3);
}

#[test]
fn paths_out_of_the_vault_are_refused() {
    let (_temp, dir) = vault();
    let mut finished = finished(&dir, 1_760_000_000, b"sealed");
    finished.receipt.output.path = "../x.age".into();
    assert_eq!(publish_one(&dir, &finished).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn verify_names_what_is_wrong() {
    let one = |harm: &dyn Fn(&Path, &Path, &Path)| {
        let (_temp, dir) = vault();
        let published = publish_one(&dir, &finished(&dir, 1_760_000_000, b"sealed")).unwrap();
        let object = dir.join(&published.object);
        let (receipt, signature) = siblings(&object).unwrap();
        harm(&object, &receipt, &signature);
        whats(&dir, None).join("; ")
    };
    let replace = |path: &Path, content: &str| {
        fs::remove_file(path).unwrap();
        fs::write(path, content).unwrap();
    };
    assert!(one(&|_, receipt, _| fs::remove_file(receipt).unwrap()).contains("missing receipt"));
    assert!(one(&|_, receipt, _| replace(receipt, "{}")).contains("bad signature"));
    assert!(one(&|_, _, signature| replace(signature, "x")).contains("bad signature"));
    assert!(one(&|object, _, _| replace(object, "SEALED")).contains("digest"));
    assert!(one(&|object, _, _| replace(object, "longer than before")).contains("size"));
    assert!(one(&|object, _, _| fs::remove_file(object).unwrap()).contains("without an object"));
    let moved = one(&|object, receipt, signature| {
        for path in [object, receipt, signature] {
            let name = path.file_name().unwrap().to_str().unwrap().replace("people", "other");
            fs::rename(path, path.with_file_name(name)).unwrap();
        }
    });
    assert_eq!(moved, "the receipt is of another path");
}

#[test]
fn verify_decrypts_when_it_can() {
    use secrecy::ExposeSecret;
    let identity = age::x25519::Identity::generate();
    let recipients = crate::seal::Recipients::parse(&[identity.to_public().to_string()]).unwrap();
    let mut sealer = crate::seal::Sealer::new(&recipients, Vec::new()).unwrap();
    sealer.write_all(b"plain").unwrap();
    let (sealed, _) = sealer.finish().unwrap();
    let (_temp, dir) = vault();
    let mut finished = finished(&dir, 1_760_000_000, &sealed);
    finished.receipt.recipients = vec![identity.to_public().to_string()];
    publish_one(&dir, &finished).unwrap();
    let secret = identity.to_string();
    assert_eq!(whats(&dir, Some(secret.expose_secret().as_bytes())), Vec::<String>::new());
    let other = age::x25519::Identity::generate();
    let secret = other.to_string();
    let identities = Identities::parse(secret.expose_secret().as_bytes()).unwrap();
    let evidence = Evidence { identities: Some(&identities), ..Evidence::default() };
    let verdict = verify::verify_with(&dir, &signed, evidence, &|_, _| {}).unwrap();
    assert_eq!((verdict.sealed_to_others, verdict.problems), (1, vec![]));
    // A receipt that names a recipient who cannot open the object is a lie.
    take_back(&dir, Path::new(&finished.receipt.output.path)).unwrap();
    fs::write(&finished.incoming, &sealed).unwrap();
    finished.receipt.recipients.push(other.to_public().to_string());
    publish_one(&dir, &finished).unwrap();
    let whats = whats(&dir, Some(secret.expose_secret().as_bytes()));
    assert_eq!(whats, ["does not decrypt: none of the identities opens this object"]);
}

#[test]
fn a_receipt_of_a_newer_version_asks_for_an_upgrade() {
    let (_temp, dir) = vault();
    let mut finished = finished(&dir, 1_760_000_000, b"sealed");
    finished.receipt.receipt_version = 4;
    publish_one(&dir, &finished).unwrap();
    assert_eq!(whats(&dir, None), ["its receipt (version 4) was written by a newer veild; upgrade veild"]);
}

#[test]
fn recover_empties_incoming_only() {
    let (_temp, dir) = vault();
    publish_one(&dir, &finished(&dir, 1_760_000_000, b"sealed")).unwrap();
    finished(&dir, 1_760_000_001, b"left over");
    recover_all(&dir);
    assert_eq!(list(&dir).unwrap().len(), 1);
}

#[test]
fn a_pipe_among_receipts_or_intents_holds_no_start_up() {
    let pipe = |path: &Path| {
        fs::remove_file(path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    };
    let (_temp, dir) = vault();
    let objects = cut_off(&dir, 1);
    pipe(&siblings(&objects[0]).unwrap().0);
    recover_all(&dir);
    assert!(objects.iter().all(|object| !object.exists()), "what cannot be checked starts over as a whole");
    let (_temp, dir) = vault();
    cut_off(&dir, 1);
    let intent = fs::read_dir(dir.join(INCOMING)).unwrap().map(|it| it.unwrap().path());
    let intent = intent.into_iter().find(|path| path.extension().is_some_and(|it| it == "intent")).unwrap();
    pipe(&intent);
    let refused = recover(&dir, |_| Ok::<_, PathError>(false)).unwrap_err();
    assert_eq!((refused.path, refused.source.to_string()), (intent, "not a regular file".to_owned()));
}

#[test]
fn what_is_damaged_is_read_once_and_holds_up_nobody() {
    use crate::vault::prune::{Look, Retention, survey};
    let (temp, dir) = vault();
    crate::keys::generate_signing(&temp.path().join("k")).unwrap();
    let key = SigningKey::load(&temp.path().join("k")).unwrap();
    let object = dir.join(publish_one(&dir, &finished(&dir, 1_760_000_000, b"sealed")).unwrap().object);
    let (receipt, signature) = siblings(&object).unwrap();
    fs::remove_file(&signature).unwrap();
    fs::write(&signature, key.sign(NAMESPACE, &fs::read(&receipt).unwrap())).unwrap();
    let damage = |content: &[u8]| {
        fs::remove_file(&object).unwrap();
        fs::write(&object, content).unwrap();
    };
    let retention = Retention { older_than: Some(std::time::Duration::ZERO), ..Retention::default() };
    let mut damaged = Damaged::default();
    let mut look = || {
        let read = std::sync::atomic::AtomicU64::new(0);
        let report = |bytes| {
            // Whoever changes something need not wait for it.
            assert!(lock::Lock::try_alone(&dir).unwrap().is_some());
            read.store(bytes, std::sync::atomic::Ordering::Relaxed);
        };
        let look = Look { note: &mut |_| {}, report: &report, damaged: &mut damaged };
        let found = survey(&dir, &retention, Timestamp::now(), &key.verifying(), Vec::new(), look).unwrap();
        (found.objects, found.problems.len(), read.into_inner())
    };
    lock::Lock::alone(&dir).unwrap();
    assert_eq!(look(), (1, 0, 6));
    damage(b"Sealed");
    assert_eq!((look(), look()), ((0, 1, 6), (0, 1, 0)));
    damage(b"sealed, and more");
    assert_eq!((look(), look()), ((0, 1, 16), (0, 1, 0)));
    damage(b"sealed");
    assert_eq!(look(), (1, 0, 6));
}
