//! `veild man`

use std::path::PathBuf;

use anyhow::Context;

#[derive(clap::Args)]
pub struct Arguments {
    /// Folder for the pages of all commands (default: veild(1) to standard output)
    dir: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    // As `generate_to` has it: there is no veild-help(1) to refer to.
    let command = super::command().disable_help_subcommand(true);
    let Some(dir) = &arguments.dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        return super::write_out(&page);
    };
    std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    clap_mangen::generate_to(command, dir).with_context(|| format!("cannot write to {}", dir.display()))
}
