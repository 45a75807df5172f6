//! What comes out is what went in, but for what the policy asks: byte identity, and agreement with the slow reference.

use std::fs::File;
use std::io::{Seek, Write};
use std::sync::{Arc, Mutex, OnceLock};

use proptest::prelude::*;
use veild::faults::with_sizes;
use veild::keys::MaskingKeys;
use veild::pipeline::{Compress, Dialect, DigestKind, Failure, Format, Input, Limits, Output, Reading, Sink, process};

use crate::reference::{Deed, Otherwise, Policy, Refusal, Rules, mask};

/// One key for all cases; what it is does not matter.
fn keys() -> &'static MaskingKeys {
    static KEYS: OnceLock<MaskingKeys> = OnceLock::new();
    KEYS.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("masking.key");
        veild::keys::generate_masking(&path, jiff::Timestamp::UNIX_EPOCH).unwrap();
        MaskingKeys::load(&path).unwrap()
    })
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The pipeline's own way, through a policy file.
fn pipeline(data: &[u8], rules: &Rules, policy: &Policy, threads: usize) -> Result<Vec<u8>, Refusal> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p.toml");
    std::fs::write(&path, policy.toml()).unwrap();
    let policy = veild::config::load_policy_file(&path).unwrap();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(data).unwrap();
    file.rewind().unwrap();
    run(file, rules, policy, threads)
}

fn run(file: File, rules: &Rules, policy: veild::policy::Policy, threads: usize) -> Result<Vec<u8>, Refusal> {
    let reading = Reading {
        accept: vec![Format::Csv],
        charset: None,
        sheet: None,
        sheets: Vec::new(),
        members: Vec::new(),
        extension: Some("csv".to_owned()),
        dialect: Dialect { delimiter: rules.delimiter, quote: rules.quote, ..Dialect::default() },
        limits: Limits { max_record_bytes: rules.max_record as u64, ..Limits::default() },
    };
    let sink = Shared::default();
    let output = Output { policy, writing: Compress::Same.into(), sink: Sink::Plain(Box::new(sink.clone())) };
    let input = Input { file, reading, digest: DigestKind::None };
    match process(input, vec![output], keys(), threads, &|_| {}) {
        Ok(_) => Ok(std::mem::take(&mut *sink.0.lock().unwrap())),
        Err(Failure::Reject(fault)) => {
            Err(Refusal { code: fault.code, row: fault.row, column: fault.column, byte_offset: fault.byte_offset })
        }
        Err(other) => panic!("{other}"),
    }
}

/// A delimiter that is given, or sniffed, and a quote.
fn dialects() -> impl Strategy<Value = (u8, bool, Option<u8>)> {
    let delimiter =
        prop_oneof![4 => prop::sample::select(b",;\t|".to_vec()), 1 => prop::sample::select(b":^ #~".to_vec())];
    let quote = prop_oneof![4 => Just(Some(b'"')), 1 => Just(Some(b'\'')), 1 => Just(None)];
    (delimiter, any::<bool>(), quote)
        .prop_map(|(delimiter, sniffed, quote)| (delimiter, sniffed && b",;\t|".contains(&delimiter), quote))
}

/// A cell as it stands in the file. `D` stands for the delimiter and `Q` for the quote.
fn cells() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-z0-9 é漢😀._@-]{0,12}",
        2 => "[12][0-9]{3}-[01][0-9]-[0-3][0-9]",
        2 => "[+-]?[0-9]{1,6}(\\.[0-9])?",
        1 => "[a-z]{60,70}",
        1 => "[a-z][a-zQ\r]{0,6}[a-z]",
        3 => "Q([a-zé漢 ,;D\r\n]|QQ){0,12}Q",
        1 => "Q([a-zD\n]|QQ){60,70}Q",
        1 => "Q[0-9]{1,4}Q",
        1 => Just("QQ".to_owned()),
        1 => Just(String::new()),
    ]
}

#[derive(Clone)]
struct Text {
    data: Vec<u8>,
    rules: Rules,
    width: usize,
}

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\" under {:?}", self.data.escape_ascii(), self.rules)
    }
}

