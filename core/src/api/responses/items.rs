//! The input of a request for a response: a text, or items in the forms of either API (spec 04 §8.1).

use serde_json::Value;

use crate::api::errors::Refusal;
use crate::api::fields::Fields;
use crate::api::media::{Kind, Source, Wanted};
use crate::api::prompt::{Entry, PICTURES, Speaker};
use crate::limits;

/// What the items say.
#[derive(Default)]
pub(super) struct Input {
    pub(super) system: Vec<String>,
    pub(super) entries: Vec<Entry>,
    pub(super) wanted: Vec<Wanted>,
}

impl Input {
    /// Reads the input; at most `most` pictures and files may come with it.
    pub(super) fn read(input: Option<&Value>, most: usize) -> Result<Self, Refusal> {
        let mut read = Self::default();
        match input {
            Some(Value::String(text)) => read.entries.push(Entry::new(Speaker::User, text.as_str())),
            Some(Value::Array(items)) => {
                let longest = limits::length(limits::API_MESSAGES);
                if items.len() > longest {
                    let message = format!("`input` has {} items; use at most {longest}.", items.len());
                    return Err(Refusal::invalid(message));
                }
                for (index, item) in items.iter().enumerate() {
                    read.item(item)
                        .map_err(|problem| Refusal::invalid(format!("input.{index}: {problem}.")))?;
                }
            }
            _ => return Err(Refusal::invalid("`input` is required: a string or an array of items.")),
        }
        if read.wanted.len() > most {
            let count = read.wanted.len();
            let message = format!("`input` has {count} images and files; use at most {most}.");
            return Err(Refusal::invalid(message));
        }
        Ok(read)
    }

    fn item(&mut self, item: &Value) -> Result<(), String> {
        if !item.is_object() {
            return Err("must be an object".to_owned());
        }
        let fields = Fields::of(item);
        match fields.text("type") {
            Some("message") => self.message(&fields),
            None if fields.get("role").is_some() => self.message(&fields),
            Some("function_call") => {
                let name = fields.text("name").ok_or("a function_call must have a name")?;
                let id = fields.text("call_id").or_else(|| fields.text("id"));
                let arguments = fields.text("arguments").unwrap_or("{}");
                self.entries.push(Entry::call(id, name, arguments));
                Ok(())
            }
            Some("function_call_output") => {
                let id = fields.text("call_id").ok_or("a function_call_output must have a call_id")?;
                let output = match fields.get("output") {
                    Some(Value::String(text)) => text.clone(),
                    Some(parts @ Value::Array(_)) => {
                        let before = self.wanted.len();
                        let text = self.parts(parts)?;
                        if text.is_empty() && self.wanted.len() > before { PICTURES.to_owned() } else { text }
                    }
                    _ => return Err("`output` must be a string or an array of parts".to_owned()),
                };
                self.entries.push(Entry::tool(Some(id), output));
                Ok(())
            }
            Some("reasoning" | "item_reference") => Ok(()),
            Some(other) => Err(format!("items of type {:?} are not supported", short(other))),
            None => Err("must have a type or a role".to_owned()),
        }
    }

    fn message(&mut self, fields: &Fields<'_>) -> Result<(), String> {
        let before = self.wanted.len();
        let mut text = match fields.get("content") {
            Some(Value::String(text)) => text.clone(),
            Some(parts @ Value::Array(_)) => self.parts(parts)?,
            None => String::new(),
            Some(_) => return Err("`content` must be a string or an array of parts".to_owned()),
        };
        match fields.text("role") {
            Some("system" | "developer") => {
                if !text.trim().is_empty() {
                    self.system.push(text.trim().to_owned());
                }
            }
            Some("user") => {
                if text.trim().is_empty() && self.wanted.len() > before {
                    let pictures = self.wanted[before..].iter().any(|wanted| wanted.kind == Kind::Image);
                    text = if pictures { PICTURES } else { "User sent file(s) with no text." }.to_owned();
                }
                self.entries.push(Entry::new(Speaker::User, text));
            }
            Some("assistant") => self.entries.push(Entry::new(Speaker::Assistant, text)),
            _ => return Err("`role` must be system, developer, user or assistant".to_owned()),
        }
        Ok(())
    }

