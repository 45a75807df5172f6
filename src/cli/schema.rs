//! `veild schema`

pub fn run() -> anyhow::Result<()> {
    super::print_json(&crate::config::schema())
}
