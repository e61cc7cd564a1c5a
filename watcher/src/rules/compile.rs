//! From rules that were read to engines that can be asked.

use super::document::Problem;
use super::link::Correlated;
use super::load::Loading;
use super::{Feed, Rule, Rules, SOURCES, engine, fits};
use rsigma_eval::{CompiledRule, Engine, apply_pipelines};
use rsigma_parser::FilterRuleTarget;
use std::sync::Arc;
use wk_schemas::Digest;

/// Under this key a compiled rule carries its number, so that a match finds its way back.
const NUMBER: &str = "watchkeeper.number";

impl Loading {
    /// Compiles what was read.
    pub(super) fn finish(mut self) -> Rules {
        self.pipelines.sort_by_key(|p| p.priority);
        let mut engine = engine();
        let mut detections = Vec::new();
        let mut compiled = Vec::new();
        for (mut rule, mut known, is_ours) in std::mem::take(&mut self.rules) {
            if !is_ours && let Err(error) = apply_pipelines(&self.pipelines, &mut rule) {
                self.fault(&known, &format!("{error}; a pipeline does not fit it"));
                continue;
            }
            known.source = Some(rule.logsource.clone());
            // Compiled alone first, so that the numbers of those that stay are without a gap.
            if let Err(error) = rsigma_eval::compile_rule(&rule) {
                self.fault(&known, &error.to_string());
                continue;
            }
            let Ok(number) = serde_json::from_value(serde_json::json!(detections.len())) else { continue };
            rule.custom_attributes.insert(NUMBER.to_owned(), number);
            rule.id.get_or_insert_with(|| known.id.clone());
            detections.push((rule.name.clone(), known));
            compiled.push(rule);
        }
        for (index, error) in engine.add_rules(compiled.iter()) {
            if let Some((_, known)) = detections.get(index) {
                let known = known.clone();
                self.fault(&known, &error.to_string());
            }
        }
        self.filter(&mut engine, &detections);
        let compiled = engine.rules().to_vec();
        let Correlated { correlations, feeds, silent } = self.correlate(&detections);
        let detections: Vec<Arc<Rule>> = detections
            .into_iter()
            .enumerate()
            .map(|(i, (_, rule))| Arc::new(Rule { is_silent: silent.contains(&Feed::Detection(i)), ..rule }))
            .collect();
        let mut digests: Vec<Digest> =
            detections.iter().chain(correlations.iter().map(|c| &c.rule)).map(|r| r.digest).collect();
        digests.extend(&self.others);
        digests.sort_unstable();
        let pack_digest = Digest::of(&digests.iter().flat_map(|d| d.0).collect::<Vec<u8>>());
        self.problems.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        let engines = SOURCES.iter().map(|k| routed(&compiled, *k)).collect();
        Rules { engines, compiled, detections, correlations, feeds, pack_digest, problems: self.problems }
    }

    /// Applies the filters. One that names a rule which is not there does not do what its author believes, so it is a problem.
    fn filter(&mut self, engine: &mut Engine, detections: &[(Option<String>, Rule)]) {
        for (mut filter, place) in std::mem::take(&mut self.filters) {
            if let FilterRuleTarget::Specific(references) = &mut filter.rules {
                for reference in references {
                    // The engine knows ids and titles; Sigma allows names as well.
                    let named = detections.iter().find(|(name, _)| name.as_deref() == Some(reference.as_str()));
                    if let Some((_, rule)) = named {
                        reference.clone_from(&rule.id);
                    } else if !detections.iter().any(|(_, r)| r.id == *reference || r.title == *reference) {
                        let message = format!(
                            "refers to `{reference}`, which is no rule that was loaded; expected a rule's id, name or title"
                        );
                        self.problems.push(Problem { message, ..place.clone() });
                    }
                }
            }
            if let Err(error) = engine.apply_filter(&filter) {
                self.problems.push(Problem { message: format!("{error}; expected a filter"), ..place });
            }
        }
    }
}

