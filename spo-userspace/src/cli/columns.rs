//! Tables for people: columns as wide as what is in them, and lines below a row that say more.

/// A table of rows, each with what is said of it below.
pub(super) fn table<const N: usize>(
    heads: [&str; N],
    rows: &[([String; N], Vec<String>)],
) -> String {
    let mut widths = heads.map(str::len);
    for (row, _) in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = written(&heads.map(str::to_owned), &widths);
    for (row, details) in rows {
        text.push_str(&written(row, &widths));
        for detail in details {
            text.extend(["  ", detail, "\n"]);
        }
    }
    text
}

fn written<const N: usize>(row: &[String; N], widths: &[usize; N]) -> String {
    let cells = row.iter().zip(widths);
    let cells: Vec<_> = cells
        .map(|(cell, width)| format!("{cell:width$}"))
        .collect();
    format!("{}\n", cells.join("  ").trim_end())
}
