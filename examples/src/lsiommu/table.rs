//! Columns that stand below each other.

/// Rows of text, below a heading, each column as wide as its longest text.
pub(super) fn render<const COLUMNS: usize>(
    heading: [&str; COLUMNS],
    rows: &[[String; COLUMNS]],
) -> String {
    let length = |text: &str| text.chars().count();
    let mut widths = heading.map(length);
    for row in rows {
        for (width, text) in widths.iter_mut().zip(row) {
            *width = length(text).max(*width);
        }
    }
    let line = |texts: [&str; COLUMNS]| {
        let mut line = String::new();
        for (text, width) in texts.into_iter().zip(widths) {
            line.push_str(text);
            line.extend(std::iter::repeat_n(' ', width - length(text) + 2));
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    };
    let rows = rows
        .iter()
        .map(|row| line(row.each_ref().map(String::as_str)));
    std::iter::once(line(heading)).chain(rows).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_end_with_text() {
        let rows = [
            ["a", "bcde", ""].map(str::to_owned),
            ["äöü", "", "last"].map(str::to_owned),
        ];
        assert_eq!(
            render(["X", "Y", "Z"], &rows),
            "X    Y     Z\na    bcde\näöü        last\n"
        );
    }
}
