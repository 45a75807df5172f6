//! `veild schema`

#[derive(clap::Args)]
pub struct Arguments {
    /// Of the receipts beside sealed objects, instead of the configuration
    #[arg(long)]
    receipt: bool,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    super::print_json(&if arguments.receipt { crate::vault::Receipt::schema() } else { crate::config::schema() })
}
