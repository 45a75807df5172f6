//! Parts of archives and books, each with its answer.

use super::*;

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
    assert!(said.contains("member 2: 1 field found where the header has 2"), "{said}");
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
