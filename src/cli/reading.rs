//! How a FILE on the command line is to be read.

use std::path::Path;

use anyhow::Context;

use crate::config::Config;
use crate::pipeline::{Charset, EACH, Format, MemberRule, Reading, Writing, extension};

#[derive(clap::Args)]
pub struct ReadingArguments {
    /// Read the file as this landing of the configuration does (format, dialect, limits, output); its policy and recipients
    /// are not taken
    #[arg(long)]
    landing: Option<String>,
    /// Format, instead of telling it by the content
    #[arg(long, value_parser = format)]
    format: Option<Format>,
    /// Encoding of the text, by its WHATWG label
    #[arg(long, value_parser = encoding)]
    encoding: Option<Charset>,
    /// Field separator, instead of sniffing it
    #[arg(long)]
    delimiter: Option<char>,
    /// Sheet of a spreadsheet, or `each` of them, instead of what the landing says of sheets
    #[arg(long, value_name = "NAME")]
    sheet: Option<String>,
}

fn format(name: &str) -> Result<Format, String> {
    let known = || Format::ALL.map(Format::name).join(", ");
    Format::ALL.into_iter().find(|format| format.name() == name).ok_or_else(|| format!("formats are {}", known()))
}

fn encoding(label: &str) -> Result<Charset, String> {
    Charset::for_label(label)
        .ok_or_else(|| "not an encoding that is read: utf-16le, windows-1252, shift_jis …".to_owned())
}

impl ReadingArguments {
    /// Whether nothing says which sheet of several is meant.
    pub fn leaves_sheets_open(&self) -> bool {
        self.landing.is_none() && self.sheet.is_none()
    }

    /// What another command needs to read the file by the same rules of members and sheets.
    pub fn flags(&self) -> String {
        let flag = |name: &str, value: &Option<String>| value.as_ref().map(|value| format!(" --{name} {value:?}"));
        [flag("landing", &self.landing), flag("sheet", &self.sheet)].into_iter().flatten().collect()
    }

    /// How one file is read, and its output written.
    pub fn of(&self, config: &Path, file: &Path) -> anyhow::Result<(Reading, Writing)> {
        let (mut reading, mut writing) = match &self.landing {
            None => (Reading { members: vec![MemberRule::any()], ..Reading::default() }, Writing::default()),
            Some(name) => {
                let config = Config::load(config)?;
                let landing = config.landing(name).with_context(|| {
                    let known: Vec<&str> = config.landings.iter().map(|landing| landing.name.as_str()).collect();
                    format!("there is no landing {name:?}; {} has: {}", config.path.display(), known.join(", "))
                })?;
                (landing.reading.clone(), landing.writing)
            }
        };
        reading.extension = file.file_name().and_then(extension);
        reading.accept = self.format.map_or(reading.accept, |format| vec![format]);
        reading.charset = self.encoding.or(reading.charset);
        if let Some(sheet) = &self.sheet {
            writing.each_sheet = sheet == EACH;
            (reading.sheet, reading.sheets) =
                if sheet == EACH { (None, vec![MemberRule::any()]) } else { (Some(sheet.clone()), Vec::new()) };
        }
        if let Some(delimiter) = self.delimiter {
            let byte = reading.dialect.byte_for(delimiter).context("a delimiter is no line end and no NUL")?;
            reading.dialect.delimiter = Some(byte);
        }
        Ok((reading, writing))
    }
}
