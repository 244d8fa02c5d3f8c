//! Whether a profile allows an access to one path, decided as the kernel does: something allows
//! it, and nothing denies it. A second way to the answer, slow and plain.

use spo::profile::apparmor::{Access, AppArmorSpec};

/// Paths that the random profiles are about.
pub(super) const PATHS: [&str; 14] = [
    "/a",
    "/a/b",
    "/a/b/c",
    "/a/c",
    "/a/d",
    "/a/bc",
    "/b",
    "/b/c",
    "/c/a/b",
    "/x y",
    "/x~y",
    "/proc/1/maps",
    "/proc/@{pid}/maps",
    "/sbin/fsck",
];
pub(super) const ACCESSES: [Access; 7] = [
    Access::READ,
    Access::WRITE,
    Access::APPEND,
    Access::LINK,
    Access::LOCK,
    Access::MAP,
    Access::EXECUTE,
];

/// Whether a process that owns no file may do this.
pub(super) fn allows(spec: &AppArmorSpec, path: &str, access: Access) -> bool {
    let abstract_ = &spec.abstract_;
    let (programs, files) = (&abstract_.executable, &abstract_.filesystem);
    let mut allowed = false;
    let mut denied = false;
    for (paths, gives, takes) in [
        (
            &programs.allowed_executables,
            Access::READ.or(Access::EXECUTE),
            Access::NONE,
        ),
        (
            &programs.allowed_libraries,
            Access::READ.or(Access::MAP),
            Access::NONE,
        ),
        (&files.read_only_paths, Access::READ, Access::CHANGE),
        (&files.write_only_paths, Access::CHANGE, Access::READ),
        (&files.read_write_paths, Access::READ_CHANGE, Access::NONE),
    ] {
        if paths.iter().any(|pattern| matches(pattern, path)) {
            allowed |= gives.has(access);
            denied |= !takes.and(access).is_none();
        }
    }
    for rule in &abstract_.rules.allow.file {
        allowed |= !rule.owner && rule.access.has(access) && matches(&rule.path, path);
    }
    for rule in &abstract_.rules.deny.file {
        denied |= !rule.access.and(access).is_none() && matches(&rule.path, path);
    }
    // What denies a part of an access denies it; appending is a part of writing.
    allowed && !denied
}

fn matches(pattern: &str, path: &str) -> bool {
    if pattern.starts_with("ptrace") {
        return false;
    }
    let pattern: Vec<char> = pattern.chars().collect();
    expand(&pattern)
        .iter()
        .any(|pattern| at(pattern, 0, &path.chars().collect::<Vec<_>>()))
}

/// All patterns without braces that one with braces stands for.
fn expand(pattern: &[char]) -> Vec<Vec<char>> {
    let mut start = None;
    let mut depth = 0;
    let mut commas = Vec::new();
    for (index, char) in pattern.iter().enumerate() {
        match char {
            '{' if index > 0 && pattern[index - 1] == '@' && depth == 0 => {}
            '{' => {
                depth += 1;
                start.get_or_insert(index);
            }
            ',' if depth == 1 => commas.push(index),
            '}' if depth == 1 => {
                let open = start.unwrap();
                commas.push(index);
                let mut from = open + 1;
                let mut all = Vec::new();
                for comma in commas {
                    let mut one = pattern[..open].to_vec();
                    one.extend(&pattern[from..comma]);
                    one.extend(&pattern[index + 1..]);
                    all.extend(expand(&one));
                    from = comma + 1;
                }
                return all;
            }
            '}' if depth > 0 => depth -= 1,
            _ => {}
        }
    }
    vec![pattern.to_vec()]
}

fn at(pattern: &[char], index: usize, path: &[char]) -> bool {
    let Some(char) = pattern.get(index) else {
        return path.is_empty();
    };
    match char {
        '*' => {
            let stars = pattern[index..]
                .iter()
                .take_while(|char| **char == '*')
                .count();
            let end = index + stars;
            let whole = index > 0
                && pattern[index - 1] == '/'
                && pattern.get(end).is_none_or(|next| *next == '/');
            if whole && path.first().is_none_or(|first| *first == '/') {
                return false;
            }
            let least = usize::from(whole);
            (least..=path.len())
                .take_while(|taken| stars > 1 || !path[..*taken].contains(&'/'))
                .any(|taken| at(pattern, end, &path[taken..]))
        }
        '?' => {
            path.first().is_some_and(|first| *first != '/') && at(pattern, index + 1, &path[1..])
        }
        '[' => {
            let end = index
                + pattern[index..]
                    .iter()
                    .position(|char| *char == ']')
                    .unwrap();
            let inside: String = pattern[index + 1..end].iter().collect();
            let (negated, inside) = match inside.strip_prefix('^') {
                Some(inside) => (true, inside.to_owned()),
                None => (false, inside),
            };
            let listed = |char: char| match inside.as_bytes() {
                [from, b'-', to] => (*from..=*to).contains(&u8::try_from(char).unwrap_or(0)),
                _ => inside.contains(char),
            };
            path.first().is_some_and(|first| listed(*first) != negated)
                && at(pattern, end + 1, &path[1..])
        }
        _ => path.first() == Some(char) && at(pattern, index + 1, &path[1..]),
    }
}
