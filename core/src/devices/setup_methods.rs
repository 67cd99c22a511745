//! The methods of setup codes (spec 01 §5.8).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use telson_proto::device::{
    SetupCode, SetupCodeParams, SetupCompleted, SetupPayload, SetupStatus, SetupStatusParams,
};
use telson_proto::params::{Count, Text};
use telson_proto::{ErrorShape, EventName, Json};

use super::decide::outcome;
use super::setup::Profile;
use crate::audit::Verdict;
use crate::auth::{Effect, authorize};
use crate::gateway::{Answer, Call, Gateway, Reply};
use crate::limits;
use crate::messages::Publish;
use crate::settings::AuthMode;

/// More ways to the gateway are refused.
const MOST_URLS: usize = 8;

/// `device.pair.setupCode`: a code by which one device comes in without waiting for anybody.
pub(crate) fn issue(gateway: &mut Gateway, call: Call<SetupCodeParams>) -> Answer<SetupCode> {
    let Call { principal, ticket, params, .. } = call;
    authorize(&principal, &Effect::IssueSetupCode)?;
    let profile = profile(&params)?;
    let (urls, url_source) = gateway.setup_urls(&params)?;
    let (id, token) = (gateway.entropy.uuid(), gateway.entropy.token());
    let ttl = limits::millis(params.expires_in_ms.map_or(limits::SETUP_CODE_TTL_MS, Count::get));
    let Some(expires_at_ms) = gateway.devices.setups.issue(gateway.now, &id, &token, profile, ttl) else {
        let most = limits::SETUP_CODES;
        return Err(ErrorShape::unavailable(format!(
            "there are {most} setup codes already; wait until some end"
        ))
        .with_details(&serde_json::json!({"limit": "setup-codes"}))
        .retry_after(60_000));
    };
    let url = urls.first().cloned().unwrap_or_default();
    let payload = SetupPayload {
        url: url.clone(),
        urls: urls.iter().skip(1).cloned().collect(),
        bootstrap_token: token,
        tls_fingerprint: gateway.settings.tls.clone(),
        expires_at_ms,
    };
    let code = SetupCode {
        setup_id: id.clone(),
        setup_code: URL_SAFE_NO_PAD.encode(Json::of(&payload).as_str()),
        gateway_url: url,
        gateway_urls: if urls.len() > 1 { urls } else { Vec::new() },
        auth: match gateway.settings.auth.mode {
            AuthMode::Password(_) | AuthMode::TrustedProxy { .. } => "password",
            AuthMode::Token(_) | AuthMode::None => "token",
        },
        url_source,
        access: profile.access(),
        expires_at_ms,
    };
    let mut ops: Vec<_> = gateway.devices.setups.row(&id).into_iter().collect();
    let subject = format!("{id} {}", profile.access());
    ops.push(gateway.audit_op(&principal, "device.pair.setupCode", &subject, &Verdict::Done));
    tracing::info!(target: "gateway", setup = %id, access = profile.access(), by = %principal.actor(), "setup code made");
    gateway.store(ops, move |gateway, result| {
        if result.is_err() {
            gateway.devices.setups.withdraw(&id);
        }
        gateway.reply(ticket, outcome(result.map(|()| code).map_err(ErrorShape::from)));
    });
    Ok(Reply::Later)
}

/// `device.pair.setupStatus`: whether a code has been redeemed, and by whom.
#[expect(clippy::needless_pass_by_value, reason = "the table of methods fixes the signature")]
pub(crate) fn status(gateway: &mut Gateway, call: Call<SetupStatusParams>) -> Answer<SetupStatus> {
    authorize(&call.principal, &Effect::IssueSetupCode)?;
    let found = gateway.devices.setups.status(call.params.setup_id.as_str());
    let completion = found.ok_or_else(|| ErrorShape::invalid("unknown setupId"))?;
    Ok(Reply::Ready(SetupStatus { completion }))
}

fn profile(params: &SetupCodeParams) -> Result<Profile, ErrorShape> {
    let word = params.bootstrap_profile.as_ref().map_or("limited", Text::as_str);
    Profile::parse(word).ok_or_else(|| {
        let words: Vec<&str> = Profile::WORDS.iter().map(|(word, _)| *word).collect();
        ErrorShape::invalid(format!("bootstrapProfile: unknown; expected one of {}", words.join(", ")))
    })
}

impl Gateway {
    /// The ways to the gateway that a code names, the first of them the best.
    fn setup_urls(&self, params: &SetupCodeParams) -> Result<(Vec<String>, &'static str), ErrorShape> {
        let given: Vec<&str> =
            params.public_url.iter().chain(&params.public_urls).map(Text::as_str).collect();
        if given.len() > MOST_URLS {
            return Err(ErrorShape::invalid(format!("publicUrls: at most {MOST_URLS} URLs together")));
        }
        if given.is_empty() {
            let urls = self.own_urls();
            return match urls.is_empty() {
                false => Ok((urls, "listener")),
                true => Err(ErrorShape::invalid(
                    "publicUrl: required, such as ws://192.168.1.2:18789: the gateway does not know its own address",
                )),
            };
        }
        let urls: Result<Vec<String>, ErrorShape> = given.into_iter().map(gateway_url).collect();
        Ok((urls?, "params"))
    }

    /// How other hosts reach the gateway, as far as it knows; failing that, how this host does.
    fn own_urls(&self) -> Vec<String> {
        let facts = &self.settings.facts;
        let scheme = if self.settings.tls.is_some() { "wss" } else { "ws" };
        let far = self.addresses.iter().filter(|addr| !addr.ip().is_loopback());
        let mut urls: Vec<String> = Vec::new();
        for addr in far {
            let host = match (addr.ip().is_unspecified(), &facts.ip) {
                (true, Some(ip)) if ip.contains(':') => format!("[{ip}]"),
                (true, Some(ip)) => ip.clone(),
                (true, None) => facts.host.clone(),
                (false, _) => {
                    urls.push(format!("{scheme}://{addr}"));
                    continue;
                }
            };
            urls.push(format!("{scheme}://{host}:{}", addr.port()));
        }
        if urls.is_empty() {
            urls.extend(self.addresses.first().map(|addr| format!("{scheme}://{addr}")));
        }
        urls.dedup();
        urls.truncate(MOST_URLS);
        urls
    }

    /// Tells those who manage devices that a code was redeemed.
    pub(crate) fn announce_setup(&mut self, completed: &SetupCompleted) {
        let publish = Publish::droppable(EventName::DevicePairSetupCompleted, Json::of(completed));
        self.publish(Publish { v3: None, ..publish });
    }
}

/// Checks that a text is the address of a gateway and nothing else: no secret must travel in a code.
fn gateway_url(text: &str) -> Result<String, ErrorShape> {
    let refuse = |what: &str| Err(ErrorShape::invalid(format!("publicUrl: {what}")));
    let Ok(url) = url::Url::parse(text.trim()) else {
        return refuse("is no URL; expected one such as wss://gateway.example:18789");
    };
    if !matches!(url.scheme(), "ws" | "wss") {
        return refuse("must begin with ws:// or wss://");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("must not contain a user name or password");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return refuse("must not contain a query or a fragment");
    }
    if url.host().is_none() {
        return refuse("must name a host");
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}
