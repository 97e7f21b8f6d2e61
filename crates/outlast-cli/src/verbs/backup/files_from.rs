//! Files that list what to back up or what to leave out.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use outlast_source::pattern::Pattern;

use crate::exit::Failure;

/// Longer lists are a mistake.
const LIST_BYTES_MAX: u64 = 1 << 30;

/// The bytes of a file, or of standard input for `-`.
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let failed = |error| Failure::new(format!("{} cannot be read: {error}", path.display()));
    if path == Path::new("-") {
        std::io::stdin()
            .lock()
            .take(LIST_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
    } else {
        let file = std::fs::File::open(path).map_err(failed)?;
        file.take(LIST_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
    }
    if bytes.len() as u64 > LIST_BYTES_MAX {
        // A list that is cut off would leave files out of the backup silently.
        let text = format!("{} is longer than {LIST_BYTES_MAX} bytes", path.display());
        return Err(Failure::new(text));
    }
    Ok(bytes)
}

/// Text of a file in UTF-8, or in UTF-16 if it begins with the mark of that.
fn read_text(path: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = read(path)?;
    let unit: fn([u8; 2]) -> u16 = match bytes.get(..2) {
        Some([0xfe, 0xff]) => u16::from_be_bytes,
        Some([0xff, 0xfe]) => u16::from_le_bytes,
        _ => return Ok(bytes),
    };
    let units: Vec<u16> = bytes[2..]
        .chunks_exact(2)
        .map(|pair| unit([pair[0], pair[1]]))
        .collect();
    Ok(String::from_utf16_lossy(&units).into_bytes())
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    bytes
        .split(|&byte| byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// Lines that are neither empty nor comments, without spaces around them.
fn entries(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    lines(bytes)
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty() && !line.starts_with(b"#"))
}

/// The patterns of an exclude file, with `$NAME` and `${NAME}` replaced from the environment.
pub fn patterns_of_file(path: &Path) -> Result<Vec<Vec<u8>>, Failure> {
    let bytes = read_text(path)?;
    Ok(entries(&bytes)
        .map(|line| expand_variables(line, &|name| std::env::var_os(name)))
        .collect())
}

/// Replaces variables; `$$` is a dollar sign.
fn expand_variables(line: &[u8], look_up: &dyn Fn(&OsStr) -> Option<OsString>) -> Vec<u8> {
    let mut expanded = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.iter().position(|&byte| byte == b'$') {
        expanded.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(b"$") {
            expanded.push(b'$');
            rest = after;
            continue;
        }
        let Some((name, after)) = variable_name(rest) else {
            expanded.push(b'$');
            continue;
        };
        if let Some(value) = look_up(OsStr::from_bytes(name)) {
            expanded.extend_from_slice(value.as_bytes());
        }
        rest = after;
    }
    expanded.extend_from_slice(rest);
    expanded
}

/// The name after a dollar sign, as Go's `os.Expand` sees it; `None` where there is none. Names that
/// are not complete in their braces are empty.
fn variable_name(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let is_special = |byte: &u8| b"*#$@!?-".contains(byte) || byte.is_ascii_digit();
    let is_inside = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let first = bytes.first()?;
    if *first == b'{' {
        if bytes.get(1).is_some_and(is_special) && bytes.get(2) == Some(&b'}') {
            return Some((&bytes[1..2], &bytes[3..]));
        }
        let inner = &bytes[1..];
        return Some(match inner.iter().position(|&byte| byte == b'}') {
            Some(end) => (&inner[..end], &inner[end + 1..]),
            None => (&[], inner),
        });
    }
    if is_special(first) {
        return Some(bytes.split_at(1));
    }
    let end = bytes.iter().position(|byte| !is_inside(byte));
    match end.unwrap_or(bytes.len()) {
        0 => None,
        end => Some(bytes.split_at(end)),
    }
}

/// The paths of a file with one pattern a line; each must match something.
pub fn expanded(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let bytes = read_text(path)?;
    let mut paths = Vec::new();
    for line in entries(&bytes) {
        let found = glob(Path::new(OsStr::from_bytes(line)))?;
        if found.is_empty() {
            let shown = String::from_utf8_lossy(line);
            crate::render::message::warning(&format!(
                "pattern {shown:?} does not match any files, skipping"
            ));
        }
        paths.extend(found);
    }
    Ok(paths)
}

/// The paths of a file with one path a line, as they stand.
pub fn verbatim(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let bytes = read_text(path)?;
    let lines = lines(&bytes).filter(|line| !line.is_empty());
    Ok(lines
        .map(|line| PathBuf::from(OsStr::from_bytes(line)))
        .collect())
}

/// The paths of a file in which each ends with a zero byte.
pub fn raw(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let bytes = read(path)?;
    let Some(list) = bytes.strip_suffix(b"\0") else {
        if bytes.is_empty() {
            return Ok(Vec::new());
        }
        return Err(Failure::new(format!(
            "{}: the last path does not end with a zero byte",
            path.display()
        )));
    };
    let mut paths = Vec::new();
    for name in list.split(|&byte| byte == 0) {
        if name.is_empty() {
            return Err(Failure::new(format!(
                "{} lists an empty path",
                path.display()
            )));
        }
        paths.push(PathBuf::from(OsString::from_vec(name.to_vec())));
    }
    Ok(paths)
}

/// The existing paths that a pattern matches, sorted.
fn glob(pattern: &Path) -> Result<Vec<PathBuf>, Failure> {
    let special = |name: &OsStr| {
        name.as_bytes()
            .iter()
            .any(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\'))
    };
    let mut found = vec![PathBuf::new()];
    for component in pattern.components() {
        let Component::Normal(name) = component else {
            found.iter_mut().for_each(|path| path.push(component));
            continue;
        };
        if !special(name) {
            found.iter_mut().for_each(|path| path.push(name));
            continue;
        }
        let anchored = [b"/", name.as_bytes()].concat();
        let matcher =
            Pattern::new(&anchored, false).map_err(|error| Failure::new(error.to_string()))?;
        let mut next = Vec::new();
        for folder in found {
            let place = if folder.as_os_str().is_empty() {
                Path::new(".")
            } else {
                &folder
            };
            // What cannot be listed matches nothing.
            let Ok(entries) = std::fs::read_dir(place) else {
                continue;
            };
            let names = entries
                .filter_map(Result::ok)
                .map(|entry| entry.file_name());
            next.extend(
                names
                    .filter(|name| matcher.matches(Path::new(name)))
                    .map(|name| folder.join(name)),
            );
        }
        next.sort();
        found = next;
    }
    found.retain(|path| path.symlink_metadata().is_ok());
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced() {
        let look_up = |name: &OsStr| (name == "HOME").then(|| OsString::from("/home/u"));
        for (line, expected) in [
            ("$HOME/x", "/home/u/x"),
            ("${HOME}x", "/home/ux"),
            ("a$$b", "a$b"),
            ("$NOTHING/x", "/x"),
            ("cost: 5$", "cost: 5$"),
            ("${HOME", "HOME"),
            ("${}x", "x"),
            ("*.txt,$,v", "*.txt,$,v"),
            ("$1x", "x"),
            ("${*}x", "x"),
            ("$HOMER", ""),
        ] {
            let expanded = expand_variables(line.as_bytes(), &look_up);
            assert_eq!(String::from_utf8(expanded).unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn lists_are_read() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a1", "a2", "b1"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let list = folder.path().join("list");
        let base = folder.path().display();
        std::fs::write(
            &list,
            format!("# comment\n\n  {base}/a*  \r\n{base}/zzz*\n"),
        )
        .unwrap();
        let names = |paths: Vec<PathBuf>| -> Vec<String> {
            paths
                .iter()
                .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
                .collect()
        };
        assert_eq!(names(expanded(&list).unwrap()), ["a1", "a2"]);
        let wide = "\u{feff}/x/\u{e4} b\r\n".encode_utf16();
        let bytes: Vec<u8> = wide.flat_map(u16::to_le_bytes).collect();
        std::fs::write(&list, bytes).unwrap();
        assert_eq!(names(verbatim(&list).unwrap()), ["\u{e4} b"]);
        std::fs::write(&list, "/x/a b\n#c\n").unwrap();
        assert_eq!(names(verbatim(&list).unwrap()), ["a b", "#c"]);
        std::fs::write(&list, b"/x/a\0/x/b\n\0").unwrap();
        assert_eq!(names(raw(&list).unwrap()), ["a", "b\n"]);
        std::fs::write(&list, b"/x/a\0/x/b").unwrap();
        assert!(raw(&list).is_err());
        std::fs::write(&list, b"/x/a\0\0").unwrap();
        assert!(raw(&list).is_err());
    }
}
