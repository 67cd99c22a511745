//! Networks in the notation `address/bits`, such as `192.168.1.0/24`.

use std::net::IpAddr;

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    bits: u32,
}

/// Why a text names no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkFault {
    /// What stands before the slash is no address.
    #[error("has no address before the slash")]
    Address,
    /// What stands behind the slash is no number of bits that such an address has.
    #[error("has no number of bits behind the slash that fits the address")]
    Bits,
}

impl Network {
    /// Reads `address/bits`, or one address.
    ///
    /// # Errors
    ///
    /// [`NetworkFault`].
    pub fn parse(text: &str) -> Result<Self, NetworkFault> {
        let text = text.trim();
        let (address, bits) = text.split_once('/').map_or((text, None), |(at, bits)| (at, Some(bits)));
        let base: IpAddr = address.parse().map_err(|_| NetworkFault::Address)?;
        let most = width(base);
        let bits = match bits {
            None => most,
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= most).ok_or(NetworkFault::Bits)?,
        };
        Ok(Self { base, bits })
    }

    /// Whether an address belongs to the network. An IPv4 address in IPv6 clothes is what it is.
    pub fn contains(&self, addr: IpAddr) -> bool {
        let addr = addr.to_canonical();
        let most = width(self.base);
        if width(addr) != most {
            return false;
        }
        let host_bits = most - self.bits;
        let cut = |addr: IpAddr| value(addr).checked_shr(host_bits).unwrap_or(0);
        cut(addr) == cut(self.base)
    }
}

const fn width(addr: IpAddr) -> u32 {
    match addr {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn value(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_address_is_in_the_network_whose_first_bits_it_has() {
        let lan = Network::parse("192.168.1.0/24").unwrap();
        let has = |text: &str| lan.contains(text.parse().unwrap());
        assert!(has("192.168.1.0") && has("192.168.1.255") && has("::ffff:192.168.1.7"));
        assert!(!has("192.168.2.1") && !has("10.0.0.1") && !has("fe80::1"));
        assert!(Network::parse("0.0.0.0/0").unwrap().contains("8.8.8.8".parse().unwrap()));
        assert!(!Network::parse("0.0.0.0/0").unwrap().contains("::1".parse().unwrap()));
        let one = Network::parse("fd00::7").unwrap();
        assert!(one.contains("fd00::7".parse().unwrap()) && !one.contains("fd00::8".parse().unwrap()));
    }

    #[test]
    fn what_names_no_network_is_refused() {
        for text in ["", "lan", "10.0.0/8", "192.168.1.0 /24x", "/8"] {
            assert!(Network::parse(text).is_err(), "{text}");
        }
        for text in ["10.0.0.0/33", "fd00::/129", "10.0.0.0/", "10.0.0.0/-1"] {
            assert_eq!(Network::parse(text), Err(NetworkFault::Bits), "{text}");
        }
    }
}
