use polars::prelude::NewChunkedArray;

use super::*;
use crate::mask::Test;
use crate::pipeline::tests::{keys, policy};

fn rule(column: &str, values: &[&str], max_rows: Option<u64>, max_share: Option<f64>) -> RowRule {
    let test = Test::In(values.iter().map(|value| (*value).to_owned()).collect());
    RowRule { column: column.to_owned(), test, max_rows, max_share }
}

fn sieve(rules: Vec<RowRule>, mistyped: OnMistyped) -> Sieve {
    Sieve::of(&Policy { suppress_rows: rules, mistyped, ..policy(&["a=keep", "b=keep"]) }, &keys()).unwrap()
}

fn column(cells: &[Option<&str>]) -> StringChunked {
    StringChunked::from_iter_options("".into(), cells.iter().copied())
}

fn sift(sieve: &Sieve, columns: &[StringChunked], rows: usize) -> Result<Option<Vec<bool>>, String> {
    sieve.sift(columns, rows, &|index| index as u64 + 1).map_err(|failure| failure.to_string())
}

#[test]
fn a_row_counts_for_the_first_rule_that_holds() {
    let rules = vec![rule("a", &["x"], Some(2), None), rule("b", &["x"], Some(1), None)];
    let sieve = sieve(rules, OnMistyped::Reject);
    let columns =
        [column(&[Some("x"), Some("x"), Some(""), None]), column(&[Some("x"), Some("y"), Some("y"), Some("x")])];
    assert_eq!(sift(&sieve, &columns, 4), Ok(Some(vec![true, true, false, true])));
    assert_eq!(sieve.finish(4).unwrap(), Rows { suppressed: 3, ..Rows::all(1) });
    assert_eq!(sift(&sieve, &[column(&[Some("")]), column(&[Some("")])], 1), Ok(None));
    assert!(sift(&sieve, &columns, 4).is_ok());
    assert!(sieve.finish(9).unwrap_err().to_string().contains("by \"a\", more than max_rows = 2 allows"));
}

#[test]
fn a_row_that_cannot_be_told_refuses_the_file_or_is_left_out() {
    let columns = [column(&[Some("y"), None])];
    let rules = || vec![rule("a", &["x"], Some(1), None)];
    let said = sift(&sieve(rules(), OnMistyped::Reject), &columns, 2).unwrap_err();
    assert!(said.contains("row 2 has no single value at \"a\""), "{said}");
    let taking = sieve(rules(), OnMistyped::Redact);
    assert_eq!(sift(&taking, &columns, 2), Ok(Some(vec![false, true])));
    assert_eq!(taking.finish(2).unwrap(), Rows { suppressed: 1, ..Rows::all(1) });
}

#[test]
fn a_share_is_reached_exactly() {
    let sieve = sieve(vec![rule("a", &["x"], None, Some(0.29))], OnMistyped::Reject);
    sift(&sieve, &[column(&[Some("x"); 29])], 29).unwrap();
    assert!(sieve.finish(100).is_ok());
    assert!(sieve.finish(99).is_err());
}
