//! Tables in Markdown.

use std::fmt::Write as _;

/// The start of a generated page.
pub(crate) fn page(title: &str, lead: &str) -> String {
    format!(
        "# {title}\n\n<!-- Written by `{}` from the code. Do not edit by hand. -->\n\n{lead}\n",
        crate::REGENERATE
    )
}

/// A table with this header.
pub(crate) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut text = String::from("\n");
    line(&mut text, &header);
    line(&mut text, &["---"; N]);
    for row in rows {
        line(&mut text, &row.map(|cell| cell.replace('|', "\\|").replace('\n', " ")));
    }
    text
}

/// A word in code style.
pub(crate) fn code(word: &str) -> String {
    format!("`{word}`")
}

fn line(text: &mut String, cells: &[impl AsRef<str>]) {
    for cell in cells {
        let _ = write!(text, "| {} ", cell.as_ref());
    }
    text.push_str("|\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_cannot_break_a_table() {
        let text = table(["a", "b"], [["x|y".to_owned(), "1\n2".to_owned()]]);
        assert_eq!(text, "\n| a | b |\n| --- | --- |\n| x\\|y | 1 2 |\n");
    }
}
