//! What a file is: by its content first, by its name where the content leaves a doubt.

use std::borrow::Cow;

use super::Fault;
use super::charset::Charset;
use super::dialect::Dialect;
use super::fault::of_file;
use super::reading::{DELIMITED, Format, Reading, SPREADSHEETS};

/// Extensions of other text; what bears one is read as text, so that the reader can say where it is none.
const JSON_EXTENSIONS: [&str; 4] = ["json", "ndjson", "jsonl", "geojson"];
/// Formats that begin as text would; their beginning is long enough to be sure.
const TEXT_LIKE: [&str; 7] = ["pdf", "rtf", "ps", "pem", "html", "xml", "sh"];

/// What an archive is where nothing says what becomes of its members.
const UNRULED: &str = "an archive, and there are no `[[landing.member]]` rules for it";

/// Refuses what no reader takes, by a file's first decompressed bytes.
///
/// # Errors
///
/// A [`Fault`] that names what the file is.
pub(super) fn refuse_foreign(head: &[u8], reading: &Reading) -> Result<(), Fault> {
    foreign(head, reading).map_or(Ok(()), |what| Err(unrecognised(&what, reading)))
}

/// Decides how to read a file from the beginning of its text in UTF-8.
///
/// # Errors
///
/// A [`Fault`] when the format is none that is accepted here.
pub(super) fn recognise(head: &[u8], reading: &Reading) -> Result<Format, Fault> {
    if let [one] = reading.accept[..] {
        return Ok(one);
    }
    // A dialect of its own says enough.
    if !reading.dialect.swaps.is_empty() || !reading.dialect.widths.is_empty() {
        return Ok(Format::Csv);
    }
    let is_json = json(head) || reading.extension.as_deref().is_some_and(|it| JSON_EXTENSIONS.contains(&it));
    // Which of the two kinds of JSON it is, only its reader finds out.
    let found = if is_json { &[Format::Json, Format::Ndjson][..] } else { &[Format::Csv] };
    if found.iter().any(|format| is_accepted(*format, reading)) {
        Ok(found[0])
    } else {
        Err(unrecognised(found[0].title(), reading))
    }
}

/// Whether a text begins as records in JSON do, and no header record would.
fn json(head: &[u8]) -> bool {
    let after = |bytes: &[u8]| -> (u8, usize) {
        let at = bytes.iter().position(|byte| !byte.is_ascii_whitespace());
        at.map_or((0, 0), |at| (bytes[at], at + 1))
    };
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let (first, next) = after(text);
    matches!((first, after(&text[next..]).0), (b'{', b'"' | b'}') | (b'[', b'{' | b']'))
}

/// Whether a landing takes a format.
pub(super) fn is_accepted(format: Format, reading: &Reading) -> bool {
    reading.accept.is_empty() || reading.accept.contains(&format)
}

/// The fault of a file that shall be of a format whose files are told by their first bytes, and is not.
pub(super) fn not_of(format: Format) -> Fault {
    of_file(
        "unrecognised_format",
        &format!("the file is not {}, which alone is read here", format.title()),
        "Ask the sender for that format, or drop the file on a landing that accepts it.",
    )
}

/// Refuses what is no spreadsheet under the name of one: its output would be named as delimited text.
pub(super) fn refuse_misnamed(reading: &Reading) -> Result<(), Fault> {
    if !reading.extension.as_deref().is_some_and(|it| SPREADSHEETS.contains(&it)) {
        return Ok(());
    }
    let what = "the file has the name of a spreadsheet, but is none that is read here";
    Err(of_file("unrecognised_format", what, "Have it saved again as .xlsx or .ods, or sent under its right name."))
}

/// The fault of what is compressed within a compression: no layer behind the first is looked into.
pub(super) fn compressed_twice() -> Fault {
    of_file("unrecognised_format", "the file was compressed twice", "Have it sent compressed once, or as it is.")
}

/// The fault of a columnar file within a compression: it must be read at any place.
pub(super) fn compressed_columnar(format: Format) -> Fault {
    of_file(
        "unrecognised_format",
        &format!("the file is {} that was compressed as a whole", format.title()),
        "Have it sent as it is: the format compresses its columns itself.",
    )
}

fn unrecognised(what: &str, reading: &Reading) -> Fault {
    let accepted = if reading.accept.is_empty() { &Format::ALL[..] } else { &reading.accept[..] };
    let is_read = |format: &&Format| !format.is_archive() || !reading.members.is_empty();
    let accepted: Vec<&str> = accepted.iter().filter(is_read).map(|format| format.name()).collect();
    let advice = if what.starts_with(UNRULED) {
        "Add `[[landing.member]]` rules to the landing (`member = \"*\"` takes all), or ask the sender for the files \
         themselves."
    } else {
        "Ask the sender for a format that is read here, or drop the file on a landing that accepts it."
    };
    Fault {
        code: "unrecognised_format".to_owned(),
        sentence: format!("the file is {what}; read here: {}", accepted.join(", ")),
        row: None,
        column: None,
        byte_offset: None,
        advice: advice.to_owned(),
    }
}

