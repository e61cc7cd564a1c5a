//! Which techniques of ATT&CK and ATLAS the rules speak of, by their tags.

use super::Rules;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Rules by technique.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Coverage {
    /// ATT&CK techniques (`T1552.001`), with the titles of the rules that name them.
    pub attack: BTreeMap<String, Vec<String>>,
    /// ATT&CK tactics (`credential-access`).
    pub tactics: BTreeMap<String, Vec<String>>,
    /// ATLAS techniques (`AML.T0051.001`).
    pub atlas: BTreeMap<String, Vec<String>>,
    /// Titles of rules that raise findings and carry no tag of either.
    pub untagged: Vec<String>,
}

/// What the rules cover. Rules that only serve a correlation count with it.
#[must_use]
pub fn coverage(rules: &Rules) -> Coverage {
    let mut out = Coverage::default();
    for rule in rules.all().filter(|r| !r.is_silent) {
        let mut is_tagged = false;
        for tag in &rule.tags {
            let tag = tag.to_lowercase();
            let (map, name) = if let Some(technique) = tag.strip_prefix("atlas.") {
                (&mut out.atlas, technique.to_uppercase())
            } else if let Some(name) = tag.strip_prefix("attack.") {
                let is_technique = name.strip_prefix('t').is_some_and(|n| n.starts_with(|c: char| c.is_ascii_digit()));
                if is_technique { (&mut out.attack, name.to_uppercase()) } else { (&mut out.tactics, name.to_owned()) }
            } else {
                continue;
            };
            is_tagged = true;
            map.entry(name).or_default().push(rule.title.clone());
        }
        if !is_tagged {
            out.untagged.push(rule.title.clone());
        }
    }
    out
}

impl Coverage {
    /// A layer for the ATT&CK Navigator: the score of a technique is the number of rules that name it.
    #[must_use]
    pub fn navigator(&self) -> Value {
        let techniques: Vec<Value> = self
            .attack
            .iter()
            .map(|(id, rules)| json!({"techniqueID": id, "score": rules.len(), "comment": rules.join(", ")}))
            .collect();
        let most = self.attack.values().map(Vec::len).max().unwrap_or(1);
        json!({
            "name": "Watchkeeper rules",
            "versions": {"layer": "4.5", "navigator": "5.1.0"},
            "domain": "enterprise-attack",
            "description": "Number of rules by technique",
            "techniques": techniques,
            "gradient": {"colors": ["#ffffff", "#2f6fab"], "minValue": 0, "maxValue": most},
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_of_the_pack_that_raises_findings_names_a_technique() {
        let coverage = coverage(&Rules::default());
        assert_eq!(coverage.untagged, [""; 0]);
        assert!(
            coverage.attack.len() >= 50 && coverage.atlas.len() >= 5,
            "{} {}",
            coverage.attack.len(),
            coverage.atlas.len()
        );
        let layer = coverage.navigator();
        assert!(layer["techniques"].as_array().is_some_and(|t| t.len() == coverage.attack.len()));
    }
}
