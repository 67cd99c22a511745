//! Who may be sent messages (spec 02 §19.2).

use crate::ids::SessionKey;
use crate::sessions::keys;

/// What a rule says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// Messages are taken.
    #[default]
    Allow,
    /// Messages are refused.
    Deny,
}

/// `session.sendPolicy`.
#[derive(Clone, Debug, Default)]
pub struct SendRules {
    /// What holds when no rule matches.
    pub default: Verdict,
    /// The rules. A rule that denies beats one that allows, in whichever order they stand.
    pub rules: Vec<SendRule>,
}

/// One rule.
#[derive(Clone, Debug)]
pub struct SendRule {
    /// What it says.
    pub action: Verdict,
    /// What it speaks of.
    pub of: Match,
}

/// What a rule speaks of: everything that is named must fit; nothing named fits everything.
#[derive(Clone, Debug, Default)]
pub struct Match {
    /// The channel, lower case.
    pub channel: Option<String>,
    /// `direct`, `group` or `channel`.
    pub chat_type: Option<String>,
    /// How the key begins, lower case; the canonical key or the part behind the agent [C-40].
    pub key_prefix: Option<String>,
}

impl SendRules {
    /// What the rules say of a session.
    pub fn verdict(&self, key: &SessionKey, channel: Option<&str>, chat_type: Option<&str>) -> Verdict {
        let says = |action: Verdict| {
            self.rules.iter().any(|rule| rule.action == action && rule.of.fits(key, channel, chat_type))
        };
        if says(Verdict::Deny) {
            Verdict::Deny
        } else if says(Verdict::Allow) {
            Verdict::Allow
        } else {
            self.default
        }
    }
}

impl Match {
    fn fits(&self, key: &SessionKey, channel: Option<&str>, chat_type: Option<&str>) -> bool {
        let lower = key.as_str().to_lowercase();
        let bare = bare(&lower);
        let channel_of_key = || bare.split_once(':').map(|(first, _)| first);
        let derived = || match keys::kind(key, None) {
            keys::Kind::Group if lower.contains(":channel:") => "channel",
            keys::Kind::Group => "group",
            _ => "direct",
        };
        let channel = channel.or_else(channel_of_key);
        let chat_type = chat_type.map_or_else(derived, |word| if word == "dm" { "direct" } else { word });
        self.channel.as_ref().is_none_or(|wanted| channel.is_some_and(|c| c.eq_ignore_ascii_case(wanted)))
            && self.chat_type.as_ref().is_none_or(|wanted| wanted == chat_type)
            && self
                .key_prefix
                .as_ref()
                .is_none_or(|prefix| lower.starts_with(prefix.as_str()) || bare.starts_with(prefix.as_str()))
    }
}

/// The part of a canonical key behind its agent.
fn bare(key: &str) -> &str {
    key.strip_prefix("agent:").and_then(|rest| rest.split_once(':')).map_or(key, |(_, rest)| rest)
}
