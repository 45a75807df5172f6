//! What `veild detect` and `veild policy suggest` find in a file, and that they show none of it.

use std::fs;
use std::io::Write;

use crate::sandbox::Sandbox;

mod members;

/// Rows of synthetic people; checks of all numbers hold.
const HEADER: &str = "id,nombre,Geburtsdatum,mail,ssn,bsn,card,iban,notes,ts,order_no,ip,empty\n";

fn people(rows: usize) -> String {
    let names = ["Ana García", "Jürgen Müller", "Marie Dubois", "João Silva", "Emily Clark", "Piotr Nowak"];
    let bsn = ["111222333", "123456782", "232262536", "010464554", "002195650", "245783091"];
    let cards = ["4111111111111111", "5500005555555559", "2221000000000009", "378282246310005", "6011111111111117"];
    let ibans = ["DE89370400440532013000", "GB29NWBK60161331926819", "NL91ABNA0417164300", "ES9121000418450200051332"];
    let mut text = HEADER.to_owned();
    for row in 0..rows {
        text += &format!(
            "{},{},{:02}.{:02}.{},user{row}@example.com,{:03}-{:02}-{:04},{},{},{},\"called {}, wrote, thanks, all \"\"well\"\", will come again next week\",{},{:09},10.{}.{}.7,\n",
            row + 1,
            names[row % names.len()],
            row % 28 + 1,
            row % 12 + 1,
            1940 + row % 60,
            row * 7 % 665 + 1,
            row % 98 + 1,
            row + 1,
            bsn[row % bsn.len()],
            cards[row % cards.len()],
            ibans[row % ibans.len()],
            if row % 3 == 0 { "+49 1512 3456789" } else { "nobody" },
            1_700_000_000_000_u64 + row as u64 * 7919,
            100_000_000 + row * 7919,
            row % 200,
            row % 250,
        );
    }
    text
}

fn best<'a>(answer: &'a serde_json::Value, column: &str) -> Option<&'a str> {
    let column = answer["columns"].as_array().unwrap().iter().find(|it| it["name"] == column).unwrap();
    column["findings"].get(0).map(|finding| finding["class"].as_str().unwrap())
}

#[test]
fn every_column_gets_its_class() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("people.csv");
    fs::write(&file, people(300)).unwrap();
    let answer = sandbox.json(&["detect", file.to_str().unwrap()]);
    for (column, class) in [
        ("id", None),
        ("nombre", Some("person_name")),
        ("Geburtsdatum", Some("date_of_birth")),
        ("mail", Some("email")),
        ("ssn", Some("us_ssn")),
        ("bsn", Some("nl_bsn")),
        ("card", Some("payment_card")),
        ("iban", Some("iban")),
        ("notes", Some("phone")),
        ("ts", None),
        ("order_no", None),
        ("ip", Some("ipv4")),
        ("empty", None),
    ] {
        assert_eq!(best(&answer, column), class, "{column}: {answer:#}");
    }
}

#[test]
fn no_value_is_shown() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("people.csv");
    fs::write(&file, people(50)).unwrap();
    let path = file.to_str().unwrap();
    for arguments in [&["detect", path][..], &["detect", path, "--json"], &["policy", "suggest", path]] {
        let output = sandbox.veild(arguments);
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{said}");
        for value in ["García", "user1", "example.com", "111222333", "4111", "DE89", "1700000", "3456789"] {
            assert!(!said.contains(value), "{arguments:?} shows {value}: {said}");
        }
    }
}

#[test]
fn the_policy_suggested_passes_its_test_as_it_stands() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("people.csv");
    fs::write(&file, people(3000) + ",,no date,,,,,,,,,,\n").unwrap();
    let suggested = sandbox.veild(&["policy", "suggest", file.to_str().unwrap()]);
    let policy = sandbox.path("suggested.toml");
    fs::write(&policy, &suggested.stdout).unwrap();
    let text = String::from_utf8_lossy(&suggested.stdout).into_owned();
    assert_eq!(text.matches("[[column]]  # ").count(), 13, "{text}");
    let test = ["policy", "test", file.to_str().unwrap(), "--policy", policy.to_str().unwrap()];
    let tested = sandbox.veild(&test);
    assert!(tested.status.success(), "{text}\n{}", String::from_utf8_lossy(&tested.stderr));
    let masked = sandbox.veild(&[
        "mask",
        file.to_str().unwrap(),
        "--policy",
        policy.to_str().unwrap(),
        "-o",
        "-",
        "--plaintext",
    ]);
    let masked = String::from_utf8_lossy(&masked.stdout).into_owned();
    for value in ["García", "user17@", "001-01-0001", "111222333", "411111", "DE8937", "1512 3456789", ".1940"] {
        assert!(!masked.contains(value), "{value} survives");
    }
}

