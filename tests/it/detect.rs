//! What `veild detect` and `veild policy suggest` find in a file, and that they show none of it.

use std::fs;
use std::io::Write;

use crate::sandbox::Sandbox;

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
    assert!(said.contains("1 fields found where the header has 2") && said.contains("row 2"), "{said}");
}

const SECOND: &str = "{\"id\": 1, \"mail\": \"user1@example.com\", \"card\": \"4111111111111111\"}\n\
    {\"id\": 2, \"mail\": \"user2@example.com\", \"card\": \"5500005555555559\"}\n";

/// The same members as an archive of each kind.
fn archives(sandbox: &Sandbox, members: &[(&str, &str)]) -> Vec<std::path::PathBuf> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in members {
        zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, name, content.as_bytes()).unwrap();
    }
    let tar = tar.into_inner().unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).unwrap();
    let zstd = zstd::encode_all(&tar[..], 1).unwrap();
    let all = [
        ("all.zip", zip.finish().unwrap().into_inner()),
        ("all.tar.gz", gzip.finish().unwrap()),
        ("all.tar.zst", zstd),
        ("all.tar", tar),
    ];
    let written = all.into_iter().map(|(name, content)| {
        fs::write(sandbox.path(name), content).unwrap();
        sandbox.path(name)
    });
    written.collect()
}

/// What a suggested policy does to the file that it was suggested for.
fn tested(sandbox: &Sandbox, file: &str, flags: &[&str]) -> String {
    let suggested = sandbox.veild(&[&["policy", "suggest", file], flags].concat());
    let said = String::from_utf8_lossy(&[suggested.stdout.clone(), suggested.stderr].concat()).into_owned();
    assert!(suggested.status.success() && !said.contains("user1") && !said.contains("4111"), "{said}");
    let policy = sandbox.path("suggested.toml");
    fs::write(&policy, &suggested.stdout).unwrap();
    // With the flags that it says itself.
    let (_, after) = said.split_once("--policy NAME.toml").unwrap();
    let flags: Vec<String> =
        after.split('`').next().unwrap().split_whitespace().map(|flag| flag.replace('"', "")).collect();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let test = sandbox.veild(&[&["policy", "test", file, "--policy", policy.to_str().unwrap()], &flags[..]].concat());
    assert!(test.status.success(), "{file}: {}", String::from_utf8_lossy(&test.stderr));
    said
}

#[test]
fn members_of_an_archive_are_looked_at_one_by_one() {
    let sandbox = Sandbox::new();
    let (people, table) = (people(300), "id,notes,card\n7,,none\n8,,none\n");
    for archive in archives(&sandbox, &[("a/people.csv", &people), ("second.ndjson", SECOND), ("third.csv", table)]) {
        let file = archive.to_str().unwrap();
        let answer = sandbox.json(&["detect", file]);
        let members = answer["members"].as_array().unwrap();
        let named: Vec<(&str, &str, u64)> = members
            .iter()
            .map(|it| (it["name"].as_str().unwrap(), it["format"].as_str().unwrap(), it["rows"].as_u64().unwrap()))
            .collect();
        assert_eq!(named, [("a/people.csv", "csv", 300), ("second.ndjson", "ndjson", 2), ("third.csv", "csv", 2)]);
        assert_eq!((&answer["rows"], best(&members[0], "iban")), (&304.into(), Some("iban")));
        assert_eq!((best(&members[1], "mail"), best(&members[2], "id")), (Some("email"), None));
        let told = sandbox.veild(&["detect", file]);
        let told = String::from_utf8(told.stdout).unwrap();
        assert!(told.contains("3 members, 304 rows, 304 looked at\nmember a/people.csv: 300 rows"), "{told}");
        assert!(told.contains("\nmember second.ndjson: 2 rows, 2 looked at\n") && !told.contains("user1"), "{told}");
        let said = tested(&sandbox, file, &[]);
        assert!(said.contains("for 3 of its 3 members") && said.contains("missing = \"ignore\""), "{said}");
        assert_eq!(said.matches("name = \"id\"").count(), 1, "{said}");
    }
    let refused = |members: &[(&str, &str)]| {
        let archive = &archives(&sandbox, members)[0];
        let output = sandbox.veild(&["detect", archive.to_str().unwrap()]);
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let said = refused(&[("a.csv", "a,b\n1,2\n"), ("b.csv", "a,b\n1,2\n3\n")]);
    assert!(said.contains("member 2: 1 fields found where the header has 2"), "{said}");
    let said = refused(&[("a.csv", "a,b\n1,2\n"), ("b.csv", "4711,user1@example.com\n1,2\n")]);
    assert!(said.contains("member b.csv: the name of column 2 looks like personal data"), "{said}");
}

#[test]
fn members_go_by_the_rules_of_the_landing() {
    let sandbox = Sandbox::new();
    let rule = |keys: &str| format!("[[landing.member]]\nmember = {keys}\n");
    let rules = rule("\"*.txt\"\ndrop = true") + &rule("\"old/*\"\npolicy = \"people\"") + &rule("\"*.csv\"");
    sandbox.edit_config("[policy.people]", &format!("{rules}\n[policy.people]"));
    let members = [("read.txt", "\0"), ("a.csv", "id,mail\n1,user1@example.com\n"), ("b.csv", "id\n1\n")];
    let archive = archives(&sandbox, &members)[0].clone();
    let file = archive.to_str().unwrap();
    let landing = ["--landing", "people"];
    let answer = sandbox.json(&[&["detect", file], &landing[..]].concat());
    assert_eq!((answer["members"].as_array().unwrap().len(), &answer["rows"]), (2, &2.into()));
    let said = tested(&sandbox, file, &landing);
    assert!(said.contains("for 2 of its 2 members") && said.contains("--landing \"people\"`"), "{said}");
    let old = archives(&sandbox, &[("old/a.csv", "id,mail\n1,x\n")])[0].clone();
    let refused = sandbox.veild(&[&["policy", "suggest", old.to_str().unwrap()], &landing[..]].concat());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("goes by the policy that its rule names; none is suggested"), "{said}");
    let unlisted = archives(&sandbox, &[("a.json", "{}")])[0].clone();
    let refused = sandbox.veild(&[&["detect", unlisted.to_str().unwrap()], &landing[..]].concat());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("member 1: no member rule of the landing names it"), "{said}");
}

