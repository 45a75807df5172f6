//! Names of people and places, by dictionary. They are believed by column only: in prose a dictionary alone cannot
//! tell Rose from a rose.

use std::collections::HashSet;
use std::sync::LazyLock;

use super::fold;

type Words = HashSet<&'static str, ahash::RandomState>;

/// Sources and licences stand in each file's first line.
fn words(file: &'static str) -> Words {
    file.lines().filter(|line| !line.starts_with('#')).collect()
}

static GIVEN: LazyLock<Words> = LazyLock::new(|| words(include_str!("data/given_names.txt")));
static SURNAMES: LazyLock<Words> = LazyLock::new(|| words(include_str!("data/surnames.txt")));
static PLACES: LazyLock<Words> = LazyLock::new(|| words(include_str!("data/places.txt")));

/// Longest cell that is looked at, in bytes.
const LONGEST: usize = 80;

/// What the dictionaries say of a cell that is written like a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Written like a name; no dictionary has its words.
    Nothing,
    /// One word, and a name.
    OneWord,
    /// Several words with a name among them.
    Several,
}

/// Whether a cell is a person's name; `None` when it is not written like one.
pub(super) fn person(cell: &str) -> Option<Known> {
    let mut folded = String::with_capacity(cell.len());
    if !written_like_a_name(cell, &mut folded) {
        return None;
    }
    let (mut count, mut known) = (0, false);
    for word in folded.split([' ', '-', '\'', '’', '.', ',']).filter(|word| word.chars().nth(1).is_some()) {
        count += 1;
        known |= is_name(word);
    }
    Some(match (known, count) {
        (false, _) => Known::Nothing,
        (true, 1) => Known::OneWord,
        (true, _) => Known::Several,
    })
}

/// Whether a cell is a place's name; `None` when it is not written like a name at all.
pub(super) fn place(cell: &str) -> Option<Known> {
    let mut folded = String::with_capacity(cell.len());
    if !written_like_a_name(cell, &mut folded) {
        return None;
    }
    // "Springfield, Illinois" and "Frankfurt (Oder)" by their first part.
    let first = folded.split([',', '(', '/']).next().unwrap_or_default().trim();
    Some(match (PLACES.contains(folded.trim()) || PLACES.contains(first), first.contains(' ')) {
        (false, _) => Known::Nothing,
        (true, false) => Known::OneWord,
        (true, true) => Known::Several,
    })
}

/// Length of a full name at the beginning of the text: a given name, then words of which the last is a surname.
pub(super) fn full_name(text: &str) -> Option<usize> {
    let mut end = capitalised(text)?;
    // Before the dictionary is asked: most capitals begin a sentence.
    text[end..].strip_prefix(' ').filter(|rest| rest.starts_with(char::is_uppercase))?;
    if !listed(&GIVEN, &text[..end]) {
        return None;
    }
    let mut named = None;
    for _ in 0..3 {
        let rest = text[end..].strip_prefix(' ')?;
        let Some(length) = capitalised(rest) else { break };
        end += 1 + length;
        if listed(&SURNAMES, &rest[..length]) {
            named = Some(end);
        }
        if !text[end..].starts_with(' ') {
            break;
        }
    }
    named
}

/// Longest word of a name, in characters.
const LONGEST_WORD: usize = 64;

/// Length of a capitalised word of at least three letters; hyphens and apostrophes may be within.
fn capitalised(text: &str) -> Option<usize> {
    let mut letters = text.chars();
    letters.next().filter(|first| first.is_uppercase())?;
    let goes_on = |letter: char| letter.is_alphabetic() || "-'’".contains(letter);
    // A line of hyphened capitals would be read from each of them to its end.
    let end: usize = text.chars().take(LONGEST_WORD + 1).take_while(|it| goes_on(*it)).map(char::len_utf8).sum();
    let word = text[..end].trim_end_matches(['-', '\'', '’']);
    let inner = word.chars().skip(1);
    let is_short = word.chars().count() <= LONGEST_WORD;
    (word.len() >= 3 && is_short && inner.clone().any(char::is_lowercase)).then_some(word.len())
}

fn listed(words: &Words, word: &str) -> bool {
    word.split(['-', '\'', '’']).any(|part| {
        let mut folded = String::with_capacity(part.len());
        part.chars().for_each(|letter| fold::push(letter, &mut folded));
        words.contains(folded.as_str())
    })
}

fn is_name(word: &str) -> bool {
    if GIVEN.contains(word) || SURNAMES.contains(word) {
        return true;
    }
    // Chinese, Japanese and Korean names are written without a space behind the surname.
    let mut ends = word.char_indices().map(|(at, _)| at).skip(1).take(2);
    word.chars().count() <= 6 && word.chars().all(is_undivided) && ends.any(|end| SURNAMES.contains(&word[..end]))
}

fn is_undivided(letter: char) -> bool {
    matches!(letter, '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}' | '\u{3040}'..='\u{30ff}')
}

/// One to six words of letters, the first a capital where the script has them; folds on the way.
fn written_like_a_name(cell: &str, folded: &mut String) -> bool {
    if cell.len() > LONGEST || !cell.chars().next().is_some_and(|first| first.is_alphabetic() && !first.is_lowercase())
    {
        return false;
    }
    let mut spaces = 0;
    let all = cell.chars().all(|letter| {
        spaces += usize::from(letter == ' ');
        fold::push(letter, folded);
        letter.is_alphabetic() || " -'’.,()/\u{300}\u{301}".contains(letter) || is_mark(letter)
    });
    all && spaces <= 5
}

/// Vowel signs and viramas of Indic scripts and Thai, which are no letters by themselves.
fn is_mark(letter: char) -> bool {
    matches!(letter, '\u{900}'..='\u{dff}' | '\u{e30}'..='\u{e4e}' | '\u{64b}'..='\u{65f}' | '\u{200c}' | '\u{200d}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_several_scripts() {
        assert_eq!(person("Maria"), Some(Known::OneWord));
        assert_eq!(person("José Álvarez"), Some(Known::Several));
        assert_eq!(person("Dr. Jürgen von Müller-Lüdenscheidt"), Some(Known::Several));
        assert_eq!(person("王伟"), Some(Known::OneWord));
        assert_eq!(person("Qwrtz Xkcdw"), Some(Known::Nothing));
        for not_written_so in
            ["maria", "Order 17", "A_B", "", "a sentence that is plainly too long to be anyone's name"]
        {
            assert_eq!(person(not_written_so), None, "{not_written_so}");
        }
    }

    #[test]
    fn places_by_their_whole_name() {
        assert_eq!(place("São Paulo"), Some(Known::Several));
        assert_eq!(place("Berlin"), Some(Known::OneWord));
        assert_eq!(place("Austin, Texas"), Some(Known::OneWord));
        assert_eq!(place("Berlin Sans"), Some(Known::Nothing));
    }
}
