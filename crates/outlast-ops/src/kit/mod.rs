//! The recovery kit: a page with which a stranger gets everything back.
//!
//! A [`Sheet`] has the key, or a share of it, and the places of all copies. [`write_page`] makes
//! the page of it, [`page_text`] and [`page_html`] show that; [`read_kit`] reads what somebody
//! typed from paper. All of that is pure. [`make_kit`] finds out what belongs on a kit, and
//! [`open_copies`] opens the copies that one names.
//!
//! Invariants: what is typed is bounded and never believed before its checks; a secret is never part
//! of a message.

mod content;
mod html;
mod lines;
mod make;
mod open;
mod page;
mod split;
mod typed;

pub use content::{CopyPlace, KitCopy, KitId, KitKey, RepositoryId, Sheet};
pub use html::page_html;
pub use lines::{LineProblem, Section, TYPED_BYTES_MAX, read_typed, write_section};
pub use make::{KitRequest, MadeKit, MakeError, make_kit};
pub use open::{
    CopyError, OpenCopies, OpenedCopy, Patience, TriedCopy, choose_copy, keep_custodian,
    open_copies, open_copy,
};
pub use page::{Block, Page, PageFacts, page_text, write_page};
pub use split::{SHARES_MAX, Share, SplitError};
pub use typed::{KitProblem, ReadKit, SheetProblem, read_kit};

use content::{Body, write_body};

/// The sections of a sheet with their lines; none if one of them is longer than lines can be.
pub fn sheet_sections(sheet: &Sheet) -> Option<Vec<(Section, Vec<String>)>> {
    let key_section = match &sheet.key {
        KitKey::Whole(_) => Section::Key,
        KitKey::Share(share) => Section::Share(share.number),
    };
    let key = Body::Key(sheet.repository, sheet.key.clone());
    let mut bodies = vec![(key_section, key)];
    for (number, copy) in (1..=lines::SECTIONS_MAX).zip(&sheet.copies) {
        bodies.push((Section::Copy(number), Body::Copy(Box::new(copy.clone()))));
    }
    let write = |(section, body): (Section, Body)| {
        let bytes = write_body(&sheet.id, section, &body);
        Some((section, write_section(section, &bytes)?))
    };
    bodies.into_iter().map(write).collect()
}
