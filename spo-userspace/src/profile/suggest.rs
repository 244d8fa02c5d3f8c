//! "Did you mean ...?"

/// Longer words are no slip of the pen, and comparing them would cost time.
const LONGEST: usize = 64;

/// The candidate that `word` most likely stands for, if one is near enough.
///
/// Upper and lower case are the same here, as a wrong case is a common mistake. Of two that are
/// equally near, the first wins.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if word.is_empty() || word.len() > LONGEST {
        return None;
    }
    let word = word.to_ascii_lowercase().into_bytes();
    let limit = (word.len() / 3).clamp(1, 2);
    let mut best = None;
    let mut best_distance = limit + 1;
    for candidate in candidates {
        if candidate.len().abs_diff(word.len()) >= best_distance {
            continue;
        }
        let candidate_word = candidate.to_ascii_lowercase();
        if let Some(distance) = distance(&word, candidate_word.as_bytes(), best_distance) {
            best = Some(candidate);
            best_distance = distance;
        }
    }
    best
}

/// How many letters must be added, dropped, replaced or swapped with their neighbour, if it is less
/// than the limit. Most words are far from each other, which shows after a few letters.
fn distance(left: &[u8], right: &[u8], limit: usize) -> Option<usize> {
    let width = right.len() + 1;
    let mut before_last: Vec<usize> = vec![0; width];
    let mut last: Vec<usize> = (0..width).collect();
    let mut current = vec![0; width];
    let mut lowest_before = 0;
    for (row, letter) in left.iter().enumerate() {
        current[0] = row + 1;
        let mut lowest = row + 1;
        for (column, other) in right.iter().enumerate() {
            let replaced = last[column] + usize::from(letter != other);
            let mut cost = replaced.min(last[column + 1] + 1).min(current[column] + 1);
            let swapped =
                row > 0 && column > 0 && left[row - 1] == *other && right[column - 1] == *letter;
            if swapped {
                cost = cost.min(before_last[column - 1] + 1);
            }
            current[column + 1] = cost;
            lowest = lowest.min(cost);
        }
        // What follows costs at least what one of these two rows does.
        if lowest.min(lowest_before) >= limit {
            return None;
        }
        lowest_before = lowest;
        std::mem::swap(&mut before_last, &mut last);
        std::mem::swap(&mut last, &mut current);
    }
    Some(last[width - 1]).filter(|distance| *distance < limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (left, right, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("openat", "openat", 0),
            ("opennat", "openat", 1),
            ("oepnat", "openat", 1),
            ("opanet", "openat", 2),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(
                distance(left.as_bytes(), right.as_bytes(), expected + 1),
                Some(expected),
                "{left} {right}"
            );
            assert_eq!(distance(left.as_bytes(), right.as_bytes(), expected), None);
        }
    }

    #[test]
    fn suggests_only_what_is_near() {
        let names = ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "name"];
        assert_eq!(nearest("SCMP_ACT_ALOW", names), Some("SCMP_ACT_ALLOW"));
        assert_eq!(nearest("scmp_act_log", names), Some("SCMP_ACT_LOG"));
        assert_eq!(nearest("names", names), Some("name"));
        assert_eq!(nearest("SCMP_ACT_DOG", names), Some("SCMP_ACT_LOG"));
        assert_eq!(nearest("SCMP_ACT_CAT", names), None);
        assert_eq!(nearest("x", names), None);
        assert_eq!(nearest("", names), None);
        assert_eq!(nearest(&"n".repeat(10_000), names), None);
    }
}
