//! Ties correlations to the rules that they refer to.

use super::correlate::Correlation;
use super::load::Loading;
use super::{Feed, Rule};
use rsigma_eval::CompiledCorrelation;
use rsigma_eval::correlation::compile_correlation;
use rsigma_parser::CorrelationRule;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Correlations in force, and what feeds them.
#[derive(Default)]
pub(super) struct Correlated {
    pub(super) correlations: Vec<Correlation>,
    pub(super) feeds: BTreeMap<Feed, Vec<(usize, String)>>,
    /// What raises no finding by itself, because a correlation speaks for it.
    pub(super) silent: BTreeSet<Feed>,
}

impl Correlated {
    fn add(&mut self, mut compiled: CompiledCorrelation, known: Rule, name: Option<String>, of: Vec<(Feed, String)>) {
        compiled.timespan_secs = compiled.timespan_secs.saturating_mul(1_000_000);
        compiled.gap_secs = compiled.gap_secs.map(|g| g.saturating_mul(1_000_000));
        if !compiled.generate {
            self.silent.extend(of.iter().map(|(feed, _)| *feed));
        }
        for (feed, reference) in of {
            self.feeds.entry(feed).or_default().push((self.correlations.len(), reference));
        }
        self.correlations.push(Correlation { rule: Arc::new(known), name, compiled });
    }
}

impl Loading {
    /// Compiles the correlations: those of detections first, then those of correlations that are there already. What is left
    /// over refers to nothing, or in a circle.
    pub(super) fn correlate(&mut self, detections: &[(Option<String>, Rule)]) -> Correlated {
        let mut out = Correlated::default();
        let mut waiting = std::mem::take(&mut self.correlations);
        loop {
            let before = waiting.len();
            for (correlation, known) in std::mem::take(&mut waiting) {
                match resolve(&correlation, detections, &out.correlations) {
                    Err(_) => waiting.push((correlation, known)),
                    Ok(references) => match compile_correlation(&correlation) {
                        Err(error) => self.fault(&known, &error.to_string()),
                        Ok(compiled) => out.add(compiled, known, correlation.name, references),
                    },
                }
            }
            if waiting.len() == before {
                break;
            }
        }
        for (correlation, known) in waiting {
            if let Err(message) = resolve(&correlation, detections, &out.correlations) {
                self.fault(&known, &message);
            }
        }
        for (index, correlation) in out.correlations.iter_mut().enumerate() {
            if out.silent.contains(&Feed::Correlation(index)) {
                let rule = Rule::clone(&correlation.rule);
                correlation.rule = Arc::new(Rule { is_silent: true, ..rule });
            }
        }
        out
    }
}

/// What a correlation refers to, by id or name: detections, or correlations.
fn resolve(
    correlation: &CorrelationRule,
    detections: &[(Option<String>, Rule)],
    correlations: &[Correlation],
) -> Result<Vec<(Feed, String)>, String> {
    let find = |reference: &String| {
        let fits =
            |name: &Option<String>, rule: &Rule| rule.id == *reference || name.as_deref() == Some(reference.as_str());
        let detection = detections.iter().position(|(name, rule)| fits(name, rule)).map(Feed::Detection);
        let found = detection
            .or_else(|| correlations.iter().position(|c| fits(&c.name, &c.rule)).map(Feed::Correlation))
            .ok_or_else(|| {
                format!("refers to `{reference}`, which is no rule that was loaded before it; expected a rule's id or name, and no circle")
            })?;
        Ok((found, reference.clone()))
    };
    correlation.rules.iter().map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::super::load::tests::{GOOD, load};

    #[test]
    fn a_correlation_may_be_of_correlations_and_not_of_itself() {
        let counted = |title: &str, name: &str, of: &str, span: &str| {
            format!(
                "title: {title}\nname: {name}\ncorrelation:\n    type: event_count\n    rules:\n        - {of}\n    timespan: {span}\n    condition:\n        gte: 2\n"
            )
        };
        let good = GOOD.replace("title: Good", "title: Good\nname: good");
        // The outer one stands before the inner one.
        let (outer, inner) = (counted("Outer", "outer", "inner", "1h"), counted("Inner", "inner", "good", "1s"));
        let rules = load(&format!("{outer}---\n{good}---\n{inner}"));
        assert_eq!(rules.problems, []);
        let source = wk_schemas::sigma::LogSource { product: "linux", category: "file_event" };
        let row = crate::event::Row::from_fields(vec![("TargetFilename".into(), "/x".into())], source);
        let mut windows = crate::rules::Windows::default();
        let mut at = |seconds: i64| -> Vec<String> {
            let hits = rules.judge(&row, &mut windows, seconds * 1_000_000);
            hits.iter().map(|h| h.rule.title.clone()).collect()
        };
        let told: Vec<Vec<String>> = [10, 10, 20, 20].into_iter().map(&mut at).collect();
        // The outer one speaks for the inner one, as that does for the detection.
        let expected: [Vec<&str>; 4] = [vec![], vec![], vec![], vec!["Outer"]];
        assert_eq!(told, expected);

        let circle = [counted("A", "a", "b", "1m"), counted("B", "b", "a", "1m")].join("---\n");
        let rules = load(&format!("{good}---\n{circle}"));
        assert_eq!((rules.all().count(), rules.problems.len()), (1, 2));
        assert!(rules.problems[0].message.contains("circle"), "{}", rules.problems[0]);
    }
}
