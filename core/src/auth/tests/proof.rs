#![allow(clippy::unwrap_used, clippy::expect_used)]

use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;

const KEY: &str = "A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg";
const ID: &str = "56475aa75463474c0285df5dbf2bcab73da651358839e9b77481b2eab107708c";
const NONCE: &str = "7d1f0c9e-2a64-4b0d-9a53-5f6f1f6f0a11";
const SIGNED_AT: u64 = 1_769_700_000_000;
const V1: &str = "IPMPrXajMK-9T25WbTMtWVtW6eMD_mmlmiOpaZrpV6KzhUie1jN0cnAZtSfY1jJU8lF8sivdZ-7Wz2ZsntNxCw";
const V2: &str = "WPePAqVLud9ty-qtCQ8dq6BScaBOTht48K_anxHdWGR78hmdZxmbCNGAfHYUtXO0tjhbD3AYcf6mSnx1FjyyDQ";
const V3: &str = "us1GFztTxECeO6iYSQwn2AUMXWP5wefngS7CwstO8h4nQrhnHmvTZ8HHZAR76VvdPvlHCvcfmTyFsjkiC9eWCg";
const NODE: &str = "uiSKZJGXLtbLDmllgOPoVdlle-3snceEUzIegbNa8T0TIDgUh26oQMK-Hfd8CL4KsfacDdffrR8Ky0GyGCEgBQ";

fn cli() -> SignedFields {
    SignedFields {
        client_id: "cli".into(),
        client_mode: "cli".into(),
        scopes: vec!["operator.read".into(), "operator.write".into()],
        platform: " Linux".into(),
        device_family: "Server ".into(),
    }
}

fn node() -> SignedFields {
    SignedFields { client_id: "node-host".into(), client_mode: "node".into(), ..SignedFields::default() }
}

/// What the published vectors were made for.
fn challenge(fields: &SignedFields) -> Challenge<'_> {
    Challenge {
        nonce: NONCE,
        now_ms: SIGNED_AT,
        protocol: Protocol::V3,
        local: true,
        role: Role::Operator,
        token: "s3cret-token",
        fields,
    }
}

fn proof(signature: &str, nonce: Option<&str>) -> DeviceProof {
    proof_of(ID, KEY, signature, nonce)
}

fn proof_of(id: &str, key: &str, signature: &str, nonce: Option<&str>) -> DeviceProof {
    let json =
        json!({"id": id, "publicKey": key, "signature": signature, "signedAt": SIGNED_AT, "nonce": nonce});
    serde_json::from_value(json).unwrap()
}

fn fault(proof: &DeviceProof, challenge: &Challenge<'_>) -> ProofFault {
    verify(proof, challenge).unwrap_err()
}

#[test]
fn the_published_vectors_verify() {
    let fields = cli();
    for protocol in Protocol::ALL {
        let challenge = Challenge { protocol, ..challenge(&fields) };
        for signature in [V2, V3] {
            let device = verify(&proof(signature, Some(NONCE)), &challenge).unwrap();
            assert_eq!((device.id.as_str(), device.public_key.as_str()), (ID, KEY));
        }
    }
    assert!(verify(&proof(V1, None), &challenge(&fields)).is_ok());
    let fields = node();
    let challenge = Challenge { role: Role::Node, token: "", ..challenge(&fields) };
    assert!(verify(&proof(NODE, Some(NONCE)), &challenge).is_ok());
}

#[test]
fn the_oldest_version_is_for_local_clients_of_protocol_3_without_a_nonce() {
    let fields = cli();
    let local = challenge(&fields);
    assert_eq!(fault(&proof(V1, Some(NONCE)), &local), ProofFault::Signature);
    assert_eq!(fault(&proof(V2, None), &local), ProofFault::Signature);
    let remote = Challenge { local: false, ..challenge(&fields) };
    assert_eq!(fault(&proof(V1, None), &remote), ProofFault::NonceMissing);
    let v4 = Challenge { protocol: Protocol::V4, ..challenge(&fields) };
    assert_eq!(fault(&proof(V1, None), &v4), ProofFault::NonceMissing);
    assert_eq!(fault(&proof(V3, Some("  ")), &v4), ProofFault::NonceMissing);
}

#[test]
fn a_proof_is_good_on_its_own_connection_and_for_what_it_signed() {
    let fields = cli();
    let good = || challenge(&fields);
    let proof = proof(V3, Some(NONCE));
    let elsewhere = Challenge { nonce: "another", ..good() };
    assert_eq!(fault(&proof, &elsewhere), ProofFault::NonceMismatch);
    assert_eq!(fault(&proof, &Challenge { token: "", ..good() }), ProofFault::Signature);
    assert_eq!(fault(&proof, &Challenge { role: Role::Node, ..good() }), ProofFault::Signature);
    let more = SignedFields { scopes: vec!["operator.admin".into()], ..cli() };
    assert_eq!(fault(&proof, &challenge(&more)), ProofFault::Signature);
    let other = SignedFields { platform: "darwin".into(), ..cli() };
    assert_eq!(fault(&proof, &challenge(&other)), ProofFault::Signature);
}

