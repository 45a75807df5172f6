//! Classes of personal data: what is written like them, and what of it is valid. Pure.
//!
//! Identifiers are rows of tables ([`national`], [`card`]): how they are written, and a check. Everything else has a
//! short file of its own. A cell is looked at as a whole ([`sight`]) or searched through ([`text`]); a column's cells
//! and its name together make findings ([`survey`]). [`watch`] looks at every cell of what is passed on unmasked. No cell's value leaves this module except as a span.

mod address;
mod birth;
mod calendar;
mod card;
mod checksum;
mod class;
mod crypto;
mod dictionary;
mod fold;
mod form;
mod header;
mod iban;
mod mail;
mod national;
mod network;
mod phone;
mod phrases;
mod secret;
mod sight;
mod suggest;
mod survey;
mod tally;
mod text;
mod watch;

pub use checksum::{luhn_digit, mod_97};
pub use class::{Class, NATIONAL_ID};
pub use header::name_says;
pub use iban::is_iban;
pub use suggest::{Suggestion, looks_like_data, suggest};
pub use survey::{Finding, Survey};
pub use text::{Span, Wanted, is_found_in_text, spans};
pub use watch::{Evidence, Glimpses, Held, Remembered, Watch};
