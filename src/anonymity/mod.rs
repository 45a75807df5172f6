//! k-anonymity, l-diversity and t-closeness (ISO/IEC 20889: formal privacy measurement models). Pure.
//!
//! Only distinct combinations of values are looked at, with how often each is there ([`Tally`]); so what a file costs does
//! not depend on its rows. [`decide`] finds the levels to which quasi-identifiers are generalised in all rows alike
//! (full-domain generalisation), and the rows that are left out, so that the loss is the least there is: the lattice of
//! levels is searched along chains, tagging what a found node says about those below and above it, as Flash does (F.
//! Kohlmayer, F. Prasser et al., "Flash: Efficient, Stable and Optimal K-Anonymity", 2012).
//!
//! k holds within one file. Of two files nobody here knows who is in both.

mod chooser;
mod combinations;
mod criteria;
mod decide;
mod ladder;
mod lattice;
mod model;
mod report;
mod risk;
mod search;
mod tally;
#[cfg(test)]
mod tests;
mod utility;

pub use chooser::Chooser;
pub use decide::{Decision, Unmet, decide, measure};
pub use model::{Anonymity, Distance, Diversity, MAX_NODES, Mode, QuasiIdentifier, Sensitive, Utility};
pub use report::{AnonymityReport, LevelReport, SensitiveReport, UtilityReport};
pub use risk::{ClassSize, Model, Risk, Size, classes_of, risk};
pub use tally::{Cells, Levels, Refused, Tally};
