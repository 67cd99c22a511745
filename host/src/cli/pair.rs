//! `pair`: a setup code for a new device, as text and as a picture (spec 01 §5.8).

use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use serde_json::{Value, json};
use telson_core::config::Failure;

use crate::config::Places;
use crate::logging::escape;
use crate::runtime::Runtime;

use super::args::Client;
use super::cells::{list, text};
use super::desk::Desk;
use super::error::CliError;
use super::term::Output;

/// How often it is asked whether the code was redeemed.
const ASK_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(crate) struct Pair {
    /// Make a new code; without it, say who waits
    #[arg(long)]
    pub(crate) new: bool,
    /// What the device becomes
    #[arg(long, value_enum, default_value_t = ProfileName::Mobile)]
    pub(crate) profile: ProfileName,
    /// Where the device finds the gateway (default: where it listens); can be given several times
    #[arg(long, value_name = "URL")]
    pub(crate) public_url: Vec<String>,
    /// How many minutes the code is good
    #[arg(long, value_name = "MIN", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=10))]
    pub(crate) minutes: u64,
    /// No picture
    #[arg(long)]
    pub(crate) no_qr: bool,
    /// Wait until a device has come in
    #[arg(long)]
    pub(crate) wait: bool,
    #[command(flatten)]
    pub(crate) client: Client,
}

/// What a device becomes by a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProfileName {
    /// A phone: its abilities, and reading and writing
    Mobile,
    /// A phone with every right
    MobileFull,
    /// A machine that lends its abilities
    Node,
    /// The owner's Control UI
    ControlUi,
    /// A machine that listens and speaks
    VoiceNode,
}

impl ProfileName {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Mobile => "mobile",
            Self::MobileFull => "mobile-full",
            Self::Node => "node",
            Self::ControlUi => "control-ui",
            Self::VoiceNode => "voice-node",
        }
    }
}

/// `pair`
pub(crate) async fn run<R: Runtime>(
    runtime: &R,
    places: &Places,
    args: &Pair,
    output: Output,
) -> Result<(), CliError> {
    let mut desk = Desk::open(runtime, places, &args.client).await?;
    let outcome = if args.new {
        issue(runtime, &mut desk, args, output).await
    } else {
        waiting(&mut desk, output).await
    };
    desk.close().await;
    outcome
}

async fn waiting<R: Runtime>(desk: &mut Desk<R>, output: Output) -> Result<(), CliError> {
    let known = desk.call("device.pair.list", json!({})).await?;
    let pending = list(&known, "pending");
    if output.json {
        output.value(&json!({"pending": pending}));
        return Ok(());
    }
    for request in pending {
        output.line(&format!("{} devices approve {}", super::NAME, text(request, "requestId")));
    }
    if pending.is_empty() {
        output.line(&format!("No device waits. A code for a new one: {} pair --new", super::NAME));
    }
    Ok(())
}

async fn issue<R: Runtime>(
    runtime: &R,
    desk: &mut Desk<R>,
    args: &Pair,
    output: Output,
) -> Result<(), CliError> {
    let mut params = json!({"bootstrapProfile": args.profile.as_str(), "expiresInMs": args.minutes * 60_000});
    if let Some((first, others)) = args.public_url.split_first() {
        params["publicUrl"] = json!(first);
        params["publicUrls"] = json!(others);
    }
    let code = desk.call("device.pair.setupCode", params).await?;
    if output.json {
        output.value(&code);
    } else {
        tell(&code, args, desk.is_online(), output);
    }
    if !args.wait {
        return Ok(());
    }
    if !desk.is_online() {
        let error = CliError::new(Failure::GatewayUnreachable, "no gateway runs that could let a device in");
        return Err(error.hint("start it with: {program} gateway run; the code is good until it ends"));
    }
    redeemed(runtime, desk, &code, args, output).await
}

fn tell(code: &Value, args: &Pair, online: bool, output: Output) {
    let setup = text(code, "setupCode");
    let url = text(code, "gatewayUrl");
    if !args.no_qr {
        match QrCode::new(setup.as_bytes()) {
            Ok(picture) => {
                let mut picture = picture.render::<Dense1x2>();
                let picture = picture.dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
                picture.lines().for_each(|line| output.line(line));
            }
            Err(error) => output.note(&format!("no picture: {error}")),
        }
    }
    output.line(&format!("Setup code: {setup}"));
    output.line(&format!("Gateway:    {}", escape(&url)));
    output.line(&format!("Gives:      {} ({} access)", args.profile.as_str(), text(code, "access")));
    output.line(&format!("Good for:   {} minutes, for one device", args.minutes));
    if is_near(&url) {
        output.note("This address leads here from this machine only; name another with --public-url, or set gateway.bind.");
    }
    if !online {
        output.note(&format!("No gateway runs; start it before the code ends: {} gateway run", super::NAME));
    }
}

/// Whether a URL leads to the machine that reads it.
fn is_near(url: &str) -> bool {
    let parsed = url::Url::parse(url).ok();
    let host = parsed.as_ref().and_then(url::Url::host_str).unwrap_or_default();
    telson_core::peer::is_loopback_name(host.trim_matches(['[', ']']))
}

/// Waits for the device.
async fn redeemed<R: Runtime>(
    runtime: &R,
    desk: &mut Desk<R>,
    code: &Value,
    args: &Pair,
    output: Output,
) -> Result<(), CliError> {
    let until = Instant::now() + Duration::from_secs(args.minutes * 60);
    while Instant::now() < until {
        let params = json!({"setupId": text(code, "setupId")});
        let status = desk.call("device.pair.setupStatus", params).await?;
        if let Some(done) = status.get("completion") {
            if output.json {
                output.value(done);
            } else {
                let name = text(done, "deviceName");
                let id: String = text(done, "deviceId").chars().take(12).collect();
                output.line(&format!("Paired: device {id} {}", escape(&name)));
            }
            return Ok(());
        }
        runtime.sleep_until(Instant::now() + ASK_EVERY).await;
    }
    let error = CliError::new(Failure::GatewayTimeout, "no device came while the code was good");
    Err(error.hint("make another one with: {program} pair --new --wait"))
}

#[cfg(test)]
mod tests {
    use super::is_near;

    #[test]
    fn an_address_of_this_machine_is_told_apart() {
        for url in ["ws://127.0.0.1:18789", "ws://localhost:1", "ws://[::1]:2"] {
            assert!(is_near(url), "{url}");
        }
        for url in ["ws://192.168.1.2:18789", "wss://box.example", "nothing"] {
            assert!(!is_near(url), "{url}");
        }
    }
}
