//! Bytes as lines that people can type: Crockford's base32 in groups of four, each line with a label
//! and a check of its own, so that a mistyped or missing line is named.
//!
//! ```text
//! C1-2/8: 7K2M QX3D 0ABC 1DEF 8GH2 JKMN PQRS TVWX  4F7Q
//! ```
//!
//! is the second of eight lines of section `C1`; the last group is the check over label and content.
//! Reading forgives case, spaces, dashes, and `O`, `I` and `L` for `0` and `1`; everything else that
//! stands in a text between such lines is passed over. Pure, and bounded for any input.

use std::collections::BTreeMap;
use std::fmt;

use outlast_object::hash;

/// Longest text that is read, in bytes.
pub const TYPED_BYTES_MAX: usize = 256 * 1024;
/// Most lines of one section.
pub const SECTION_LINES_MAX: usize = 99;
/// Most sections of a kind: shares, or copies.
pub const SECTIONS_MAX: u8 = 16;

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Bytes of a full line, as 32 characters.
const LINE_BYTES: usize = 20;
const LINE_CHARACTERS: usize = 32;
const CHECK_CHARACTERS: usize = 4;
const GROUP_CHARACTERS: usize = 4;
/// Groups of four characters that make a line without a label look like one of the kit.
const GROUPS_OF_A_LOST_LABEL: usize = 4;
/// Wrong lines whose mistake is looked for: it takes a thousand hashes each.
const GUESSES_MAX: usize = 32;

/// What a section holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Section {
    /// The whole key.
    Key,
    /// The share of this number.
    Share(u8),
    /// The copy of this number.
    Copy(u8),
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Section::Key => f.write_str("K"),
            Section::Share(number) => write!(f, "S{number}"),
            Section::Copy(number) => write!(f, "C{number}"),
        }
    }
}

/// One line of a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Label {
    /// The section.
    pub section: Section,
    /// Which line, from 1.
    pub line: u8,
    /// Of how many.
    pub lines: u8,
}

/// Shown without the number of lines, as people speak of it: `C1-2`.
impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.section, self.line)
    }
}

/// What is wrong with what was typed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum LineProblem {
    /// The line and its check do not go together.
    #[error(
        "line {label} is mistyped{}",
        .group.map_or(String::new(), |group| format!(", probably in its group {group}"))
    )]
    Wrong {
        /// The line.
        label: Label,
        /// The group from 1 in which changing one character, or exchanging two, makes it right.
        group: Option<usize>,
    },
    /// A line with a character that no line has.
    #[error("line {label} has {character:?} in it, which no line of a kit has")]
    Character {
        /// The line.
        label: Label,
        /// The character.
        character: char,
    },
    /// A line of a length that no line has.
    #[error("line {label} is {}", if *.is_long { "too long" } else { "too short" })]
    Length {
        /// The line.
        label: Label,
        /// Longer, not shorter.
        is_long: bool,
    },
    /// The beginning of a line cannot be read.
    #[error(
        "line {0} of the text looks like one of the kit, but not its beginning, as in \"C1-2/8:\""
    )]
    NoLabel(usize),
    /// A line is not there.
    #[error("line {0} is missing")]
    Missing(Label),
    /// The same line twice, each right, and different.
    #[error("line {0} is there twice with different content: are these sheets of different kits?")]
    Twice(Label),
    /// Lines that are right each for itself and do not make a whole.
    #[error(
        "the lines of {0} are right one by one but do not belong together: are they of one sheet?"
    )]
    Section(Section),
    /// Too long a text.
    #[error("this is longer than any kit")]
    TooLong,
    /// No line of a kit.
    #[error("there is no line of a kit in it, as \"K-1/3: ...\"")]
    Nothing,
}

/// What could be read of a typed text.
#[derive(Debug, Clone, Default)]
pub struct Typed {
    /// The sections that are whole.
    pub sections: BTreeMap<Section, zeroize::Zeroizing<Vec<u8>>>,
    /// What is wrong with the others.
    pub problems: Vec<LineProblem>,
}

