//! Randomness from a seed that the adapter draws once; the same seed gives the same ids, nonces and tokens.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};

/// The seed of a machine: 32 bytes from the operating system, or from a simulator.
#[derive(Clone, Copy)]
pub struct Seed([u8; 32]);

impl From<[u8; 32]> for Seed {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// A generator of identifiers and secrets.
pub struct Entropy(ChaCha20Rng);

impl Entropy {
    /// A generator for one machine; `stream` keeps machines that share a seed apart.
    pub fn new(seed: Seed, stream: u64) -> Self {
        let mut rng = ChaCha20Rng::from_seed(seed.0);
        rng.set_stream(stream);
        Self(rng)
    }

    /// A version 4 UUID in lower-case hex with dashes.
    pub fn uuid(&mut self) -> String {
        let mut bytes = [0_u8; 16];
        self.0.fill_bytes(&mut bytes);
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let hex = hex(&bytes);
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }

    /// A secret of 32 random bytes in base64url: 43 characters.
    pub fn token(&mut self) -> String {
        let mut bytes = [0_u8; 32];
        self.0.fill_bytes(&mut bytes);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Any number of 32 bits.
    pub fn number(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// Eight hex digits, the form of transcript entry ids (spec 02 §5).
    pub fn entry_id(&mut self) -> String {
        format!("{:08x}", self.0.next_u32())
    }
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_ids() {
        let mut a = Entropy::new(Seed::from([7; 32]), 1);
        let mut b = Entropy::new(Seed::from([7; 32]), 1);
        let mut other = Entropy::new(Seed::from([7; 32]), 2);
        let uuid = a.uuid();
        assert_eq!(uuid, b.uuid());
        assert_ne!(uuid, other.uuid());
        assert_eq!((uuid.len(), &uuid[14..15]), (36, "4"));
        assert_eq!(a.token().len(), 43);
        assert_eq!(a.entry_id().len(), 8);
    }
}
