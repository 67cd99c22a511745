//! What a gateway asks of this node (spec 03 §2.7).

use serde_json::Value;

/// The longest id, in characters.
const MOST_ID: usize = 256;

/// A command and its parameters.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Invoke {
    pub(super) id: String,
    pub(super) node_id: String,
    pub(super) command: String,
    /// The parameters, or why they cannot be read.
    pub(super) params: Result<Value, String>,
}

impl Invoke {
    /// Reads the payload of `node.invoke.request`; `None` when it cannot even be answered.
    pub(super) fn read(mut payload: Value) -> Option<Self> {
        let mut take = |name: &str| payload.get_mut(name).map(Value::take).unwrap_or_default();
        let text = |value: Value| match value {
            Value::String(text) => {
                Some(text.trim().to_owned()).filter(|text| !text.is_empty() && text.len() <= MOST_ID)
            }
            _ => None,
        };
        let (id, node_id, command) = (text(take("id"))?, text(take("nodeId"))?, text(take("command"))?);
        let params = match (take("paramsJSON"), take("params")) {
            (Value::String(text), _) if !text.trim().is_empty() => {
                serde_json::from_str(&text).map_err(|error| format!("paramsJSON is no JSON: {error}"))
            }
            (Value::String(_) | Value::Null, params) => Ok(params),
            _ => Err("paramsJSON is no string".to_owned()),
        };
        let params = params.and_then(|params| match params {
            Value::Null => Ok(Value::Object(serde_json::Map::new())),
            Value::Object(_) => Ok(params),
            _ => Err("the parameters are no object".to_owned()),
        });
        Some(Self { id, node_id, command, params })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn parameters_come_as_text_or_as_an_object_or_not_at_all() {
        let read = |payload: Value| Invoke::read(payload).unwrap().params;
        let base = |extra: Value| {
            let mut payload = json!({"id": " i ", "nodeId": "n", "command": "system.which"});
            payload.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            payload
        };
        assert_eq!(read(base(json!({"paramsJSON": "{\"bins\":[]}"}))), Ok(json!({"bins": []})));
        assert_eq!(read(base(json!({"params": {"a": 1}}))), Ok(json!({"a": 1})));
        assert_eq!(read(base(json!({"paramsJSON": null}))), Ok(json!({})));
        for bad in [
            json!({"paramsJSON": "{"}),
            json!({"paramsJSON": "7"}),
            json!({"paramsJSON": 7}),
            json!({"params": []}),
        ] {
            assert!(read(base(bad.clone())).is_err(), "{bad}");
        }
        assert_eq!(Invoke::read(base(json!({}))).unwrap().id, "i");
    }

    #[test]
    fn what_cannot_be_answered_is_passed_over() {
        for payload in [
            json!(null),
            json!({"id": "", "nodeId": "n", "command": "c"}),
            json!({"id": "i", "nodeId": 7, "command": "c"}),
            json!({"id": "i", "nodeId": "n"}),
            json!({"id": "i".repeat(300), "nodeId": "n", "command": "c"}),
        ] {
            assert_eq!(Invoke::read(payload.clone()), None, "{payload}");
        }
    }
}
