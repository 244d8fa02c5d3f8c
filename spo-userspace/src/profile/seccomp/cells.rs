//! Arguments in cells: what conditions can tell apart.
//!
//! The values of an argument fall into finitely many cells, within which every condition gives one
//! answer. So a profile is compared, and joined with others, by one value from each cell, and
//! nothing is missed.

use std::collections::{BTreeMap, BTreeSet};

use super::verdict::Arguments;
use super::{LAST_ARGUMENT, Operator, SyscallArg};

/// More bits of masks than this are not told apart where ranges or other masks come in.
const MOST_BITS: u32 = 10;
/// A range in the middle can only be told value by value; up to this many are.
pub(super) const MOST_SINGLE: u64 = 16;
/// How many combinations of cells are looked at for one call.
const MOST_COMBINATIONS: usize = 1 << 14;

/// How many conditions are tried for them, all in all.
const MOST_TRIED: usize = 1 << 22;

/// Some values of an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    /// From the first to the last.
    Range(u64, u64),
    /// Those that have these bits under the mask.
    Bits { mask: u64, bits: u64 },
    /// Those that have none of these bits under the mask.
    OtherBits { mask: u64, than: Vec<u64> },
    /// Those of a range that have these bits under the mask.
    RangeOfBits {
        range: (u64, u64),
        mask: u64,
        bits: u64,
    },
}

/// A function of the arguments, asked one argument at a time. Equal functions of the same
/// conditions are equal trees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tree<T> {
    Leaf(T),
    Split {
        arg: u32,
        cells: Vec<(Cell, Tree<T>)>,
    },
}

/// There are more combinations than are looked at.
#[derive(Debug)]
pub(super) struct TooMany;

/// The cells of all arguments, each with a value from it.
pub(super) struct Domain {
    arguments: Vec<Partition>,
}

/// The cells of one argument, each with a value from it.
struct Partition(Vec<(Cell, u64)>);

impl Domain {
    /// The cells that these conditions tell apart.
    pub(super) fn of(conditions: &[SyscallArg]) -> Result<Self, TooMany> {
        let mut arguments = Vec::new();
        let mut combinations = 1_usize;
        for index in 0..=LAST_ARGUMENT {
            let own = conditions.iter().filter(|arg| arg.index == index);
            let partition = Partition::of(own)?;
            combinations = combinations.saturating_mul(partition.0.len());
            arguments.push(partition);
        }
        let tried = combinations.saturating_mul(conditions.len());
        if combinations > MOST_COMBINATIONS || tried > MOST_TRIED {
            return Err(TooMany);
        }
        Ok(Self { arguments })
    }

    /// The function as a tree. It is not asked about the ignored arguments, which are 0.
    pub(super) fn tree<T: Clone + PartialEq>(
        &self,
        ignored: &BTreeSet<u32>,
        value: &dyn Fn(&Arguments) -> T,
    ) -> Tree<T> {
        self.below(0, &mut [0; 6], ignored, value)
    }

    /// One value from each cell of an argument.
    pub(super) fn values(&self, arg: u32) -> impl Iterator<Item = u64> {
        let partition = &self.arguments[arg as usize];
        partition.0.iter().map(|(_, value)| *value)
    }

    fn below<T: Clone + PartialEq>(
        &self,
        arg: usize,
        args: &mut Arguments,
        ignored: &BTreeSet<u32>,
        value: &dyn Fn(&Arguments) -> T,
    ) -> Tree<T> {
        let Some(partition) = self.arguments.get(arg) else {
            return Tree::Leaf(value(args));
        };
        let index = u32::try_from(arg).unwrap_or(LAST_ARGUMENT);
        if ignored.contains(&index) {
            return self.below(arg + 1, args, ignored, value);
        }
        let mut cells = Vec::new();
        for (cell, member) in &partition.0 {
            args[arg] = *member;
            cells.push((cell.clone(), self.below(arg + 1, args, ignored, value)));
        }
        args[arg] = 0;
        join(index, cells)
    }
}

