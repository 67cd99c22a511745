//! What the operator wants of the tailnet.

/// How Tailscale stands in front of the gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Exposure {
    /// Not at all.
    #[default]
    Off,
    /// Under this machine's name, for the tailnet.
    Serve,
    /// The same, for the internet.
    Funnel,
}

impl Exposure {
    /// Reads the word of the configuration.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "off" => Self::Off,
            "serve" => Self::Serve,
            "funnel" => Self::Funnel,
            _ => return None,
        })
    }

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Serve => "serve",
            Self::Funnel => "funnel",
        }
    }
}

/// The claim on the machine's name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TailscaleSettings {
    /// What is claimed.
    pub exposure: Exposure,
    /// The absolute path of the program, when the host has found one that it trusts (spec 08 S-29).
    pub program: Option<String>,
    /// A gateway that cannot have the claim does not serve: the command line asked for it [D-35].
    pub required: bool,
}
