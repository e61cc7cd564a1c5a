//! How `wk rules` prints what it found: for people, as JSON, as JUnit.

use super::Format;
use indicatif::{ProgressBar, ProgressStyle};
use wk_watcher::rules::{Coverage, Lint, Problem, Report};

/// A progress bar on standard error; nothing where that is no terminal.
pub(super) fn bar(what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} {msg}").expect("the template is a constant");
    ProgressBar::new(0).with_style(style).with_message(what)
}

/// Moves a bar.
pub(super) fn advance(bar: &ProgressBar, done: usize, of: usize) {
    bar.set_length(of as u64);
    bar.set_position(done as u64);
}

/// Prints what a lint found.
pub(super) fn lint(lint: &Lint, format: Format) -> anyhow::Result<()> {
    match format {
        Format::Json => println!("{}", serde_json::to_string_pretty(lint)?),
        Format::Junit => {
            let errors = lint.errors.iter().map(|p| pointed(p, true));
            print!("{}", junit("lint", errors.chain(lint.warnings.iter().map(|p| pointed(p, false)))));
        }
        Format::Text => {
            for problem in &lint.errors {
                println!("error: {}", problem.rendered());
            }
            for problem in &lint.warnings {
                println!("warning: {}", problem.rendered());
            }
            println!("{} rules load, {} errors, {} warnings", lint.rules, lint.errors.len(), lint.warnings.len());
        }
    }
    Ok(())
}

/// A problem as a test case.
fn pointed(problem: &Problem, is_error: bool) -> Case<'_> {
    let failure = is_error.then(|| problem.rendered());
    Case { class: &problem.file, name: format!("line {} column {}", problem.line, problem.column), failure }
}

/// Prints what the tests of rules gave.
pub(super) fn tests(report: &Report, format: Format) -> anyhow::Result<()> {
    match format {
        Format::Json => println!("{}", serde_json::to_string_pretty(report)?),
        Format::Junit => {
            let unread = report.problems.iter().map(|p| Case {
                class: &p.file,
                name: format!("line {} loads", p.line),
                failure: Some(p.rendered()),
            });
            let cases = report.cases.iter().map(|c| Case {
                class: &c.rule,
                name: c.name.clone(),
                failure: c.failure.as_ref().map(|f| format!("{}:{}: {f}", c.file, c.line)),
            });
            print!("{}", junit("rules", unread.chain(cases)));
        }
        Format::Text => {
            for problem in &report.problems {
                println!("error: {}", problem.rendered());
            }
            for failure in report.failures() {
                println!("failed: {failure}");
            }
            for title in &report.untested {
                println!("untested: {title} lacks a positive or a negative test");
            }
            let failed = report.failures().count();
            println!(
                "{} rules, {} tests, {failed} failed; pack {}",
                report.rules,
                report.cases.len(),
                report.pack_digest
            );
        }
    }
    Ok(())
}

/// Prints what the rules cover.
pub(super) fn coverage(coverage: &Coverage, attack: bool, atlas: bool, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(coverage)?);
        return Ok(());
    }
    let tables = [
        ("ATT&CK tactics", &coverage.tactics, attack),
        ("ATT&CK techniques", &coverage.attack, attack),
        ("ATLAS techniques", &coverage.atlas, atlas),
    ];
    for (name, table, _) in tables.into_iter().filter(|(.., is_wanted)| *is_wanted) {
        println!("{name}: {}", table.len());
        for (id, rules) in table {
            println!("  {id:22} {:3}  {}", rules.len(), rules.join(", "));
        }
    }
    if !coverage.untagged.is_empty() {
        println!("without a tag: {}", coverage.untagged.join(", "));
    }
    Ok(())
}

/// One test case of a JUnit report.
pub(super) struct Case<'a> {
    pub(super) class: &'a str,
    pub(super) name: String,
    pub(super) failure: Option<String>,
}

/// A JUnit report of one suite.
pub(super) fn junit<'a>(suite: &str, cases: impl Iterator<Item = Case<'a>>) -> String {
    let (mut body, mut count, mut failed) = (String::new(), 0, 0);
    for case in cases {
        count += 1;
        let (class, name) = (escaped(case.class), escaped(&case.name));
        body.push_str(&format!("  <testcase classname=\"{class}\" name=\"{name}\""));
        body.push_str(&match case.failure {
            None => "/>\n".to_owned(),
            Some(failure) => {
                failed += 1;
                let (first, all) = (escaped(failure.lines().next().unwrap_or_default()), escaped(&failure));
                format!("><failure message=\"{first}\">{all}</failure></testcase>\n")
            }
        });
    }
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"{}\" tests=\"{count}\" failures=\"{failed}\">\n{body}</testsuite>\n",
        escaped(suite)
    )
}

/// Text inside XML: the marks replaced, and the characters that XML does not allow.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || ('\u{fffe}'..='\u{ffff}').contains(&c) => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_junit_report_counts_failures_and_escapes_what_it_quotes() {
        let cases = [
            Case { class: "A&B", name: "positive test 0".into(), failure: None },
            Case { class: "C", name: "negative test 0".into(), failure: Some("a < b\nsecond \u{1} line".into()) },
        ];
        let text = junit("rules", cases.into_iter());
        assert!(text.contains("tests=\"2\" failures=\"1\""), "{text}");
        assert!(text.contains("classname=\"A&amp;B\"") && text.contains("message=\"a &lt; b\""), "{text}");
        assert!(!text.contains('\u{1}'), "{text}");
    }
}
