//! Tells code, comments and text in quotes apart, so that the checks look at the right one.

/// A source file seen twice, each with the lines of the original.
#[derive(Debug)]
pub struct Views {
    /// The code, with comments and the inside of quotes blanked.
    pub code: String,
    /// The comments, with everything else blanked.
    pub comments: String,
}

/// Splits Rust source. What is not Rust comes out somehow, but never panics.
pub fn split(source: &str) -> Views {
    let mut scanner = Scanner {
        characters: source.chars().collect(),
        position: 0,
        code: String::with_capacity(source.len()),
        comments: String::with_capacity(source.len()),
    };
    scanner.run();
    Views {
        code: scanner.code,
        comments: scanner.comments,
    }
}

struct Scanner {
    characters: Vec<char>,
    position: usize,
    code: String,
    comments: String,
}

impl Scanner {
    fn run(&mut self) {
        while let Some(character) = self.peek(0) {
            match (character, self.peek(1)) {
                ('/', Some('/')) => self.line_comment(),
                ('/', Some('*')) => self.block_comment(),
                ('"', _) => self.quoted('"'),
                ('r', Some('"' | '#')) if !self.after_word() && self.raw_hashes().is_some() => {
                    self.raw_text();
                }
                ('b', Some('r')) if !self.after_word() => {
                    self.take_code();
                    if self.raw_hashes().is_some() {
                        self.raw_text();
                    }
                }
                ('\'', _) => self.character_or_lifetime(),
                _ => self.take_code(),
            }
        }
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.characters.get(self.position + ahead).copied()
    }

    /// The character before this one belongs to a word, so that this one does not begin one.
    fn after_word(&self) -> bool {
        let before = self.position.checked_sub(1);
        before
            .and_then(|index| self.characters.get(index))
            .is_some_and(|character| character.is_alphanumeric() || *character == '_')
    }

    fn take_code(&mut self) {
        self.take(true, false);
    }

    /// Moves on by one character, which is shown in the views that want it.
    fn take(&mut self, in_code: bool, in_comments: bool) {
        let Some(character) = self.peek(0) else {
            return;
        };
        let blank = if character == '\n' { '\n' } else { ' ' };
        self.code.push(if in_code { character } else { blank });
        self.comments
            .push(if in_comments { character } else { blank });
        self.position += 1;
    }

    fn line_comment(&mut self) {
        while self.peek(0).is_some_and(|character| character != '\n') {
            self.take(false, true);
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0_usize;
        while self.peek(0).is_some() {
            match (self.peek(0), self.peek(1)) {
                (Some('/'), Some('*')) => {
                    depth += 1;
                    self.take(false, true);
                }
                (Some('*'), Some('/')) => {
                    depth -= 1;
                    self.take(false, true);
                }
                _ => {}
            }
            self.take(false, true);
            if depth == 0 {
                return;
            }
        }
    }

    fn quoted(&mut self, end: char) {
        self.take_code();
        while let Some(character) = self.peek(0) {
            if character == '\\' {
                self.take(false, false);
                self.take(false, false);
            } else if character == end {
                self.take_code();
                return;
            } else {
                self.take(false, false);
            }
        }
    }

    /// How many `#` follow the `r` here, if raw text begins.
    fn raw_hashes(&self) -> Option<usize> {
        let mut count = 0;
        while self.peek(1 + count) == Some('#') {
            count += 1;
        }
        (self.peek(1 + count) == Some('"')).then_some(count)
    }

    fn raw_text(&mut self) {
        let Some(hashes) = self.raw_hashes() else {
            return;
        };
        for _ in 0..hashes + 2 {
            self.take_code();
        }
        while self.peek(0).is_some() {
            let ends = self.peek(0) == Some('"')
                && (1..=hashes).all(|ahead| self.peek(ahead) == Some('#'));
            if ends {
                for _ in 0..=hashes {
                    self.take_code();
                }
                return;
            }
            self.take(false, false);
        }
    }

    fn character_or_lifetime(&mut self) {
        let is_character = self.peek(1) == Some('\\') || self.peek(2) == Some('\'');
        if is_character {
            self.quoted('\'');
        } else {
            self.take_code();
        }
    }
}

/// The code without the module of unit tests at its end.
pub fn without_tests(code: &str) -> &str {
    match code.find("\n#[cfg(test)]\nmod ") {
        Some(position) => &code[..position],
        None => code,
    }
}

/// Line index and text of the lines in which `word` stands by itself.
pub fn lines_with_word<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_part = |character: Option<char>| {
        character.is_some_and(|character| character.is_alphanumeric() || character == '_')
    };
    text.lines().enumerate().filter_map(move |(index, line)| {
        line.match_indices(word)
            .any(|(start, _)| {
                let before = line[..start].chars().next_back();
                let after = line[start + word.len()..].chars().next();
                let open_start = word.starts_with(|character: char| !character.is_alphanumeric());
                let open_end = word.ends_with(|character: char| !character.is_alphanumeric());
                (open_start || !is_part(before)) && (open_end || !is_part(after))
            })
            .then_some(index)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_comments_and_quotes_are_told_apart() {
        let source = r##"
let a = "in quotes // no comment"; // a comment "with quotes"
/* block /* nested */ still */ let b = 'x'; let c: &'static str = r#"raw " text"#;
let d = b"bytes \" more"; let e = br"raw"; let f = '\''; for_r("z");
"##;
        let views = split(source);
        assert!(!views.code.contains("no comment"));
        assert!(!views.code.contains("still"));
        assert!(!views.code.contains("raw"));
        assert!(!views.code.contains("more"));
        for word in [
            "let a", "let b", "let c", "static", "let d", "let e", "let f", "for_r",
        ] {
            assert!(views.code.contains(word), "{word}: {}", views.code);
        }
        assert!(views.comments.contains("a comment \"with quotes\""));
        assert!(views.comments.contains("nested */ still"));
        assert!(!views.comments.contains("let"));
        assert_eq!(views.code.lines().count(), source.lines().count());
    }

    #[test]
    fn unfinished_source_ends_the_scan() {
        for source in ["\"open", "/* open", "r#\"open", "'", "'\\", "b", "br", "r#"] {
            split(source);
        }
    }

    #[test]
    fn words_stand_alone() {
        let found: Vec<usize> = lines_with_word("one\nnone\none_two\n(one)", "one").collect();
        assert_eq!(found, [0, 3]);
    }
}