fn texts() -> impl Strategy<Value = Text> {
    let shape = (dialects(), 1..5_usize, any::<bool>(), any::<bool>());
    let rows = prop::collection::vec((prop::collection::vec(cells(), 4), any::<bool>()), 0..30);
    let names = prop::collection::vec(prop::sample::select(vec!["", " ", "Q"]), 4);
    (shape, rows, names, prop_oneof![5 => Just(1 << 20), 1 => 20..300_usize]).prop_map(
        |((dialect, width, bom, last), rows, frames, max_record)| {
            let (delimiter, sniffed, quote) = dialect;
            let frame = |index: usize| if delimiter == b' ' { "" } else { frames[index] };
            let names: Vec<String> = (0..width).map(|index| format!("{0}C{index}{0}", frame(index))).collect();
            let mut text = if bom { "\u{feff}".to_owned() } else { String::new() };
            text.push_str(&names.join("D"));
            for (row, crlf) in &rows {
                text.push_str(if *crlf { "\r\n" } else { "\n" });
                text.push_str(&row[..width].join("D"));
            }
            if last {
                text.push('\n');
            }
            let quote_text = quote.map_or(String::new(), |quote| char::from(quote).to_string());
            let text = text.replace('D', &char::from(delimiter).to_string()).replace('Q', &quote_text);
            let rules = Rules { delimiter: (!sniffed).then_some(delimiter), quote, max_record };
            Text { data: text.into_bytes(), rules, width }
        },
    )
}

fn deeds() -> impl Strategy<Value = Deed> {
    prop_oneof![
        Just(Deed::Keep),
        Just(Deed::Drop),
        Just(Deed::Null),
        prop::sample::select(vec!["***", "a,b", "say \"x\"", "two\nlines", "it's", "a;b|c\td"])
            .prop_map(|text| Deed::Redact(text.to_owned())),
        (0..4_usize, 0..5_usize).prop_map(|(first, last)| Deed::Partial { first, last, keeps: true }),
        (2..6_usize, 2..6_usize).prop_map(|(first, last)| Deed::Partial { first, last, keeps: false }),
        prop::sample::select(vec![16, 24, 64]).prop_map(Deed::Hash),
        (1..8_usize).prop_map(Deed::Truncate),
        Just(Deed::Year),
        prop::sample::select(vec![1, 5, 10, 100]).prop_map(Deed::Round),
        (-50..50_i64, 50..2000_i64).prop_map(|(min, max)| Deed::Clamp(min, max)),
    ]
}

/// Rules for some of the columns `c0` to `c4`, spelled in other ways than in the file.
fn policies() -> impl Strategy<Value = Policy> {
    let unlisted = prop::sample::select(vec![Otherwise::Reject, Otherwise::Redact, Otherwise::Drop, Otherwise::Keep]);
    let mistyped = prop::sample::select(vec![Otherwise::Reject, Otherwise::Null, Otherwise::Redact]);
    let rules = prop::collection::vec(prop::option::weighted(0.7, deeds()), 5);
    (unlisted, mistyped, any::<bool>(), rules).prop_map(|(unlisted, mistyped, missing_is_refused, rules)| {
        let spelled = |index: usize| if index.is_multiple_of(2) { format!("c{index}") } else { format!(" C{index} ") };
        let rules = rules.into_iter().enumerate().filter_map(|(index, deed)| Some((spelled(index), deed?))).collect();
        Policy { unlisted, mistyped, missing_is_refused, rules }
    })
}

/// Nothing is listed, everything kept.
fn keep_all() -> Policy {
    Policy { unlisted: Otherwise::Keep, mistyped: Otherwise::Reject, missing_is_refused: true, rules: Vec::new() }
}

/// A rule for each column of the text, so that most cases get as far as the cells.
fn fitted(mut policy: Policy, width: usize) -> Policy {
    policy.rules.retain(|(name, _)| (0..width).any(|index| name.to_lowercase().trim() == format!("c{index}")));
    policy
}

/// First reading and block, from bytes to more than any file here has.
fn sizes() -> impl Strategy<Value = (usize, usize)> {
    let size = prop_oneof![1..200_usize, Just(1 << 20)];
    (size.clone(), size)
}

/// A place in a text and what is done to it there.
fn damages() -> impl Strategy<Value = Vec<(prop::sample::Index, Vec<u8>, bool)>> {
    let pieces: Vec<&[u8]> = vec![
        b"\0",
        b"\"",
        b"'",
        b"\xff",
        b"\xc3",
        b"\n",
        b"\r",
        b"\r\n",
        b",",
        b";",
        b"|",
        b"x",
        b"",
        b"\xe6\xbc",
        b"\"\"",
    ];
    let piece = prop::sample::select(pieces).prop_map(<[u8]>::to_vec);
    prop::collection::vec((any::<prop::sample::Index>(), piece, any::<bool>()), 0..3)
}

