//! Names of inputs and of what becomes of them.

use super::*;

#[test]
fn extensions_are_those_of_the_format() {
    for (name, expected) in [
        ("people.CSV", Some("csv")),
        ("people.csv.gz", Some("csv")),
        ("a.b.json.zst", Some("json")),
        ("people.gz", None),
        (".csv", None),
        ("people", None),
    ] {
        assert_eq!(extension(OsStr::new(name)).as_deref(), expected, "{name}");
    }
}

#[test]
fn what_is_chosen_shows_in_the_name() {
    use OutputFormat::{Csv, Ndjson, Parquet, Same};
    for (format, compress, name, expected) in [
        (Same, Compress::Same, "a.csv.GZ", "a.csv.GZ"),
        (Same, Compress::Same, "a.csv.gz", "a.csv.gz"),
        (Same, Compress::None, "a.csv.GZ", "a.csv"),
        (Same, Compress::Zstd, "a.csv.gz", "a.csv.zst"),
        (Same, Compress::Gzip, "a.csv", "a.csv.gz"),
        (Same, Compress::None, ".gz", ".gz"),
        (Same, Compress::Same, "a.b.XLSX", "a.b.csv"),
        (Same, Compress::Gzip, "a.ods", "a.csv.gz"),
        (Ndjson, Compress::Same, "a.csv.gz", "a.ndjson.gz"),
        (Ndjson, Compress::Zstd, "a.jsonl", "a.jsonl.zst"),
        (Parquet, Compress::Same, "a.csv.gz", "a.parquet"),
        (Parquet, Compress::Zstd, "a.b", "a.b.parquet"),
        (Parquet, Compress::Same, "a.xlsx", "a.parquet"),
        (Parquet, Compress::Same, "people", "people.parquet"),
        (Csv, Compress::Same, "a.TSV", "a.TSV"),
        (Csv, Compress::Same, "a.parquet", "a.csv"),
        (Csv, Compress::Same, ".json", ".json.csv"),
        (Parquet, Compress::Same, "a.tar.gz", "a.tar.gz"),
        (Parquet, Compress::None, "a.tar.gz", "a.tar"),
        (Same, Compress::Gzip, "a.parquet", "a.parquet"),
        (Same, Compress::Zstd, "a.ARROW", "a.ARROW"),
        (Same, Compress::Zstd, "a.zip", "a.zip"),
        (Same, Compress::Zstd, "a.tar", "a.tar.zst"),
        (Csv, Compress::Gzip, "a.parquet", "a.csv.gz"),
        (Parquet, Compress::Gzip, "a.zip", "a.zip"),
    ] {
        let writing = Writing { format, compress, ..Writing::default() };
        assert_eq!(&*writing.name_of_output(OsStr::new(name)), OsStr::new(expected), "{name}");
    }
    let apart = Writing { format: Parquet, compress: Compress::Gzip, each_sheet: true };
    for (name, expected) in [("a.b.XLSX", "a.b.zip"), ("a.csv", "a.parquet")] {
        assert_eq!(&*apart.name_of_output(OsStr::new(name)), OsStr::new(expected), "{name}");
    }
}
