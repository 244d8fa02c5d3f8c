//! Enough of Rust's lexical structure to tell code from comments, texts and tests.

/// The tokens of a source file: words, and single characters for the rest; `::` is one token.
/// Comments are left out; a text or character stands as `"`.
pub(super) fn tokens(text: &str) -> Vec<String> {
    let mut rest = text;
    let mut found = Vec::new();
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = string(rest) {
            found.push("\"".to_owned());
            length
        } else if is_word(first) {
            let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            found.push(rest[..length].to_owned());
            length
        } else if rest.starts_with("::") {
            found.push("::".to_owned());
            2
        } else {
            if !first.is_whitespace() {
                found.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length of a block comment; they nest.
fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// The length of a text or character literal that begins here.
fn string(text: &str) -> Option<usize> {
    let prefix = text.find(|c: char| !matches!(c, 'b' | 'c' | 'r'))?;
    let (before, rest) = text.split_at(prefix);
    if !matches!(before, "" | "b" | "c" | "r" | "br" | "cr") {
        return None;
    }
    if before.ends_with('r') {
        let hashes = rest.find(|c| c != '#')?;
        rest[hashes..].strip_prefix('"')?;
        let end = format!("\"{}", "#".repeat(hashes));
        let start = hashes + 1;
        return Some(
            rest[start..]
                .find(&end)
                .map_or(text.len(), |at| prefix + start + at + end.len()),
        );
    }
    if rest.starts_with('"') {
        return Some(prefix + quoted(rest, b'"'));
    }
    // A lifetime has no second quote after one character.
    let mut inside = rest.strip_prefix('\'')?.chars();
    let is_character = inside.next()? == '\\' || inside.next() == Some('\'');
    is_character.then(|| prefix + quoted(rest, b'\''))
}

fn quoted(text: &str, quote: u8) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The tokens without modules that are compiled for tests only.
pub(super) fn without_tests(tokens: &[String]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let length = test_module(&tokens[at..]);
        if length == 0 {
            kept.push(tokens[at].clone());
        }
        at += length.max(1);
    }
    kept
}

/// The length of a test module that begins here.
fn test_module(tokens: &[String]) -> usize {
    const BEGIN: [&str; 8] = ["#", "[", "cfg", "(", "test", ")", "]", "mod"];
    if !BEGIN.iter().eq(tokens.iter().take(BEGIN.len())) {
        return 0;
    }
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(BEGIN.len()) {
        match token.as_str() {
            "{" => depth += 1,
            "}" if depth == 1 => return at + 1,
            "}" => depth -= 1,
            ";" if depth == 0 => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}

/// Lines that are code: neither empty, nor a comment, nor of the test module at the end.
pub(super) fn code_lines(text: &str) -> usize {
    let lines = text.lines().map(str::trim);
    lines
        .take_while(|line| *line != "#[cfg(test)]")
        .filter(|line| !line.is_empty() && !line.starts_with("//"))
        .count()
}
