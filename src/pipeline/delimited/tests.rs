use std::fs::File;
use std::io::{Seek, Write};
use std::sync::{Arc, Mutex};

use polars::prelude::StringChunked;
use proptest::prelude::*;

use super::bits::Finder;
use super::fault::Kind;
use super::scan::{Scanner, Span};
use super::{Fate, Fates, header, run};
use crate::mask::Mistyped;
use crate::pipeline::drain::Outlet;
use crate::pipeline::expansion::Expansion;
use crate::pipeline::sieve::Rows;
use crate::pipeline::source::{Digester, Source};
use crate::pipeline::tests::policy;
use crate::pipeline::verify::Sum;
use crate::pipeline::{Compress, Dialect, Failure, Format, Limits, Outgoing, Reading, Sink, Verified};

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

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

/// `k` keep, `d` drop, `s` same (through a mask), `u` upper case, `e` empty, `n` digits only, `p` panic, `,` a comma.
fn fate(kind: char) -> Fate<'static> {
    match kind {
        'k' => Fate::Keep,
        'd' => Fate::Drop,
        _ => Fate::Mask {
            beside: None,
            apply: Box::new(move |cells: &StringChunked, _| {
                assert!(kind != 'p', "a panic on purpose");
                let bad = |cell: Option<&str>| cell.is_some_and(|c| c.parse::<u64>().is_err());
                if kind == 'n'
                    && let Some(index) = cells.iter().position(bad)
                {
                    return Err(Mistyped { index, expected: "a number" });
                }
                let map = |cell: Option<&str>| match kind {
                    'u' => cell.map(str::to_uppercase),
                    'e' => None,
                    '|' => Some("x|y".to_owned()),
                    ',' => Some("x,\"y".to_owned()),
                    _ => cell.map(str::to_owned),
                };
                Ok(cells.iter().map(map).collect())
            }),
        },
    }
}

fn fates(kinds: &str) -> Fates<'static> {
    let columns = kinds.chars().enumerate().map(|(n, kind)| (format!("c{n}"), fate(kind))).collect();
    Fates { columns, watched: Vec::new(), unspelled: Vec::new(), sifting: None }
}

fn mask_all(input: &[u8], plans: &[&str], reading: &Reading) -> Result<(Vec<Vec<u8>>, u64), Failure> {
    let sinks: Vec<Shared> = plans.iter().map(|_| Shared::default()).collect();
    let planner = |_: &[&str]| Ok(plans.iter().map(|kinds| fates(kinds)).collect());
    let mut source = Source::open(file(input), Digester::None, reading.limits, &|_| ())?;
    source.read_as(reading.script(source.head().0));
    let open = |sink: &Shared| {
        let output = Outgoing {
            policy: policy(&[]),
            writing: Compress::Same.into(),
            sink: Sink::Plain(Box::new(sink.clone())),
            expansion: Arc::new(Expansion::of(input.len() as u64, reading.limits)),
            sieve: None,
        };
        Outlet::open(output, &source, Format::Csv, Sum::off()).unwrap()
    };
    let mut outlets: Vec<Outlet> = sinks.iter().map(open).collect();
    let ran = run(source, reading, planner, &mut outlets, 2)?;
    let end =
        |outlet: Outlet| outlet.finish(Format::Csv, Rows::all(ran.rows), Vec::new(), Verified::default()).unwrap();
    outlets.into_iter().for_each(|outlet| drop(end(outlet)));
    assert_eq!(ran.bytes, input.len() as u64);
    let outputs = sinks.iter().map(|sink| sink.0.lock().unwrap().clone()).collect();
    Ok((outputs, ran.rows))
}

fn masked(input: &str, kinds: &str) -> String {
    let (mut outputs, _) = mask_all(input.as_bytes(), &[kinds], &Reading::default()).unwrap();
    String::from_utf8(outputs.remove(0)).unwrap()
}

fn fault(input: &[u8], kinds: &str) -> crate::pipeline::Fault {
    match mask_all(input, &[kinds], &Reading::default()) {
        Err(Failure::Reject(fault)) => fault,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("accepted"),
    }
}

#[test]
fn masks_between_untouched_bytes() {
    assert_eq!(
        masked("\u{feff}a,b\r\n\"x\"\"y\",q\r\nz, w\n\"\",last", "us"),
        "\u{feff}a,b\r\n\"X\"\"Y\",q\r\nZ, w\n\"\",last"
    );
    assert_eq!(masked("a;b\n6\" pipe;x\n", "su"), "a;b\n6\" pipe;X\n");
    assert_eq!(masked("a,b\n1,2\n", ",k"), "a,b\n\"x,\"\"y\",2\n");
    assert_eq!(masked("a,b\n\"l1\nl2\",2\n", "uk"), "a,b\n\"L1\nL2\",2\n");
    assert_eq!(masked("a,b\n\"q\",2\n", "ek"), "a,b\n\"\",2\n");
    assert_eq!(masked("a,b", "uk"), "a,b");
    assert_eq!(masked("a,b\nx\ry,2\n", "sk"), "a,b\nx\ry,2\n");
    assert_eq!(
        masked("a,b\n\"x\"\"\"\"y, long enough to stay\",2\n", "sk"),
        "a,b\n\"x\"\"\"\"y, long enough to stay\",2\n"
    );
}

