//! Attachments of a message (spec 02 §12). Only images are taken; other files are dropped and logged.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use telson_proto::ErrorShape;
use telson_proto::chat::Attachment;

use crate::limits;
use crate::providers::request::Image;

/// The first bytes of the image formats that models and browsers know.
const SNIFFED: [(&[u8], &str); 4] = [
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
];

/// Signatures of files that are no images, whatever their declared type says.
const OTHERS: [&[u8]; 7] = [b"%PDF", b"PK\x03\x04", b"\x7fELF", b"\x1f\x8b", b"OggS", b"ID3", b"fLaC"];

/// The images among the attachments.
///
/// # Errors
///
/// The content of one is not a string, not base64, or too large; the text names it by its file name, its type
/// or its number.
pub(super) fn images(attachments: Option<&[Attachment]>) -> Result<Vec<Image>, ErrorShape> {
    let mut images = Vec::new();
    for (index, attachment) in attachments.unwrap_or_default().iter().enumerate() {
        let Some(content) = &attachment.content else { continue };
        let label = label(attachment, index);
        match image(attachment, content)
            .map_err(|problem| ErrorShape::invalid(format!("attachment {label}: {problem}")))?
        {
            Some(image) => images.push(image),
            None => {
                tracing::info!(target: "gateway", attachment = label, "an attachment is no image and was dropped");
            }
        }
    }
    Ok(images)
}

fn label(attachment: &Attachment, index: usize) -> String {
    let named = [&attachment.file_name, &attachment.kind];
    let name = named.into_iter().flatten().map(|name| name.trim()).find(|name| !name.is_empty());
    name.map_or_else(|| format!("attachment-{}", index + 1), |name| name.chars().take(100).collect())
}

fn image(attachment: &Attachment, content: &Value) -> Result<Option<Image>, String> {
    let Some(text) = content.as_str() else { return Err("content must be base64 string".to_owned()) };
    let (url_type, text) = split_data_url(text.trim());
    let usable = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    let invalid = || "invalid base64 content".to_owned();
    if text.is_empty() || !text.len().is_multiple_of(4) || !text.bytes().all(usable) {
        return Err(invalid());
    }
    let padding = text.bytes().rev().take_while(|byte| *byte == b'=').count();
    let size = text.len() / 4 * 3 - padding.min(2);
    let most = limits::length(limits::ATTACHMENT_BYTES);
    if size > most {
        return Err(format!("exceeds size limit ({size} > {most} bytes)"));
    }
    let bytes = STANDARD.decode(text).map_err(|_| invalid())?;
    if bytes.is_empty() {
        return Err(invalid());
    }
    let declared = attachment.mime_type.as_deref().or(url_type).map(str::to_ascii_lowercase);
    let mime = sniff(&bytes).or_else(|| declared.filter(|mime| is_image(mime) && !is_other(&bytes)));
    Ok(mime.map(|mime| Image { mime, base64: text.into() }))
}

/// Splits `data:<type>;base64,<text>`.
fn split_data_url(text: &str) -> (Option<&str>, &str) {
    let parts = text.strip_prefix("data:").and_then(|rest| rest.split_once(','));
    match parts.and_then(|(head, data)| Some((head.strip_suffix(";base64")?, data))) {
        Some((mime, data)) => (Some(mime), data),
        None => (None, text),
    }
}

fn sniff(bytes: &[u8]) -> Option<String> {
    let known = SNIFFED.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, mime)| *mime);
    let webp = || (bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP")).then_some("image/webp");
    known.or_else(webp).map(str::to_owned)
}

fn is_other(bytes: &[u8]) -> bool {
    OTHERS.iter().any(|magic| bytes.starts_with(magic))
}

/// Whether a declared type is that of an image and can stand in a data URL as it is.
fn is_image(mime: &str) -> bool {
    mime.strip_prefix("image/").is_some_and(|kind| {
        !kind.is_empty() && kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".+-".contains(&byte))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn read(attachment: Value) -> Result<Vec<String>, String> {
        let attachment: Attachment = serde_json::from_value(attachment).unwrap();
        let images = images(Some(&[attachment])).map_err(|error| error.message)?;
        Ok(images.into_iter().map(|image| image.mime).collect())
    }

    fn base64(bytes: &[u8]) -> String {
        STANDARD.encode(bytes)
    }

    #[test]
    fn the_first_bytes_decide() {
        let png = base64(b"\x89PNG\r\n\x1a\nrest");
        assert_eq!(read(json!({"mimeType": "image/jpeg", "content": png})).unwrap(), ["image/png"]);
        let jpeg = format!("data:text/plain;base64,{}", base64(b"\xff\xd8\xff\xe0"));
        assert_eq!(read(json!({"content": jpeg})).unwrap(), ["image/jpeg"]);
        assert_eq!(read(json!({"content": base64(b"GIF89a..")})).unwrap(), ["image/gif"]);
        assert_eq!(read(json!({"content": base64(b"RIFF....WEBPVP8 ")})).unwrap(), ["image/webp"]);
        assert_eq!(
            read(json!({"mimeType": "image/heic", "content": base64(b"ftypheic")})).unwrap(),
            ["image/heic"]
        );
    }

    #[test]
    fn files_that_are_no_images_are_dropped() {
        assert_eq!(read(json!({"mimeType": "text/plain", "content": base64(b"hello")})).unwrap().len(), 0);
        assert_eq!(read(json!({"mimeType": "image/png", "content": base64(b"%PDF-1.7")})).unwrap().len(), 0);
        assert_eq!(read(json!({"mimeType": "image/a;b", "content": base64(b"hello")})).unwrap().len(), 0);
        assert_eq!(read(json!({"type": "image"})).unwrap().len(), 0);
    }

    #[test]
    fn refusals_name_the_attachment_and_the_problem() {
        let refused = |attachment| read(attachment).unwrap_err();
        assert_eq!(refused(json!({"content": 7})), "attachment attachment-1: content must be base64 string");
        assert_eq!(
            refused(json!({"type": "image", "content": "A-A="})),
            "attachment image: invalid base64 content"
        );
        assert_eq!(
            refused(json!({"fileName": "a.png", "content": "QQ="})),
            "attachment a.png: invalid base64 content"
        );
        assert_eq!(refused(json!({"content": "===="})), "attachment attachment-1: invalid base64 content");
        assert_eq!(refused(json!({"content": ""})), "attachment attachment-1: invalid base64 content");
        let large = base64(&vec![0; 5_000_001]);
        assert_eq!(
            refused(json!({"content": large})),
            "attachment attachment-1: exceeds size limit (5000001 > 5000000 bytes)"
        );
    }
}
