//! A function of the arguments as rules again, in the one form that libseccomp takes as it is
//! meant.
//!
//! libseccomp sorts conditions by argument and makes a tree of them. Where rules for one call do
//! not overlap, and all that meet at one place of the tree are about the same argument, it does
//! what the rules say. Two ranges on one argument, of which one begins at 0, it gets wrong
//! (tried with 2.5.4), so that such are not made.

use std::collections::BTreeSet;

use super::cells::{Cell, Domain, MOST_SINGLE, Tree, deposit};
use super::verdict::{Arguments, Verdict};
use super::{LAST_ARGUMENT, Operator, SyscallArg};

/// Of a mask's bits, all combinations are told up to this many bits.
const MOST_BITS: u32 = 6;
/// More rules for one call are no profile any more.
const MOST_RULES: usize = 256;

/// The rules for one call.
pub(super) struct Expressed {
    pub(super) rules: Vec<(Vec<SyscallArg>, Verdict)>,
    /// The arguments that do not count any more, although they should: whatever they are, the call
    /// now gets the least restrictive verdict.
    pub(super) ignored: BTreeSet<u32>,
}

/// Makes rules of a function, for a profile with this default.
///
/// `conditions` are those that the function depends on, and `most` is its greatest value.
pub(super) fn express(
    conditions: &[SyscallArg],
    value: &dyn Fn(&Arguments) -> Verdict,
    most: Verdict,
    default: Verdict,
) -> Expressed {
    let mut ignored = BTreeSet::new();
    let Ok(domain) = Domain::of(conditions) else {
        ignored.extend(conditions.iter().map(|condition| condition.index));
        let rules = Vec::from_iter((most != default).then_some((Vec::new(), most)));
        return Expressed { rules, ignored };
    };
    let mut ranges = Ranges::Compared;
    loop {
        let greatest = |args: &Arguments| greatest(&domain, &ignored, args, value);
        let tree = domain.tree(&ignored, &greatest);
        let mut rules = Vec::new();
        match write(&tree, default, ranges, &mut Vec::new(), &mut rules) {
            Ok(()) if mixed(&rules).is_some() && ranges == Ranges::Compared => {
                ranges = Ranges::Listed;
                continue;
            }
            Ok(()) if mixed(&rules).is_some() => ignored.extend(mixed(&rules)),
            Ok(()) if rules.len() <= MOST_RULES => return Expressed { rules, ignored },
            Ok(()) => {
                let args = rules.iter().flat_map(|(args, _)| args);
                ignored.extend(args.map(|arg| arg.index).max());
            }
            Err(Inexpressible(arg)) => {
                ignored.insert(arg);
            }
        }
        ranges = Ranges::Compared;
    }
}

/// The greatest value of a function, whatever the ignored arguments are.
fn greatest(
    domain: &Domain,
    ignored: &BTreeSet<u32>,
    args: &Arguments,
    value: &dyn Fn(&Arguments) -> Verdict,
) -> Verdict {
    let mut variants = vec![*args];
    for index in ignored {
        variants = variants
            .iter()
            .flat_map(|args| {
                domain.values(*index).map(|member| {
                    let mut args = *args;
                    args[*index as usize] = member;
                    args
                })
            })
            .collect();
    }
    let values = variants.iter().map(value);
    values.max().unwrap_or_else(|| value(args))
}

/// How ranges at either end are told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ranges {
    /// By a comparison.
    Compared,
    /// Value by value, if there are few.
    Listed,
}

/// The argument that is the trouble.
struct Inexpressible(u32);

fn write(
    tree: &Tree<Verdict>,
    default: Verdict,
    ranges: Ranges,
    path: &mut Vec<SyscallArg>,
    rules: &mut Vec<(Vec<SyscallArg>, Verdict)>,
) -> Result<(), Inexpressible> {
    match tree {
        Tree::Leaf(verdict) => {
            if *verdict != default {
                rules.push((path.clone(), *verdict));
            }
            Ok(())
        }
        Tree::Split { arg, cells } => {
            let other = |(_, tree): &&(Cell, Tree<Verdict>)| *tree != Tree::Leaf(default);
            let told: Vec<_> = cells.iter().filter(other).collect();
            let tests = tests(*arg, cells, &told, ranges).ok_or(Inexpressible(*arg))?;
            for (test, tree) in tests {
                path.push(test);
                write(tree, default, ranges, path, rules)?;
                path.pop();
            }
            Ok(())
        }
    }
}

