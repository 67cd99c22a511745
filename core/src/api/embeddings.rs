//! `POST /v1/embeddings`: texts as vectors, by the configured provider (spec 04 §6).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;
use telson_proto::Scope;

use super::errors::{Refusal, Spelling};
use super::fields::Fields;
use super::route::Head;
use super::{Pending, Stage};
use crate::auth::{Effect, Principal, authorize};
use crate::fetch::{FetchEvent, FetchRequest, Reach};
use crate::gateway::{Fetcher, Gateway};
use crate::http::HttpResponse;
use crate::ids::{FetchId, HttpId};
use crate::limits;
use crate::settings::{ModelRef, ProviderSettings};

/// How long the embedding server may stay silent.
const PATIENCE: Duration = Duration::from_secs(60);

/// Embeddings that are being made.
pub(super) struct Embedding {
    pub(super) fetch: FetchId,
    /// As the request names it.
    model: String,
    inputs: usize,
    base64: bool,
    status: u16,
    body: Vec<u8>,
}

/// What the embedding server answers.
#[derive(Deserialize)]
struct Answered {
    data: Vec<Vector>,
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Vector {
    #[serde(default)]
    index: Option<usize>,
    embedding: Vec<f32>,
}

#[derive(Clone, Copy, Default, Deserialize, Serialize)]
struct Usage {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    total_tokens: u64,
}

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<Item>,
    model: &'a str,
    usage: Usage,
}

#[derive(Serialize)]
struct Item {
    object: &'static str,
    index: usize,
    embedding: Shape,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Shape {
    Numbers(Vec<f32>),
    /// Little-endian 32-bit floats.
    Base64(String),
}

impl Gateway {
    /// Embeddings were asked for.
    pub(super) fn begin_embeddings(
        &mut self,
        id: HttpId,
        head: &Head,
        principal: &Principal,
        body: &Value,
    ) -> Result<(), Refusal> {
        let fields = Fields::of(body);
        let model = fields.text("model").ok_or_else(|| Refusal::invalid("`model` is required."))?;
        let inputs = inputs(&fields)?;
        let dimensions = fields.positive("dimensions")?;
        let base64 = match fields.get("encoding_format").map(|format| format.as_str()) {
            None | Some(Some("float")) => false,
            Some(Some("base64")) => true,
            Some(_) => return Err(Refusal::invalid("`encoding_format` must be \"float\" or \"base64\".")),
        };
        let any = self.settings.api.chat.accept_any_model || self.settings.api.responses.accept_any_model;
        let agent = self.agent_of_model(Some(model), any)?;
        if !self.knows_agent(&agent) {
            return Err(Refusal::invalid(format!("Unknown agent \"{agent}\".")));
        }
        let session = self.sessions.rules().main(&agent);
        authorize(principal, &Effect::RunAgent { session }).map_err(|error| Refusal::of(&error))?;
        let (provider, backend) = self.embedding_model(head, principal)?;
        let mut asked = json!({"model": backend, "input": inputs, "encoding_format": "float"});
        if let Some(dimensions) = dimensions {
            asked["dimensions"] = dimensions.into();
        }
        let request = request(provider, &asked);
        let fetch = self.fetch(Fetcher::Api(id), request);
        let (model, inputs) = (model.to_owned(), inputs.len());
        let embedding = Embedding { fetch, model, inputs, base64, status: 0, body: Vec::new() };
        let stage = Stage::Embedding(Box::new(embedding));
        self.api.pending.insert(id, Pending { spelling: Spelling::OpenAi, stage });
        Ok(())
    }

    /// The provider and its model; `x-openclaw-model` may choose another model of the same provider.
    fn embedding_model(
        &self,
        head: &Head,
        principal: &Principal,
    ) -> Result<(&ProviderSettings, String), Refusal> {
        let settings = &self.settings.api;
        let Some(name) = &settings.embedding_provider else {
            return Err(Refusal::invalid(
                "No embedding provider is configured; set agents.defaults.memorySearch.provider and .model.",
            ));
        };
        let provider = self.settings.providers.iter().find(|provider| provider.id == *name);
        let provider = provider.ok_or_else(|| {
            Refusal::invalid(format!("The embedding provider {name:?} is not in models.providers."))
        })?;
        let chosen = match head.openclaw("model") {
            None => settings.embedding_model.clone(),
            Some(_) if !principal.holds(Scope::Admin) => {
                return Err(Refusal::forbidden("x-openclaw-model needs operator.admin"));
            }
            Some(text) => match ModelRef::parse(text) {
                Some(model) if model.provider == *name => Some(model.model),
                Some(_) => {
                    let message =
                        format!("x-openclaw-model must be a model of the embedding provider {name:?}");
                    return Err(Refusal::invalid(message));
                }
                None => Some(text.to_owned()),
            },
        };
        let model = chosen.ok_or_else(|| {
            Refusal::invalid("No embedding model is configured; set agents.defaults.memorySearch.model.")
        })?;
        Ok((provider, model))
    }