impl Partition {
    fn of<'a>(conditions: impl Iterator<Item = &'a SyscallArg>) -> Result<Self, TooMany> {
        // The first values of ranges.
        let mut starts = BTreeSet::from([0]);
        let mut masks: Vec<(u64, BTreeSet<u64>)> = Vec::new();
        for condition in conditions {
            let SyscallArg {
                value, value_two, ..
            } = *condition;
            let after = |value: u64| value.checked_add(1);
            match condition.op {
                Operator::Equal | Operator::NotEqual => {
                    starts.insert(value);
                    starts.extend(after(value));
                }
                Operator::Less | Operator::GreaterOrEqual => {
                    starts.insert(value);
                }
                Operator::LessOrEqual | Operator::Greater => starts.extend(after(value)),
                Operator::MaskedEqual if value == u64::MAX => {
                    starts.insert(value_two);
                    starts.extend(after(value_two));
                }
                Operator::MaskedEqual if value == 0 => {}
                Operator::MaskedEqual => {
                    let bits = value_two & value;
                    match masks.iter_mut().find(|(mask, _)| *mask == value) {
                        Some((_, known)) => drop(known.insert(bits)),
                        None => masks.push((value, BTreeSet::from([bits]))),
                    }
                }
            }
        }
        let starts: Vec<_> = starts.into_iter().collect();
        let ends = starts[1..].iter().map(|next| next - 1).chain([u64::MAX]);
        let ranges: Vec<_> = starts.iter().copied().zip(ends).collect();
        if masks.is_empty() {
            let cells = ranges
                .into_iter()
                .map(|(first, last)| (Cell::Range(first, last), first));
            return Ok(Self(cells.collect()));
        }
        if let ([(mask, known)], 1) = (masks.as_slice(), ranges.len()) {
            return Ok(Self::of_one_mask(*mask, known));
        }
        // Single values can be told without a mask.
        let ranges: Vec<_> = ranges
            .into_iter()
            .flat_map(|(first, last)| {
                if last - first < MOST_SINGLE {
                    (first..=last).map(|value| (value, value)).collect()
                } else {
                    vec![(first, last)]
                }
            })
            .collect();
        let all = masks.iter().fold(0, |all, (mask, _)| all | mask);
        if all.count_ones() > MOST_BITS || ranges.len() << all.count_ones() > MOST_COMBINATIONS {
            return Err(TooMany);
        }
        let mut cells = Vec::new();
        for range in ranges {
            for number in 0..1 << all.count_ones() {
                let bits = deposit(number, all);
                if let Some(member) = first_with(range.0, all, bits).filter(|it| *it <= range.1) {
                    let mask = all;
                    cells.push((Cell::RangeOfBits { range, mask, bits }, member));
                }
            }
        }
        Ok(Self(cells))
    }

    fn of_one_mask(mask: u64, known: &BTreeSet<u64>) -> Self {
        let cell = |bits: &u64| (Cell::Bits { mask, bits: *bits }, *bits);
        let mut cells: Vec<_> = known.iter().map(cell).collect();
        // Among so many there is one that is not known, unless all are.
        let mut numbers = (0..=known.len() as u64).map(|number| deposit(number, mask));
        if let Some(other) = numbers.find(|bits| !known.contains(bits)) {
            let than = known.iter().copied().collect();
            cells.push((Cell::OtherBits { mask, than }, other));
        }
        Self(cells)
    }
}

/// Joins cells that lead to the same.
fn join<T: Clone + PartialEq>(arg: u32, cells: Vec<(Cell, Tree<T>)>) -> Tree<T> {
    if cells.iter().all(|(_, tree)| *tree == cells[0].1) {
        return cells
            .into_iter()
            .next()
            .map_or_else(|| unreachable!("values have cells"), |(_, tree)| tree);
    }
    let without_bits = |cell: &Cell| match cell {
        Cell::RangeOfBits { range, .. } => Cell::Range(range.0, range.1),
        cell => cell.clone(),
    };
    let without_range = |cell: &Cell| match *cell {
        Cell::RangeOfBits { mask, bits, .. } => Cell::Bits { mask, bits },
        ref cell => cell.clone(),
    };
    let cells = match cells[0].0 {
        Cell::Range(..) => joined_ranges(cells),
        Cell::Bits { .. } | Cell::OtherBits { .. } => joined_bits(cells),
        Cell::RangeOfBits { .. } => regrouped(&cells, without_bits)
            .map(joined_ranges)
            .or_else(|| regrouped(&cells, without_range).map(joined_bits))
            .unwrap_or(cells),
    };
    Tree::Split { arg, cells }
}

/// Larger cells, if each of them leads to one tree only.
fn regrouped<T: Clone + PartialEq>(
    cells: &[(Cell, Tree<T>)],
    larger: impl Fn(&Cell) -> Cell,
) -> Option<Vec<(Cell, Tree<T>)>> {
    let mut grouped: Vec<(Cell, Tree<T>)> = Vec::new();
    for (cell, tree) in cells {
        let cell = larger(cell);
        match grouped.iter().find(|(known, _)| *known == cell) {
            Some((_, known)) if known == tree => {}
            Some(_) => return None,
            None => grouped.push((cell, tree.clone())),
        }
    }
    Some(grouped)
}

