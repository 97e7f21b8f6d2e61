//! Columns of text.

/// A table with a heading; cells may have several lines.
#[derive(Debug, Default)]
pub struct Table {
    heading: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table with these columns.
    pub fn new(heading: &[&str]) -> Self {
        Self {
            heading: heading.iter().map(|&text| text.to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub fn push(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    /// The lines of the table, with rules above and below its rows.
    pub fn lines(&self) -> Vec<String> {
        let all = || std::iter::once(&self.heading).chain(&self.rows);
        let width = |column: usize| {
            let cells = all()
                .filter_map(|row| row.get(column))
                .flat_map(|cell| cell.lines());
            cells.map(|line| line.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.heading.len()).map(width).collect();
        let rule = "-".repeat(widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1));
        let mut lines = row_lines(&self.heading, &widths);
        lines.push(rule.clone());
        for row in &self.rows {
            lines.extend(row_lines(row, &widths));
        }
        lines.push(rule);
        lines
    }
}

fn row_lines(row: &[String], widths: &[usize]) -> Vec<String> {
    let height = row
        .iter()
        .map(|cell| cell.lines().count())
        .max()
        .unwrap_or(0)
        .max(1);
    let line = |number: usize| {
        let cells = row.iter().zip(widths).map(|(cell, width)| {
            let text = cell.lines().nth(number).unwrap_or("");
            format!(
                "{text}{}",
                " ".repeat(width.saturating_sub(text.chars().count()))
            )
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    (0..height).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["ID", "Paths"]);
        table.push(vec!["1234".into(), "/a\n/bc".into()]);
        assert_eq!(
            table.lines(),
            [
                "ID    Paths",
                "-----------",
                "1234  /a",
                "      /bc",
                "-----------"
            ]
        );
    }
}
