//! What each fuzz target does with its bytes. The integration tests run the same over `seeds/` (`tests/it/seeds.rs`).
//!
//! A decoder may take a file or refuse it, with a reason for the quarantine; whatever else happens is a finding: a panic, a
//! hang, memory without bound, bytes left unread, or text that does not come out as it went in where no mask touches it.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::sync::{Arc, Mutex, OnceLock};

use veild::keys::MaskingKeys;
use veild::pipeline::{
    Charset, Dialect, DigestKind, Failure, Format, Input, Limits, MemberRule, Output, OutputFormat, Reading, Sink,
    Writing, process, survey,
};
use veild::policy::Policy;

/// What a target does with its bytes.
pub type Target = fn(&[u8]);

/// Every target by its name, which is that of its folder of seeds too.
pub const TARGETS: [(&str, Target); 10] = [
    ("delimited", delimited),
    ("fixed", fixed),
    ("charset", charset),
    ("json", json),
    ("parquet", parquet),
    ("arrow", arrow),
    ("spreadsheet", spreadsheet),
    ("archive", archive),
    ("compressed", compressed),
    ("detect", detect),
];

/// Nothing is touched: what comes out is what went in.
const KEEPS: &str = "unlisted = \"keep\"\nverify = \"off\"\n";

/// Every kind of work that a mask makes: text, dates, numbers, and columns that go.
const MASKS: &str = r#"
unlisted = "drop"
missing = "ignore"
mistyped = "redact"
verify = "off"
[[column]]
glob = "d*"
mask = "date"
to = "year"
[[column]]
glob = "n*"
mask = "round"
to = 10
[[column]]
glob = "k*"
mask = "keep"
[[column]]
glob = "*"
mask = "hash"
"#;

/// Tight, so that what exceeds them is found without filling the machine.
const LIMITS: Limits = Limits {
    max_record_bytes: 64 << 10,
    max_expanded_bytes: 64 << 20,
    max_expansion: 500,
    max_depth: 64,
    max_paths: 256,
    max_members: 64,
    max_buffered_bytes: 16 << 20,
};

/// Delimited text; the first byte chooses the dialect.
pub fn delimited(data: &[u8]) {
    let Some((choice, text)) = data.split_first() else { return };
    let columns = || ["a", "name", "d", "n", "k"].map(str::to_owned).to_vec();
    let dialect = match choice % 8 {
        0 => Dialect::default(),
        1 => Dialect { delimiter: Some(b';'), quote: Some(b'\''), ..Dialect::default() },
        2 => Dialect { delimiter: Some(b'\t'), quote: None, ..Dialect::default() },
        3 => Dialect { delimiter: Some(b','), escape: Some(b'\\'), ..Dialect::default() },
        4 => Dialect { delimiter: Some(b','), quote: None, escape: Some(b'\\'), ..Dialect::default() },
        5 => Dialect { columns: columns(), ..Dialect::default() },
        6 => Dialect { preamble: 2, comment: Some(b'#'), keep_comments: true, ..Dialect::default() },
        _ => Dialect { delimiter: Some(b'|'), comment: Some(b'#'), ..Dialect::default() },
    };
    let drops = dialect.comment.is_some() && !dialect.keep_comments;
    let reading = Reading { accept: vec![Format::Csv], dialect, ..reading() };
    assert!(kept(text, &reading).is_none_or(|out| drops || out == text), "an untouched file was changed");
    masked(text, &reading);
}

/// Text in columns of fixed width.
pub fn fixed(data: &[u8]) {
    let Some((choice, text)) = data.split_first() else { return };
    let widths = if choice % 2 == 0 { vec![3, 8, 1] } else { vec![1, 1, 2, 4] };
    let columns = ["k", "name", "d", "n"][..widths.len()].iter().map(|name| (*name).to_owned()).collect();
    let reading =
        Reading { accept: vec![Format::Csv], dialect: Dialect { widths, columns, ..Dialect::default() }, ..reading() };
    assert!(kept(text, &reading).is_none_or(|out| out == text), "an untouched file was changed");
    masked(text, &reading);
}

/// Delimited text in an encoding; the first byte chooses it, none of them included.
pub fn charset(data: &[u8]) {
    const LABELS: [&str; 8] =
        ["utf-16le", "utf-16be", "windows-1252", "iso-8859-2", "shift_jis", "gb18030", "iso-2022-jp", "euc-kr"];
    let Some((choice, text)) = data.split_first() else { return };
    let charset = LABELS.get(usize::from(choice % 9)).and_then(|label| Charset::for_label(label));
    let reading = Reading { accept: vec![Format::Csv], charset, ..reading() };
    assert!(kept(text, &reading).is_none_or(|out| out == text), "an untouched file was changed");
    masked(text, &reading);
}

