//! Why a rule matches a record, or why not: every selection, every field, what was expected and what was there.

use super::{Rule, Rules, fits};
use crate::event::Row;
use rsigma_eval::{
    ConditionTrace, DetectionTrace, ItemTrace, MatchReason, RuleExplanation, SelectionBranch, explain_rule,
};
use std::sync::Arc;

/// An explanation of one rule and one record.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Explanation {
    /// Whether the rule is asked about such a record at all.
    pub is_asked: bool,
    /// Whether it matches.
    pub has_matched: bool,
    /// Of the fields that it looks at, how many are as it wants them.
    pub fields_matched: usize,
    /// How many fields it looks at.
    pub fields: usize,
    /// Everything, node by node.
    pub trace: RuleExplanation,
}

impl Rules {
    /// The rule of that id, title or file name (without ending), detections first.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Arc<Rule>> {
        let stem =
            |r: &Rule| r.file.rsplit('/').next().and_then(|f| f.rsplit_once('.')).is_some_and(|(s, _)| s == name);
        let is_named = |r: &&Arc<Rule>| r.id == name || r.title.eq_ignore_ascii_case(name);
        // A file may hold the parts of a correlation before it; the correlation is what is meant.
        self.all().find(is_named).or_else(|| self.all().filter(|r| stem(r)).last())
    }
}

/// Explains a detection; `None` for a correlation, which speaks of many records.
#[must_use]
pub fn explain(rules: &Rules, rule: &Rule, row: &Row<'_>) -> Option<Explanation> {
    let number = rules.detections.iter().position(|r| r.id == rule.id)?;
    let compiled = rules.compiled.get(number)?;
    let is_asked = rule.source.as_ref().is_some_and(|s| fits(s, (row.source.product, row.source.category)));
    let trace = explain_rule(compiled, row);
    let mut leaves = (0, 0);
    trace.conditions.iter().for_each(|c| count(c, &mut leaves));
    Some(Explanation {
        is_asked,
        has_matched: is_asked && trace.matched,
        fields_matched: leaves.0,
        fields: leaves.1,
        trace,
    })
}

impl std::fmt::Display for Explanation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = String::new();
        if !self.is_asked {
            text.push_str("the rule is not asked about such a record: its logsource is another one\n");
        }
        for condition in &self.trace.conditions {
            node(condition, 0, &mut text);
        }
        f.write_str(&text)
    }
}

fn line(out: &mut String, depth: usize, matched: bool, what: &str) {
    let mark = if matched { "+" } else { "-" };
    out.push_str(&format!("{}{mark} {what}\n", "  ".repeat(depth)));
}

fn node(trace: &ConditionTrace, depth: usize, out: &mut String) {
    match trace {
        ConditionTrace::Selection { name, matched, detection } => {
            line(out, depth, *matched, &name_of(name));
            detail(detection, depth + 1, out);
        }
        ConditionTrace::And { matched, children } => {
            line(out, depth, *matched, "all of");
            children.iter().for_each(|c| node(c, depth + 1, out));
        }
        ConditionTrace::Or { matched, children } => {
            line(out, depth, *matched, "any of");
            children.iter().for_each(|c| node(c, depth + 1, out));
        }
        ConditionTrace::Not { matched, child } => {
            line(out, depth, *matched, "not");
            node(child, depth + 1, out);
        }
        ConditionTrace::Quantified { quantifier, matched, need, got, branches } => {
            line(out, depth, *matched, &format!("{quantifier} of these: {got} matched, {need} needed"));
            for SelectionBranch { name, matched, detection } in branches {
                line(out, depth + 1, *matched, &name_of(name));
                detail(detection, depth + 2, out);
            }
        }
    }
}

/// The name of a selection; what a filter brought along is named as such.
fn name_of(name: &str) -> String {
    match name.strip_prefix("__filter_").and_then(|n| n.split_once('_')) {
        Some((_, inner)) => format!("{inner} (of a filter)"),
        None => name.to_owned(),
    }
}

