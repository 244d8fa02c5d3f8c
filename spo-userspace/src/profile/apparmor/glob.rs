//! Path patterns as AppArmor reads them: `*`, `**`, `?`, `[abc]`, `{a,b}` and `@{VARIABLES}`.
//!
//! A pattern is compiled to a small automaton whose states are walked together, so that matching
//! takes at most the product of both lengths. A variable stands for itself: we do not know its
//! value, so only the same variable, or `**`, matches it.

use std::cell::Cell;

/// Deeper braces are no path.
const DEEPEST: usize = 16;

/// A pattern that is well formed.
#[derive(Clone, Debug)]
pub(crate) struct Glob {
    ops: Vec<Op>,
    /// The text before the first special character.
    prefix: String,
    kind: Kind,
}

/// What a pattern can stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One path.
    Literal,
    /// One path for each value of its variables.
    Variable,
    /// Many paths.
    Pattern,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Op {
    Char(char),
    Variable(String),
    /// `?`: one character of a file's name.
    One,
    /// The first character of what `**` stands for behind a `/`: no second `/`, but it may come
    /// from a variable.
    First,
    /// Any number of characters of a file's name.
    Star,
    /// Any number of characters.
    Deep,
    Class {
        ranges: Vec<(char, char)>,
        negated: bool,
    },
    /// Goes on at each of these.
    Split(Vec<usize>),
    Jump(usize),
}

/// How the variables of a pattern are taken.
#[derive(Clone, Copy, PartialEq)]
enum Variables {
    /// As themselves.
    Named,
    /// As any text, even none.
    Anything,
}

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

