//! `sessions.list` and `sessions.subscribe` (spec 02 §14.1, §20.4, §20.7).

#![expect(clippy::needless_pass_by_value, reason = "the table of methods fixes the signatures")]

use serde::{Deserialize, Serialize};
use telson_proto::Json;
use telson_proto::params::{Count, Text};
use telson_proto::{ErrorShape, Protocol};

use crate::auth::{Effect, authorize};
use crate::gateway::{Answer, Call, Gateway, Reply};
use crate::ids::{AgentId, SessionKey};
use crate::messages::Down;

use super::keys::{self, Kind};
use super::roll::{self, Line, Roll};
use super::row::derived_title;
use super::{Row, Session, methods};

const MS_PER_MINUTE: u64 = 60_000;

/// The parameters of `sessions.list`. Those of protocol 4 that ask for what this gateway does not keep
/// (owners, people, boards) change nothing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ListParams {
    limit: Option<Count<1>>,
    active_minutes: Option<Count<1>>,
    include_global: Option<bool>,
    include_unknown: Option<bool>,
    include_derived_titles: Option<bool>,
    include_last_message: Option<bool>,
    label: Option<Text<1, 512>>,
    spawned_by: Option<Text>,
    agent_id: Option<Text>,
    search: Option<String>,
    // protocol 4
    offset: Option<Count>,
    sort_by: Option<SortBy>,
    require_last_interaction: Option<bool>,
    configured_agents_only: Option<bool>,
    archived: Option<Archived>,
    active_only: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum SortBy {
    UpdatedAt,
    LastInteractionAt,
    Activity,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "must be true, false or \"all\"")]
enum Archived {
    Only(bool),
    Word(All),
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum All {
    #[serde(rename = "all")]
    All,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ListResult<'a> {
    ts: u64,
    path: String,
    count: usize,
    defaults: Defaults,
    sessions: Vec<Row<'a>>,
    #[serde(flatten)]
    page: Option<Page>,
}

/// The model of sessions that have chosen none.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Defaults {
    model_provider: String,
    model: String,
    context_tokens: Option<u64>,
}

/// What protocol 4 adds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    total_count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_applied: Option<usize>,
    offset: usize,
    next_offset: Option<usize>,
    has_more: bool,
}

#[derive(Debug, Serialize)]
struct Subscribed {
    subscribed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    list: Option<Json>,
}

/// `sessions.list`: the sessions, newest first; in protocol 4 the pinned ones before all others.
pub(crate) fn list(gateway: &mut Gateway, call: Call<ListParams>) -> Answer<Json> {
    authorize(&call.principal, &Effect::ReadSessions)?;
    call.params.check(call.protocol())?;
    Ok(Reply::Ready(gateway.session_list(&call.params, call.protocol())))
}

/// `sessions.subscribe`: from now on the connection hears `sessions.changed`. The subscription starts before
/// the list is built, so that no change falls between the two.
pub(crate) fn subscribe(
    gateway: &mut Gateway,
    call: Call<serde_json::Map<String, serde_json::Value>>,
) -> Answer<Json> {
    authorize(&call.principal, &Effect::ReadSessions)?;
    let params = match call.params.is_empty() {
        true => None,
        false => {
            let params = serde_path_to_error::deserialize(serde_json::Value::Object(call.params.clone()))
                .map_err(|error| {
                    methods::invalid("sessions.subscribe", &error.path().to_string(), error.inner())
                })?;
            Some(params)
        }
    };
    gateway.tell(Down::SubscribeSessions { conn: call.ticket.conn });
    let list = params.map(|params: ListParams| gateway.session_list(&params, call.protocol()));
    Ok(Reply::Ready(Json::of(&Subscribed { subscribed: true, list })))
}

impl ListParams {
    /// Protocol 3 has none of the later parameters.
    fn check(&self, protocol: Protocol) -> Result<(), ErrorShape> {
        methods::closed(
            "sessions.list",
            protocol,
            &[
                ("activeOnly", self.active_only.is_some()),
                ("archived", self.archived.is_some()),
                ("configuredAgentsOnly", self.configured_agents_only.is_some()),
                ("offset", self.offset.is_some()),
                ("requireLastInteraction", self.require_last_interaction.is_some()),
                ("sortBy", self.sort_by.is_some()),
            ],
        )
    }
}

/// The filters of one list, made ready.
struct Filter<'a> {
    gateway: &'a Gateway,
    params: &'a ListParams,
    agent: Option<AgentId>,
    pinned_first: bool,
    spawned_by: Option<SessionKey>,
    search: Option<String>,
    since: u64,
    /// The agents whose sessions are shown, when not all are.
    agents: Option<Vec<&'a AgentId>>,
}