#[test]
fn drops_columns_with_one_delimiter_each() {
    let input = "a,b,c\r\n1,\"2,2\",3\n4,,6";
    assert_eq!(masked(input, "dkk"), "b,c\r\n\"2,2\",3\n,6");
    assert_eq!(masked(input, "kdk"), "a,c\r\n1,3\n4,6");
    assert_eq!(masked(input, "kkd"), "a,b\r\n1,\"2,2\"\n4,");
    assert_eq!(masked(input, "ddk"), "c\r\n3\n6");
    assert_eq!(masked(input, "kdd"), "a\r\n1\n4");
    assert_eq!(masked(input, "dkd"), "b\r\n\"2,2\"\n\"\"");
    assert_eq!(masked(input, "dsd"), "b\r\n\"2,2\"\n\"\"");
    assert_eq!(masked("a\n\n1\n", "s"), "a\n\n1\n");
    assert_eq!(masked("a\n1\n", "e"), "a\n\"\"\n");
}

#[test]
fn faults_have_codes_and_places() {
    for (input, code, row) in [
        (&b"a,b\n1,2\n3\n"[..], "ragged_row", Some(2)),
        (b"a,b\n1,2\n\n", "ragged_row", Some(2)),
        (b"a,b\n1,2,3\n", "ragged_row", Some(1)),
        (b"a,b\n\"x\"y,2\n", "bytes_after_quote", Some(1)),
        (b"a,b\n\"x\"\r,2\n", "bytes_after_quote", Some(1)),
        (b"a,b\n1,\"\"\r\0", "bytes_after_quote", Some(1)),
        (b"a,b\n1,2\n\"x,2\n", "unterminated_quote", Some(2)),
        (b"a,b\n1,\0\n", "nul_byte", Some(1)),
        (b"a,b\n1,2\n1,\xff\n", "invalid_utf8", Some(2)),
        (b"a,\xff\n", "invalid_utf8", Some(0)),
        (b"a,b;c\n", "ambiguous_delimiter", None),
        (b"", "empty_file", None),
        (b"\xef\xbb\xbf", "empty_file", None),
        (b"a,b\nsecret,2\n1,2,3\n", "mistyped_cell", Some(1)),
        (b"a,b\n1,2\n1,2,3\n", "ragged_row", Some(2)),
    ] {
        let fault = fault(input, "nk");
        assert_eq!((fault.code.as_str(), fault.row), (code, row), "{fault:?}");
        assert!(!fault.sentence.contains("secret") && !fault.advice.is_empty());
    }
    assert_eq!(fault(b"a,b\n1,2\n1,\xff\n", "kk").byte_offset, Some(10));
}

#[test]
fn formats_without_quotes_take_them_as_data() {
    let reading = Reading { dialect: Dialect { quote: None, ..Dialect::default() }, ..Reading::default() };
    let (outputs, _) = mask_all(b"a|b\n\"x|y\"\n", &["uk"], &reading).unwrap();
    assert_eq!(outputs[0], b"a|b\n\"X|y\"\n");
    // A later row that a mask cannot read does not come first.
    for (input, kinds) in [(&b"a|b\n1|2\n"[..], "|k"), (b"a|b\n1|2\n3|x\n", "|n")] {
        let Err(Failure::Reject(fault)) = mask_all(input, &[kinds], &reading) else { panic!("accepted") };
        assert_eq!((fault.code.as_str(), fault.row), ("unquotable_cell", Some(1)));
    }
}

#[test]
fn a_header_is_read_the_same_however_much_comes_at_once() {
    // Under every other delimiter its quote is closed too early; and `;` finds an open one.
    for input in [&b"\"a\",b\n1,2\n"[..], b"a,b;\"c\n1,2\n", b"\"a\"\"x\";b;c\n1;2;3\n"] {
        let whole = mask_all(input, &["kk"], &Reading::default()).is_ok();
        for first in 1..input.len() {
            let again = crate::faults::with_sizes(first, 1, || mask_all(input, &["kk"], &Reading::default()).is_ok());
            assert_eq!(again, whole, "{} bytes of {}", first, input.escape_ascii());
        }
    }
}

#[test]
fn long_records_are_refused_exactly() {
    let limits = Limits { max_record_bytes: 8, ..Limits::default() };
    let reading = Reading { limits, ..Reading::default() };
    assert!(mask_all(b"a,b\n123456,\n", &["kk"], &reading).is_ok());
    let Err(Failure::Reject(fault)) = mask_all(b"a,b\n1234567,\n", &["kk"], &reading) else { panic!("accepted") };
    assert_eq!((fault.code.as_str(), fault.byte_offset), ("record_too_long", Some(4)));
}

fn big(rows: usize) -> String {
    use std::fmt::Write as _;
    let mut text = "id,name,note\n".to_owned();
    for n in 0..rows {
        let _ = writeln!(text, "{n},\"name, \"\"{n}\"\" of some length\",\"x\ny\"");
    }
    text
}

