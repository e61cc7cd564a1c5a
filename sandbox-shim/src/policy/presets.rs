//! The policies that come with the shim.

use super::parse::PolicyError;
use super::rules::{Places, Policy};

/// Name and text of each.
pub const PRESETS: &[(&str, &str)] = &[
    ("workspace", include_str!("../../policies/workspace.toml")),
    ("read-only", include_str!("../../policies/read-only.toml")),
    ("workspace+network", include_str!("../../policies/workspace+network.toml")),
    ("walled", include_str!("../../policies/walled.toml")),
    ("build", include_str!("../../policies/build.toml")),
    ("strict", include_str!("../../policies/strict.toml")),
    ("observe", include_str!("../../policies/observe.toml")),
];

impl Policy {
    /// One of the policies that come with the shim.
    ///
    /// # Errors
    /// [`PolicyError`] when there is none of that name.
    pub fn preset(name: &str, places: &Places) -> Result<Self, PolicyError> {
        let text = PRESETS.iter().find(|preset| preset.0 == name).map(|preset| preset.1);
        let names: Vec<&str> = PRESETS.iter().map(|preset| preset.0).collect();
        let text = text.ok_or_else(|| {
            PolicyError::at("", name, 0, format!("there is no such preset; expected one of {}", names.join(", ")))
        })?;
        Self::parse(text, name, places)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_can_be_read_and_has_its_own_name() {
        let places = Places { home: "/home/ada".into(), workspace: "/home/ada/project".into() };
        for (name, _) in PRESETS {
            assert_eq!(Policy::preset(name, &places).unwrap().name, *name);
        }
        let error = Policy::preset("lax", &places).unwrap_err();
        assert_eq!(
            error.to_string(),
            "lax:1:1: there is no such preset; expected one of workspace, read-only, workspace+network, walled, build, strict, observe"
        );
    }
}