impl Glob {
    pub(crate) fn new(pattern: &str) -> Result<Self, Malformed> {
        let mut compiler = Compiler::default();
        compiler.compile(pattern)?;
        let Compiler { ops, .. } = compiler;
        let kind = if ops.iter().all(|op| matches!(op, Op::Char(_))) {
            Kind::Literal
        } else if ops
            .iter()
            .all(|op| matches!(op, Op::Char(_) | Op::Variable(_)))
        {
            Kind::Variable
        } else {
            Kind::Pattern
        };
        let prefix = ops
            .iter()
            .map_while(|op| match op {
                Op::Char(char) => Some(*char),
                _ => None,
            })
            .collect();
        Ok(Self { ops, prefix, kind })
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// The text before the first special character.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether the pattern stands for everything that `other` stands for. A `false` may be wrong
    /// where `other` has braces or classes. There is no answer once no steps are left.
    pub(crate) fn covers(&self, other: &Self, left: &Cell<usize>) -> Option<bool> {
        if self.ops == other.ops {
            return Some(true);
        }
        self.run(&other.ops, Variables::Named, left)
    }

    /// Whether there is a path that both stand for. A `true` may be wrong where neither is a
    /// literal: then only the beginnings are compared. There is no answer once no steps are left.
    pub(crate) fn overlaps(&self, other: &Self, left: &Cell<usize>) -> Option<bool> {
        match (self.kind, other.kind) {
            (Kind::Literal, Kind::Literal) => Some(self.ops == other.ops),
            (_, Kind::Literal) => self.run(&other.ops, Variables::Anything, left),
            (Kind::Literal, _) => other.run(&self.ops, Variables::Anything, left),
            _ => {
                spend(left, 1)?;
                let (one, other) = (&self.prefix, &other.prefix);
                Some(one.starts_with(other) || other.starts_with(one))
            }
        }
    }

    /// Walks all states of the pattern at once over the symbols of `text`.
    fn run(&self, text: &[Op], variables: Variables, left: &Cell<usize>) -> Option<bool> {
        let mut states = States {
            list: Vec::new(),
            open: Vec::new(),
            seen: vec![0; self.ops.len() + 1],
            round: 1,
        };
        let mut now = Vec::new();
        spend(left, self.ops.len() / 8)?;
        self.enter(0, variables, &mut states);
        std::mem::swap(&mut now, &mut states.list);
        for symbol in text {
            spend(left, now.len() + 1)?;
            states.round += 1;
            for state in now.drain(..) {
                let Some(op) = self.ops.get(state) else {
                    continue;
                };
                let unknown = variables == Variables::Anything && matches!(op, Op::Variable(_));
                if unknown || matches!(op, Op::Star | Op::Deep) && takes(op, symbol) {
                    self.enter(state, variables, &mut states);
                } else if takes(op, symbol) {
                    self.enter(state + 1, variables, &mut states);
                }
            }
            if states.list.is_empty() {
                return Some(false);
            }
            std::mem::swap(&mut now, &mut states.list);
        }
        Some(now.contains(&self.ops.len()))
    }

    /// Adds a state, and those that are reached from it without a symbol.
    fn enter(&self, state: usize, variables: Variables, states: &mut States) {
        states.open.push(state);
        while let Some(state) = states.open.pop() {
            if std::mem::replace(&mut states.seen[state], states.round) == states.round {
                continue;
            }
            match self.ops.get(state) {
                Some(Op::Split(targets)) => states.open.extend(targets),
                Some(Op::Jump(target)) => states.open.push(*target),
                Some(Op::Star | Op::Deep) => {
                    states.list.push(state);
                    states.open.push(state + 1);
                }
                // A variable may be empty, also where `First` takes it.
                Some(Op::Variable(_) | Op::First) if variables == Variables::Anything => {
                    states.list.push(state);
                    states.open.push(state + 1);
                }
                _ => states.list.push(state),
            }
        }
    }
}

fn spend(left: &Cell<usize>, steps: usize) -> Option<()> {
    let rest = left.get().checked_sub(steps);
    left.set(rest.unwrap_or_default());
    rest.map(drop)
}

/// The states that are reached by a symbol.
struct States {
    list: Vec<usize>,
    open: Vec<usize>,
    /// The round in which a state was reached last.
    seen: Vec<usize>,
    round: usize,
}

/// Whether a part of a pattern takes all that a part of another one stands for.
fn takes(op: &Op, symbol: &Op) -> bool {
    match (op, symbol) {
        (Op::Char(one), Op::Char(other)) => one == other,
        (Op::Variable(one), Op::Variable(other)) => one == other,
        (Op::One | Op::First | Op::Star, Op::Char(char)) => *char != '/',
        (Op::One | Op::First | Op::Star, Op::One | Op::First)
        | (Op::First, Op::Variable(_))
        | (Op::Star, Op::Star) => true,
        (Op::Deep, symbol) => !matches!(symbol, Op::Split(_) | Op::Jump(_)),
        (Op::Class { ranges, negated }, Op::Char(char)) => {
            let listed = ranges
                .iter()
                .any(|(first, last)| (*first..=*last).contains(char));
            listed != *negated
        }
        (one @ Op::Class { .. }, other @ Op::Class { .. }) => one == other,
        _ => false,
    }
}

#[derive(Default)]
struct Compiler {
    ops: Vec<Op>,
    /// For each open brace: its split, and the jumps to its end.
    braces: Vec<(usize, Vec<usize>)>,
}

impl Compiler {
    fn compile(&mut self, pattern: &str) -> Result<(), Malformed> {
        let chars: Vec<char> = pattern.chars().collect();
        let mut at = 0;
        while let Some(&char) = chars.get(at) {
            at += 1;
            match char {
                '\\' => {
                    let escaped = chars
                        .get(at)
                        .ok_or(Malformed("`\\` stands before nothing"))?;
                    self.ops.push(Op::Char(*escaped));
                    at += 1;
                }
                '@' if chars.get(at) == Some(&'{') => {
                    let length = chars[at..]
                        .iter()
                        .position(|char| *char == '}')
                        .ok_or(Malformed("the `@{` of a variable is not closed"))?;
                    let name: String = chars[at + 1..at + length].iter().collect();
                    if !is_variable(&name) {
                        return Err(Malformed("a variable's name has letters, digits and `_`"));
                    }
                    self.ops.push(Op::Variable(name));
                    at += length + 1;
                }
                '*' => {
                    let before = at.checked_sub(2).map(|before| chars[before]);
                    let deep = chars.get(at) == Some(&'*');
                    while chars.get(at) == Some(&'*') {
                        at += 1;
                    }
                    // A name that is nothing but a star is not empty.
                    if before == Some('/') && chars.get(at).is_none_or(|next| *next == '/') {
                        self.ops.push(if deep { Op::First } else { Op::One });
                    }
                    self.ops.push(if deep { Op::Deep } else { Op::Star });
                }
                '?' => self.ops.push(Op::One),
                '[' => at = self.class(&chars, at)?,
                ']' => return Err(Malformed("this `]` closes nothing")),
                '{' => {
                    if self.braces.len() == DEEPEST {
                        return Err(Malformed("braces are nested too deep"));
                    }
                    self.braces.push((self.ops.len(), Vec::new()));
                    self.ops.push(Op::Split(vec![self.ops.len() + 1]));
                }
                ',' if !self.braces.is_empty() => self.alternative(),
                '}' => self.close()?,
                char => self.ops.push(Op::Char(char)),
            }
        }
        if self.braces.is_empty() {
            Ok(())
        } else {
            Err(Malformed("this `{` is not closed"))
        }
    }