/// pandas leaves the name of its index column out; UTF-16 and a trailing delimiter come from spreadsheets.
#[test]
fn a_header_that_no_policy_can_be_for_is_said_as_its_test_says_it() {
    let sandbox = Sandbox::new();
    let utf_16: Vec<u8> = "\u{feff};a\n1;2\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(b",a\n0,1\n").unwrap();
    let policy = sandbox.path("any.toml");
    fs::write(&policy, "unlisted = \"redact\"\nmissing = \"ignore\"\n").unwrap();
    for (name, content, problem) in [
        ("index.csv", b",name,age\n0,Ann,30\n1,Bob,41\n".to_vec(), "column 1 of the header has no name"),
        ("index.csv.gz", gzip.finish().unwrap(), "column 1 of the header has no name"),
        ("wide.csv", utf_16, "column 1 of the header has no name"),
        ("trailing.csv", b"a,b,\n1,2,\n".to_vec(), "column 3 of the header has no name"),
        ("twice.csv", b"x,X \n1,2\n".to_vec(), "columns 1 and 2 of the header have the same name"),
    ] {
        let file = sandbox.path(name);
        fs::write(&file, content).unwrap();
        let file = file.to_str().unwrap();
        let tested = sandbox.veild(&["policy", "test", file, "--policy", policy.to_str().unwrap()]);
        let suggested = sandbox.veild(&["policy", "suggest", file]);
        for output in [&tested, &suggested] {
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(
                said.contains(file) && said.contains(problem) && said.contains("what to do: ask the sender"),
                "{said}"
            );
        }
        assert!(suggested.stdout.is_empty(), "{name}");
        assert_eq!(suggested.status.code(), Some(1), "{name}");
    }
}

#[test]
fn names_that_are_data_are_refused_with_a_way_out() {
    let sandbox = Sandbox::new();
    for (name, content, way) in [
        ("lost.csv", "1,ann@example.com\n2,bob@example.com\n", "`delimited.columns`"),
        ("map.json", r#"[{"by": {"ann@example.com": {"n": 1}, "bob@example.com": {"n": 2}}}]"#, "\"by.*.n\""),
    ] {
        let file = sandbox.path(name);
        fs::write(&file, content).unwrap();
        for command in [&["detect"][..], &["policy", "suggest"]] {
            let output = sandbox.veild(&[command, &[file.to_str().unwrap()]].concat());
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(said.contains("what to do: ") && said.contains(way) && !said.contains("example"), "{said}");
        }
    }
}

#[test]
fn records_that_all_have_every_path_are_asked_for_them() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("people.ndjson");
    for (content, missing) in [
        ("{\"id\":1,\"at\":{\"zip\":\"x\"}}\n{\"id\":2,\"at\":{\"zip\":\"y\"}}\n", "missing = \"reject\"\n\n"),
        ("{\"id\":1,\"at\":{\"zip\":\"x\"}}\n{\"id\":2}\n", "missing = \"ignore\""),
        ("{\"id\":[1,2]}\n{\"id\":[]}\n", "missing = \"ignore\""),
    ] {
        fs::write(&file, content).unwrap();
        let output = sandbox.veild(&["policy", "suggest", file.to_str().unwrap()]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains(missing), "{content}: {text}");
    }
}

#[test]
fn a_column_that_would_repeat_a_masked_one_is_redacted() {
    let sandbox = Sandbox::new();
    let cities = ["Berlin", "Hamburg", "Dresden", "Leipzig", "Bremen", "Hannover", "Dortmund", "Stuttgart", "Nürnberg"];
    let more = ["Augsburg", "Potsdam", "Rostock", "Würzburg"];
    let file = sandbox.path("routes.csv");
    let row = |row: usize| {
        let city = cities.iter().chain(&more).nth(row % 13).unwrap();
        format!("{row},{city},KZ-{row} from {city} at {row}\n")
    };
    fs::write(&file, format!("id,Wohnort,route\n{}", (0..200).map(row).collect::<String>())).unwrap();
    let suggested = sandbox.veild(&["policy", "suggest", file.to_str().unwrap()]);
    let text = String::from_utf8_lossy(&suggested.stdout).into_owned();
    assert!(text.contains("keep would leak: row 1, route: values of the masked Wohnort"), "{text}");
    let policy = sandbox.path("suggested.toml");
    fs::write(&policy, &suggested.stdout).unwrap();
    let tested = sandbox.veild(&["policy", "test", file.to_str().unwrap(), "--policy", policy.to_str().unwrap()]);
    assert!(tested.status.success(), "{text}\n{}", String::from_utf8_lossy(&tested.stderr));
}

