//! Tables on the terminal.

use mayfly_live_client::terminal::escape;

/// Aligns the cells of a header and of rows in columns. Escapes characters that could control the
/// terminal.
pub(crate) fn render_table<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let header = header.map(str::to_uppercase);
    let lines = [&header].into_iter().chain(rows);
    let lines: Vec<[String; N]> =
        lines.map(|cells| cells.each_ref().map(|cell| escape(cell))).collect();
    let width = |column: usize| lines.iter().map(|cells| count_chars(&cells[column])).max();
    let widths: [usize; N] = std::array::from_fn(|column| width(column).unwrap_or_default());
    let mut table = String::new();
    for cells in &lines {
        let mut line = String::new();
        for (cell, width) in cells.iter().zip(widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width - count_chars(cell) + 2));
        }
        table.push_str(line.trim_end());
        table.push('\n');
    }
    table
}

fn count_chars(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_cells_are_escaped() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned);
        let rows = [row(["1", "kö", "x"]), row(["12345", "a\u{1b}b", ""])];
        let table = render_table(["id", "name", "last"], &rows);
        let expected = "ID     NAME      LAST\n\
                        1      kö        x\n\
                        12345  a\\u{1b}b\n";
        assert_eq!(table, expected);
        assert_eq!(render_table(["id"], &[]), "ID\n");
    }
}
