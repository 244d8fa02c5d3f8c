//! Paths such as `crate::event::Abi`, as they stand in `use` and in code.

/// Every path in these tokens, with groups taken apart: `std::{fs, io::Read}` is two. A path that
/// leads to the crate's root, by `super` too, begins with `crate`; others from `self` or `super`
/// stay in their module and are left out. `depth` is that of the file's module.
pub(super) fn paths(tokens: &[String], depth: usize) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    // Of every open brace, whether it is a module's.
    let mut braces = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let previous = |back: usize| at.checked_sub(back).map(|at| tokens[at].as_str());
        match tokens[at].as_str() {
            "{" => braces.push(previous(2) == Some("mod")),
            "}" => drop(braces.pop()),
            "use" => {
                let start =
                    at + 1 + usize::from(tokens.get(at + 1).is_some_and(|token| token == "::"));
                let mut read = Reader { tokens, at: start };
                read.tree(&mut Vec::new(), &mut found);
                at = read.at;
                resolve_last(&mut found, depth + inner(&braces));
                continue;
            }
            word if is_name(word) && tokens.get(at + 1).is_some_and(|next| next == "::") => {
                let mut path = vec![word.to_owned()];
                while tokens.get(at + 1).is_some_and(|next| next == "::")
                    && tokens.get(at + 2).is_some_and(|next| is_name(next))
                {
                    path.push(tokens[at + 2].clone());
                    at += 2;
                }
                found.push(path);
                resolve_last(&mut found, depth + inner(&braces));
            }
            _ => {}
        }
        at += 1;
    }
    found.retain(|path| {
        !matches!(
            path.first().map(String::as_str),
            Some("self" | "super") | None
        )
    });
    found
}

fn inner(braces: &[bool]) -> usize {
    braces.iter().filter(|module| **module).count()
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Replaces as many `super` as lead to the root by `crate`, in paths that are not resolved yet.
fn resolve_last(found: &mut [Vec<String>], depth: usize) {
    for path in found.iter_mut().rev() {
        let supers = path
            .iter()
            .take_while(|name| *name == "super" || *name == "self")
            .filter(|name| *name == "super")
            .count();
        if supers > 0 && supers >= depth {
            let rest = path
                .iter()
                .skip_while(|name| *name == "super" || *name == "self")
                .cloned();
            *path = std::iter::once("crate".to_owned()).chain(rest).collect();
        } else if supers > 0 {
            // It stays inside: nothing that a later call could take for unresolved.
            *path = vec!["self".to_owned()];
        }
    }
}

/// Reads what stands after `use`.
struct Reader<'tokens> {
    tokens: &'tokens [String],
    at: usize,
}

impl Reader<'_> {
    fn tree(&mut self, prefix: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
        let length = prefix.len();
        while let Some(token) = self.tokens.get(self.at) {
            match token.as_str() {
                "::" => self.at += 1,
                "{" => {
                    self.at += 1;
                    self.group(prefix, found);
                    prefix.truncate(length);
                    return;
                }
                "as" => self.at += 2,
                "*" => {
                    prefix.push("*".to_owned());
                    self.at += 1;
                }
                name if is_name(name) => {
                    prefix.push(name.to_owned());
                    self.at += 1;
                }
                _ => break,
            }
        }
        if prefix.len() > length {
            found.push(prefix.clone());
        }
        prefix.truncate(length);
    }

    fn group(&mut self, prefix: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
        while let Some(token) = self.tokens.get(self.at) {
            match token.as_str() {
                "}" => {
                    self.at += 1;
                    return;
                }
                "," => self.at += 1,
                _ => {
                    let before = self.at;
                    self.tree(prefix, found);
                    if self.at == before {
                        return;
                    }
                }
            }
        }
    }
}

/// The module's own controls; those of the rules are beside them.
mod controls {
    use super::super::source::tokens;

    fn read(text: &str, depth: usize) -> Vec<String> {
        super::paths(&tokens(text), depth)
            .iter()
            .map(|path| path.join("::"))
            .collect()
    }

    #[test]
    fn groups_are_taken_apart() {
        let text =
            "use std::{fs, io::{self, Read as _}, time::*}; use ::aya as bpf; pub(crate) use a::b;";
        assert_eq!(
            read(text, 1),
            [
                "std::fs",
                "std::io::self",
                "std::io::Read",
                "std::time::*",
                "aya",
                "a::b"
            ]
        );
    }

    #[test]
    fn super_leads_to_the_root_or_stays_inside() {
        assert_eq!(
            read("use super::event; use super::super::cli;", 1),
            ["crate::event", "crate::cli"]
        );
        assert_eq!(
            read(
                "use super::event; use self::x; super::super::cli::run();",
                2
            ),
            ["crate::cli::run"]
        );
        assert_eq!(
            read("mod inner { use super::a; use super::super::b; }", 1),
            ["crate::b"]
        );
    }

    #[test]
    fn code_counts_too() {
        assert_eq!(
            read("fn f() { std::process::exit(crate::node::code()) }", 1),
            ["std::process::exit", "crate::node::code"]
        );
    }
}
