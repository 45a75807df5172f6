//! The cells of an xlsx file as they are written, and what the library keeps of its texts and styles.

use quick_xml::events::{BytesStart, Event};

use super::malformed;
use super::markup::{Held, altered, attribute};
use crate::pipeline::Fault;

/// A text of the table of texts, a style, and any other thing that is kept one by one; each has its own bytes besides.
const TEXT: u64 = size_of::<String>() as u64;
const STYLE: u64 = 512;
const OTHER: u64 = 64;

/// Which element of a cell or a text is being read.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Value {
    #[default]
    None,
    /// A number, a truth, an error, the number of a text: the library reads the first piece alone.
    Plain {
        is_read: bool,
    },
    /// A text of its own, whose CDATA is passed over.
    Own,
    /// A text or a run of one.
    Run,
    Formula,
}

#[derive(Default)]
pub(super) struct Cells {
    /// Of the sheet, where the part's name tells it.
    sheet: Option<u32>,
    is_in_cell: bool,
    is_in_text: bool,
    is_plain: bool,
    has_value: bool,
    value: Value,
    row: u64,
    column: u64,
    /// Of the font, fill or border that is read, and of the largest: each style has its own copy.
    style_bytes: Option<u64>,
    largest_style: u64,
}

impl Cells {
    /// Of a part of that name.
    pub(super) fn of(name: &str) -> Cells {
        let number = name.rsplit('/').next().and_then(|last| last.strip_prefix("sheet")?.strip_suffix(".xml"));
        Cells { sheet: number.and_then(|number| number.parse().ok()), ..Cells::default() }
    }

    pub(super) fn place(&self) -> String {
        let cell = match (self.row, self.column) {
            (0, _) => String::new(),
            (row, 0) => format!(", at row {row}"),
            (row, column) => format!(", at row {row}, column {column}"),
        };
        self.sheet.map_or_else(String::new, |sheet| format!(" in the part sheet{sheet}.xml{cell}"))
    }

    /// Whether the event is within what is read at once.
    pub(super) fn take(&mut self, event: &Event<'_>, held: &mut Held) -> Result<bool, Fault> {
        match event {
            Event::Start(element) => self.start(element, held)?,
            Event::End(element) => self.end(element.local_name().as_ref()),
            Event::Text(text) => {
                if self.is_in_text {
                    held.add(text.len() as u64, || self.place())?;
                }
                match &mut self.value {
                    Value::Plain { is_read: true } => return Err(self.odd()),
                    Value::Plain { is_read } => *is_read = true,
                    _ => {}
                }
            }
            Event::CData(text) if self.is_in_text && self.value == Value::Run => {
                held.add(text.len() as u64, || self.place())?;
            }
            Event::CData(_) if self.is_in_cell && !matches!(self.value, Value::Run | Value::Formula) => {
                return Err(altered("a cell has a CDATA section", &self.place()));
            }
            Event::GeneralRef(_) | Event::Comment(_) | Event::PI(_) if matches!(self.value, Value::Plain { .. }) => {
                return Err(self.odd());
            }
            _ => {}
        }
        Ok(self.is_in_cell || self.is_in_text || self.style_bytes.is_some())
    }

    fn odd(&self) -> Fault {
        altered("the value of a cell is written in pieces", &self.place())
    }

    fn start(&mut self, element: &BytesStart<'_>, held: &mut Held) -> Result<(), Fault> {
        if matches!(self.value, Value::Plain { .. }) {
            return Err(self.odd());
        }
        let name = element.local_name();
        match name.as_ref() {
            "row" if !self.is_in_cell => {
                self.row =
                    attribute(element, "r").and_then(|row| row.parse().ok()).unwrap_or(self.row.saturating_add(1));
                self.column = 0;
            }
            "c" if !self.is_in_cell => self.begin_cell(element),
            "v" if self.is_in_cell => {
                if std::mem::replace(&mut self.has_value, true) {
                    return Err(altered("a cell has two values", &self.place()));
                }
                self.value = if self.is_plain { Value::Plain { is_read: false } } else { Value::Own };
            }
            "f" if self.is_in_cell => self.value = Value::Formula,
            "t" if self.is_in_cell || self.is_in_text => self.value = Value::Run,
            "si" => {
                self.is_in_text = true;
                held.add(TEXT, || self.place())?;
            }
            "sst" => {
                let count = attribute(element, "uniqueCount").and_then(|count| count.parse::<u64>().ok());
                held.check(count.unwrap_or(0).saturating_mul(TEXT), || self.place())?;
            }
            "Relationship" => self.relation(element, held)?,
            _ => self.style(element, held)?,
        }
        Ok(())
    }

    fn begin_cell(&mut self, element: &BytesStart<'_>) {
        self.is_in_cell = true;
        self.has_value = false;
        self.is_plain = match attribute(element, "t") {
            None => true,
            Some(kind) => matches!(kind.as_ref(), "n" | "s" | "b" | "e"),
        };
        let number = |at: &str| -> u64 {
            let letters = at.bytes().take_while(u8::is_ascii_alphabetic);
            let digits = letters.map(|letter| u64::from(letter.to_ascii_uppercase() - b'A') + 1);
            digits.fold(0, |sum: u64, digit| sum.saturating_mul(26).saturating_add(digit))
        };
        let told = attribute(element, "r").map(|at| number(&at)).filter(|column| *column > 0);
        self.column = told.unwrap_or(self.column.saturating_add(1));
    }

    /// The library finds sheets by these: none may lie where it is not looked at here.
    fn relation(&mut self, element: &BytesStart<'_>, held: &mut Held) -> Result<(), Fault> {
        let kind = attribute(element, "Type").unwrap_or_default();
        let target = attribute(element, "Target").unwrap_or_default().to_ascii_lowercase();
        if (kind.ends_with("/worksheet") || kind.ends_with("/officeDocument")) && !target.ends_with(".xml") {
            return Err(malformed(": a part is not called .xml"));
        }
        held.add(OTHER + element.len() as u64, String::new)
    }

    fn style(&mut self, element: &BytesStart<'_>, held: &mut Held) -> Result<(), Fault> {
        let bytes = OTHER + element.len() as u64;
        if let Some(style) = &mut self.style_bytes {
            *style += bytes;
            return Ok(());
        }
        match element.local_name().as_ref() {
            "font" | "fill" | "border" => {
                self.style_bytes = Some(bytes);
                held.add(STYLE + bytes, String::new)
            }
            "numFmt" => {
                self.largest_style = self.largest_style.max(bytes);
                held.add(bytes, String::new)
            }
            "xf" => held.add(STYLE + self.largest_style, String::new),
            "sheet" | "definedName" => held.add(bytes, String::new),
            _ => Ok(()),
        }
    }

    fn end(&mut self, name: &str) {
        match name {
            "c" if self.is_in_cell => self.is_in_cell = false,
            "si" => self.is_in_text = false,
            "v" | "f" | "t" => self.value = Value::None,
            "font" | "fill" | "border" => {
                self.largest_style = self.largest_style.max(self.style_bytes.take().unwrap_or(0));
            }
            _ => {}
        }
    }
}
