//! From what somebody typed, sheet by sheet, to a key and copies. Pure.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::content::{Body, ContentError, KitCopy, KitId, KitKey, RepositoryId, read_body};
use super::lines::{LineProblem, Section, read_typed};
use super::split::{Share, SplitError, combine};

/// Most sheets that are read together.
pub const SHEETS_MAX: usize = 32;

/// What is wrong with a kit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KitProblem {
    /// A line.
    #[error(transparent)]
    Line(#[from] LineProblem),
    /// A section.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// A section of another kit.
    #[error("{section} is of another kit ({found}, not {expected})")]
    OtherKit {
        /// The section.
        section: Section,
        /// Its kit.
        found: KitId,
        /// The kit of the others.
        expected: KitId,
    },
    /// The shares.
    #[error(transparent)]
    Split(#[from] SplitError),
    /// No key, and no reason given yet.
    #[error("there is neither a key (lines K-...) nor a share of one (lines S1-...)")]
    NoKey,
    /// No copy.
    #[error("there is no copy in it (lines C1-...)")]
    NoCopy,
    /// More than anybody has.
    #[error("more than {SHEETS_MAX} sheets are too many")]
    TooMany,
}

/// A problem, and the sheet that has it, from 0; none where it is of all together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SheetProblem {
    /// The sheet.
    pub sheet: Option<usize>,
    /// What is wrong.
    pub problem: KitProblem,
}

/// What a kit, typed again, says.
#[derive(Clone, Default)]
pub struct ReadKit {
    /// Which kit it is.
    pub id: Option<KitId>,
    /// The repository that it opens.
    pub repository: Option<RepositoryId>,
    /// The password of the repository, if it is there.
    pub password: Option<Zeroizing<Vec<u8>>>,
    /// The copies that could be read, as numbered on paper.
    pub copies: Vec<(Section, KitCopy)>,
    /// What is wrong.
    pub problems: Vec<SheetProblem>,
}

/// Reads sheets, each typed into a text of its own or several into one.
pub fn read_kit(texts: &[&str]) -> ReadKit {
    let mut kit = ReadKit::default();
    if texts.len() > SHEETS_MAX {
        kit.tell(None, KitProblem::TooMany);
        return kit;
    }
    let mut found = Vec::new();
    for (sheet, text) in texts.iter().enumerate() {
        let typed = read_typed(text);
        for problem in typed.problems {
            kit.tell(Some(sheet), problem.into());
        }
        for (section, bytes) in typed.sections {
            match read_body(section, &bytes) {
                Ok((id, body)) => found.push((sheet, section, id, body)),
                Err(error) => kit.tell(Some(sheet), error.into()),
            }
        }
    }
    let Some(id) = usual_kit(found.iter().map(|(_, section, id, _)| (*section, *id))) else {
        kit.tell(None, KitProblem::NoKey);
        return kit;
    };
    kit.id = Some(id);
    let mut shares = Vec::new();
    for (sheet, section, other, body) in found {
        if other != id {
            let problem = KitProblem::OtherKit {
                section,
                found: other,
                expected: id,
            };
            kit.tell(Some(sheet), problem);
            continue;
        }
        match body {
            Body::Copy(copy) => {
                let entry = (section, *copy);
                if !kit.copies.contains(&entry) {
                    kit.copies.push(entry);
                }
            }
            Body::Key(repository, key) => kit.take_key(repository, key, &mut shares),
        }
    }
    kit.copies.sort_by_key(|(section, _)| *section);
    kit.join(id, &shares);
    if kit.copies.is_empty() {
        kit.tell(None, KitProblem::NoCopy);
    }
    kit
}

/// The kit that most keys and shares are of; where there is none of them, most copies. Where two are as
/// good, the one that comes first.
fn usual_kit(sections: impl Iterator<Item = (Section, KitId)>) -> Option<KitId> {
    let mut votes: BTreeMap<KitId, (usize, usize, Reverse<usize>)> = BTreeMap::new();
    for (at, (section, id)) in sections.enumerate() {
        let vote = votes.entry(id).or_insert((0, 0, Reverse(at)));
        match section {
            Section::Copy(_) => vote.1 += 1,
            Section::Key | Section::Share(_) => vote.0 += 1,
        }
    }
    let most = votes.into_iter().max_by_key(|(_, vote)| *vote);
    most.map(|(id, _)| id)
}

impl ReadKit {
    fn tell(&mut self, sheet: Option<usize>, problem: KitProblem) {
        let told = SheetProblem { sheet, problem };
        if !self.problems.contains(&told) {
            self.problems.push(told);
        }
    }

    fn take_key(&mut self, repository: RepositoryId, key: KitKey, shares: &mut Vec<Share>) {
        self.repository.get_or_insert(repository);
        match key {
            KitKey::Whole(password) => self.password = Some(password),
            KitKey::Share(share) => shares.push(share),
        }
    }

