//! The methods of service tokens.

use telson_proto::params::{Count, NoParams, Text};
use telson_proto::token::{ServiceTokenRevoked, TokenCreate, TokenCreated, TokenList, TokenRevoke};
use telson_proto::{ErrorShape, Json, Scope, Scopes};

use super::{Kept, PREFIX, delete};
use crate::audit::Verdict;
use crate::auth::{Effect, authorize};
use crate::devices::hash;
use crate::gateway::{Answer, Call, Gateway, Reply};
use crate::limits;
use crate::messages::Outcome;

/// `tokens.create`: a token for a program. Its value is in the answer and nowhere else.
pub(crate) fn create(gateway: &mut Gateway, call: Call<TokenCreate>) -> Answer<TokenCreated> {
    let Call { principal, ticket, params, .. } = call;
    authorize(&principal, &Effect::ManageServiceTokens)?;
    let name = name(&params.name)?;
    let scopes = scopes(&params.scopes)?;
    if gateway.tokens.is_full() {
        let most = limits::SERVICE_TOKENS;
        let message = format!("there are {most} service tokens already; revoke one that is not needed");
        return Err(
            ErrorShape::invalid(message).with_details(&serde_json::json!({"limit": "service-tokens"}))
        );
    }
    let now = gateway.now;
    let id = gateway.entropy.uuid();
    let value = format!("{PREFIX}{}", gateway.entropy.token());
    let kept = Kept {
        name,
        hash: hash(&value),
        scopes,
        created_at_ms: now.wall,
        expires_at_ms: params.expires_in_ms.map(Count::get).map(|left| now.wall.saturating_add(left)),
        last_used_at_ms: None,
    };
    gateway.tokens.add(now, &id, kept);
    let mut ops: Vec<_> = gateway.tokens.row(&id).into_iter().collect();
    ops.push(gateway.audit_op(&principal, "tokens.create", &id, &Verdict::Done));
    tracing::info!(target: "gateway", token = %id, by = %principal.actor(), "service token made");
    gateway.store(ops, move |gateway, result| {
        let shown = gateway.tokens.tokens.get(&id).map(|token| token.shown(&id));
        let outcome = match (result, shown) {
            (Ok(()), Some(token)) => Outcome::ok(Json::of(&TokenCreated { value, token })),
            (Ok(()), None) => Outcome::error(unknown()),
            (Err(error), _) => {
                gateway.tokens.remove(&id);
                Outcome::error(ErrorShape::from(error))
            }
        };
        gateway.reply(ticket, outcome);
    });
    Ok(Reply::Later)
}

/// `tokens.list`: the tokens, never their values.
#[expect(clippy::needless_pass_by_value, reason = "the table of methods fixes the signature")]
pub(crate) fn list(gateway: &mut Gateway, call: Call<NoParams>) -> Answer<TokenList> {
    authorize(&call.principal, &Effect::ManageServiceTokens)?;
    gateway.token_timeouts();
    Ok(Reply::Ready(TokenList { tokens: gateway.tokens.list() }))
}

/// `tokens.revoke`: a token ends at once, and after the answer whatever it let in.
pub(crate) fn revoke(gateway: &mut Gateway, call: Call<TokenRevoke>) -> Answer<ServiceTokenRevoked> {
    let Call { principal, ticket, params, .. } = call;
    authorize(&principal, &Effect::ManageServiceTokens)?;
    let id = params.id.into_string();
    if gateway.tokens.remove(&id).is_none() {
        return Err(unknown());
    }
    let revoked_at_ms = gateway.now.wall;
    let ops = vec![delete(&id), gateway.audit_op(&principal, "tokens.revoke", &id, &Verdict::Done)];
    tracing::info!(target: "gateway", token = %id, by = %principal.actor(), "service token revoked");
    gateway.store(ops, move |gateway, result| {
        let outcome = match result {
            Ok(()) => Outcome::ok(Json::of(&ServiceTokenRevoked { id: id.clone(), revoked_at_ms })),
            Err(error) => Outcome::error(ErrorShape::from(error)),
        };
        gateway.reply(ticket, outcome);
        gateway.end_service("client invalidated: service-token-revoked", &id);
    });
    Ok(Reply::Later)
}

fn unknown() -> ErrorShape {
    ErrorShape::invalid("unknown id; tokens.list names the tokens that there are")
}

fn name(name: &Text<1, 64>) -> Result<String, ErrorShape> {
    let name = name.as_str().trim();
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(ErrorShape::invalid("name: must be 1 to 64 printable characters"));
    }
    Ok(name.to_owned())
}

fn scopes(list: &[Text<1, 64>]) -> Result<Scopes, ErrorShape> {
    let words = || Scope::ALL.map(Scope::as_str).join(", ");
    if list.is_empty() {
        return Err(ErrorShape::invalid(format!("scopes: must name at least one of {}", words())));
    }
    if let Some(odd) = list.iter().find(|text| Scope::parse(text.as_str()).is_none()) {
        let odd = odd.as_str().escape_debug();
        return Err(ErrorShape::invalid(format!("scopes: {odd} is none; expected some of {}", words())));
    }
    Ok(Scopes::parse(&list.iter().map(Text::as_str).collect::<Vec<_>>()))
}