fn joined_ranges<T: PartialEq>(cells: Vec<(Cell, Tree<T>)>) -> Vec<(Cell, Tree<T>)> {
    let mut joined: Vec<(Cell, Tree<T>)> = Vec::new();
    for (cell, tree) in cells {
        if let (Some((Cell::Range(_, last), before)), Cell::Range(_, end)) =
            (joined.last_mut(), &cell)
            && *before == tree
        {
            *last = *end;
        } else {
            joined.push((cell, tree));
        }
    }
    joined
}

/// Bits that lead to what all others lead to are among the others, and bits that do not matter are
/// not in the mask.
fn joined_bits<T: Clone + PartialEq>(cells: Vec<(Cell, Tree<T>)>) -> Vec<(Cell, Tree<T>)> {
    let mut mask = 0;
    let mut told: BTreeMap<u64, Tree<T>> = BTreeMap::new();
    let mut other = None;
    for (cell, tree) in cells {
        match cell {
            Cell::Bits { mask: own, bits } => {
                mask = own;
                told.insert(bits, tree);
            }
            _ => other = Some(tree),
        }
    }
    told.retain(|_, tree| Some(&*tree) != other.as_ref());
    for place in 0..64 {
        let bit = mask & (1 << place);
        let matters = |(bits, tree): (&u64, &Tree<T>)| {
            told.get(&(bits ^ bit)).or(other.as_ref()) != Some(tree)
        };
        if bit != 0 && !told.iter().any(matters) {
            mask &= !bit;
            told.retain(|bits, _| bits & bit == 0);
        }
    }
    let than = told.keys().copied().collect();
    let cell = |(bits, tree)| (Cell::Bits { mask, bits }, tree);
    let mut cells: Vec<_> = told.into_iter().map(cell).collect();
    cells.extend(other.map(|tree| (Cell::OtherBits { mask, than }, tree)));
    cells
}

/// The number's bits, put where the mask has bits.
pub(super) fn deposit(mut number: u64, mask: u64) -> u64 {
    let (mut rest, mut bits) = (mask, 0);
    while rest != 0 && number != 0 {
        let lowest = rest & rest.wrapping_neg();
        if number & 1 == 1 {
            bits |= lowest;
        }
        number >>= 1;
        rest ^= lowest;
    }
    bits
}

/// The first value from `from` on that has these bits under the mask.
fn first_with(from: u64, mask: u64, bits: u64) -> Option<u64> {
    if from & mask == bits {
        return Some(from);
    }
    // A larger value differs first in some bit, where `from` has 0 and it has 1. The lower that
    // bit, the smaller the value; below it, only the mask's bits are set.
    (0..64).find_map(|place| {
        let bit = 1_u64 << place;
        let above = !(bit | (bit - 1));
        let fits = from & bit == 0
            && (from ^ bits) & mask & above == 0
            && (mask & bit == 0 || bits & bit != 0);
        fits.then_some((from & above) | bit | (bits & (bit - 1)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_values() {
        for mask in 0..32_u64 {
            for bits in (0..32).filter(|bits| bits & !mask == 0) {
                for from in 0..32 {
                    let expected = (from..128).find(|value| value & mask == bits);
                    assert_eq!(
                        first_with(from, mask, bits),
                        expected,
                        "{from} {mask} {bits}"
                    );
                }
            }
        }
        assert_eq!(first_with(u64::MAX, 1, 0), None);
    }

    #[test]
    fn deposits() {
        let all: Vec<_> = (0..5).map(|number| deposit(number, 0b1010)).collect();
        assert_eq!(all, [0, 0b10, 0b1000, 0b1010, 0]);
    }

    /// Every small value is in the cell whose member gives the same answers.
    #[test]
    fn members_stand_for_their_cells() {
        let arg = |op, value, value_two| SyscallArg {
            index: 0,
            value,
            value_two,
            op,
        };
        let conditions = [
            arg(Operator::MaskedEqual, 6, 2),
            arg(Operator::MaskedEqual, 1, 1),
            arg(Operator::Less, 9, 0),
            arg(Operator::Equal, 4, 0),
        ];
        let partition = Partition::of(conditions.iter()).unwrap();
        let answers = |value: u64| [value & 6 == 2, value & 1 == 1, value < 9, value == 4];
        let known: Vec<_> = partition.0.iter().map(|(_, it)| answers(*it)).collect();
        for value in 0..64 {
            assert!(known.contains(&answers(value)), "{value}");
        }
    }
}