/// One object a line, an array, or an object.
pub fn json(data: &[u8]) {
    for format in [Format::Json, Format::Ndjson] {
        let reading = Reading { accept: vec![format], ..reading() };
        assert!(kept(data, &reading).is_none_or(|out| out == data), "an untouched file was changed");
        masked(data, &reading);
    }
}

pub fn parquet(data: &[u8]) {
    both(data, &Reading { accept: vec![Format::Parquet], ..reading() });
}

pub fn arrow(data: &[u8]) {
    both(data, &Reading { accept: vec![Format::Arrow], ..reading() });
}

pub fn spreadsheet(data: &[u8]) {
    let accept = vec![Format::Xlsx, Format::Ods];
    both(data, &Reading { accept: accept.clone(), ..reading() });
    both(data, &Reading { accept, sheets: vec![rule("*", false)], ..reading() });
}

/// Archives with a rule for each member, and with one that leaves some out.
pub fn archive(data: &[u8]) {
    both(data, &Reading { members: vec![rule("*.txt", true), rule("*", false)], ..reading() });
}

/// Whatever is compressed, its format told by the content.
pub fn compressed(data: &[u8]) {
    both(data, &reading());
}

/// The look at a file that `detect` and `policy suggest` take.
pub fn detect(data: &[u8]) {
    match survey(file(data), &reading(), true) {
        Ok(_) | Err(Failure::Reject(_)) => {}
        Err(failure) => panic!("neither taken nor refused: {failure:?}"),
    }
}

fn rule(pattern: &str, drops: bool) -> MemberRule {
    MemberRule { pattern: pattern.to_owned(), policy: None, drops }
}

fn reading() -> Reading {
    Reading { limits: LIMITS, ..Reading::default() }
}

fn both(data: &[u8], reading: &Reading) {
    kept(data, reading);
    masked(data, reading);
}

/// What comes out where no mask touches anything; `None` if the file is refused.
fn kept(data: &[u8], reading: &Reading) -> Option<Vec<u8>> {
    static POLICY: OnceLock<Policy> = OnceLock::new();
    run(data, reading, POLICY.get_or_init(|| policy(KEEPS)), OutputFormat::Same)
}

/// Masks a file, and converts it as well; to what, its length tells.
fn masked(data: &[u8], reading: &Reading) {
    static POLICY: OnceLock<Policy> = OnceLock::new();
    const FORMATS: [OutputFormat; 3] = [OutputFormat::Csv, OutputFormat::Ndjson, OutputFormat::Parquet];
    let policy = POLICY.get_or_init(|| policy(MASKS));
    run(data, reading, policy, OutputFormat::Same);
    run(data, reading, policy, FORMATS[data.len() % FORMATS.len()]);
}

fn run(data: &[u8], reading: &Reading, policy: &Policy, format: OutputFormat) -> Option<Vec<u8>> {
    let shared = Shared::default();
    let sink = Sink::Plain(Box::new(shared.clone()));
    let writing = Writing { format, ..Writing::default() };
    let output = Output { policy: policy.clone(), writing, sink };
    let input = Input { file: file(data), reading: reading.clone(), digest: DigestKind::Keyed };
    match process(input, vec![output], keys(), 1, &|_| {}) {
        Ok(_) => Some(std::mem::take(&mut *shared.0.lock().expect("nobody panics with it"))),
        Err(Failure::Reject(_)) => None,
        Err(failure) => panic!("neither taken nor refused: {failure:?}"),
    }
}

fn file(data: &[u8]) -> File {
    let mut file = tempfile::tempfile().expect("the temporary folder takes files");
    file.write_all(data).and_then(|()| file.rewind()).expect("there is room for a small file");
    file
}

fn policy(text: &str) -> Policy {
    let dir = tempfile::tempdir().expect("the temporary folder takes folders");
    let path = dir.path().join("policy.toml");
    std::fs::write(&path, text).expect("there is room for a policy");
    veild::config::load_policy_file(&path).expect("the policy is a valid one")
}

/// One key for all inputs; what it is does not matter.
fn keys() -> &'static MaskingKeys {
    static KEYS: OnceLock<MaskingKeys> = OnceLock::new();
    KEYS.get_or_init(|| {
        let dir = tempfile::tempdir().expect("the temporary folder takes folders");
        let path = dir.path().join("masking.key");
        veild::keys::generate_masking(&path, jiff::Timestamp::UNIX_EPOCH).expect("there is room for a key");
        MaskingKeys::load(&path).expect("a new key can be read")
    })
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panics with it").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
