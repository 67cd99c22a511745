//! The figures side by side.

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

/// A run of the load generator.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Processors that this process may use.
    pub processors: usize,
    /// The kernel.
    pub kernel: String,
    /// Measurements of each figure; the middle one is shown.
    pub rounds: usize,
    /// The time of each measurement in seconds.
    pub seconds: f64,
    /// The figures.
    pub figures: Vec<Figure>,
}

/// One figure of every program.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figure {
    /// What was measured.
    pub name: &'static str,
    /// In which unit.
    pub unit: &'static str,
    /// The programs' results.
    pub results: Vec<Result>,
}

/// One program's result.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Result {
    /// The program.
    pub target: String,
    /// The middle of the rounds.
    pub value: f64,
    /// The value divided by that of the server that does no work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// The share of the time in which the client used a processor, where that matters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_busy: Option<f64>,
    /// The share of the time in which the program used processors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_busy: Option<f64>,
}

/// A client that is busier than this may be what was measured.
const CLIENT_BOUND: f64 = 0.9;

impl Report {
    /// Fills in the ratios to the program of this name.
    pub fn relate(&mut self, base: &str) {
        for figure in &mut self.figures {
            let limit = figure.results.iter().find(|result| result.target == base).map(|result| result.value);
            for result in &mut figure.results {
                result.ratio = limit.filter(|limit| *limit > 0.0).map(|limit| result.value / limit);
            }
        }
    }

    /// The report for people.
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        let mut header = vec!["figure".to_owned(), "unit".to_owned()];
        if let Some(figure) = self.figures.first() {
            header.extend(figure.results.iter().map(|result| result.target.clone()));
        }
        table.set_header(header);
        for figure in &self.figures {
            let mut row = vec![figure.name.to_owned(), figure.unit.to_owned()];
            row.extend(figure.results.iter().map(Result::cell));
            table.add_row(row);
        }
        for column in table.column_iter_mut().skip(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        format!(
            "{table}\n\n{} processors, Linux {}; the middle of {} rounds of {} s. In parentheses: the ratio to \
             raw-epoll. `*`: the client was busy more than {:.0} % of the time and may be what was measured.\n",
            self.processors,
            self.kernel,
            self.rounds,
            self.seconds,
            CLIENT_BOUND * 100.0
        )
    }
}

impl Result {
    fn cell(&self) -> String {
        let bound = if self.client_busy.is_some_and(|busy| busy > CLIENT_BOUND) { "*" } else { "" };
        match self.ratio {
            Some(ratio) => format!("{}{bound} ({ratio:.2})", shown(self.value)),
            None => format!("{}{bound}", shown(self.value)),
        }
    }
}

/// Three digits or the whole part, with thousands apart.
fn shown(value: f64) -> String {
    if value < 100.0 {
        return format!("{value:.2}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_readable() {
        assert_eq!(shown(2.5081), "2.51");
        assert_eq!(shown(999.6), "1,000");
        assert_eq!(shown(1_234_567.0), "1,234,567");
    }

    #[test]
    fn ratios_are_taken_to_the_server_that_does_no_work() {
        let result = |target: &str, value| Result {
            target: target.to_owned(),
            value,
            ratio: None,
            client_busy: Some(0.95),
            server_busy: None,
        };
        let results = vec![result("telson", 50.0), result("raw-epoll", 200.0)];
        let figures = vec![Figure { name: "requests", unit: "1/s", results }];
        let mut report = Report { processors: 2, kernel: "6".to_owned(), rounds: 1, seconds: 1.0, figures };
        report.relate("raw-epoll");
        assert_eq!(report.figures[0].results[0].ratio, Some(0.25));
        assert!(report.table().contains("50.00* (0.25)"), "{}", report.table());
    }
}
