//! Files of credentials, as `nsc` makes them: a user's JWT, and the seed of the key that signs what the server asks to be signed
//! ([NKeys](https://docs.nats.io/running-a-nats-service/configuration/securing_nats/auth_intro/nkey_auth)).

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::signature::Ed25519KeyPair;

/// Bytes of an encoded seed: two of what it is, the seed, two of a checksum.
const ENCODED: usize = 2 + 32 + 2;
/// The first bits of a seed, by five each: `S`.
const SEED: u8 = 18 << 3;

/// A user.
pub(super) struct Credentials {
    jwt: String,
    key: Ed25519KeyPair,
}

impl Credentials {
    /// Of a file's text; `None` for what is none.
    pub(super) fn of(text: &str) -> Option<Self> {
        // Each stands on a line of its own between two that begin with dashes.
        let is_word = |line: &&str| !line.is_empty() && !line.starts_with('-');
        let mut behind = text.lines().map(str::trim);
        behind.find(|line| line.contains("BEGIN NATS USER JWT"))?;
        let jwt = behind.find(is_word)?.to_owned();
        behind.find(|line| line.contains("BEGIN USER NKEY SEED"))?;
        let bytes = decoded(behind.find(is_word)?)?;
        let sum = u16::from_le_bytes([bytes[ENCODED - 2], bytes[ENCODED - 1]]);
        if bytes[0] & 0xf8 != SEED || checksum(&bytes[..ENCODED - 2]) != sum {
            return None;
        }
        let key = Ed25519KeyPair::from_seed_unchecked(&bytes[2..ENCODED - 2]).ok()?;
        Some(Self { jwt, key })
    }

    pub(super) fn jwt(&self) -> &str {
        &self.jwt
    }

    /// The signature of what the server asked for.
    pub(super) fn sign(&self, nonce: &[u8]) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.key.sign(nonce))
    }
}

/// Base32 without padding ([RFC 4648](https://www.rfc-editor.org/rfc/rfc4648), section 6), of the length of a seed.
fn decoded(text: &str) -> Option<[u8; ENCODED]> {
    let mut bytes = Vec::with_capacity(ENCODED);
    let (mut bits, mut count) = (0_u32, 0);
    for of in text.bytes() {
        let value = match of {
            b'A'..=b'Z' => of - b'A',
            b'2'..=b'7' => of - b'2' + 26,
            _ => return None,
        };
        bits = (bits << 5) | u32::from(value);
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    bytes.try_into().ok()
}

/// CRC-16 of XMODEM: the polynomial 0x1021, from 0.
fn checksum(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |sum, byte| {
        (0..8).fold(sum ^ (u16::from(*byte) << 8), |sum, _| {
            let shifted = sum << 1;
            if sum & 0x8000 == 0 {
                shifted
            } else {
                shifted ^ 0x1021
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_a_token_and_a_seed() {
        // A seed that the documentation of NKeys shows.
        let seed = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
        let file = |seed: &str| {
            format!(
                "-----BEGIN NATS USER JWT-----\neyJ0.e.x\n------END NATS USER JWT------\n\n*** IMPORTANT ***\n\n\
                 -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
            )
        };
        let found = Credentials::of(&file(seed)).unwrap();
        assert_eq!(found.jwt(), "eyJ0.e.x");
        assert_eq!(found.sign(b"nonce").len(), 86);
        for wrong in [&seed[1..], &seed.replace('7', "6"), "", "hunter2"] {
            assert!(Credentials::of(&file(wrong)).is_none(), "{wrong}");
        }
        assert!(Credentials::of("hunter2").is_none());
    }
}
