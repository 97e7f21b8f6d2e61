//! Who we are to a bucket: from the environment or from a credentials file, never from arguments.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Secret, StoreError};

/// Files larger than this are not read.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// The profile that is taken where none is named.
const PROFILE: &str = "default";

/// Keys of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Credentials {
    /// The name of the key.
    pub access_key: String,
    /// What signs.
    pub secret_key: Secret,
    /// What goes with temporary keys.
    pub session_token: Option<Secret>,
}

impl S3Credentials {
    /// What `variable` says: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`; else
    /// the profile `AWS_PROFILE` of the file `AWS_SHARED_CREDENTIALS_FILE`, or of
    /// `~/.aws/credentials`.
    ///
    /// # Errors
    /// [`StoreError::Location`] that says what is missing.
    pub fn find(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, StoreError> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        match (set("AWS_ACCESS_KEY_ID"), set("AWS_SECRET_ACCESS_KEY")) {
            (Some(access_key), Some(secret_key)) => {
                return Ok(Self {
                    access_key,
                    secret_key: Secret::new(secret_key),
                    session_token: set("AWS_SESSION_TOKEN").map(Secret::new),
                });
            }
            (None, None) => {}
            (Some(_), None) => return missing("AWS_SECRET_ACCESS_KEY is not set"),
            (None, Some(_)) => return missing("AWS_ACCESS_KEY_ID is not set"),
        }
        let profile = set("AWS_PROFILE").unwrap_or_else(|| PROFILE.to_owned());
        let file = set("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from);
        let file = file.or_else(|| Some(Path::new(&set("HOME")?).join(".aws/credentials")));
        match file {
            Some(file) if file.exists() => Self::read(&file, &profile),
            _ => missing("no credentials are set"),
        }
    }

    /// The keys of a profile in a credentials file.
    ///
    /// # Errors
    /// [`StoreError::Location`] for files that cannot be read and profiles that are not whole.
    pub fn read(file: &Path, profile: &str) -> Result<Self, StoreError> {
        let failed = |why: String| StoreError::Location(format!("{}: {why}", file.display()));
        let metadata = fs::metadata(file).map_err(|error| failed(error.to_string()))?;
        if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX {
            return Err(failed("not a file of credentials".to_owned()));
        }
        let text = fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
        let value = |name: &str| value_of(&text, profile, name);
        let (Some(access_key), Some(secret_key)) =
            (value("aws_access_key_id"), value("aws_secret_access_key"))
        else {
            return Err(failed(format!(
                "the profile {profile:?} has not both aws_access_key_id and aws_secret_access_key"
            )));
        };
        Ok(Self {
            access_key,
            secret_key: Secret::new(secret_key),
            session_token: value("aws_session_token").map(Secret::new),
        })
    }
}

fn missing<T>(what: &str) -> Result<T, StoreError> {
    Err(StoreError::Location(format!(
        "{what}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a file in \
         AWS_SHARED_CREDENTIALS_FILE"
    )))
}

/// The last value of a name in a section, as programs that read such files take it.
fn value_of(text: &str, section: &str, name: &str) -> Option<String> {
    let mut inside = false;
    let mut found = None;
    for line in text.lines().map(str::trim) {
        if let Some(title) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            inside = title.trim() == section;
        } else if inside
            && !line.starts_with(['#', ';'])
            && let Some((key, value)) = line.split_once('=')
            && key.trim().eq_ignore_ascii_case(name)
        {
            found = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(variables: &[(&str, &str)]) -> Result<S3Credentials, StoreError> {
        S3Credentials::find(&|name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn from_the_environment() {
        let both = [
            ("AWS_ACCESS_KEY_ID", "a"),
            ("AWS_SECRET_ACCESS_KEY", "geheim"),
        ];
        let found = find(&both).unwrap();
        assert_eq!(
            (found.access_key.as_str(), found.secret_key.reveal()),
            ("a", "geheim")
        );
        assert!(!format!("{found:?}").contains("geheim"));
        for (half, why) in [
            (&both[..1], "AWS_SECRET_ACCESS_KEY is not set"),
            (&both[1..], "AWS_ACCESS_KEY_ID is not set"),
            (&both[..0], "no credentials"),
        ] {
            let message = find(half).unwrap_err().to_string();
            assert!(
                message.contains(why) && !message.contains("geheim"),
                "{message}"
            );
        }
    }

    #[test]
    fn from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("credentials");
        let text = "[default]\naws_access_key_id = a\naws_secret_access_key=b=c\n# x\n\
                    [ other ]\nAWS_ACCESS_KEY_ID=d\naws_secret_access_key=e\naws_session_token=f\n\
                    [half]\naws_access_key_id=g\naws_secret_access_key=\n";
        fs::write(&file, text).unwrap();
        let named = ("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap());
        let found = find(&[named]).unwrap();
        assert_eq!(
            (found.access_key.as_str(), found.secret_key.reveal()),
            ("a", "b=c")
        );
        let found = find(&[named, ("AWS_PROFILE", "other")]).unwrap();
        assert_eq!(found.session_token.unwrap().reveal(), "f");
        for profile in ["half", "none"] {
            let message = find(&[named, ("AWS_PROFILE", profile)])
                .unwrap_err()
                .to_string();
            assert!(message.contains(profile), "{message}");
        }
        assert!(S3Credentials::read(folder.path(), "default").is_err());
    }
}