/// What a file is that no reader takes, with its article.
fn foreign(head: &[u8], reading: &Reading) -> Option<Cow<'static, str>> {
    if let Some(name) = known(head) {
        return Some(name.into());
    }
    let Dialect { delimiter, quote, .. } = reading.dialect;
    let is_separator = |byte: u8| [delimiter, quote].contains(&Some(byte));
    let wide = matches!(reading.script(head).charset, Charset::Utf16 { .. });
    let is_text = wide || !head.iter().any(|byte| is_control(*byte) && !is_separator(*byte));
    let guess = infer::get(head).filter(|guess| !is_text || TEXT_LIKE.contains(&guess.extension()));
    if let Some(guess) = guess {
        return Some(format!("{} ({})", described(&guess), guess.mime_type()).into());
    }
    // Where the format is named or described, its reader says where the file is none.
    let described = reading.dialect != Dialect::default() || reading.accept.len() == 1;
    let named = |it: &str| DELIMITED.contains(&it) || JSON_EXTENSIONS.contains(&it);
    let named = described || reading.extension.as_deref().is_some_and(named);
    (!is_text && !named).then_some(Cow::Borrowed("binary data of an unknown kind"))
}

/// Bytes that text does not hold: those below space but tab, line ends, form feed and escape, and delete.
fn is_control(byte: u8) -> bool {
    matches!(byte, 0..=8 | 14..=26 | 28..=31 | 127)
}

/// Formats of data and secrets that `infer` does not know.
fn known(head: &[u8]) -> Option<&'static str> {
    const KNOWN: [(&[u8], &str); 14] = [
        (b"PAR1", "a Parquet file"),
        (b"PARE", "an encrypted Parquet file"),
        (b"ARROW1\0\0", "an Arrow IPC file"),
        (b"\xff\xff\xff\xff", "an Arrow IPC stream"),
        (b"FEA1", "a Feather file of version 1"),
        (b"Obj\x01", "an Avro file"),
        (b"ORC\n\x0b", "an ORC file"),
        (b"ORC\x03", "an ORC file"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (b"age-encryption.org/v1\n", "already sealed with age"),
        (b"-----BEGIN AGE ENCRYPTED FILE-----", "already sealed with age"),
        (b"-----BEGIN PGP MESSAGE-----", "an OpenPGP message"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----", "a private key"),
        (b"\x04\x22\x4d\x18", "an lz4 stream"),
    ];
    KNOWN.iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, name)| *name)
}

fn described(guess: &infer::Type) -> &'static str {
    use infer::MatcherType;
    match (guess.extension(), guess.matcher_type()) {
        ("pdf", _) => "a PDF document",
        ("html" | "xml", _) => "markup",
        ("sh", _) => "a script",
        ("der" | "pem", _) => "a certificate",
        (_, MatcherType::App) => "a program",
        ("zip" | "tar", _) => UNRULED,
        (_, MatcherType::Archive) => "an archive or a container",
        (_, MatcherType::Audio) => "a sound file",
        (_, MatcherType::Book) => "a book",
        (_, MatcherType::Doc) => "a document",
        (_, MatcherType::Font) => "a font",
        (_, MatcherType::Image) => "an image",
        (_, MatcherType::Video) => "a video",
        _ => "something else",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentence(head: &[u8], extension: Option<&str>) -> String {
        let reading = Reading { extension: extension.map(str::to_owned), ..Reading::default() };
        let found = refuse_foreign(head, &reading).and_then(|()| recognise(head, &reading));
        found.map_or_else(|fault| fault.sentence, |format| format.name().to_owned())
    }

    #[test]
    fn what_is_not_read_is_named() {
        for (head, what) in [
            (&b"%PDF-1.7\n%\xe2\xe3"[..], "a PDF document (application/pdf)"),
            (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "an image (image/png)"),
            (b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0>\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "a program"),
            (b"PK\x03\x04\x14\0\0\0\x08\0", "`[[landing.member]]` rules"),
            (b"SQLite format 3\0", "(application/vnd.sqlite3)"),
            (b"age-encryption.org/v1\n-> X25519 ", "already sealed"),
            (b"<?xml version=\"1.0\"?><a/>", "markup"),
            (b"BZh91AY&SY\0\0", "application/x-bzip2"),
            (b"\x01\x02\x03", "binary data of an unknown kind"),
        ] {
            let sentence = sentence(head, Some("x"));
            assert!(sentence.starts_with("the file is ") && sentence.contains(what), "{what}: {sentence}");
        }
    }

    #[test]
    fn an_archive_without_rules_is_told_to_need_them() {
        let zip = b"PK\x03\x04\x14\0\0\0\x08\0";
        let fault = refuse_foreign(zip, &Reading::default()).unwrap_err();
        assert!(fault.sentence.ends_with("xlsx, ods") && fault.advice.contains("[[landing.member]]"), "{fault:?}");
    }

    #[test]
    fn text_is_not_taken_for_what_it_is_not() {
        for head in ["", "BM,size\n1,2\n", "MZ,b\n", "id,name\n1,\u{1f600}\n", "II*,x\n", "ID3,tag\n", "a\tb\n\x0c"] {
            assert_eq!(sentence(head.as_bytes(), None), "csv", "{head}");
        }
        // The reader says where it stops being text.
        assert_eq!(sentence(b"a,b\n1,\0\n", Some("csv")), "csv");
        for head in ["{\"a\":1}", " \n[ {", "\u{feff}{\"", "[]", "{}"] {
            assert_eq!(sentence(head.as_bytes(), Some("csv")), "json", "{head}");
        }
        for head in ["{a},b\n", "[a],[b]\n", "{", "[\"a\"]"] {
            assert_eq!(sentence(head.as_bytes(), None), "csv", "{head}");
        }
        assert_eq!(sentence(b"nonsense", Some("ndjson")), "json");
        assert!(sentence(b"%PDF-1.7\n", Some("csv")).contains("PDF"));
    }
}
