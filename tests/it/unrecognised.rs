//! Files that no reader takes, on landings that have them sealed as they are.

use std::fs;

use serde_json::{Value, json};

use crate::sandbox::Sandbox;

const PEOPLE: &str = "id,name,ssn,email,dob,country,notes\n1,Ann,123-45-6789,a@example.com,1987-04-12,US,x\n";
const PDF: &[u8] = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\nAnn 123-45-6789\n";

/// A site that seals what it does not recognise to a reader of its own, whose identity is in `archive.txt`.
fn site(keys: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.archive_originals();
    sandbox.edit_config("after = \"archive\"", &format!("unrecognised = \"seal\"\n{keys}"));
    sandbox
}

fn sealed(sandbox: &Sandbox) -> Vec<Value> {
    sandbox.audit().into_iter().filter(|it| it["event"]["action"] == "file.sealed").collect()
}

fn opened(sandbox: &Sandbox, job: &Value, identity: &str) -> Option<Vec<u8>> {
    let identity = sandbox.site(identity);
    let arguments = ["vault", "open", job.as_str().unwrap(), "--archive", "-i", identity.to_str().unwrap()];
    let output = sandbox.veild(&arguments);
    output.status.success().then_some(output.stdout)
}

#[test]
fn what_nobody_reads_is_sealed_for_the_archive_alone() {
    let sandbox = site("");
    sandbox.drop_file("scan.pdf", PDF);
    sandbox.drop_file("people.csv", PEOPLE);
    sandbox.drop_file("ragged.csv", "id,name,ssn,email,dob,country,notes\n1,Ann\n");
    sandbox.run_until_idle();
    assert_eq!(sandbox.receipts().len(), 1, "masked outputs");
    assert_eq!(sandbox.quarantined().len(), 1);
    let archived = sandbox.json(&["vault", "list", "--archive"]);
    let archived = archived.as_array().unwrap();
    assert_eq!(archived.len(), 1, "the CSV is not archived: {archived:?}");
    let receipt = &archived[0]["receipt"];
    assert_eq!(
        (&receipt["input"]["format"], &receipt["policy"], &receipt["columns"]),
        (&json!("unrecognised"), &Value::Null, &json!([]))
    );
    assert_eq!(opened(&sandbox, &receipt["job"], "archive.txt").as_deref(), Some(PDF));
    assert_eq!(opened(&sandbox, &receipt["job"], "identity.txt"), None, "the landing's readers read it");
    let record = sealed(&sandbox).into_iter().find(|it| it["veild"]["job"] == receipt["job"]).unwrap();
    assert!(record["veild"]["unrecognised"].as_str().unwrap().starts_with("the file is a PDF document"), "{record}");
    assert_eq!(record["veild"]["archive"]["object"], archived[0]["path"]);
    assert_eq!((&record["veild"]["object"], &record["veild"]["policy"]), (&Value::Null, &Value::Null));
    assert!(sandbox.landing_is_empty());
    let identity = sandbox.site("archive.txt");
    let verdict = sandbox.json(&["vault", "verify", "-i", identity.to_str().unwrap()]);
    assert_eq!((&verdict["problems"], &verdict["archived"]), (&json!([]), &json!(1)));
    sandbox.assert_audit_holds();
}

#[test]
fn it_is_sealed_once_whatever_kills_it() {
    for step in ["before_unread_finish", "staged", "object_renamed", "published", "audited", "ledger_done"] {
        let sandbox = site("");
        sandbox.drop_file("scan.pdf", PDF);
        if step == "before_unread_finish" {
            let daemon = sandbox.daemon_with(&[("VEILD_WORKER_FAULT_ONCE", step)]);
            sandbox.wait_for("the worker's end", || sandbox.log_lines("worker_died") >= 1);
            drop(daemon);
        } else {
            let mut daemon = sandbox.daemon_with_fault(Some(step));
            sandbox.wait_for("the fault", || daemon.has_ended());
        }
        sandbox.run_until_idle();
        let archived = sandbox.json(&["vault", "list", "--archive"]);
        assert_eq!((archived.as_array().unwrap().len(), sealed(&sandbox).len()), (1, 1), "{step}");
        assert!(sealed(&sandbox)[0]["veild"]["unrecognised"].is_string());
        assert_eq!((sandbox.receipts().len(), sandbox.quarantined().len()), (0, 0), "{step}");
        assert_eq!(fs::read_dir(sandbox.site("vault/.incoming")).unwrap().count(), 0, "{step}");
        assert!(sandbox.landing_is_empty());
        sandbox.assert_audit_holds();
    }
}

#[test]
fn a_second_copy_is_a_duplicate_and_an_archive_with_one_inside_is_not_sealed() {
    let sandbox = site("duplicates = \"skip\"");
    sandbox.edit_config("[policy.people]", "[[landing.member]]\nmember = \"*\"\n\n[policy.people]");
    sandbox.drop_file("scan.pdf", PDF);
    sandbox.run_until_idle();
    sandbox.drop_file("again.pdf", PDF);
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("scan.pdf", zip::write::SimpleFileOptions::default()).unwrap();
    std::io::Write::write_all(&mut zip, PDF).unwrap();
    sandbox.drop_file("bundle.zip", zip.finish().unwrap().into_inner());
    sandbox.run_until_idle();
    assert_eq!(sandbox.json(&["vault", "list", "--archive"]).as_array().unwrap().len(), 1);
    let skipped: Vec<_> = sandbox.audit().into_iter().filter(|it| it["event"]["action"] == "file.skipped").collect();
    assert_eq!(skipped.len(), 1);
    assert_eq!(sandbox.quarantined()[0]["code"], "unrecognised_member");
    assert!(sandbox.landing_is_empty());
}

/// A workbook of one table with these rows.
fn ods(rows: &str) -> Vec<u8> {
    let content = format!(
        "<office:document-content><table:table table:name=\"S\">{rows}</table:table></office:document-content>"
    );
    crate::formats::packed_ods(&content)
}

#[test]
fn a_spreadsheet_that_is_cut_off_or_stands_for_too_much_is_not_sealed_and_kills_no_worker() {
    let sandbox = site("");
    let cell = |repeats: &str| {
        format!("<table:table-cell office:value-type=\"string\"{repeats}><text:p>id</text:p></table:table-cell>")
    };
    let wide = cell(" table:number-columns-repeated=\"16000\"");
    let bomb = ods(&format!("<table:table-row table:number-rows-repeated=\"4000\">{wide}</table:table-row>"));
    let whole = ods(&format!("<table:table-row>{}</table:table-row>", cell("")));
    sandbox.drop_file("bomb.ods", bomb);
    sandbox.drop_file("half.ods", &whole[..whole.len() / 2]);
    sandbox.drop_file("half.xlsx", &whole[..whole.len() - 10]);
    sandbox.run_until_idle();
    let mut codes: Vec<String> =
        sandbox.quarantined().iter().map(|it| it["code"].as_str().unwrap().to_owned()).collect();
    codes.sort();
    assert_eq!(codes, ["malformed_file", "malformed_file", "too_large_to_hold"]);
    assert_eq!((sealed(&sandbox).len(), sandbox.log_lines("worker_died")), (0, 0));
    assert!(sandbox.landing_is_empty());
}
