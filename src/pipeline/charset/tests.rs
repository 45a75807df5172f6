use proptest::prelude::*;

use super::*;

const MULTI: [&str; 5] = ["shift_jis", "gb18030", "gbk", "euc-kr", "big5"];
const SINGLE: [&str; 24] = [
    "windows-1250",
    "windows-1251",
    "windows-1252",
    "windows-1253",
    "windows-1254",
    "windows-1255",
    "windows-1256",
    "windows-1257",
    "windows-1258",
    "windows-874",
    "iso-8859-1",
    "iso-8859-2",
    "iso-8859-3",
    "iso-8859-4",
    "iso-8859-5",
    "iso-8859-6",
    "iso-8859-7",
    "iso-8859-8",
    "iso-8859-9",
    "iso-8859-10",
    "iso-8859-13",
    "iso-8859-15",
    "koi8-r",
    "ibm866",
];

fn plain(charset: Charset) -> Script {
    Script { charset, swaps: Vec::new() }
}

/// Decoded in two pieces and encoded again; `None` where it cannot be decoded.
fn there_and_back(label: &str, bytes: &[u8], cut: usize) -> Option<Vec<u8>> {
    let charset = Charset::for_label(label).unwrap();
    let mut decoder = Decoder::new(plain(charset));
    let mut text = Vec::new();
    let (first, second) = bytes.split_at(cut.min(bytes.len()));
    decoder.decode(first, false, &mut text);
    decoder.decode(second, true, &mut text);
    let text = String::from_utf8(text).ok()?;
    let mut back = Vec::new();
    encode(charset, &text, &mut back).unwrap();
    Some(back)
}

#[test]
fn every_byte_of_every_single_byte_encoding_comes_back() {
    for label in SINGLE {
        let lost: Vec<u8> = (0..=255).filter(|byte| there_and_back(label, &[*byte], 0) != Some(vec![*byte])).collect();
        let known = lost.iter().all(|byte| there_and_back(label, &[*byte], 0).is_none());
        assert!(known && lost.iter().all(|byte| *byte >= 0x80), "{label}: {lost:x?}");
    }
}

#[test]
fn every_pair_of_every_multi_byte_encoding_comes_back() {
    for label in MULTI {
        let mut good = 0;
        for pair in (0..=u16::MAX).map(u16::to_be_bytes) {
            if let Some(back) = there_and_back(label, &pair, 1) {
                assert_eq!(back, pair, "{label}");
                good += 1;
            }
        }
        assert!(good > 128 * 128 + 6000, "{label}: {good}");
    }
    // The same name in two spellings; both come back as they were.
    for spelling in [[0xfb, 0xfc], [0xee, 0xe0]] {
        assert_eq!(there_and_back("shift_jis", &spelling, 1).unwrap(), spelling);
    }
}

#[test]
fn what_is_no_text_is_marked_where_it_stands() {
    let decode = |label: &str, bytes: &[u8]| {
        let mut text = Vec::new();
        Decoder::new(plain(Charset::for_label(label).unwrap())).decode(bytes, true, &mut text);
        text
    };
    assert_eq!(decode("utf-16le", b"a\0\x00\xd8b\0"), b"a\xffb");
    assert_eq!(decode("utf-16be", b"\0a\0"), b"a\xff");
    assert_eq!(decode("utf-16le", b"a\0\x3d\xd8"), b"a\xff");
    assert_eq!(decode("windows-1253", b"ab\xd2c\xd2"), b"ab\xffc");
    assert_eq!(decode("shift_jis", b"ab\x81"), b"ab\xff");
    assert_eq!(decode("shift_jis", b"ab\x81\x20c"), b"ab\xff c");
    assert_eq!(decode("gb18030", b"ab\x81\x30\x81"), b"ab\xff0");
    let mut out = Vec::new();
    assert_eq!(encode(Charset::for_label("latin1").unwrap(), "a\u{3bb}", &mut out), Err('\u{3bb}'));
    assert_eq!(Charset::for_label("iso-2022-jp"), None);
    assert_eq!(Charset::for_label("klingon"), None);
}

#[test]
fn swapped_characters_come_back() {
    let swaps = vec![('§', '\u{1f}'), ('þ', '\u{1e}')];
    for label in ["windows-1252", "utf-8"] {
        let script = Script { charset: Charset::for_label(label).unwrap(), swaps: swaps.clone() };
        let mut bytes = Vec::new();
        encode(script.charset, "þa\u{1f}§b\u{1e}þ", &mut bytes).unwrap();
        let mut text = Vec::new();
        let mut decoder = Decoder::new(script.clone());
        for byte in &bytes {
            decoder.decode(&[*byte], false, &mut text);
        }
        decoder.decode(b"", true, &mut text);
        assert_eq!(text, "\u{1e}a§\u{1f}bþ\u{1e}".as_bytes());
        let mut back = Vec::new();
        script.encode(std::str::from_utf8(&text).unwrap(), &mut back).unwrap();
        assert_eq!(back, bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn text_comes_back_wherever_it_is_cut(text in "[a-z,\u{20ac}éß漢字あｱ髙한😀]{0,30}", cut in 0usize..80) {
        for label in ["utf-16le", "utf-16be", "gb18030", "shift_jis", "windows-1252", "euc-kr", "big5"] {
            let charset = Charset::for_label(label).unwrap();
            let fits: String =
                text.chars().filter(|it| encode(charset, &it.to_string(), &mut Vec::new()).is_ok()).collect();
            let mut bytes = Vec::new();
            encode(charset, &fits, &mut bytes).unwrap();
            let mut decoded = Vec::new();
            let mut decoder = Decoder::new(plain(charset));
            let cut = cut.min(bytes.len());
            decoder.decode(&bytes[..cut], false, &mut decoded);
            decoder.decode(&bytes[cut..], true, &mut decoded);
            prop_assert_eq!(String::from_utf8(decoded).unwrap(), fits, "{}", label);
            prop_assert_eq!(there_and_back(label, &bytes, cut).unwrap(), bytes);
        }
    }

    #[test]
    fn any_bytes_come_back_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..40), cut in 0usize..40) {
        for label in MULTI.iter().chain(&SINGLE).chain(&["utf-16le", "utf-16be"]) {
            if let Some(back) = there_and_back(label, &bytes, cut) {
                prop_assert_eq!(&back, &bytes, "{}", label);
            }
        }
    }
}
