//! The documents of a rule file, and problems that point into them: file, line, column and a caret.

/// A rule that could not be loaded, or a fault in one that could.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, serde::Serialize)]
#[error("{file}:{line}:{column}: {message}")]
pub struct Problem {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// How many characters it is about, at least 1.
    pub width: usize,
    /// The line's text.
    pub excerpt: String,
    /// What is wrong and what was expected.
    pub message: String,
}

impl Problem {
    /// A problem with a whole line, less its indentation.
    pub(super) fn at(file: &str, line: usize, excerpt: &str, message: String) -> Self {
        let trimmed = excerpt.trim_start();
        let column = excerpt.chars().count() - trimmed.chars().count() + 1;
        let width = trimmed.trim_end().chars().count().max(1);
        Self { file: file.to_owned(), line, column, width, excerpt: excerpt.trim_end().to_owned(), message }
    }

    /// The message with the line that it is about and a caret under the place, for a terminal.
    #[must_use]
    pub fn rendered(&self) -> String {
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        let excerpt = self.excerpt.replace('\t', " ");
        let indent = " ".repeat(self.column - 1);
        let caret = "^".repeat(self.width.min(120));
        format!(
            "{}\n{gutter}--> {}:{}:{}\n{gutter} |\n{number} | {excerpt}\n{gutter} | {indent}{caret}\n",
            self.message, self.file, self.line, self.column
        )
    }
}

/// One YAML document of a rule file.
pub(super) struct Document<'a> {
    pub(super) file: &'a str,
    /// Line of the file on which it begins, from 1.
    pub(super) line: usize,
    pub(super) text: &'a str,
}

impl Document<'_> {
    /// Whether it is a processing pipeline and not a rule.
    pub(super) fn is_pipeline(&self) -> bool {
        let begins = |key: &str| self.text.lines().any(|l| l.starts_with(key));
        begins("transformations:") && !begins("detection:") && !begins("correlation:")
    }

    /// A problem with the first place where `what` stands, or with the first line that holds anything.
    pub(super) fn problem(&self, what: Option<&str>, message: impl Into<String>) -> Problem {
        let is_text = |l: &str| !l.trim().is_empty() && !l.trim_start().starts_with('#');
        let found = what.and_then(|w| self.text.lines().enumerate().find_map(|(n, l)| Some((n, l, l.find(w)?, w))));
        let Some((number, line, at, what)) = found else {
            let (number, line) = self.text.lines().enumerate().find(|(_, l)| is_text(l)).unwrap_or((0, ""));
            return Problem::at(self.file, self.line + number, line, message.into());
        };
        Problem {
            file: self.file.to_owned(),
            line: self.line + number,
            column: line[..at].chars().count() + 1,
            width: what.trim_end().chars().count().max(1),
            excerpt: line.trim_end().to_owned(),
            message: message.into(),
        }
    }

    /// Turns rsigma's message into a problem at the right place.
    pub(super) fn translate(&self, message: &str) -> Problem {
        // yaml_serde ends its messages with `at line 7 column 3`, counted within the document.
        if let Some((_, place)) = message.rsplit_once(" at line ") {
            let mut numbers = place.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse::<usize>().ok());
            if let Some(line) = numbers.next() {
                let excerpt = self.text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
                let column = numbers.next().unwrap_or(1).clamp(1, excerpt.chars().count().max(1));
                return Problem {
                    file: self.file.to_owned(),
                    line: self.line + line.saturating_sub(1),
                    column,
                    width: 1,
                    excerpt: excerpt.to_owned(),
                    message: message.to_owned(),
                };
            }
        }
        let quoted = message.split(['\'', '`', '"']).nth(1).filter(|q| !q.is_empty());
        let (place, expected) = match message {
            m if m.contains("modifier") => (quoted.map(|q| format!("|{q}")), "expected one of Sigma's modifiers"),
            m if m.contains("Missing required field") => (None, "expected title, logsource and detection"),
            m if m.contains("ondition") => {
                (Some("condition:".to_owned()), "expected names of selections joined with and, or, not")
            }
            m if m.contains("imespan") => (Some("timespan:".to_owned()), "expected a number and one of s, m, h, d"),
            m if m.contains("etection") => (Some("detection:".to_owned()), "expected selections and a condition"),
            m if m.contains("orrelation") => {
                (Some("correlation:".to_owned()), "expected type, rules, timespan and condition")
            }
            _ => (quoted.map(str::to_owned), "expected a Sigma rule"),
        };
        self.problem(place.as_deref(), format!("{message}; {expected}"))
    }
}

/// Splits a file at its document marks. A file that uses collection actions stays whole, because its parts depend on one another.
pub(super) fn documents<'a>(file: &'a str, text: &'a str) -> Vec<Document<'a>> {
    if text.lines().any(|l| l.starts_with("action:")) {
        return vec![Document { file, line: 1, text }];
    }
    let mut out = Vec::new();
    let (mut start, mut first_line, mut at) = (0, 1, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if line.trim_end() == "---" {
            out.push(Document { file, line: first_line, text: &text[start..at] });
            start = at + line.len();
            first_line = number + 2;
        }
        at += line.len();
    }
    out.push(Document { file, line: first_line, text: &text[start..] });
    out.retain(|d| d.text.lines().any(|l| !l.trim().is_empty() && !l.trim_start().starts_with('#')));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_points_at_its_place_with_a_caret() {
        let text = "title: A\n---\ntitle: B\ndetection:\n    s:\n        Image|bogus: x\n";
        let all = documents("my.yml", text);
        let problem = all[1].translate("Unknown modifier 'bogus'");
        assert_eq!(
            problem.rendered(),
            "Unknown modifier 'bogus'; expected one of Sigma's modifiers\n --> my.yml:6:14\n  |\n6 |         Image|bogus: x\n  |              ^^^^^^\n"
        );
    }
}
