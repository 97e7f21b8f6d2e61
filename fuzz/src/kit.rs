//! What somebody typed from a recovery kit: any text, and right lines around content that is made up.

use outlast_object::hash;
use outlast_ops::kit::{KitCopy, KitId, KitKey, ReadKit, Section, Sheet};
use outlast_ops::kit::{read_kit, sheet_sections, write_section};

/// A typed text; a section of each kind whose lines and check are right.
pub fn kit(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        written_again(&read_kit(&[text]));
        let (first, second) = data.split_at(data.len() / 2);
        if let (Ok(first), Ok(second)) = (std::str::from_utf8(first), std::str::from_utf8(second)) {
            let _ = read_kit(&[first, second]);
        }
    }
    for section in [Section::Key, Section::Share(1), Section::Copy(1)] {
        let mut bytes = vec![1; 6];
        bytes.extend_from_slice(data);
        let told = [format!("outlast-kit-section {section}:").as_bytes(), &bytes].concat();
        bytes.extend_from_slice(&hash(&told).as_bytes()[..4]);
        if let Some(lines) = write_section(section, &bytes) {
            written_again(&read_kit(&[&lines.join("\n")]));
        }
    }
}

/// What was understood and is written again is understood to be the same.
fn written_again(kit: &ReadKit) {
    let copies: Vec<KitCopy> = kit.copies.iter().map(|(_, copy)| copy.clone()).collect();
    let password = kit.password.clone().unwrap_or_default();
    let sheet = Sheet {
        id: kit.id.unwrap_or(KitId([1; 5])),
        repository: kit.repository.unwrap_or_default(),
        key: KitKey::Whole(password.clone()),
        copies: copies.clone(),
    };
    let Some(sections) = sheet_sections(&sheet) else {
        return;
    };
    let lines: Vec<String> = sections.into_iter().flat_map(|(_, lines)| lines).collect();
    let again = read_kit(&[&lines.join("\n")]);
    assert!(again.password == Some(password));
    let read: Vec<KitCopy> = again.copies.into_iter().map(|(_, copy)| copy).collect();
    assert!(read == copies);
}
