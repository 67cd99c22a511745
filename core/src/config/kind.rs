//! What the value of a configuration key may be.

/// What a value must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Flag,
    /// A whole number within bounds, both included.
    Count(u64, u64),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A text that is not blank.
    Text,
    /// A text that must not be shown.
    Secret,
    /// An `http://` or `https://` URL without user name, password, query and fragment.
    Url,
    /// A `ws://` or `wss://` URL without user name and password.
    Socket,
    /// The SHA-256 fingerprint of a certificate or key.
    Fingerprint,
    /// An IPv4 address in dotted form.
    Ipv4,
    /// An absolute path, or one that begins with `~/`.
    Path,
    /// A model as `provider/model`.
    Model,
    /// A list of models.
    Models,
    /// A number that is not negative.
    Amount,
    /// A web origin such as `https://host:port`.
    Origin,
    /// A list of one of these words.
    Choices(&'static [&'static str]),
    /// A list of texts.
    Texts,
    /// A list of web origins.
    Origins,
    /// A list of addresses and networks.
    Networks,
    /// A list of host names.
    Hosts,
    /// The name of an HTTP header.
    Header,
    /// A list of names of HTTP headers.
    Headers,
    /// A text, or `false` for none.
    TextOrOff,
    /// An IP address, or a network such as `10.0.0.0/8`.
    Network,
    /// A host name without a port, or `*.` and a suffix.
    Host,
}

impl Kind {
    /// What the value must be, in words.
    pub fn describe(self) -> String {
        match self {
            Self::Flag => "true or false".to_owned(),
            Self::Count(low, u64::MAX) => format!("a whole number of at least {low}"),
            Self::Count(low, high) => format!("a whole number from {low} to {high}"),
            Self::Choice(words) => format!("one of {}", words.join(", ")),
            Self::Text => "a text".to_owned(),
            Self::Secret => "a secret text".to_owned(),
            Self::Url => "an http:// or https:// URL without user name, query or fragment".to_owned(),
            Self::Socket => "a wss:// URL, or ws:// in a private network, without user name".to_owned(),
            Self::Fingerprint => "64 hexadecimal digits, or sha256// and base64".to_owned(),
            Self::Ipv4 => "an IPv4 address".to_owned(),
            Self::Path => "an absolute path, or one that begins with ~/".to_owned(),
            Self::Model => "a model as provider/model".to_owned(),
            Self::Models => "a list of models as provider/model".to_owned(),
            Self::Amount => "a number of at least 0".to_owned(),
            Self::Origin => "an origin such as https://host:port".to_owned(),
            Self::Choices(words) => format!("a list of words out of {}", words.join(", ")),
            Self::Texts => "a list of texts".to_owned(),
            Self::Origins => "a list of origins such as https://host:port".to_owned(),
            Self::Networks => "a list of addresses and networks such as 10.0.0.2 or 10.0.0.0/8".to_owned(),
            Self::Network => "an address or a network such as 10.0.0.2 or 10.0.0.0/8".to_owned(),
            Self::Hosts => "a list of host names without port, `*.` and a suffix, or `*`".to_owned(),
            Self::Host => "a host name without port, `*.` and a suffix, or `*`".to_owned(),
            Self::Header => "the name of an HTTP header".to_owned(),
            Self::Headers => "a list of names of HTTP headers".to_owned(),
            Self::TextOrOff => "a text, or false".to_owned(),
        }
    }
}