    fn alternative(&mut self) {
        let here = self.ops.len();
        self.ops.push(Op::Jump(0));
        if let Some((split, jumps)) = self.braces.last_mut() {
            jumps.push(here);
            if let Op::Split(targets) = &mut self.ops[*split] {
                targets.push(here + 1);
            }
        }
    }

    fn close(&mut self) -> Result<(), Malformed> {
        let (_, jumps) = self
            .braces
            .pop()
            .ok_or(Malformed("this `}` closes nothing"))?;
        if jumps.is_empty() {
            return Err(Malformed("braces need alternatives: `{a,b}`"));
        }
        let end = self.ops.len();
        for jump in jumps {
            self.ops[jump] = Op::Jump(end);
        }
        Ok(())
    }

    /// What stands in brackets; gives the index behind them.
    fn class(&mut self, chars: &[char], start: usize) -> Result<usize, Malformed> {
        let negated = chars.get(start) == Some(&'^');
        let first = start + usize::from(negated);
        let length = chars[first..]
            .iter()
            .position(|char| *char == ']')
            .ok_or(Malformed("this `[` is not closed"))?;
        let inside = &chars[first..first + length];
        if inside.is_empty() {
            return Err(Malformed("there is nothing between `[` and `]`"));
        }
        let mut ranges = Vec::new();
        let mut at = 0;
        while let Some(&from) = inside.get(at) {
            if inside.get(at + 1) == Some(&'-') {
                let to = *inside
                    .get(at + 2)
                    .ok_or(Malformed("a range in brackets has no end"))?;
                ranges.push((from, to));
                at += 3;
            } else {
                ranges.push((from, from));
                at += 1;
            }
        }
        self.ops.push(Op::Class { ranges, negated });
        Ok(first + length + 1)
    }
}

fn is_variable(name: &str) -> bool {
    name.starts_with(|char: char| char.is_ascii_alphabetic())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glob(pattern: &str) -> Glob {
        Glob::new(pattern).unwrap()
    }

    fn covers(wide: &str, narrow: &str) -> bool {
        let left = Cell::new(1_000_000);
        glob(wide).covers(&glob(narrow), &left).unwrap()
    }

    fn overlaps(one: &str, other: &str) -> bool {
        let left = Cell::new(1_000_000);
        glob(one).overlaps(&glob(other), &left).unwrap()
    }

    #[test]
    fn patterns_match_as_in_the_manual() {
        for (pattern, path, expected) in [
            ("/tmp/*", "/tmp/a", true),
            ("/tmp/*", "/tmp/", false),
            ("/tmp/*", "/tmp/a/", false),
            ("/tmp/*/", "/tmp/a/", true),
            ("/tmp/*/", "/tmp//", false),
            ("/tmp/**", "/tmp/a/b", true),
            ("/tmp/**", "/tmp/", false),
            ("/tmp/**", "/tmp/a/", true),
            ("/tmp/**/", "/tmp/a/b/", true),
            ("/tmp/**/", "/tmp/a/b", false),
            ("/tmp**", "/tmp", true),
            ("/tmp/a*", "/tmp/a", true),
            ("/tmp/a*b", "/tmp/a/b", false),
            ("/a?c", "/abc", true),
            ("/a?c", "/a/c", false),
            ("/a[bc]", "/ab", true),
            ("/a[^bc]", "/ab", false),
            ("/a[^bc]", "/ad", true),
            ("/a[0-9]*", "/a7x", true),
            ("/{usr/,}bin/x", "/bin/x", true),
            ("/{usr/,}bin/x", "/usr/bin/x", true),
            ("/{usr/,}bin/x", "/sbin/x", false),
            ("/{a,{b,c}d}", "/cd", true),
            ("/{a,{b,c}d}", "/ad", false),
            ("/a,b", "/a,b", true),
            ("/a\\*", "/a*", false),
            ("/proc/@{pid}/**", "/proc/@{pid}/maps", true),
            ("/proc/**", "/proc/@{pid}/maps", true),
            ("/proc/*/maps", "/proc/@{pid}/maps", false),
            ("/proc/@{pid}/maps", "/proc/1/maps", false),
        ] {
            assert_eq!(covers(pattern, path), expected, "{pattern} {path}");
        }
        assert!(covers("/a\\*", "/a\\*"));
    }

    #[test]
    fn patterns_cover_patterns() {
        for (wide, narrow, expected) in [
            ("/a/**", "/a/*", true),
            ("/a/*", "/a/**", false),
            ("/**", "/a/*/b?", true),
            ("/a/**", "/a/b/**", true),
            ("/a/*", "/a/b*", true),
            ("/a/b*", "/a/*", false),
            ("/a*", "/a/*", false),
            ("/a[bc]", "/a[bc]", true),
            ("/a?", "/a*", false),
        ] {
            assert_eq!(covers(wide, narrow), expected, "{wide} {narrow}");
        }
    }

    #[test]
    fn overlap_errs_on_one_side_only() {
        for (one, other, expected) in [
            ("/a", "/a", true),
            ("/a", "/b", false),
            ("/a/*", "/a/b", true),
            ("/a/*", "/b/b", false),
            ("/proc/@{pid}/maps", "/proc/1/maps", true),
            ("/proc/@{pid}/maps", "/proc/1/stat", false),
            ("/a/*", "/a/b/*", true),
            ("/a/b*", "/a/c*", false),
        ] {
            assert_eq!(overlaps(one, other), expected, "{one} {other}");
            assert_eq!(overlaps(other, one), expected, "{other} {one}");
        }
    }

    #[test]
    fn what_the_parser_refuses_is_malformed() {
        for pattern in [
            "/a{b}", "/a{", "/a}", "/a[", "/a]", "/{}", "/@{", "/@{pid", "/@{a b}", "/a[]",
            "/a[^]", "/a[a-]", "/a\\",
        ] {
            assert!(Glob::new(pattern).is_err(), "{pattern}");
        }
        assert!(Glob::new(&"{a,".repeat(100_000)).is_err());
    }

    #[test]
    fn nothing_makes_matching_slow() {
        let pattern = glob(&"*a".repeat(2_000));
        let text = glob(&format!("{}b", "a".repeat(2_000)));
        assert_eq!(pattern.covers(&text, &Cell::new(10_000_000)), Some(false));
        assert_eq!(pattern.covers(&text, &Cell::new(1_000)), None);
    }
}