fn encode(bytes: &[u8]) -> String {
    let mut text = String::new();
    let (mut bits, mut count) = (0_u32, 0);
    let digit = |value: u32| char::from(ALPHABET[(value & 31) as usize]);
    for byte in bytes {
        bits = (bits << 8 | u32::from(*byte)) & 0xfff;
        count += 8;
        while count >= 5 {
            count -= 5;
            text.push(digit(bits >> count));
        }
    }
    if count > 0 {
        text.push(digit(bits << (5 - count)));
    }
    text
}

/// Bytes in groups of four characters with dashes between: a password that can be typed.
pub fn readable(bytes: &[u8]) -> String {
    let text = encode(bytes);
    let groups = text.as_bytes().chunks(GROUP_CHARACTERS);
    let groups: Vec<&str> = groups
        .filter_map(|group| std::str::from_utf8(group).ok())
        .collect();
    groups.join("-")
}

/// None if bits are left over that are not zero, or that make a character too many.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 5 / 8);
    let (mut bits, mut count) = (0_u32, 0);
    for character in text {
        let value = ALPHABET.iter().position(|known| known == character)?;
        bits = (bits << 5 | u32::try_from(value).ok()?) & 0xfff;
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    (count < 5 && bits & ((1 << count) - 1) == 0).then_some(bytes)
}

fn check_of(label: &Label, content: &[u8]) -> String {
    let mut text = format!("outlast-kit-line {label}/{}:", label.lines).into_bytes();
    text.extend_from_slice(content);
    encode(&hash(&text).as_bytes()[..LINE_BYTES])[..CHECK_CHARACTERS].to_owned()
}

/// The lines of a section; none if it is longer than sections may be.
pub fn write_section(section: Section, bytes: &[u8]) -> Option<Vec<String>> {
    let count = bytes.len().div_ceil(LINE_BYTES);
    if count == 0 || count > SECTION_LINES_MAX {
        return None;
    }
    let lines = u8::try_from(count).ok()?;
    let numbered = (1..=lines).zip(bytes.chunks(LINE_BYTES));
    let write = |(line, part): (u8, &[u8])| {
        let label = Label {
            section,
            line,
            lines,
        };
        let content = encode(part);
        let groups: Vec<&str> = content
            .as_bytes()
            .chunks(GROUP_CHARACTERS)
            .filter_map(|group| std::str::from_utf8(group).ok())
            .collect();
        let check = check_of(&label, content.as_bytes());
        format!("{label}/{lines}: {}  {check}", groups.join(" "))
    };
    Some(numbered.map(write).collect())
}

/// The digit that a character was meant to be.
fn forgiven(character: char) -> char {
    match character.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    }
}

/// A number of one or two digits, and what follows it.
fn number(text: &str) -> Option<(u8, &str)> {
    let is_digit = |character: &char| forgiven(*character).is_ascii_digit();
    let digits: String = text
        .chars()
        .take(2)
        .take_while(is_digit)
        .map(forgiven)
        .collect();
    let value = digits.parse().ok()?;
    Some((value, text.get(digits.len()..)?.trim_start()))
}

/// The label at the beginning of a line, and what follows it.
fn read_label(line: &str) -> Option<(Label, &str)> {
    let line = line.trim_start_matches(|character: char| {
        character.is_whitespace() || "|>*\"'".contains(character)
    });
    let mut rest = line.chars();
    let kind = rest.next()?.to_ascii_uppercase();
    let rest = rest.as_str().trim_start();
    let (section, rest) = match kind {
        'K' => (Section::Key, rest),
        'S' | 'C' => {
            let (value, rest) = number(rest)?;
            let fits = (1..=SECTIONS_MAX).contains(&value);
            let section = if kind == 'S' {
                Section::Share(value)
            } else {
                Section::Copy(value)
            };
            (fits.then_some(section)?, rest)
        }
        _ => return None,
    };
    let rest = rest.strip_prefix(['-', '_', '.', '\u{2013}'])?.trim_start();
    let (line, rest) = number(rest)?;
    let rest = rest.strip_prefix(['/', '\\', '|'])?.trim_start();
    let (lines, rest) = number(rest)?;
    let rest = rest.strip_prefix([':', ';', '.'])?;
    let fits = (1..=lines).contains(&line) && usize::from(lines) <= SECTION_LINES_MAX;
    fits.then_some((
        Label {
            section,
            line,
            lines,
        },
        rest,
    ))
}