/// What a list shows, and how many there are.
type Found<'a> = (Vec<(&'a SessionKey, &'a Session)>, usize);

impl<'a> Filter<'a> {
    fn new(gateway: &'a Gateway, params: &'a ListParams, protocol: Protocol) -> Self {
        let spawned_by = params.spawned_by.as_ref().map(|text| {
            gateway.sessions.resolve(text.as_str()).unwrap_or_else(|_| SessionKey::new(text.as_str()))
        });
        let window = params.active_minutes.map(|minutes| minutes.get().saturating_mul(MS_PER_MINUTE));
        let configured = params.configured_agents_only == Some(true);
        Self {
            gateway,
            params,
            agent: params.agent_id.as_ref().map(|id| keys::normalise_agent(id.as_str())),
            pinned_first: protocol == Protocol::V4 && params.sort_by.is_none(),
            spawned_by,
            search: params.search.as_deref().and_then(roll::wanted),
            since: window.map_or(0, |window| gateway.now.wall.saturating_sub(window)),
            agents: configured.then(|| gateway.settings.agents.list.iter().map(|agent| &agent.id).collect()),
        }
    }

    /// The part of the list that is asked for.
    fn found(&self, offset: usize, limit: usize) -> Found<'a> {
        let sessions = &self.gateway.sessions;
        if let Some(total) = self.total() {
            // Nobody looks beyond the page.
            let all = sessions.in_order(self.agent.as_ref(), self.pinned_first);
            let page = all.filter(|(key, session)| {
                // The pinned ones of all agents come first.
                self.of_agent(key) && self.shows(key, session.entry.archived.unwrap_or(false))
            });
            return (page.skip(offset).take(limit).collect(), total);
        }
        let agents = Agents::of(self, &sessions.roll);
        let keeps = |line: &&Line| self.keeps(line, &agents);
        // Few sessions carry a label or have a parent: they are found by it.
        let of = |(key, _)| sessions.roll.get(key);
        let lines: Vec<&Line> = match (&self.spawned_by, &self.params.label, &self.search) {
            (Some(parent), _, _) => sessions.children(parent.as_str()).filter_map(of).filter(keeps).collect(),
            (None, Some(label), _) => {
                sessions.labelled(label.as_str()).filter_map(of).filter(keeps).collect()
            }
            (None, None, Some(wanted)) => sessions.roll.containing(wanted).filter(keeps).collect(),
            (None, None, None) => sessions.roll.all().filter(keeps).collect(),
        };
        let total = lines.len();
        let page = self.page(lines, offset, limit);
        (page.filter_map(|line| sessions.stored(&line.key)).collect(), total)
    }

    /// Sorts no more than it must.
    fn page(&self, mut lines: Vec<&'a Line>, offset: usize, limit: usize) -> impl Iterator<Item = &'a Line> {
        let order = |a: &&Line, b: &&Line| self.rank(b).cmp(&self.rank(a));
        let end = offset.saturating_add(limit);
        if end < lines.len() {
            lines.select_nth_unstable_by(end, order);
            lines.truncate(end);
        }
        lines.sort_unstable_by(order);
        lines.into_iter().skip(offset)
    }

    /// What comes before what: the greater.
    fn rank<'b>(&self, line: &'b Line) -> (bool, Option<u64>, u64, &'b SessionKey) {
        let by = match self.params.sort_by {
            Some(SortBy::LastInteractionAt) => line.last_interaction_at,
            Some(SortBy::Activity) => line.last_activity_at,
            Some(SortBy::UpdatedAt) | None => None,
        };
        (self.pinned_first && line.pinned, by, line.updated_at, &line.key)
    }

    fn keeps(&self, line: &Line, agents: &Agents) -> bool {
        let params = self.params;
        self.shows(&line.key, line.archived)
            && line.updated_at >= self.since
            && agents.has(line)
            && (params.require_last_interaction != Some(true) || line.last_interaction_at.is_some())
            && (params.active_only != Some(true)
                || self.gateway.sessions.active_runs(&line.key).next().is_some())
            && self.further(line)
    }

    /// What asks for the entry itself; only of those that were found by label or parent.
    fn further(&self, line: &Line) -> bool {
        if self.spawned_by.is_none() && self.params.label.is_none() {
            return true;
        }
        let Some(session) = self.gateway.sessions.get(&line.key) else { return false };
        let entry = &session.entry;
        let parent = entry.spawned_by.as_deref();
        self.spawned_by.as_ref().is_none_or(|wanted| parent == Some(wanted.as_str()))
            && self.params.label.as_ref().is_none_or(|label| entry.label.as_deref() == Some(label.as_str()))
            && self
                .search
                .as_deref()
                .is_none_or(|wanted| self.gateway.sessions.roll.matches(&line.key, wanted))
    }

    /// Whether a session lies on the shelf that is asked for, and is no hidden one.
    fn shows(&self, key: &SessionKey, archived: bool) -> bool {
        let reserved = match keys::kind(key, None) {
            Kind::Global => Some(self.params.include_global),
            Kind::Unknown => Some(self.params.include_unknown),
            Kind::Direct | Kind::Group => None,
        };
        if reserved
            .is_some_and(|shown| shown != Some(true) || self.spawned_by.is_some() || self.agent.is_some())
        {
            return false;
        }
        let shelf = match self.params.archived {
            None => !archived,
            Some(Archived::Only(only)) => only == archived,
            Some(Archived::Word(All::All)) => true,
        };
        shelf && (reserved.is_some() || self.of_configured_agent(key))
    }

    /// How many sessions the list has, when that can be said without looking at each.
    fn total(&self) -> Option<usize> {
        let params = self.params;
        let plain = params.active_minutes.is_none()
            && params.label.is_none()
            && self.spawned_by.is_none()
            && self.search.is_none()
            && params.require_last_interaction != Some(true)
            && params.active_only != Some(true)
            && matches!(params.archived, None | Some(Archived::Only(false)))
            && matches!(params.sort_by, None | Some(SortBy::UpdatedAt));
        let sessions = &self.gateway.sessions;
        let shown = |id: &AgentId| {
            self.agent.as_ref().is_none_or(|wanted| wanted == id)
                && self.agents.as_ref().is_none_or(|agents| agents.contains(&id))
        };
        let reserved = || {
            let stored = sessions.index.reserved().filter_map(|key| sessions.stored(key));
            stored.filter(|(key, session)| self.shows(key, session.entry.archived.unwrap_or(false))).count()
        };
        plain.then(|| sessions.index.unarchived(shown) + reserved())
    }

    fn of_agent(&self, key: &SessionKey) -> bool {
        self.agent.as_ref().is_none_or(|agent| self.gateway.sessions.rules().agent_of(key) == *agent)
    }

    fn of_configured_agent(&self, key: &SessionKey) -> bool {
        let Some(agents) = &self.agents else { return true };
        let agent = self.gateway.sessions.rules().agent_of(key);
        agents.contains(&&agent)
    }
}