/// One column name, other things in it.
#[test]
fn a_rule_fits_the_columns_of_all_members() {
    let sandbox = Sandbox::new();
    let mails: String = (0..30).map(|n| format!("{n},user1{n}@example.com,{n}\n")).collect();
    let cards = ["4111111111111111", "5500005555555559", "2221000000000009", "378282246310005"];
    let cards: String = cards.iter().map(|card| format!("1,{card},\n")).collect();
    let members = [("a.csv", format!("id,x,y\n{mails}")), ("b.csv", format!("ID,X,y\n{cards}"))];
    let members = members.each_ref().map(|(name, content)| (*name, content.as_str()));
    for archive in archives(&sandbox, &members) {
        let said = tested(&sandbox, archive.to_str().unwrap(), &[]);
        let rule = said.split("[[column]]").find(|rule| rule.contains("name = \"x\"")).unwrap();
        assert!(rule.contains("# tables differ: ") && rule.contains("mask = \"redact\""), "{said}");
        assert!(said.contains("missing = \"reject\"") && said.matches("[[column]]").count() == 3, "{said}");
    }
}

#[test]
fn sheets_are_looked_at_one_by_one() {
    let sandbox = Sandbox::new();
    let book = sandbox.path("team.xlsx");
    fs::write(&book, crate::conversions::workbook()).unwrap();
    let book = book.to_str().unwrap();
    for flags in [&[][..], &["--sheet", "each"]] {
        let answer = sandbox.json(&[&["detect", book], flags].concat());
        let sheets: Vec<&str> =
            answer["sheets"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
        assert_eq!((sheets, &answer["format"]), (vec!["People", "Notes"], &"xlsx".into()));
        let said = tested(&sandbox, book, flags);
        assert!(said.contains("for 2 of its 2 sheets") && said.matches("--sheet").count() == 1, "{said}");
    }
    let told = sandbox.veild(&["detect", book]);
    assert!(String::from_utf8(told.stdout).unwrap().contains("\nsheet People: 1 row, 1 looked at\n"));
    let refused = sandbox.veild(&["policy", "test", book, "--policy", "people"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("sheet = \"each\"") && said.contains("[[landing.sheet]]"), "{said}");
    sandbox.edit_config("[policy.people]", "[[landing.sheet]]\nsheet = \"*\"\n\n[policy.people]");
    for landing in [&["--landing", "people"][..], &[]] {
        let answer = sandbox.json(&[&["detect", book, "--sheet", "People"], landing].concat());
        assert_eq!((&answer["rows"], answer["columns"].as_array().unwrap().len()), (&1.into(), 7));
    }
    let masked =
        ["mask", book, "--policy", "people", "--landing", "people", "--sheet", "People", "-o", "-", "--plaintext"];
    let masked = sandbox.veild(&masked);
    assert!(masked.stdout.starts_with(b"id,name,"), "{}", String::from_utf8_lossy(&masked.stderr));
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