#[test]
fn threads_keep_the_order_and_views_differ() {
    let input = big(150_000);
    let (outputs, rows) = mask_all(input.as_bytes(), &["sss", "kdk"], &Reading::default()).unwrap();
    assert_eq!(rows, 150_000);
    assert!(outputs[0] == input.as_bytes());
    assert!(outputs[1].starts_with(b"id,note\n0,\"x\ny\"\n1,"));
}

#[test]
fn the_first_failure_by_position_wins_and_a_panic_hangs_nobody() {
    let mut input = big(150_000);
    input.push_str("ragged\n");
    assert_eq!(fault(input.as_bytes(), "kkk").row, Some(150_001));
    assert_eq!(fault(input.as_bytes(), "knk").row, Some(1));
    let two = mask_all(b"a,b\n1,x\ny,2\n", &["nk", "kn"], &Reading::default());
    assert!(
        matches!(two, Err(Failure::Reject(fault)) if fault.row == Some(1) && fault.column.as_deref() == Some("c1"))
    );
    assert!(matches!(mask_all(b"a\n1\n", &["p"], &Reading::default()), Err(Failure::Defect { .. })));
    assert!(matches!(mask_all(input.as_bytes(), &["kpk"], &Reading::default()), Err(Failure::Defect { .. })));
}

type Found = (Vec<Span>, u64, Option<(Kind, usize)>);

fn reference(data: &[u8], columns: usize) -> Found {
    let (mut all, mut rows, mut at) = (Vec::new(), 0, 0);
    while at < data.len() {
        match header::record(data, at, b',', Some(b'"'), true) {
            Ok(Some((spans, end))) if spans.len() == columns => {
                all.extend(spans);
                rows += 1;
                at = end;
            }
            Ok(Some((spans, _))) => {
                return (all, rows, Some((Kind::Ragged { expected: columns, found: spans.len() }, at)));
            }
            Ok(None) => unreachable!("the data is all there"),
            Err(broken) => return (all, rows, Some((broken.kind, broken.at))),
        }
    }
    (all, rows, None)
}

fn cell() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z é]{0,20}", "[a-z][a-z\"\r]{0,9}[a-z]", "\"([a-zü,\n\r]|\"\"){0,70}\""]
}

/// The room that is reserved must not be that of records which so many columns do not fit into.
#[test]
fn wide_records_take_memory_by_their_cells() {
    let columns = 20_000;
    let finder = Finder::new(Scanner::needles(b',', Some(b'"')));
    let scanner = Scanner {
        delimiter: b',',
        quote: Some(b'"'),
        escape: None,
        comment: None,
        columns,
        max_record_bytes: 1 << 20,
        touched: (0..columns).collect(),
        ends: false,
        finder,
    };
    let data = format!("{}\n", ",".repeat(columns - 1)).repeat(20);
    let scanned = scanner.scan(data.as_bytes(), true);
    assert_eq!((scanned.rows, scanned.spans.len(), scanned.spans.capacity()), (20, 20 * columns, 20 * columns));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn masks_agree(bytes in prop::collection::vec(any::<u8>(), 64), needles in any::<[u8; 4]>()) {
        let block: &[u8; 64] = bytes.as_slice().try_into().unwrap();
        prop_assert_eq!(Finder::new(needles).find(block), Finder::portable(needles).find(block));
        let short = block.first_chunk().expect("16 of 64 bytes");
        for finder in [Finder::new(needles), Finder::portable(needles)] {
            prop_assert_eq!(finder.find_short(short), finder.find(block) & 0xffff);
        }
    }

    #[test]
    fn spans_equal_the_reference(data in "[ab,,\"\"\n\n\rü\0]{0,200}", columns in 1_usize..4) {
        let needles = Scanner::needles(b',', Some(b'"'));
        for finder in [Finder::new(needles), Finder::portable(needles)] {
            let scanner = Scanner {
                delimiter: b',', quote: Some(b'"'), escape: None, comment: None, columns, max_record_bytes: 1 << 20, touched: (0..columns).collect(), ends: false, finder,
            };
            let scanned = scanner.scan(data.as_bytes(), true);
            prop_assert_eq!((scanned.spans, scanned.rows, scanned.broken.map(|b| (b.kind, b.at))), reference(data.as_bytes(), columns));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_changed_is_byte_identical(
        rows in prop::collection::vec((cell(), cell(), cell(), any::<bool>()), 0..40),
        bom in any::<bool>(), last in any::<bool>(),
    ) {
        let mut text = if bom { "\u{feff}".to_owned() } else { String::new() };
        text.push_str("a,\"b \"\"x\"\"\",c");
        for (a, b, c, crlf) in &rows {
            text.push_str(if *crlf { "\r\n" } else { "\n" });
            text.push_str(&format!("{a},{b},{c}"));
        }
        if last { text.push('\n'); }
        let (outputs, found) = mask_all(text.as_bytes(), &["kkk", "sss", "ksk"], &Reading::default()).unwrap();
        prop_assert_eq!(found, rows.len() as u64);
        for output in outputs {
            prop_assert!(output == text.as_bytes());
        }
    }
}