    fn join(&mut self, id: KitId, shares: &[Share]) {
        if self.password.is_some() {
            return;
        }
        if shares.is_empty() {
            if self.problems.is_empty() {
                self.tell(None, KitProblem::NoKey);
            }
            return;
        }
        let (password, problems) = combine(&id, shares);
        for problem in problems {
            self.tell(None, problem.into());
        }
        match password {
            Ok(password) => self.password = Some(password),
            Err(error) => self.tell(None, error.into()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::content::CopyPlace;
    use super::super::lines::write_section;
    use super::super::split::split;
    use super::super::{Sheet, sheet_sections};
    use super::*;

    fn copies() -> Vec<KitCopy> {
        let identity = "vault.example+b854fee1+AddamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea";
        vec![
            KitCopy {
                name: "vault.example".to_owned(),
                place: CopyPlace::Vault {
                    addresses: vec!["vault.example:8484".to_owned()],
                    pin: Some([7; 32]),
                    identity: identity.parse().unwrap(),
                    repository: "web1".parse().unwrap(),
                    token: Some(("0102030405060708".parse().unwrap(), "ab".repeat(32).into())),
                },
            },
            KitCopy {
                name: "bucket".to_owned(),
                place: CopyPlace::Bucket {
                    endpoint: "https://s3.example".to_owned(),
                    region: String::new(),
                    bucket: "backups".to_owned(),
                    prefix: "web1/".to_owned(),
                    access: Some(("AKIA".to_owned(), "geheim/+".to_owned().into())),
                },
            },
            KitCopy {
                name: "disk".to_owned(),
                place: CopyPlace::Folder {
                    path: "/media/disk/repository".to_owned(),
                    below: "repository".to_owned(),
                    mark: "0123456789abcdef0123456789abcdef".to_owned(),
                },
            },
            KitCopy {
                name: "ssh".to_owned(),
                place: CopyPlace::Sftp {
                    address: "sftp:me@host.example:/srv/repository".to_owned(),
                },
            },
            KitCopy {
                name: "rest".to_owned(),
                place: CopyPlace::Rest {
                    url: "https://rest.example/".to_owned(),
                    login: None,
                },
            },
        ]
    }

    fn text_of(id: KitId, key: KitKey) -> String {
        let sheet = Sheet {
            id,
            repository: [3; 16],
            key,
            copies: copies(),
        };
        let sections = sheet_sections(&sheet).unwrap();
        sections
            .into_iter()
            .flat_map(|(_, lines)| lines)
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn whole(id: KitId) -> String {
        let password = b"correct horse".to_vec().into();
        text_of(id, KitKey::Whole(password))
    }

    fn sheets(id: KitId) -> Vec<String> {
        let shares = split(&id, b"correct horse", (2, 3), &[9; 16]).unwrap();
        shares
            .into_iter()
            .map(|share| text_of(id, KitKey::Share(share)))
            .collect()
    }

    fn said(kit: &ReadKit) -> Vec<String> {
        let text = |told: &SheetProblem| told.problem.to_string();
        kit.problems.iter().map(text).collect()
    }

    const ID: KitId = KitId([1; 5]);
    const OTHER: KitId = KitId([2; 5]);

    #[test]
    fn every_kind_of_copy_comes_back() {
        let kit = read_kit(&[&whole(ID)]);
        assert_eq!(said(&kit), [""; 0]);
        assert_eq!(kit.password.unwrap().as_slice(), b"correct horse");
        assert_eq!(kit.repository, Some([3; 16]));
        let found: Vec<KitCopy> = kit.copies.into_iter().map(|(_, copy)| copy).collect();
        assert!(found == copies());
    }

    #[test]
    fn any_two_sheets_do_in_one_text_or_two() {
        let sheets = sheets(ID);
        for (first, second) in [(0, 1), (1, 2), (2, 0)] {
            let kit = read_kit(&[&sheets[first], &sheets[second]]);
            assert_eq!(kit.password.unwrap().as_slice(), b"correct horse");
            let both = format!("{}\n{}", sheets[first], sheets[second]);
            let kit = read_kit(&[&both]);
            assert_eq!(said(&kit), [""; 0]);
            assert!(kit.password.is_some());
        }
        let kit = read_kit(&[&sheets[0]]);
        assert!(kit.password.is_none());
        assert_eq!(
            said(&kit),
            ["1 of 2 shares that are needed are there; find 1 more"]
        );
    }

    #[test]
    fn a_sheet_of_another_kit_is_named() {
        let (ours, theirs) = (sheets(ID), sheets(OTHER));
        let kit = read_kit(&[&ours[0], &ours[1], &theirs[2]]);
        assert!(kit.password.is_some());
        assert!(kit.problems.iter().all(|told| told.sheet == Some(2)));
        let said = said(&kit);
        assert!(
            said.contains(&"S3 is of another kit (0202020202, not 0101010101)".to_owned()),
            "{said:?}"
        );
        let kit = read_kit(&[&ours[0], &theirs[1]]);
        assert!(kit.password.is_none());
    }

    #[test]
    fn what_is_missing_is_said() {
        let copies_only: String = whole(ID)
            .lines()
            .filter(|line| line.starts_with('C'))
            .map(|line| format!("{line}\n"))
            .collect();
        let kit = read_kit(&[&copies_only]);
        assert!(said(&kit)[0].contains("neither a key"), "{:?}", said(&kit));
        assert_eq!(kit.copies.len(), copies().len());
        let key_only: String = whole(ID)
            .lines()
            .filter(|line| line.starts_with('K'))
            .map(|line| format!("{line}\n"))
            .collect();
        let kit = read_kit(&[&key_only]);
        assert!(kit.password.is_some());
        assert!(said(&kit)[0].contains("no copy"), "{:?}", said(&kit));
        let kit = read_kit(&[""; 40]);
        assert_eq!(said(&kit).len(), 1);
    }

    #[test]
    fn sections_that_are_no_content_are_refused() {
        for bytes in [&[0; 30][..], &[1; 3], &[255; 200]] {
            for section in [Section::Key, Section::Share(1), Section::Copy(1)] {
                let lines = write_section(section, bytes).unwrap().join("\n");
                let kit = read_kit(&[&lines]);
                assert!(!kit.problems.is_empty());
                assert!(kit.password.is_none());
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_in_right_lines_are_answered(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 1..200),
            number in 1_u8..17,
        ) {
            for section in [Section::Key, Section::Share(number), Section::Copy(number)] {
                let lines = write_section(section, &bytes).unwrap().join("\n");
                let _ = read_kit(&[&lines]);
            }
        }
    }
}
