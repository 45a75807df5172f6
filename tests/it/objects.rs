//! Vaults full of objects of any age, as a daemon would have left them; no tests.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use veild::audit::{Action, Outcome, Record, Trail};
use veild::config::Config;
use veild::job::JobId;
use veild::keys::SigningKey;
use veild::pipeline::{DigestKind, InputReport, Verified};
use veild::seal::{Recipients, Sealer};
use veild::vault::{self, Finished, Receipt, ReceiptOutput};

use crate::sandbox::Sandbox;

/// One object that was put there.
pub struct Object {
    pub job: String,
    /// Relative to the vault.
    pub path: String,
    pub plain: Vec<u8>,
}

/// Days.
pub fn days(count: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * count)
}

/// Publishes objects of this age, sealed to the site's own identity, with their audit records.
pub fn fill(sandbox: &Sandbox, landing: &str, count: usize, age: SignedDuration) -> Vec<Object> {
    let config = Config::load(&sandbox.site("config.toml")).unwrap();
    let key = SigningKey::load(&sandbox.site("signing.key")).unwrap();
    let at = Timestamp::now().checked_sub(age).unwrap();
    let recipients = &config.landings[0].recipients;
    vault::prepare(&config.vault.dir).unwrap();
    let mut trail = Trail::open(veild::daemon::trail_options(&config), key.clone(), at).unwrap();
    let mut objects = Vec::new();
    for index in 0..count {
        let plain = vec![b'a' + (index % 26) as u8; 100 + index * 7];
        let finished = finished(&config, landing, recipients, at, &plain);
        let (receipt, published) =
            vault::publish(&config.vault.dir, &[vec![finished]], &key).unwrap().remove(0).remove(0);
        let record = Record::new(at, Action::FileSealed, Outcome::Success)
            .file(receipt.original_name.as_str())
            .veild("job", json!(receipt.job))
            .veild("landing", landing)
            .veild("object", receipt.output.path.as_str())
            .veild("object_sha256", receipt.output.sha256.as_str())
            .veild("receipt_sha256", published.receipt_sha256);
        trail.append(&[record]).unwrap();
        objects.push(Object { job: receipt.job.to_string(), path: receipt.output.path, plain });
    }
    objects
}

fn finished(config: &Config, landing: &str, recipients: &[String], at: Timestamp, plain: &[u8]) -> Finished {
    let job = JobId::claimed_at(at);
    let incoming = vault::incoming(&config.vault.dir).join(format!("{job}.age"));
    let mut sealer =
        Sealer::new(&Recipients::parse(recipients).unwrap(), fs::File::create(&incoming).unwrap()).unwrap();
    sealer.write_all(plain).unwrap();
    let (_, sealed) = sealer.finish().unwrap();
    let path = vault::object_path(landing, "".as_ref(), job, "people.csv".as_ref(), None, false);
    let receipt = Receipt {
        receipt_version: vault::RECEIPT_VERSION,
        job,
        landing: landing.to_owned(),
        view: None,
        original_name: "people.csv".to_owned(),
        arrived_at: at,
        claimed_at: job.claim_time(),
        sealed_at: at,
        input: InputReport {
            digest: None,
            digest_kind: DigestKind::None,
            bytes: plain.len() as u64,
            format: "csv".to_owned(),
        },
        output: ReceiptOutput {
            path: path.to_str().unwrap().to_owned(),
            sha256: sealed.sha256,
            bytes: sealed.bytes,
            format: "csv".to_owned(),
        },
        rows_in: 1,
        rows_out: 1,
        rows_suppressed: 0,
        anonymity: None,
        columns: Vec::new(),
        policy: None,
        recipients: recipients.to_vec(),
        verify: Verified::default(),
        veild: "0".to_owned(),
        amended: Vec::new(),
    };
    Finished { incoming, receipt }
}

/// Whether object, receipt and signature are all there, or all gone.
pub fn is_there(sandbox: &Sandbox, object: &Object) -> bool {
    let path = sandbox.site("vault").join(&object.path);
    let there = files_of(&path).map(|path| path.exists());
    assert!(there == [true; 3] || there == [false; 3], "{}: {there:?}", object.path);
    there[0]
}

/// Object, receipt and signature.
pub fn files_of(object: &std::path::Path) -> [PathBuf; 3] {
    let base = object.to_str().unwrap().strip_suffix(".age").unwrap().to_owned();
    [object.to_owned(), format!("{base}.receipt.json").into(), format!("{base}.receipt.json.sig").into()]
}

/// Number of changes that were cut off.
pub fn journals(sandbox: &Sandbox) -> usize {
    let left = fs::read_dir(sandbox.site("vault/.changes")).unwrap().map(|it| it.unwrap().file_name());
    left.filter(|name| name.to_str().unwrap().ends_with(".json")).count()
}

/// Gives the site's landing a time after which its objects go.
pub fn keep(sandbox: &Sandbox, keep: &str) {
    sandbox.edit_config("quiet = ", &format!("keep = {keep:?}\nquiet = "));
}

/// Records of this action that speak of success.
pub fn records(sandbox: &Sandbox, action: &str) -> Vec<serde_json::Value> {
    let is_of = |it: &serde_json::Value| it["event"]["action"] == action && it["event"]["outcome"] == "success";
    sandbox.audit().into_iter().filter(is_of).collect()
}

/// The vault's problems as `vault verify` names them, with what the site's own identity opens.
pub fn problems(sandbox: &Sandbox) -> Vec<String> {
    let identity = sandbox.site("identity.txt");
    let verdict = sandbox.json(&["vault", "verify", "-i", identity.to_str().unwrap()]);
    let of = |it: &serde_json::Value| format!("{}: {}", it["path"].as_str().unwrap(), it["what"].as_str().unwrap());
    verdict["problems"].as_array().unwrap().iter().map(of).collect()
}
