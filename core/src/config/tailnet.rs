//! What Tailscale is asked for, and when it must not be (spec 05 §6.3, §8).

use std::net::SocketAddr;

use super::access::{Access, Sources};
use super::check::Check;
use super::failure::Failure;
use super::issue::Issue;
use super::keys::EXPOSURES;
use super::nearest;
use super::tree::Node;
use crate::tailscale::{Exposure, TailscaleSettings};

impl Sources<'_> {
    /// How Tailscale is to stand in front of the gateway; the flag goes before the file. Refused where others
    /// would reach the port past Tailscale, and where nothing or too little would protect it.
    pub(super) fn tailscale(
        &self,
        listen: &[SocketAddr],
        access: &Access,
        check: &mut Check<'_>,
    ) -> TailscaleSettings {
        let flag = self.flags.tailscale.as_deref();
        let written = self.root.at("gateway.tailscale.mode").and_then(Node::text);
        let exposure = match (flag, flag.or(written)) {
            (_, None) => Exposure::Off,
            (flag, Some(word)) => Exposure::parse(word).unwrap_or_else(|| {
                if flag.is_some() {
                    check.issues.push(bad_flag(word));
                }
                Exposure::Off
            }),
        };
        let place = if flag.is_some() { "--tailscale" } else { "gateway.tailscale.mode" };
        check.issues.extend(unfit(exposure, listen, access, place));
        TailscaleSettings { exposure, program: None, required: flag.is_some() && exposure != Exposure::Off }
    }

    /// Whether the tailnet may vouch for its users.
    pub(super) fn allows_tailscale(&self, exposure: Exposure, access: &Access) -> bool {
        let written = self.root.at("gateway.auth.allowTailscale").and_then(Node::flag);
        let usual = matches!(access, Access::Token(_) | Access::MadeToken);
        exposure == Exposure::Serve && written.unwrap_or(usual)
    }
}

/// Why a gateway that listens there and asks for that must not be put behind Tailscale.
pub(super) fn unfit(
    exposure: Exposure,
    listen: &[SocketAddr],
    access: &Access,
    place: &str,
) -> Option<Issue> {
    let word = exposure.as_str();
    if exposure == Exposure::Off {
        return None;
    }
    if listen.iter().any(|address| !address.ip().is_loopback()) {
        let message = "tailscale serve/funnel requires gateway bind=loopback (127.0.0.1)";
        let remedy = "bind mode loopback, or tailscale mode off";
        return Some(Issue::new(Failure::TsNeedsLoopback, place, message).expecting(remedy));
    }
    if exposure == Exposure::Funnel && !matches!(access, Access::Password(_)) {
        let message = "tailscale funnel requires gateway auth mode=password";
        let remedy = "gateway.auth.mode password and a password, or tailscale mode serve";
        return Some(Issue::new(Failure::FunnelNeedsPassword, place, message).expecting(remedy));
    }
    if matches!(access, Access::Open) {
        let message = format!("refusing to put a gateway without auth behind tailscale {word}");
        let remedy = "a token or password, or tailscale mode off";
        return Some(Issue::new(Failure::AuthRequiredForBind, place, message).expecting(remedy));
    }
    None
}

fn bad_flag(given: &str) -> Issue {
    let mut issue = Issue::new(Failure::ArgInvalid, "--tailscale", format!("Invalid --tailscale {given:?}"))
        .expecting(format!("one of {}", EXPOSURES.join(", ")));
    issue.nearest = nearest::word(given, EXPOSURES);
    issue
}
