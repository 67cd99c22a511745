//! `config validate`

use serde_json::json;
use telson_core::config::{Flags, Issue};

use crate::config::{ConfigError, Places};

use super::error::CliError;
use super::term::Output;

/// Checks the configuration as `gateway run` would, and prints everything that is wrong.
pub(crate) fn validate(places: &Places, output: Output) -> Result<(), CliError> {
    let path = places.config.display().to_string();
    match places.load(&Flags::default()) {
        Ok(loaded) if output.json => {
            let exists = places.config.exists();
            output.value(&json!({"ok": true, "path": path, "exists": exists, "issues": [], "warnings": loaded.warnings}));
            Ok(())
        }
        Ok(loaded) => {
            for warning in &loaded.warnings {
                output.note(&format!("warning: {warning}"));
            }
            let fine = if places.config.exists() { "is valid" } else { "does not exist, which is fine" };
            output.line(&format!("{path} {fine}"));
            Ok(())
        }
        Err(ConfigError::Invalid { path: file, issues }) => {
            let listed: Vec<_> = issues.iter().map(shape).collect();
            let mut error = CliError::from(ConfigError::Invalid { path: file, issues: issues.clone() });
            if output.json {
                let shape = serde_json::to_value(error.shape()).unwrap_or_default();
                output.value(&json!({
                    "ok": false, "path": path, "error": shape.get("error"), "issues": listed,
                }));
            } else {
                issues.iter().for_each(|issue| output.line(&issue.line(&path)));
            }
            error.told = true;
            Err(error)
        }
        Err(error) => Err(error.into()),
    }
}

fn shape(issue: &Issue) -> serde_json::Value {
    json!({
        "path": issue.path, "code": issue.code.code(), "message": issue.message, "expected": issue.expected,
        "nearest": issue.nearest, "line": issue.place.map(|place| place.line),
        "column": issue.place.map(|place| place.column),
    })
}