fn damaged(mut data: Vec<u8>, damages: &[(prop::sample::Index, Vec<u8>, bool)]) -> Vec<u8> {
    for (index, piece, replaces) in damages {
        let at = index.index(data.len() + 1);
        let end = if *replaces { (at + 1).min(data.len()) } else { at };
        data.splice(at..end, piece.iter().copied());
    }
    data
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn with_all_columns_kept_the_output_is_byte_identical(
        text in texts(), (first, block) in sizes(), threads in 1..4_usize,
    ) {
        prop_assume!(mask(&text.data, &text.rules, &keep_all(), keys()).is_ok());
        let out = with_sizes(first, block, || pipeline(&text.data, &text.rules, &keep_all(), threads));
        prop_assert_eq!(out.map(|out| out == text.data), Ok(true));
    }

    #[test]
    fn masks_agree_with_the_reference(
        text in texts(), policy in policies(), fits in prop::bool::weighted(0.9), (first, block) in sizes(), threads in 1..4_usize,
    ) {
        let policy = if fits { fitted(policy, text.width) } else { policy };
        let out = with_sizes(first, block, || pipeline(&text.data, &text.rules, &policy, threads));
        let expected = mask(&text.data, &text.rules, &policy, keys());
        prop_assert_eq!(readable(out), readable(expected));
    }

    #[test]
    fn damaged_files_are_accepted_or_refused_as_the_reference_says(
        text in texts(), damages in damages(), policy in policies(), (first, block) in sizes(), threads in 1..4_usize,
    ) {
        let policy = fitted(policy, text.width);
        let data = damaged(text.data, &damages);
        let out = with_sizes(first, block, || pipeline(&data, &text.rules, &policy, threads));
        let expected = mask(&data, &text.rules, &policy, keys());
        prop_assert_eq!(readable(out), readable(expected));
    }
}

/// For messages; lossless enough, as both sides go the same way.
fn readable(result: Result<Vec<u8>, Refusal>) -> Result<String, Refusal> {
    result.map(|out| out.escape_ascii().to_string())
}

/// Files of the sizes at which the real readings and blocks end, with a CRLF, a doubled quote or a character across
/// the end; the threads of large files included.
#[test]
fn real_block_boundaries_are_seamless() {
    let policy =
        Policy { rules: vec![("c1".to_owned(), Deed::Partial { first: 0, last: 4, keeps: true })], ..keep_all() };
    let rules = Rules { delimiter: Some(b','), quote: Some(b'"'), max_record: 16 << 20 };
    // The head that is looked at, the first reading, and the first block, which begins behind the header.
    for boundary in [64 << 10, 256 << 10, (1 << 20) + "C0,C1,C2\n".len()] {
        for across in ["\r\n", "\"\"", "漢", "\","] {
            for shift in 0..=across.len() {
                let data = with_across(boundary + shift, across);
                let out = pipeline(&data, &rules, &keep_all(), 2).unwrap();
                assert!(out == data, "{boundary} {across:?} {shift}");
                let masked = pipeline(&data, &rules, &policy, 2).unwrap();
                assert!(masked == mask(&data, &rules, &policy, keys()).unwrap(), "{boundary} {across:?} {shift}");
            }
        }
    }
}

/// A text in which `across` ends at the offset `end`, and that goes on behind it.
fn with_across(end: usize, across: &str) -> Vec<u8> {
    let row = "7,\"a, \"\"quoted\"\" cell\r\nof two lines\",plain text\r\n";
    let mut text = "C0,C1,C2\n".to_owned();
    let (before, after) = match across {
        "\r\n" => ("1,two,three", "4,five,six\n"),
        "\"\"" => ("1,\"two", "more\",three\n"),
        "\"," => ("1,\"two", "three\n"),
        _ => ("1,two", ",three\n"),
    };
    while text.len() + row.len() + before.len() + across.len() <= end {
        text.push_str(row);
    }
    let missing = end - text.len() - before.len() - across.len();
    text.push_str(&before.replacen("two", &format!("two{}", "x".repeat(missing)), 1));
    text.push_str(across);
    text.push_str(after);
    for _ in 0..3000 {
        text.push_str(row);
    }
    text.into_bytes()
}
