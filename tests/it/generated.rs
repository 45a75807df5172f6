//! What is made from the code: JSON Schema, man pages, shell completions.

use std::fs;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::sandbox::files_below;

const EXAMPLE: &str = include_str!("../../config.toml.example");

fn veild(arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_veild")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn schema() -> Value {
    serde_json::from_slice(&veild(&["schema"]).stdout).unwrap()
}

fn example() -> Value {
    let example: toml::Value = toml::from_str(EXAMPLE).unwrap();
    serde_json::to_value(example).unwrap()
}

#[test]
fn the_example_fits_the_schema_and_a_slip_does_not() {
    let schema = jsonschema::validator_for(&schema()).unwrap();
    if let Err(error) = schema.validate(&example()) {
        panic!("{}: {error}", error.instance_path());
    }
    let slips: [fn(&mut Value) -> &mut Value; 5] = [
        |root| root,
        |root| &mut root["daemon"],
        |root| &mut root["landing"][0],
        |root| &mut root["policy"]["people"],
        |root| &mut root["policy"]["people"]["column"][0],
    ];
    for (index, place) in slips.iter().enumerate() {
        let mut config = example();
        place(&mut config)["unknwon"] = json!(1);
        assert!(!schema.is_valid(&config), "an unknown key passes at place {index}");
    }
    let refused = |pointer: &str, value: Value| {
        let mut config = example();
        *config.pointer_mut(pointer).unwrap_or_else(|| panic!("the example has no {pointer}")) = value;
        assert!(!schema.is_valid(&config), "{pointer}");
    };
    refused("/daemon/shutdown_grace", json!("30"));
    refused("/daemon/worker_memory", json!(1024));
    refused("/landing/0/complete", json!("closed"));
    refused("/policy/people/column/0/mask", json!("keeep"));
    refused("/config_version", json!(2));
}

/// Calls `check` with each key of the schema, its definition's name before it.
fn for_each_key(mut check: impl FnMut(&str, &str, &Value)) {
    let schema = schema();
    let definitions = schema["$defs"].as_object().unwrap();
    for (owner, definition) in definitions.iter().chain([(&"the root".to_owned(), &schema)]) {
        for (key, value) in definition["properties"].as_object().into_iter().flatten() {
            check(owner, key, value);
        }
    }
}

#[test]
fn every_key_stands_in_the_example_and_says_what_it_is() {
    for_each_key(|owner, key, value| {
        let spellings = ["{key} =", "[{key}]", "[[{key}]]", "[{key}.", "[[{key}.", "{key}.", ".{key}]]"];
        let stands = spellings.iter().any(|spelling| EXAMPLE.contains(&spelling.replace("{key}", key)));
        assert!(stands, "config.toml.example lacks {key:?} of {owner}, at least in a comment");
        let says = value["description"].as_str().is_some_and(|text| !text.is_empty());
        assert!(says, "{key:?} of {owner} needs a `///` line in src/config/raw.rs");
    });
}

#[test]
fn man_pages_of_all_commands_render_without_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    veild(&["man", dir.path().to_str().unwrap()]);
    let pages = files_below(dir.path());
    let has = |name: &str| pages.iter().any(|page| page.file_name().unwrap() == name);
    assert!(has("veild.1") && has("veild-audit-verify.1") && !has("veild-worker.1"), "{pages:?}");
    let alone = String::from_utf8(veild(&["man"]).stdout).unwrap();
    assert_eq!(alone, fs::read_to_string(dir.path().join("veild.1")).unwrap());
    for page in &pages {
        let rendered = Command::new("man")
            .args(["--warnings=all", "-E", "UTF-8", "-l"])
            .arg(page)
            .env("LC_ALL", "C.UTF-8")
            .env("MANWIDTH", "80")
            .stdin(Stdio::null())
            .output();
        let Ok(rendered) = rendered else { return eprintln!("SKIPPED: needs the Debian package man-db") };
        let warnings = String::from_utf8_lossy(&rendered.stderr).into_owned();
        assert!(rendered.status.success() && warnings.is_empty(), "{}: {warnings}", page.display());
        assert!(rendered.stdout.len() > 300, "{} is empty", page.display());
    }
}

#[test]
fn completions_are_scripts_that_know_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = String::from_utf8(veild(&["completions", shell]).stdout).unwrap();
        assert!(script.contains("quarantine") && script.contains("--plaintext"), "{shell}");
    }
    let script = veild(&["completions", "bash"]).stdout;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("veild.bash");
    fs::write(&path, script).unwrap();
    let asks = format!(
        "source '{}'; COMP_WORDS=(veild audit v); COMP_CWORD=2; _veild veild v audit; echo \"${{COMPREPLY[@]}}\"",
        path.display()
    );
    let answer = Command::new("bash").args(["--norc", "-c", &asks]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&answer.stdout).trim(), "verify");
}

#[test]
fn a_reader_that_leaves_ends_the_command_without_a_panic() {
    use std::os::unix::process::ExitStatusExt;
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output =
        Command::new(env!("CARGO_BIN_EXE_veild")).arg("schema").stdout(writer).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.signal(), Some(13), "{output:?}");
    assert!(output.stderr.is_empty());
}