/// The agent that is asked for, as the roll numbers it.
enum Agents {
    All,
    One(Option<usize>),
}

impl Agents {
    fn of(filter: &Filter<'_>, roll: &Roll) -> Self {
        filter.agent.as_ref().map_or(Self::All, |id| Self::One(roll.agent(id)))
    }

    fn has(&self, line: &Line) -> bool {
        match self {
            Self::All => true,
            Self::One(agent) => *agent == Some(line.agent),
        }
    }
}

impl Gateway {
    /// The model of sessions that have chosen none.
    pub(crate) fn session_defaults(&self) -> Defaults {
        let model = self.agents.default_model();
        Defaults {
            context_tokens: self.agents.context_tokens(model),
            model_provider: model.provider.clone(),
            model: model.model.clone(),
        }
    }

    fn session_list(&self, params: &ListParams, protocol: Protocol) -> Json {
        let limit = params.limit.map(Count::as_len);
        let offset = params.offset.map_or(0, Count::as_len);
        let filter = Filter::new(self, params, protocol);
        let (found, total) = filter.found(offset, limit.unwrap_or(usize::MAX));
        let offset = offset.min(total);
        let rows = found.iter().map(|(key, session)| {
            let mut row = self.row(key, session, protocol);
            if params.include_derived_titles == Some(true) {
                row.derived_title = Some(derived_title(session));
            }
            if params.include_last_message == Some(true) {
                row.last_message_preview = session.entry.last_message.as_deref();
            }
            row
        });
        let sessions: Vec<Row<'_>> = rows.collect();
        let end = offset + sessions.len();
        let has_more = end < total;
        Json::of(&ListResult {
            ts: self.now.wall,
            path: Self::store_path(),
            count: sessions.len(),
            defaults: self.session_defaults(),
            sessions,
            page: (protocol == Protocol::V4).then_some(Page {
                total_count: total,
                limit_applied: limit,
                offset,
                next_offset: has_more.then_some(end),
                has_more,
            }),
        })
    }
}
