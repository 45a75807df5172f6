//! The risks of a file as a page that needs nothing else: no script, no font, no address.

use std::fmt::Write as _;

use super::risk::{Answer, LINES, buckets};
use crate::anonymity::Risk;

const STYLE: &str = "body{font:16px/1.5 sans-serif;max-width:52em;margin:2em auto;padding:0 1em;color:#222}\
    table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em 1em;text-align:right;border-bottom:1px solid #ddd}\
    td:first-child,th:first-child{text-align:left}svg{max-width:100%;height:auto}.note{color:#666}";
const WIDTH: f64 = 720.0;
const BAR: f64 = 22.0;
const LABEL: f64 = 130.0;
/// Room behind the longest bar, for its number.
const NUMBER: f64 = 130.0;

/// The whole page.
pub fn page(answer: &Answer) -> String {
    let mut body = format!("<h1>Re-identification risk of {}</h1>", escaped(&answer.file));
    let names: Vec<String> = answer.quasi_identifiers.iter().map(|name| format!("<b>{}</b>", escaped(name))).collect();
    let _ = write!(body, "<p>Quasi-identifiers: {}</p>", names.join(", ")); // a String takes everything
    let after = answer.as_it_goes_out.as_ref();
    match &answer.as_it_comes {
        None => body.push_str("<p>The file has no rows.</p>"),
        Some(before) => {
            let goes_out = after.and_then(|after| after.risk.as_ref());
            body.push_str(&table(before, goes_out));
            if !answer.has_population {
                body.push_str("<p class=note>No population was given: the file counts as all there are, so that journalist and prosecutor know the same.</p>");
            }
            body.push_str(&plot("Rows by size of their class, as it comes", before));
            body.push_str(&policy(answer));
            if let Some(goes_out) = goes_out {
                body.push_str(&plot("Rows by size of their class, as it goes out", goes_out));
            }
        }
    }
    body.push_str(
        "<p class=note>Rows that look alike in all quasi-identifiers are one class. The risk of a row is one part of its \
         class. This speaks of one file: who is in several can be looked for in all of them.</p>",
    );
    format!(
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8><title>Re-identification risk</title><style>{STYLE}</style></head><body>{body}</body></html>\n"
    )
}

fn policy(answer: &Answer) -> String {
    let Some(after) = &answer.as_it_goes_out else { return String::new() };
    if let Some(refused) = &after.refused {
        return format!("<p><b>It would not go out:</b> {}.</p>", escaped(refused));
    }
    let mut text =
        format!("<h2>Under policy {}</h2><p>Rows left out: {}.</p>", escaped(&after.policy), after.rows_suppressed);
    let chosen = after.levels.iter().filter_map(|it| Some((&it.column, it.level?, it.coarsest?)));
    let rows: String = chosen
        .map(|(column, level, coarsest)| format!("<tr><td>{}<td>{level} of {coarsest}", escaped(column)))
        .collect();
    if !rows.is_empty() {
        let _ = write!(text, "<table><tr><th>quasi-identifier<th>level{rows}</table>");
    }
    text
}

fn table(before: &Risk, after: Option<&Risk>) -> String {
    let head = if after.is_some() { "<th>as it goes out" } else { "" };
    let mut text = format!("<table><tr><th><th>as it comes{head}");
    for (name, value) in LINES {
        let _ = write!(text, "<tr><td>{name}<td>{}", value(before));
        if let Some(after) = after {
            let _ = write!(text, "<td>{}", value(after));
        }
    }
    text + "</table>"
}

/// Bars, one for each step of sizes.
fn plot(title: &str, risk: &Risk) -> String {
    let buckets = buckets(risk);
    let most = buckets.iter().map(|(_, rows)| *rows).max().unwrap_or(0).max(1) as f64;
    let height = BAR * (buckets.len() as f64 + 0.5);
    let mut text = format!(
        "<h2>{title}</h2><svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' role='img' aria-label='{title}' font-family='sans-serif' font-size='13'>"
    );
    for (place, (name, rows)) in buckets.iter().enumerate() {
        let (top, length) = (BAR * place as f64, (WIDTH - LABEL - NUMBER) * *rows as f64 / most);
        let middle = top + BAR * 0.7;
        // A class of 4 or fewer leaves a risk above the usual threshold.
        let colour = if place < 4 { "#c0392b" } else { "#2e7d6b" };
        let _ = write!(
            text,
            "<text x='{}' y='{middle:.1}' text-anchor='end'>{name}</text><rect x='{LABEL}' y='{:.1}' width='{length:.1}' height='{:.1}' fill='{colour}'/><text x='{:.1}' y='{middle:.1}'>{rows} ({:.1} %)</text>",
            LABEL - 8.0,
            top + 2.0,
            BAR - 4.0,
            LABEL + length + 6.0,
            *rows as f64 / risk.rows as f64 * 100.0,
        );
    }
    text + "</svg>"
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            letter => out.push(letter),
        }
    }
    out
}
