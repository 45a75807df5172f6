//! The text of a first configuration.

use std::path::{Path, PathBuf};

/// What a first configuration says; the policy is an example to start from.
pub struct Draft {
    pub state: PathBuf,
    pub vault: PathBuf,
    pub audit: PathBuf,
    pub masking: PathBuf,
    pub signing: PathBuf,
    /// Absent: the default.
    pub min_free: Option<&'static str>,
    pub log_format: &'static str,
    pub quiet: &'static str,
    /// By name.
    pub landings: Vec<(String, PathBuf)>,
    pub recipients: Vec<String>,
    /// Empty: rejected originals are kept as they came.
    pub quarantine: Vec<String>,
}

impl Draft {
    pub fn render(&self) -> String {
        let path = |path: &Path| toml::Value::from(path.to_string_lossy().into_owned()).to_string();
        let list = |recipients: &[String]| toml::Value::from(recipients.to_vec()).to_string();
        let mut text = format!("config_version = 1\n\n[daemon]\nstate_dir = {}\n", path(&self.state));
        if let Some(min_free) = self.min_free {
            text.push_str(&format!("min_free = \"{min_free}\"\n"));
        }
        text.push_str(&format!("\n[log]\nformat = \"{}\"\n", self.log_format));
        text.push_str(&format!("\n[audit]\ndir = {}\n\n[vault]\ndir = {}\n", path(&self.audit), path(&self.vault)));
        text.push_str(&format!("\n[keys]\nmasking = {}\nsigning = {}\n", path(&self.masking), path(&self.signing)));
        if !self.quarantine.is_empty() {
            text.push_str(&format!("\n[quarantine]\nrecipients = {}\n", list(&self.quarantine)));
        }
        for (name, dir) in &self.landings {
            text.push_str(&format!(
                "\n[[landing]]\nname = \"{name}\"\ndir = {}\nquiet = \"{}\"\npolicy = \"people\"\nrecipients = {}\n",
                path(dir),
                self.quiet,
                list(&self.recipients)
            ));
        }
        text.push_str(POLICY);
        text
    }
}

const POLICY: &str = r#"
[policy.people]
unlisted = "reject"

[[policy.people.column]]
names = ["id", "country", "notes"]
mask = "keep"

[[policy.people.column]]
name = "name"
mask = "redact"
text = "***"

[[policy.people.column]]
name = "ssn"
mask = "partial"
keep_last = 4

[[policy.people.column]]
name = "email"
mask = "hash"
length = 24

[[policy.people.column]]
name = "dob"
mask = "date"
to = "year"
"#;