    /// The embedding server has moved.
    pub(super) fn embedding_fetched(&mut self, id: HttpId, event: FetchEvent) {
        let Some(Stage::Embedding(embedding)) = self.api.pending.get_mut(&id).map(|p| &mut p.stage) else {
            return;
        };
        match event {
            FetchEvent::Head { status, .. } => embedding.status = status,
            FetchEvent::Chunk(chunk) => {
                embedding.body.extend_from_slice(&chunk);
                if embedding.body.len() as u64 > limits::EMBEDDING_BYTES {
                    let fetch = embedding.fetch;
                    self.abort_fetch(fetch);
                    tracing::warn!(target: "gateway.http", "the answer of the embedding server is too large");
                    self.refuse_http(id, Spelling::OpenAi, &Refusal::internal());
                }
            }
            FetchEvent::End => match embedding.answer() {
                Some(body) => {
                    self.api.take(id);
                    self.respond(id, HttpResponse::json(200, body));
                }
                None => {
                    let status = embedding.status;
                    tracing::warn!(target: "gateway.http", status, "the embedding server gave no embeddings");
                    self.refuse_http(id, Spelling::OpenAi, &Refusal::internal());
                }
            },
            FetchEvent::Failed(error) => {
                tracing::warn!(target: "gateway.http", %error, "the embedding server did not answer");
                self.refuse_http(id, Spelling::OpenAi, &Refusal::internal());
            }
        }
    }
}

impl Embedding {
    /// The answer to the client; `None` when the server's is not one vector for each text.
    fn answer(&self) -> Option<String> {
        let answered: Answered = serde_json::from_slice(&self.body).ok().filter(|_| self.status == 200)?;
        let mut vectors = answered.data;
        if vectors.len() != self.inputs {
            return None;
        }
        if vectors.iter().all(|vector| vector.index.is_some()) {
            vectors.sort_by_key(|vector| vector.index);
        }
        let shape = |numbers: Vec<f32>| match self.base64 {
            false => Shape::Numbers(numbers),
            true => {
                let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
                Shape::Base64(STANDARD.encode(bytes))
            }
        };
        let item = |(index, vector): (usize, Vector)| Item {
            object: "embedding",
            index,
            embedding: shape(vector.embedding),
        };
        let data = vectors.into_iter().enumerate().map(item).collect();
        let usage = answered.usage.unwrap_or_default();
        serde_json::to_string(&List { object: "list", data, model: &self.model, usage }).ok()
    }
}

/// The texts: one or several, within the bounds.
fn inputs<'a>(fields: &Fields<'a>) -> Result<Vec<&'a str>, Refusal> {
    let wrong = || Refusal::invalid("`input` must be a string or an array of strings, none of them empty.");
    let texts: Vec<&str> = match fields.get("input") {
        Some(Value::String(text)) => vec![text.as_str()],
        Some(Value::Array(list)) if !list.is_empty() => {
            list.iter().map(|text| text.as_str().ok_or_else(wrong)).collect::<Result<_, _>>()?
        }
        _ => return Err(wrong()),
    };
    if texts.iter().any(|text| text.is_empty()) {
        return Err(wrong());
    }
    let lengths: Vec<u64> = texts.iter().map(|text| text.chars().count() as u64).collect();
    let (most, longest, total) =
        (limits::EMBEDDING_INPUTS, limits::EMBEDDING_CHARS, limits::EMBEDDING_TOTAL_CHARS);
    if texts.len() as u64 > most {
        return Err(Refusal::invalid(format!("`input` has {} texts; use at most {most}.", texts.len())));
    }
    if lengths.iter().any(|length| *length > longest) {
        return Err(Refusal::invalid(format!("A text of `input` is longer than {longest} characters.")));
    }
    if lengths.iter().sum::<u64>() > total {
        return Err(Refusal::invalid(format!(
            "The texts of `input` are longer than {total} characters together."
        )));
    }
    Ok(texts)
}

fn request(provider: &ProviderSettings, asked: &Value) -> FetchRequest {
    let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    if let Some(key) = provider.first_key().filter(|_| provider.auth_header) {
        headers.push(("authorization".to_owned(), format!("Bearer {}", key.expose())));
    }
    headers.extend(provider.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())));
    FetchRequest {
        method: "POST",
        url: format!("{}/embeddings", provider.base_url),
        headers,
        body: Bytes::from(asked.to_string()),
        head_timeout: PATIENCE,
        idle_timeout: PATIENCE,
        reach: Reach::Anywhere,
    }
}