    /// The text of the parts, one a line; pictures and files are put aside.
    fn parts(&mut self, parts: &Value) -> Result<String, String> {
        let mut texts = Vec::new();
        for part in parts.as_array().into_iter().flatten() {
            let fields = Fields::of(part);
            let text = |name: &str| fields.get(name).and_then(Value::as_str);
            match fields.text("type") {
                Some("input_text" | "output_text" | "text") => texts.extend(text("text")),
                Some("refusal") => texts.extend(text("refusal")),
                Some("input_image") => {
                    self.wanted.push(Wanted { kind: Kind::Image, source: image(&fields)? });
                }
                Some("input_file") => self.wanted.push(file(&fields)?),
                Some(other) => {
                    return Err(format!("content parts of type {:?} are not supported", short(other)));
                }
                None => return Err("a content part must have a type".to_owned()),
            }
        }
        Ok(texts.join("\n"))
    }
}

fn image(fields: &Fields<'_>) -> Result<Source, String> {
    if fields.get("file_id").is_some() {
        return Err("input_image by file_id is not supported; send image_url".to_owned());
    }
    if let Some(source) = fields.get("source") {
        return source_of(source);
    }
    let url = match fields.get("image_url") {
        Some(Value::String(url)) => Some(url.as_str()),
        Some(image) => Fields::of(image).text("url"),
        None => None,
    };
    let url = url.ok_or("an input_image must have image_url or source")?;
    Source::of_url(url).map_err(|problem| format!("an image {problem}"))
}

fn file(fields: &Fields<'_>) -> Result<Wanted, String> {
    if fields.get("file_id").is_some() {
        return Err("input_file by file_id is not supported; send file_data or file_url".to_owned());
    }
    let mut name = fields.text("filename");
    let source = match (fields.get("source"), fields.text("file_data"), fields.text("file_url")) {
        (Some(source), _, _) => {
            name = name.or_else(|| Fields::of(source).text("filename"));
            source_of(source)?
        }
        (None, Some(data), _) => match Source::of_url(data).map_err(|problem| format!("a file {problem}"))? {
            source @ Source::Data { .. } => source,
            Source::Url(_) => return Err("`file_data` must be a data: URI".to_owned()),
        },
        (None, None, Some(url)) => {
            name = name.or_else(|| last_step(url));
            Source::of_url(url).map_err(|problem| format!("a file {problem}"))?
        }
        (None, None, None) => return Err("an input_file must have file_data, file_url or source".to_owned()),
    };
    Ok(Wanted { kind: Kind::File { name: name.map(str::to_owned) }, source })
}

/// `{type: "url", url}` or `{type: "base64", media_type, data}`.
fn source_of(source: &Value) -> Result<Source, String> {
    let fields = Fields::of(source);
    match fields.text("type") {
        Some("url") => {
            let url = fields.text("url").ok_or("a source of type url must have a url")?;
            Source::of_url(url).map_err(|problem| format!("a source {problem}"))
        }
        Some("base64") => Ok(Source::Data {
            mime: fields.text("media_type").map(str::to_owned),
            base64: fields.text("data").ok_or("a source of type base64 must have data")?.to_owned(),
        }),
        _ => Err("a source must be of type url or base64".to_owned()),
    }
}

/// The last step of a URL's path, which names the file.
fn last_step(url: &str) -> Option<&str> {
    let path = url.split(['?', '#']).next()?.split_once("://")?.1;
    let (_, name) = path.rsplit_once('/')?;
    (!name.is_empty()).then_some(name)
}

fn short(text: &str) -> String {
    text.chars().take(60).collect()
}