type Branches<'t> = Vec<(SyscallArg, &'t Tree<Verdict>)>;

/// Conditions for the cells that are told of.
fn tests<'t>(
    arg: u32,
    cells: &'t [(Cell, Tree<Verdict>)],
    told: &[&'t (Cell, Tree<Verdict>)],
    listed: Ranges,
) -> Option<Branches<'t>> {
    debug_assert!(arg <= LAST_ARGUMENT);
    let test = |op, value, value_two| SyscallArg {
        index: arg,
        value,
        value_two,
        op,
    };
    if let [
        (Cell::Range(0, _), below),
        (Cell::Range(value, last), at),
        (Cell::Range(..), above),
    ] = cells
        && value == last
        && below == above
    {
        let sides = [
            (test(Operator::NotEqual, *value, 0), below),
            (test(Operator::Equal, *value, 0), at),
        ];
        let told =
            |(_, tree): &(SyscallArg, &Tree<Verdict>)| told.iter().any(|(_, other)| other == *tree);
        return Some(sides.into_iter().filter(told).collect());
    }
    let ranges = || {
        told.iter().filter_map(|(cell, _)| match cell {
            Cell::Range(first, last) if first < last => Some((*first, *last)),
            _ => None,
        })
    };
    let lower = ranges().find(|(first, _)| *first == 0);
    let upper = ranges().find(|(_, last)| *last == u64::MAX);
    // One of both may be told value by value. Where they touch, both are one comparison.
    let touch = matches!((lower, upper), (Some((_, end)), Some((start, _))) if start - 1 == end);
    let short = |(first, last): (u64, u64)| last - first < MOST_SINGLE;
    let both = lower.is_some() && upper.is_some() && !touch;
    let listed = listed == Ranges::Listed;
    let single_lower = (both || listed) && lower.is_some_and(short);
    let single_upper = (both && !single_lower) || (listed && upper.is_some_and(short));
    let mut branches = Vec::new();
    for (cell, tree) in told {
        match cell {
            Cell::Range(first, last) if first == last => {
                branches.push((test(Operator::Equal, *first, 0), tree));
            }
            Cell::Range(0, last) if !single_lower => {
                branches.push((test(Operator::LessOrEqual, *last, 0), tree));
            }
            Cell::Range(first, u64::MAX) if !single_upper => {
                let condition = if touch {
                    test(Operator::Greater, first - 1, 0)
                } else {
                    test(Operator::GreaterOrEqual, *first, 0)
                };
                branches.push((condition, tree));
            }
            Cell::Range(first, last) if short((*first, *last)) => {
                branches.extend((*first..=*last).map(|it| (test(Operator::Equal, it, 0), tree)));
            }
            Cell::Range(..) | Cell::RangeOfBits { .. } => return None,
            Cell::Bits { mask, bits } => {
                branches.push((test(Operator::MaskedEqual, *mask, *bits), tree));
            }
            Cell::OtherBits { mask, than } => {
                if mask.count_ones() > MOST_BITS {
                    return None;
                }
                let all = (0..1 << mask.count_ones()).map(|number| deposit(number, *mask));
                let others = all.filter(|bits| !than.contains(bits));
                branches.extend(others.map(|it| (test(Operator::MaskedEqual, *mask, it), tree)));
            }
        }
    }
    Some(branches)
}

/// The argument of a range or an exception among rules of which some have several conditions.
/// libseccomp may get those wrong, or not come to an end (tried with 2.5.4).
fn mixed(rules: &[(Vec<SyscallArg>, Verdict)]) -> Option<u32> {
    if rules.len() < 2 || rules.iter().all(|(args, _)| args.len() < 2) {
        return None;
    }
    let args = rules.iter().flat_map(|(args, _)| args);
    let plain = |arg: &&SyscallArg| matches!(arg.op, Operator::Equal | Operator::MaskedEqual);
    args.filter(|arg| !plain(arg)).map(|arg| arg.index).max()
}
