//! The rules as a document for people: what each looks for, what it does, and what it may be wrong about.

use super::{Rule, Rules};

/// The rules as Markdown, by step and title. Parts of correlations are left out.
#[must_use]
pub fn handbook(rules: &Rules) -> String {
    let mut told: Vec<&Rule> = rules.all().map(|r| &**r).filter(|r| !r.is_silent).collect();
    told.sort_by(|a, b| b.step.cmp(&a.step).then_with(|| a.title.cmp(&b.title)));
    let mut out = format!(
        "# Rules\n\n{} rules; pack {}.\n\n| rule | step | level | about |\n|---|---|---|---|\n",
        told.len(),
        rules.pack_digest
    );
    for rule in &told {
        let link = rule.title.to_lowercase().replace(' ', "-");
        let (step, level) = (rule.step.as_str().to_lowercase(), rule.level.as_str().to_lowercase());
        out.push_str(&format!(
            "| [{}](#{link}) | {step} | {level} | {} |\n",
            rule.title,
            rule.about.replace('|', "\\|")
        ));
    }
    for rule in &told {
        out.push_str(&format!("\n## {}\n\n{}\n\n", rule.title, rule.about));
        let source = rule.source.as_ref().map_or_else(
            || "a correlation".to_owned(),
            |s| format!("{} {}", s.product.as_deref().unwrap_or("any"), s.category.as_deref().unwrap_or("any")),
        );
        let (step, level) = (rule.step.as_str().to_lowercase(), rule.level.as_str().to_lowercase());
        out.push_str(&format!("* looks at: {source}\n* does: {step}, level {level}\n* says: {}\n", rule.says));
        out.push_str(&format!("* id {}, version {}, file `{}`\n", rule.id, rule.version, rule.file));
        if !rule.tags.is_empty() {
            out.push_str(&format!("* tags: {}\n", rule.tags.join(", ")));
        }
        for wrong in &rule.false_positives {
            out.push_str(&format!("* may be wrong about: {wrong}\n"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_that_raises_findings_is_told_of() {
        let rules = Rules::default();
        let text = handbook(&rules);
        for rule in rules.all() {
            assert_eq!(text.contains(&format!("\n## {}\n", rule.title)), !rule.is_silent, "{}", rule.title);
        }
    }
}