/// Whether somebody may have meant this to be a line of the kit.
fn looks_like_a_line(text: &str) -> bool {
    let is_group = |word: &&str| {
        word.len() == GROUP_CHARACTERS && word.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    let groups: Vec<&str> = text.split_whitespace().filter(is_group).collect();
    let has_digit = |word: &&&str| word.bytes().any(|byte| byte.is_ascii_digit());
    groups.len() >= GROUPS_OF_A_LOST_LABEL && groups.iter().filter(has_digit).count() >= 2
}

/// The bytes of a line whose label has been read.
fn read_content(label: Label, text: &str, guesses: &mut usize) -> Result<Vec<u8>, LineProblem> {
    let mut characters = Vec::with_capacity(LINE_CHARACTERS + CHECK_CHARACTERS);
    for character in text.chars() {
        if character.is_whitespace() || "-_.,=|\u{2013}\"'".contains(character) {
            continue;
        }
        let meant = forgiven(character);
        match u8::try_from(meant) {
            Ok(byte) if ALPHABET.contains(&byte) => characters.push(byte),
            _ => return Err(LineProblem::Character { label, character }),
        }
        if characters.len() > LINE_CHARACTERS + CHECK_CHARACTERS {
            let is_long = true;
            return Err(LineProblem::Length { label, is_long });
        }
    }
    let is_last = label.line == label.lines;
    let length = characters.len();
    if length <= CHECK_CHARACTERS || (!is_last && length < LINE_CHARACTERS + CHECK_CHARACTERS) {
        let is_long = false;
        return Err(LineProblem::Length { label, is_long });
    }
    if let Some(bytes) = checked(&label, &characters) {
        return Ok(bytes);
    }
    let group = (*guesses < GUESSES_MAX).then(|| guess(&label, characters));
    *guesses += 1;
    let group = group.flatten();
    Err(LineProblem::Wrong { label, group })
}

fn checked(label: &Label, characters: &[u8]) -> Option<Vec<u8>> {
    let at = characters.len().checked_sub(CHECK_CHARACTERS)?;
    let (content, check) = characters.split_at(at);
    if check_of(label, content).as_bytes() != check {
        return None;
    }
    decode(content).filter(|bytes| !bytes.is_empty())
}

/// The group in which one wrong character, or two exchanged ones, explain a wrong line. None where
/// nothing or several explain it.
fn guess(label: &Label, mut characters: Vec<u8>) -> Option<usize> {
    let mut found = Vec::new();
    for at in 0..characters.len() {
        let typed = characters[at];
        for meant in ALPHABET {
            characters[at] = *meant;
            if *meant != typed && checked(label, &characters).is_some() {
                found.push(at / GROUP_CHARACTERS + 1);
            }
        }
        characters[at] = typed;
        if at + 1 < characters.len() && typed != characters[at + 1] {
            characters.swap(at, at + 1);
            if checked(label, &characters).is_some() {
                found.push(at / GROUP_CHARACTERS + 1);
            }
            characters.swap(at, at + 1);
        }
    }
    found.dedup();
    match found.as_slice() {
        [group] => Some(*group),
        _ => None,
    }
}

/// Reads what somebody typed.
pub fn read_typed(text: &str) -> Typed {
    let mut typed = Typed::default();
    if text.len() > TYPED_BYTES_MAX {
        typed.problems.push(LineProblem::TooLong);
        return typed;
    }
    let mut right: BTreeMap<Label, zeroize::Zeroizing<Vec<u8>>> = BTreeMap::new();
    let mut wrong: BTreeMap<Label, LineProblem> = BTreeMap::new();
    let mut guesses = 0;
    for (at, line) in text.lines().enumerate() {
        let Some((label, rest)) = read_label(line) else {
            if looks_like_a_line(line) {
                typed.problems.push(LineProblem::NoLabel(at + 1));
            }
            continue;
        };
        match read_content(label, rest, &mut guesses) {
            Ok(bytes) => {
                let bytes = zeroize::Zeroizing::new(bytes);
                if right.get(&label).is_some_and(|known| *known != bytes) {
                    typed.problems.push(LineProblem::Twice(label));
                }
                right.insert(label, bytes);
            }
            Err(problem) => {
                wrong.insert(label, problem);
            }
        }
    }
    // Whoever repeats a line that was wrong has mended it.
    wrong.retain(|label, _| !right.contains_key(label));
    if right.is_empty() && wrong.is_empty() && typed.problems.is_empty() {
        typed.problems.push(LineProblem::Nothing);
    }
    assemble(&mut typed, &right, &wrong);
    typed.problems.extend(wrong.into_values());
    typed.problems.sort();
    typed.problems.dedup();
    typed
}

/// Puts the lines of each section together, and names those that are missing.
fn assemble(
    typed: &mut Typed,
    right: &BTreeMap<Label, zeroize::Zeroizing<Vec<u8>>>,
    wrong: &BTreeMap<Label, LineProblem>,
) {
    let mut counts: BTreeMap<Section, Vec<u8>> = BTreeMap::new();
    for label in right.keys().chain(wrong.keys()) {
        let known = counts.entry(label.section).or_default();
        if !known.contains(&label.lines) {
            known.push(label.lines);
        }
    }
    for (section, counts) in counts {
        let [lines] = counts.as_slice() else {
            typed.problems.push(LineProblem::Section(section));
            continue;
        };
        let mut bytes = zeroize::Zeroizing::new(Vec::new());
        let mut is_whole = true;
        for line in 1..=*lines {
            let label = Label {
                section,
                line,
                lines: *lines,
            };
            match right.get(&label) {
                Some(part) => bytes.extend_from_slice(part),
                None => {
                    is_whole = false;
                    if !wrong.contains_key(&label) {
                        typed.problems.push(LineProblem::Missing(label));
                    }
                }
            }
        }
        if is_whole {
            typed.sections.insert(section, bytes);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const BYTES: [u8; 50] = *b"fifty bytes of a section, whatever is meant by it!";

    fn lines() -> Vec<String> {
        write_section(Section::Copy(2), &BYTES).unwrap()
    }

    fn problems(lines: &[String]) -> Vec<String> {
        let typed = read_typed(&lines.join("\n"));
        assert!(typed.sections.is_empty());
        typed.problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_printed_is_read_whatever_it_stands_between() {
        let text = format!(
            "Some words before.\n{}\nThis page that they have made also has four word ends.\n",
            lines().join("\nand between\n")
        );
        let typed = read_typed(&text);
        assert_eq!(typed.problems, []);
        assert_eq!(typed.sections[&Section::Copy(2)].as_slice(), BYTES);
        assert!(lines()[0].len() <= 60, "{}", lines()[0]);
    }

    #[test]
    fn case_spaces_and_look_alikes_are_forgiven() {
        let sloppy: Vec<String> = lines()
            .iter()
            .map(|line| {
                let (label, rest) = line.split_once(':').unwrap();
                let rest = rest.to_lowercase().replace(' ', "").replace('0', "o");
                let rest = rest.replace('1', "l");
                format!("  > {} :  {rest}", label.to_lowercase().replace('/', " / "))
            })
            .collect();
        let typed = read_typed(&sloppy.join("\r\n"));
        assert_eq!(typed.problems, []);
        assert_eq!(typed.sections[&Section::Copy(2)].as_slice(), BYTES);
    }

    #[test]
    fn each_kind_of_mistake_is_named_with_its_line() {
        let good = lines();
        let mut wrong = good.clone();
        // The first character of the third group.
        let at = wrong[1].find(':').unwrap() + 2 + 10;
        let other = if wrong[1].as_bytes()[at] == b'7' {
            "8"
        } else {
            "7"
        };
        wrong[1].replace_range(at..=at, other);
        assert_eq!(
            problems(&wrong),
            ["line C2-2 is mistyped, probably in its group 3"]
        );
        let without = vec![good[0].clone(), good[2].clone()];
        assert_eq!(problems(&without), ["line C2-2 is missing"]);
        let mut short = good.clone();
        short[0].pop();
        assert_eq!(problems(&short), ["line C2-1 is too short"]);
        let mut long = good.clone();
        long[0].push('7');
        assert_eq!(problems(&long), ["line C2-1 is too long"]);
        let mut strange = good.clone();
        strange[2].push('%');
        assert_eq!(
            problems(&strange),
            ["line C2-3 has '%' in it, which no line of a kit has"]
        );
        let mut nameless = good.clone();
        nameless[0] = nameless[0].split_once(':').unwrap().1.to_owned();
        let said = problems(&nameless);
        assert!(said[0].contains("line 1 of the text"), "{said:?}");
        assert_eq!(said[1], "line C2-1 is missing");
        let mut exchanged = good.clone();
        let (first, second) = (good[0].replace("-1/", "-2/"), good[1].replace("-2/", "-1/"));
        exchanged[0] = first;
        exchanged[1] = second;
        assert_eq!(problems(&exchanged).len(), 2);
        assert!(problems(&[String::from("hello")])[0].contains("no line"));
        let other = write_section(Section::Copy(2), &[7; 50]).unwrap();
        let both = format!("{}\n{}", good.join("\n"), other[0]);
        let typed = read_typed(&both);
        assert!(typed.problems[0].to_string().contains("twice"));
        let huge = "x".repeat(TYPED_BYTES_MAX + 1);
        assert_eq!(read_typed(&huge).problems, [LineProblem::TooLong]);
    }

    #[test]
    fn a_mended_line_after_a_wrong_one_counts() {
        let mut all = lines();
        all.insert(0, all[0].replace(' ', " 7"));
        all.insert(1, format!("{}X", &all[1][..all[1].len() - 1]));
        let typed = read_typed(&all.join("\n"));
        assert_eq!(typed.problems, []);
    }

    proptest::proptest! {
        #[test]
        fn anything_comes_back(bytes in proptest::collection::vec(proptest::num::u8::ANY, 1..400)) {
            let lines = write_section(Section::Share(3), &bytes).unwrap();
            let typed = read_typed(&lines.join("\n"));
            proptest::prop_assert_eq!(typed.sections[&Section::Share(3)].as_slice(), &bytes[..]);
        }

        #[test]
        fn one_wrong_character_is_never_believed(at in 0_usize..32, to in 0_usize..32) {
            let mut all = lines();
            let start = all[0].find(':').unwrap() + 2;
            let at = start + at + at / 4;
            let meant = all[0].as_bytes()[at];
            proptest::prop_assume!(ALPHABET[to] != meant);
            all[0].replace_range(at..=at, &char::from(ALPHABET[to]).to_string());
            let typed = read_typed(&all.join("\n"));
            proptest::prop_assert!(typed.sections.is_empty());
        }

        #[test]
        fn any_text_is_answered(text in "[KSC]?[0-9]{0,2}[-/:]?[ -~\n]{0,300}") {
            let _ = read_typed(&text);
        }
    }
}
