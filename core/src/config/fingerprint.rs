//! Fingerprints of certificates and keys, as people write them (spec 05 §7).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Reads a SHA-256 fingerprint: hexadecimal digits in either case, with or without a label, colons and spaces; or
/// `sha256//` and base64, as `curl --pinnedpubkey` has it. `None` when what is left is no SHA-256.
pub fn fingerprint(text: &str) -> Option<[u8; 32]> {
    let text = text.trim();
    if let Some(key) = text.strip_prefix("sha256//") {
        return STANDARD.decode(key).ok()?.try_into().ok();
    }
    let lower = text.to_ascii_lowercase();
    let bare = ["sha-256", "sha256"].iter().find_map(|label| lower.strip_prefix(label)).unwrap_or(&lower);
    let digits: Vec<u8> = bare.chars().filter_map(|c| u8::try_from(c.to_digit(16)?).ok()).collect();
    let (pairs, rest) = digits.as_chunks::<2>();
    let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
    if rest.is_empty() { bytes.try_into().ok() } else { None }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_way_to_write_a_fingerprint_means_the_same() {
        let bytes: [u8; 32] = std::array::from_fn(|i| u8::try_from(i * 7).unwrap());
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let colons: Vec<String> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
        let ways = [
            hex.clone(),
            format!("  sha256:{hex}\n"),
            format!("SHA-256 {}", hex.to_uppercase()),
            format!("SHA256 Fingerprint={}", colons.join(":")).replace("Fingerprint", ""),
            colons.join(":"),
            format!("sha256//{}", STANDARD.encode(bytes)),
        ];
        for way in ways {
            assert_eq!(fingerprint(&way), Some(bytes), "{way}");
        }
        for wrong in ["", "sha256:", "ab", &hex[1..], &format!("{hex}0"), &format!("{hex}00"), "sha256//AAAA"]
        {
            assert_eq!(fingerprint(wrong), None, "{wrong}");
        }
    }
}
