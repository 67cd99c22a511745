//! The lines of a request's head, as far as they say who sent it and through whose hands it went.

/// Header lines in their order, names in lower case. They may hold a proxy's credential and stay out of logs.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Trail(Vec<(String, String)>);

impl Trail {
    /// The lines of a head. Credentials that are no business of proxies are left out.
    pub fn new(head: impl IntoIterator<Item = (String, String)>) -> Self {
        let own = |name: &str| matches!(name, "authorization" | "cookie" | "proxy-authorization");
        Self(head.into_iter().filter(|(name, _)| !own(name)).collect())
    }

    /// The values of a header, in order.
    pub(crate) fn lines<'a, 'n>(
        &'a self,
        name: &'n str,
    ) -> impl DoubleEndedIterator<Item = &'a str> + use<'a, 'n> {
        self.0.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The value of a header that must stand once; `None` when it is absent, blank or there twice.
    pub(crate) fn single(&self, name: &str) -> Option<&str> {
        let mut lines = self.lines(name);
        let value = lines.next()?.trim();
        (lines.next().is_none() && !value.is_empty()).then_some(value)
    }

    /// The last item of the last line of a list: what the nearest proxy has added.
    pub(super) fn nearest(&self, name: &str) -> Option<&str> {
        let item = self.lines(name).next_back()?.rsplit(',').next()?.trim();
        (!item.is_empty()).then_some(item)
    }

    /// Whether a header is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.lines(name).next().is_some()
    }

    /// Whether a proxy has left its mark.
    pub(super) fn is_marked(&self) -> bool {
        self.0.iter().any(|(name, _)| is_of_a_proxy(name))
    }

    /// Forgets what nobody asks for later.
    pub(super) fn keep(&mut self, wanted: impl Fn(&str) -> bool) {
        self.0.retain(|(name, _)| wanted(name));
        self.0.shrink_to_fit();
    }
}

impl std::fmt::Debug for Trail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Trail({} lines)", self.0.len())
    }
}

/// Whether a header is one that proxies add (spec 01 §3.2, 08 S-25).
pub(super) fn is_of_a_proxy(name: &str) -> bool {
    matches!(name, "forwarded" | "x-real-ip" | "via" | "true-client-ip")
        || ["x-forwarded-", "cf-", "tailscale-"].iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_proxies_are_recognised() {
        for name in [
            "forwarded",
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-forwarded-host",
            "x-real-ip",
            "via",
            "cf-connecting-ip",
            "cf-ray",
            "tailscale-user-login",
        ] {
            assert!(is_of_a_proxy(name), "{name}");
        }
        for name in ["host", "origin", "x-request-id", "user-agent", "x-forwarded"] {
            assert!(!is_of_a_proxy(name), "{name}");
        }
    }

    #[test]
    fn a_trail_shows_no_values_and_keeps_no_secrets() {
        let line = |name: &str| (name.to_owned(), "s3cret".to_owned());
        let trail = Trail::new([line("authorization"), line("cookie"), line("x-proxy-key")]);
        assert!(!format!("{trail:?}").contains("s3cret"));
        assert!(!trail.has("authorization") && !trail.has("cookie") && trail.has("x-proxy-key"));
    }
}
