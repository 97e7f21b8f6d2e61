//! What a restore is to do.

use std::path::Path;

use outlast_source::MetadataOptions;
use outlast_source::pattern::PatternList;

/// What happens to what is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overwrite {
    /// Files are brought to what the snapshot has; parts that are right are kept.
    #[default]
    Always,
    /// As `Always`, but a file of the same size and modification time counts as right unread.
    IfChanged,
    /// Only what is older than in the snapshot is replaced.
    IfNewer,
    /// Nothing that is there is replaced.
    Never,
}

/// The text is none of the four words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not one of always, if-changed, if-newer and never")]
pub struct ParseOverwriteError(pub String);

impl std::str::FromStr for Overwrite {
    type Err = ParseOverwriteError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "always" => Ok(Overwrite::Always),
            "if-changed" => Ok(Overwrite::IfChanged),
            "if-newer" => Ok(Overwrite::IfNewer),
            "never" => Ok(Overwrite::Never),
            other => Err(ParseOverwriteError(other.chars().take(80).collect())),
        }
    }
}

/// Which entries are restored. Of several lists, such as one for each way of comparing letters, it
/// is enough that one matches.
#[derive(Debug, Clone, Default)]
pub enum RestoreSelection {
    /// Everything.
    #[default]
    All,
    /// Everything but what matches, with what is beneath it.
    Exclude(Vec<PatternList>),
    /// Only what matches, with what is beneath it and the directories that lead to it.
    Include(Vec<PatternList>),
}

/// What a selection says of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    /// It is restored.
    pub selected: bool,
    /// Something beneath it may be restored.
    pub descend: bool,
}

impl RestoreSelection {
    pub(super) fn choose(&self, path: &Path) -> Choice {
        let any = |lists: &[PatternList]| lists.iter().any(|list| list.matches(path));
        let (selected, descend) = match self {
            RestoreSelection::All => (true, true),
            RestoreSelection::Exclude(lists) => {
                let selected = !any(lists);
                (selected, selected)
            }
            RestoreSelection::Include(lists) => {
                let selected = any(lists);
                let beneath = |list: &PatternList| list.child_may_match(path);
                (selected, selected || lists.iter().any(beneath))
            }
        };
        Choice { selected, descend }
    }

    /// Whether nothing is left out.
    pub fn is_all(&self) -> bool {
        matches!(self, RestoreSelection::All)
    }
}

/// What a restore is to do.
#[derive(Debug, Clone, Default)]
pub struct RestoreOptions {
    /// Which entries are restored.
    pub selection: RestoreSelection,
    /// What happens to what is there already.
    pub overwrite: Overwrite,
    /// Remove what the snapshot does not have, within what is selected.
    pub delete: bool,
    /// Leave holes in new files where the content is zeros.
    pub sparse: bool,
    /// Read everything again afterwards and compare.
    pub verify: bool,
    /// Only look what would be done.
    pub dry_run: bool,
    /// What of the metadata is put back.
    pub metadata: MetadataOptions,
}