/// `.ci/run` makes the corpus: `benches/detection/corpus.py`.
#[test]
fn what_is_suggested_for_fifty_locales_passes_its_test() {
    let Some(corpus) = std::env::var_os("VEILD_CORPUS") else {
        println!("SKIPPED: needs VEILD_CORPUS, a folder that benches/detection/corpus.py has made");
        return;
    };
    let sandbox = Sandbox::new();
    let policy = sandbox.path("suggested.toml");
    let mut files = 0;
    for entry in fs::read_dir(corpus).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_none_or(|extension| extension != "csv") {
            continue;
        }
        files += 1;
        let suggested = sandbox.veild(&["policy", "suggest", file.to_str().unwrap()]);
        assert!(suggested.status.success(), "{}: {suggested:?}", file.display());
        fs::write(&policy, &suggested.stdout).unwrap();
        let tested = sandbox.veild(&["policy", "test", file.to_str().unwrap(), "--policy", policy.to_str().unwrap()]);
        let (policy, why) = (String::from_utf8_lossy(&suggested.stdout), String::from_utf8_lossy(&tested.stderr));
        assert!(tested.status.success(), "{}: {why}\n{policy}", file.display());
    }
    assert!(files >= 50, "{files} files");
}

#[test]
fn nested_records_are_looked_at_path_by_path() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("people.json");
    let records: Vec<String> = (0..40)
        .map(|row| {
            let more = if row % 2 == 0 { r#""spouse": null"# } else { r#""spouse": {"name": "Ana Garc\u00eda"}"# };
            format!(
                r#"{{"id": {row}, "contacts": [{{"mail": "u{row}@example.com", "tel": "+49 1512 {:07}"}}], "tags": [], {more}}}"#,
                3_456_789 + row
            )
        })
        .collect();
    fs::write(&file, format!("[{}]", records.join(",\n"))).unwrap();
    let path = file.to_str().unwrap();
    let answer = sandbox.json(&["detect", path]);
    assert_eq!(best(&answer, "contacts[*].mail"), Some("email"));
    assert_eq!(best(&answer, "contacts[*].tel"), Some("phone"));
    assert_eq!(best(&answer, "spouse.name"), Some("person_name"));
    let policy = sandbox.path("suggested.toml");
    fs::write(&policy, sandbox.veild(&["policy", "suggest", path]).stdout).unwrap();
    let tested = sandbox.veild(&["policy", "test", path, "--policy", policy.to_str().unwrap()]);
    assert!(tested.status.success(), "{}", String::from_utf8_lossy(&tested.stderr));
    fs::write(&file, r#"{"ann@example.com": 1, "bob@example.com": 2}"#).unwrap();
    let refused = sandbox.veild(&["policy", "suggest", path]);
    let said = String::from_utf8_lossy(&[refused.stdout, refused.stderr].concat()).into_owned();
    assert!(said.contains("keys that are values") && !said.contains("example.com"), "{said}");
}

#[test]
fn a_lost_header_is_not_printed() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("lost.csv");
    fs::write(&file, people(3).lines().skip(1).collect::<Vec<_>>().join("\n")).unwrap();
    let output = sandbox.veild(&["policy", "suggest", file.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("lost its header line") && !said.contains("Ana"), "{said}");
}

#[test]
fn a_broken_file_is_refused_like_anywhere_else() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("ragged.csv");
    fs::write(&file, "a,b\n1,2\n3\n").unwrap();
    let output = sandbox.veild(&["detect", file.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("1 field found where the header has 2") && said.contains("row 2"), "{said}");
}

#[test]
fn a_directory_is_told_to_be_one() {
    let sandbox = Sandbox::new();
    let landing = sandbox.site("landing");
    for arguments in [&["detect"][..], &["policy", "suggest"]] {
        let refused = sandbox.veild(&[arguments, &[landing.to_str().unwrap()]].concat());
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(said.contains("is a directory, and files are looked at one by one: name one of those in it"), "{said}");
    }
}
