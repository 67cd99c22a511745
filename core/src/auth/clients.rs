//! Client ids and modes, and the classes that the rules speak of (spec 01 §2.5).
//!
//! A class never gives a right that the credential does not: it decides how much a client must prove and how
//! an error is worded.

use telson_proto::Protocol;

/// The ids that native clients may carry.
const IDS: &[&str] = &[
    "cli",
    "fingerprint",
    "gateway-client",
    "node-host",
    "openclaw-android",
    "openclaw-browser-copilot",
    "openclaw-control-ui",
    "openclaw-ios",
    "openclaw-linux",
    "openclaw-macos",
    "openclaw-probe",
    "openclaw-tui",
    "openclaw-watchos",
    "test",
    "webchat",
    "webchat-ui",
];

/// The product names that the older releases spelled with their own prefix (D5).
const RENAMED: &[&str] = &["control-ui", "macos", "ios", "android", "probe"];

const MODES: &[&str] = &["backend", "cli", "node", "probe", "test", "ui", "webchat"];

/// A client's id and mode as policy sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    /// One of [`IDS`]; empty for plain clients, whose ids mean nothing here.
    id: &'static str,
    mode: &'static str,
}

impl Kind {
    /// The kind of a native client.
    ///
    /// # Errors
    ///
    /// What is wrong with the id or the mode, in the wording of parameter errors.
    pub(super) fn native(id: &str, mode: &str) -> Result<Self, String> {
        let id = known(IDS, &canonical(id)).ok_or_else(|| not_one_of("id", IDS))?;
        let mode = known(MODES, mode).ok_or_else(|| not_one_of("mode", MODES))?;
        Ok(Self { id, mode })
    }

    /// The kind of a plain client (spec 01 §9.4).
    pub(super) const fn plain() -> Self {
        Self { id: "", mode: "" }
    }

    /// Whether errors speak to somebody at a terminal.
    pub(super) fn is_cli(&self) -> bool {
        self.mode == "cli"
    }

    /// Whether it is the command line itself, not something that runs in its mode.
    pub(super) fn is_cli_proper(&self) -> bool {
        self.id == "cli" && self.mode == "cli"
    }

    /// Whether it is a chat page.
    pub(super) fn is_webchat(&self) -> bool {
        self.mode == "webchat" || self.id == "webchat-ui"
    }

    /// Whether errors speak to somebody at a Control UI.
    pub(super) fn is_control_ui(&self, protocol: Protocol) -> bool {
        match protocol {
            Protocol::V3 => self.id == "openclaw-control-ui",
            Protocol::V4 => {
                matches!(self.id, "openclaw-control-ui" | "openclaw-tui" | "openclaw-browser-copilot")
            }
        }
    }

    /// Whether it must have a device whatever its secret.
    pub(super) fn must_have_device(&self, protocol: Protocol) -> bool {
        self.is_control_ui(protocol) && self.id != "openclaw-browser-copilot"
    }

    /// Whether it runs in a browser, which always says where its page is from.
    pub(super) fn is_browser(&self) -> bool {
        matches!(self.id, "openclaw-control-ui" | "openclaw-browser-copilot") || self.is_webchat()
    }

    /// Whether it is an application of an operating system.
    pub(super) fn is_native_app(&self) -> bool {
        self.mode == "ui"
            && matches!(self.id, "openclaw-macos" | "openclaw-linux" | "openclaw-ios" | "openclaw-android")
    }

    /// Whether it is a program beside the gateway that uses the client library.
    pub(super) fn is_backend(&self) -> bool {
        self.id == "gateway-client" && self.mode == "backend"
    }
}

/// Whether a client is a worker, which has a path of its own (spec 01 §1.4).
pub(super) fn is_worker(id: &str, mode: Option<&str>, role: &str) -> bool {
    id == "openclaw-worker" || mode == Some("worker") || role == "worker"
}

/// The id under which policy knows the client.
fn canonical(id: &str) -> String {
    let renamed = ["clawdbot-", "moltbot-"].iter().find_map(|prefix| id.strip_prefix(prefix));
    match renamed.filter(|name| RENAMED.contains(name)) {
        Some(name) => format!("openclaw-{name}"),
        None => id.to_owned(),
    }
}

fn known(list: &[&'static str], word: &str) -> Option<&'static str> {
    list.iter().copied().find(|known| *known == word)
}

fn not_one_of(field: &str, list: &[&str]) -> String {
    format!("at /client/{field}: must be equal to one of the allowed values ({})", list.join(", "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn older_releases_keep_their_names() {
        for id in ["clawdbot-control-ui", "moltbot-control-ui", "openclaw-control-ui"] {
            assert!(Kind::native(id, "webchat").unwrap().must_have_device(Protocol::V3), "{id}");
        }
        assert!(Kind::native("clawdbot-tui", "ui").is_err(), "there was no such name");
        assert!(Kind::native("clawdbot-cli", "cli").is_err());
    }

    #[test]
    fn an_unknown_id_or_mode_is_named_with_what_would_be_right() {
        let detail = Kind::native("ios-node", "node").unwrap_err();
        assert!(detail.starts_with("at /client/id: must be equal to one of the allowed values (cli, "));
        let detail = Kind::native("cli", "operator").unwrap_err();
        assert!(detail.starts_with("at /client/mode: "));
    }

    #[test]
    fn a_plain_client_is_of_no_class_whatever_it_calls_itself() {
        let plain = Kind::plain();
        assert!(!plain.is_cli_proper() && !plain.is_backend() && !plain.is_browser());
    }
}