fn detail(trace: &DetectionTrace, depth: usize, out: &mut String) {
    match trace {
        DetectionTrace::AllOf { items, .. } => items.iter().for_each(|i| item(i, depth, out)),
        DetectionTrace::AnyOf { matched, branches } => {
            line(out, depth, *matched, "any of");
            branches.iter().for_each(|b| detail(b, depth + 1, out));
        }
        DetectionTrace::And { branches, .. } => branches.iter().for_each(|b| detail(b, depth, out)),
        DetectionTrace::Keywords { item: inner, .. } => item(inner, depth, out),
        DetectionTrace::Conditional { condition, .. } => node(condition, depth, out),
        DetectionTrace::ArrayMatch { field, matched, .. } => line(out, depth, *matched, &format!("{field}: a list")),
        DetectionTrace::Other { kind, matched } => line(out, depth, *matched, kind),
    }
}

fn item(item: &ItemTrace, depth: usize, out: &mut String) {
    let field = item.field.as_deref().unwrap_or("any field");
    let wanted =
        item.pattern.as_deref().map_or_else(|| format!("{:?}", item.matcher), |p| crate::text::cut(p, 200).to_owned());
    let there = match (&item.actual, item.reason) {
        (_, MatchReason::FieldAbsent) | (None, _) => "not there".to_owned(),
        (Some(serde_json::Value::String(s)), _) => format!("`{}`", crate::text::cut(s, 200)),
        (Some(other), _) => other.to_string(),
    };
    line(out, depth, item.matched, &format!("{field}: {there}; wanted {:?} {wanted}", item.matcher));
}

fn count(trace: &ConditionTrace, leaves: &mut (usize, usize)) {
    match trace {
        ConditionTrace::Selection { detection, .. } => count_items(detection, leaves),
        ConditionTrace::And { children, .. } | ConditionTrace::Or { children, .. } => {
            children.iter().for_each(|c| count(c, leaves));
        }
        // What must not match counts the other way round, as one.
        ConditionTrace::Not { matched, .. } => {
            leaves.0 += usize::from(*matched);
            leaves.1 += 1;
        }
        ConditionTrace::Quantified { branches, .. } => branches.iter().for_each(|b| count_items(&b.detection, leaves)),
    }
}

fn count_items(trace: &DetectionTrace, leaves: &mut (usize, usize)) {
    match trace {
        DetectionTrace::AllOf { items, .. } => {
            leaves.0 += items.iter().filter(|i| i.matched).count();
            leaves.1 += items.len();
        }
        DetectionTrace::AnyOf { branches, .. } | DetectionTrace::And { branches, .. } => {
            branches.iter().for_each(|b| count_items(b, leaves));
        }
        DetectionTrace::Conditional { condition, .. } => count(condition, leaves),
        DetectionTrace::Keywords { matched, .. }
        | DetectionTrace::ArrayMatch { matched, .. }
        | DetectionTrace::Other { matched, .. } => {
            leaves.0 += usize::from(*matched);
            leaves.1 += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wk_schemas::sigma::{LogSource, Value};

    #[test]
    fn it_says_what_was_there_and_what_was_wanted() {
        let rules = Rules::default();
        let rule = rules.find("traces_removed").unwrap();
        let source = LogSource { product: "linux", category: "file_event" };
        let fields = |operation: &'static str| {
            vec![
                ("TargetFilename".into(), Value::from("/home/a/.bash_history")),
                ("operation".into(), operation.into()),
                ("effect.happened".into(), Value::Flag(true)),
            ]
        };
        let told = explain(&rules, rule, &Row::from_fields(fields("READ"), source)).unwrap();
        assert!(told.is_asked && !told.has_matched);
        let text = told.to_string();
        assert!(text.contains("- operation: `READ`; wanted"), "{text}");
        assert!(text.contains("+ TargetFilename: `/home/a/.bash_history`"), "{text}");
        assert!(explain(&rules, rule, &Row::from_fields(fields("UNLINK"), source)).unwrap().has_matched);
        let elsewhere = LogSource { category: "dns_query", ..source };
        let told = explain(&rules, rule, &Row::from_fields(fields("UNLINK"), elsewhere)).unwrap();
        assert!(!told.is_asked && !told.has_matched && told.to_string().contains("not asked"));
    }

    #[test]
    fn a_rule_is_found_by_id_title_and_file() {
        let rules = Rules::default();
        let rule = rules.find("TracesRemoved").unwrap();
        assert_eq!(rules.find(&rule.id).map(|r| &r.title), Some(&rule.title));
        assert_eq!(rules.find("repeated_refusals").map(|r| r.title.as_str()), Some("RepeatedRefusals"));
        assert!(rules.find("nonsense").is_none());
    }
}