/// An engine with the rules that may be asked about records of one logsource; `None` when there are none.
fn routed(compiled: &[CompiledRule], source: (&str, &str)) -> Option<Engine> {
    let rules: Vec<CompiledRule> = compiled.iter().filter(|r| fits(&r.logsource, source)).cloned().collect();
    if rules.is_empty() {
        return None;
    }
    let mut engine = engine();
    engine.extend_compiled_rules(rules);
    Some(engine)
}

/// The number that a match carries.
pub(super) fn number(attributes: &std::collections::HashMap<String, serde_json::Value>) -> Option<usize> {
    usize::try_from(attributes.get(NUMBER)?.as_u64()?).ok()
}

#[cfg(test)]
mod tests {
    use super::super::load::tests::{GOOD, load};
    use super::super::{Source, Sources};
    use super::*;

    #[test]
    fn the_pack_digest_follows_the_text_of_each_rule_and_not_the_files_names() {
        let a = load(GOOD);
        let b = Rules::compile(&Sources(vec![Source { file: "other.yml".into(), text: GOOD.into(), is_ours: false }]));
        assert_eq!(a.pack_digest, b.pack_digest);
        assert_ne!(a.pack_digest, load(&GOOD.replace("/x", "/y")).pack_digest);
    }

    #[test]
    fn a_filter_takes_matches_out_and_one_for_nobody_is_a_problem() {
        const FILTER: &str = "title: Not x\nlogsource:\n    category: file_event\n    product: linux\nfilter:\n    rules:\n        - Good\n    by_cat:\n        Image|endswith: /cat\n    condition: not by_cat\n";
        let row = |image: &'static str| {
            let fields = [("TargetFilename", "/x"), ("Image", image)];
            let source = wk_schemas::sigma::LogSource { product: "linux", category: "file_event" };
            crate::event::Row::from_fields(fields.into_iter().map(|(n, v)| (n.into(), v.into())).collect(), source)
        };
        let rules = load(&format!("{GOOD}---\n{FILTER}"));
        assert_eq!(rules.problems, []);
        assert_eq!((rules.detect(&row("/bin/cat")).len(), rules.detect(&row("/bin/sh")).len()), (0, 1));
        assert_ne!(rules.pack_digest, load(GOOD).pack_digest, "a filter is part of what is in force");
        let rules = load(&format!("{GOOD}---\n{}", FILTER.replace("- Good", "- Bad")));
        assert!(rules.problems[0].message.contains("`Bad`, which is no rule"), "{}", rules.problems[0]);
        assert_eq!(rules.detect(&row("/bin/cat")).len(), 1);
    }

    #[test]
    fn a_pipeline_maps_the_fields_of_others_rules_and_leaves_ours_alone() {
        const PIPELINE: &str = "name: ECS\npriority: 10\ntransformations:\n    - id: names\n      type: field_name_mapping\n      mapping:\n          file.path: TargetFilename\n";
        let rule = GOOD.replace("TargetFilename", "file.path");
        let rules = load(&format!("{rule}---\n{PIPELINE}"));
        assert_eq!(rules.problems, []);
        let source = wk_schemas::sigma::LogSource { product: "linux", category: "file_event" };
        let row = crate::event::Row::from_fields(vec![("TargetFilename".into(), "/x".into())], source);
        assert_eq!((rules.detect(&row).len(), load(&rule).detect(&row).len()), (1, 0));
        let ours = Source { file: "ours.yml".into(), text: rule, is_ours: true };
        let theirs = Source { file: "p.yml".into(), text: PIPELINE.into(), is_ours: false };
        assert_eq!(Rules::compile(&Sources(vec![ours, theirs])).detect(&row).len(), 0);
    }

    #[test]
    fn rules_for_other_systems_load_and_stay_idle() {
        let windows = GOOD.replace("product: linux", "product: windows");
        let auditd = GOOD.replace("category: file_event", "service: auditd").replace("Good", "Audit");
        let rules = load(&format!("{windows}---\n{auditd}---\n{}", GOOD.replace("Good", "Third")));
        assert_eq!(rules.problems, []);
        assert_eq!(rules.idle().map(|r| r.title.as_str()).collect::<Vec<_>>(), ["Good", "Audit"]);
    }
}