#[test]
fn the_clock_may_be_off_by_so_much() {
    let fields = cli();
    for (protocol, skew) in [(Protocol::V3, 600_000), (Protocol::V4, 120_000)] {
        for now_ms in [SIGNED_AT - skew, SIGNED_AT + skew] {
            let challenge = Challenge { protocol, now_ms, ..challenge(&fields) };
            assert!(verify(&proof(V2, Some(NONCE)), &challenge).is_ok(), "{protocol:?} {now_ms}");
        }
        for now_ms in [SIGNED_AT - skew - 1, SIGNED_AT + skew + 1] {
            let challenge = Challenge { protocol, now_ms, ..challenge(&fields) };
            assert_eq!(fault(&proof(V2, Some(NONCE)), &challenge), ProofFault::Expired);
        }
    }
}

#[test]
fn keys_are_read_in_every_spelling_and_kept_in_one() {
    let fields = cli();
    let raw = URL_SAFE_NO_PAD.decode(KEY).unwrap();
    let pem = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAA6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=\n-----END PUBLIC KEY-----\n";
    let standard = STANDARD.encode(&raw);
    for key in [pem, &standard, &format!("{KEY}="), &format!(" {KEY} ")] {
        let challenge = Challenge { protocol: Protocol::V4, ..challenge(&fields) };
        let device = verify(&proof_of(ID, key, V3, Some(NONCE)), &challenge).expect(key);
        assert_eq!(device.public_key, KEY);
    }
}

#[test]
fn the_first_fault_is_told() {
    let fields = cli();
    let late = Challenge { now_ms: 0, nonce: "another", ..challenge(&fields) };
    assert_eq!(fault(&proof_of("00", KEY, "x", None), &late), ProofFault::IdMismatch);
    assert_eq!(fault(&proof_of(ID, "garbage", "x", None), &late), ProofFault::IdMismatch);
    assert_eq!(fault(&proof(V2, Some(NONCE)), &late), ProofFault::Expired);
    let here = challenge(&fields);
    assert_eq!(fault(&proof("x", Some("y")), &here), ProofFault::NonceMismatch);
    assert_eq!(fault(&proof("x", Some(NONCE)), &here), ProofFault::Signature);
    assert_eq!(fault(&proof_of(ID, &"A".repeat(4_097), V2, None), &here), ProofFault::PublicKey);
    let refusal = ProofFault::Signature.refusal();
    assert_eq!(refusal.reason, "device signature invalid");
    let details = refusal.error.unwrap().details.unwrap().to_value();
    assert_eq!(details, json!({"code": "DEVICE_AUTH_SIGNATURE_INVALID", "reason": "device-signature"}));
}

#[test]
fn protocol_4_wants_keys_in_their_one_spelling() {
    let fields = cli();
    // The last character carries two bits that mean nothing.
    let odd = format!("{}h", &KEY[..KEY.len() - 1]);
    let proof = proof_of(ID, &odd, V2, Some(NONCE));
    assert!(verify(&proof, &challenge(&fields)).is_ok());
    let v4 = Challenge { protocol: Protocol::V4, ..challenge(&fields) };
    assert_eq!(fault(&proof, &v4), ProofFault::PublicKey);
}

#[test]
fn keys_and_signatures_that_fit_everything_are_refused() {
    let fields = cli();
    // The neutral element: with it, a signature of zeroes fits every text.
    let mut weak = [0_u8; 32];
    weak[0] = 1;
    let id = hex(Sha256::digest(weak).as_slice());
    let mut signature = [0_u8; 64];
    signature[0] = 1;
    let proof = proof_of(&id, &URL_SAFE_NO_PAD.encode(weak), &URL_SAFE_NO_PAD.encode(signature), Some(NONCE));
    assert_eq!(fault(&proof, &challenge(&fields)), ProofFault::Signature);
}

#[test]
fn a_second_spelling_of_a_signature_is_refused() {
    // s + L verifies in a lax verifier, and is another signature of the same text.
    const L: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let fields = cli();
    let mut bytes = URL_SAFE_NO_PAD.decode(V2).unwrap();
    let mut carry = 0_u16;
    for (byte, add) in bytes[32..].iter_mut().zip(L) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = u8::try_from(sum & 0xff).unwrap();
        carry = sum >> 8;
    }
    let proof = proof(&URL_SAFE_NO_PAD.encode(bytes), Some(NONCE));
    assert_eq!(fault(&proof, &challenge(&fields)), ProofFault::Signature);
}

proptest! {
    #[test]
    fn no_changed_signature_passes(at in 0_usize..64, flip in 1_u8..=255) {
        let fields = cli();
        let mut bytes = URL_SAFE_NO_PAD.decode(V3).unwrap();
        bytes[at] ^= flip;
        let proof = proof(&URL_SAFE_NO_PAD.encode(bytes), Some(NONCE));
        prop_assert_eq!(fault(&proof, &challenge(&fields)), ProofFault::Signature);
    }

    #[test]
    fn no_text_makes_the_reader_panic(key in ".{0,80}", signature in ".{0,80}", id in ".{1,80}") {
        prop_assume!(!key.is_empty() && !signature.is_empty());
        let fields = cli();
        let _ = verify(&proof_of(&id, &key, &signature, Some(NONCE)), &challenge(&fields));
    }
}
