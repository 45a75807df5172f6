//! `veild completions`

#[derive(clap::Args)]
pub struct Arguments {
    /// Shell that the script is for
    shell: clap_complete::Shell,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut super::command(), "veild", &mut script);
    super::write_out(&script)
}
