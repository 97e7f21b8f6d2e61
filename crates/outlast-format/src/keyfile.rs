//! Key files: the master key, wrapped by a key that scrypt makes from a password.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use outlast_object::SCRYPT_MEMORY_BYTES_MAX;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::{FormatError, MasterKey, Time, to_go_json};

/// Cost parameters of scrypt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScryptCost {
    /// Number of rounds, a power of two.
    pub n: u64,
    /// Block size; memory is 128·N·r bytes.
    pub r: u32,
    /// Parallelism.
    pub p: u32,
}

impl ScryptCost {
    /// Enough for a random password of 256 bits, which cannot be guessed however cheap a try is.
    pub const RANDOM_PASSWORD: ScryptCost = ScryptCost { n: 2, r: 8, p: 1 };
    /// The least that passwords of people get, and what calibration starts from.
    pub const PASSWORD_MIN: ScryptCost = ScryptCost {
        n: 1 << 15,
        r: 8,
        p: 4,
    };
    /// Largest parallelism that is followed.
    const P_MAX: u32 = 16;

    fn check(self) -> Result<scrypt::Params, FormatError> {
        let refuse = || {
            FormatError::KeyFile(format!(
                "scrypt parameters N={} r={} p={}",
                self.n, self.r, self.p
            ))
        };
        let memory = self
            .n
            .checked_mul(128)
            .and_then(|bytes| bytes.checked_mul(self.r.into()));
        let bounded = memory.is_some_and(|bytes| bytes <= SCRYPT_MEMORY_BYTES_MAX);
        if !self.n.is_power_of_two() || self.n < 2 || !bounded || self.p > Self::P_MAX {
            return Err(refuse());
        }
        scrypt::Params::new(self.n.trailing_zeros() as u8, self.r, self.p).map_err(|_| refuse())
    }

    /// The key that a password and a salt make.
    fn derive(self, password: &[u8], salt: &[u8]) -> Result<MasterKey, FormatError> {
        let params = self.check()?;
        let mut bytes = Zeroizing::new([0; MasterKey::LEN]);
        scrypt::scrypt(password, salt, &params, &mut *bytes)
            .map_err(|error| FormatError::KeyFile(error.to_string()))?;
        MasterKey::from_bytes(&bytes)
    }
}

/// A key file's JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyFile {
    /// When it was made. rustic leaves it out.
    #[serde(default = "zero_time")]
    pub created: Time,
    /// Who made it.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub username: String,
    /// Where it was made.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub hostname: String,
    /// Name of the key derivation; always `scrypt`.
    pub kdf: String,
    /// Cost of scrypt.
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
    salt: String,
    data: String,
}

fn zero_time() -> Time {
    Time::ZERO
}

fn null_as_empty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.unwrap_or_default())
}

#[derive(Serialize, Deserialize)]
struct MacDocument {
    k: String,
    r: String,
}

#[derive(Serialize, Deserialize)]
struct MasterDocument {
    mac: MacDocument,
    encrypt: String,
}

impl Drop for MasterDocument {
    fn drop(&mut self) {
        self.mac.k.zeroize();
        self.mac.r.zeroize();
        self.encrypt.zeroize();
    }
}

const SALT_BYTES: usize = 64;

/// The master key as the JSON that key files hold sealed. Whoever has it can read everything.
pub fn master_key_json(master: &MasterKey) -> Result<Zeroizing<Vec<u8>>, FormatError> {
    let (encrypt, k, r) = master.parts();
    let document = MasterDocument {
        mac: MacDocument {
            k: STANDARD.encode(k),
            r: STANDARD.encode(r),
        },
        encrypt: STANDARD.encode(encrypt),
    };
    Ok(Zeroizing::new(to_go_json(&document)?))
}

impl KeyFile {
    /// Wraps `master` with a password. `salt` and `iv` must be random.
    pub fn wrap(
        master: &MasterKey,
        password: &[u8],
        cost: ScryptCost,
        origin: (Time, String, String),
        salt: &[u8; SALT_BYTES],
        iv: [u8; 16],
    ) -> Result<Self, FormatError> {
        let json = master_key_json(master)?;
        let sealed = cost.derive(password, salt)?.seal(iv, &json)?;
        let (created, username, hostname) = origin;
        Ok(Self {
            created,
            username,
            hostname,
            kdf: "scrypt".to_owned(),
            n: cost.n,
            r: cost.r,
            p: cost.p,
            salt: STANDARD.encode(salt),
            data: STANDARD.encode(sealed),
        })
    }

    /// The master key, if the password is right; [`FormatError::Unauthentic`] if it is not.
    pub fn unwrap(&self, password: &[u8]) -> Result<MasterKey, FormatError> {
        if self.kdf != "scrypt" {
            return Err(FormatError::KeyFile(
                "its key derivation is not scrypt".to_owned(),
            ));
        }
        let decode = |text: &str, what: &str| {
            STANDARD
                .decode(text)
                .map_err(|_| FormatError::KeyFile(format!("{what} is not base64")))
        };
        let salt = decode(&self.salt, "salt")?;
        if salt.len() != SALT_BYTES {
            return Err(FormatError::KeyFile(format!(
                "a salt of {} bytes",
                salt.len()
            )));
        }
        let sealed = decode(&self.data, "data")?;
        let json = Zeroizing::new(self.cost().derive(password, &salt)?.open(&sealed)?);
        let document: MasterDocument = serde_json::from_slice(&json)
            .map_err(|_| FormatError::KeyFile("its content".into()))?;
        let mut bytes = Zeroizing::new([0; MasterKey::LEN]);
        let parts = [
            (&document.encrypt, 0..32),
            (&document.mac.k, 32..48),
            (&document.mac.r, 48..64),
        ];
        for (text, range) in parts {
            let part = Zeroizing::new(decode(text, "key")?);
            if part.len() != range.len() {
                return Err(FormatError::KeyFile("a key of the wrong length".to_owned()));
            }
            bytes[range].copy_from_slice(&part);
        }
        MasterKey::from_bytes(&bytes)
    }

    /// The cost parameters it names. They are checked when it is unwrapped.
    pub fn cost(&self) -> ScryptCost {
        ScryptCost {
            n: self.n,
            r: self.r,
            p: self.p,
        }
    }

    /// The file's bytes.
    pub fn to_json(&self) -> Result<Vec<u8>, FormatError> {
        to_go_json(self)
    }

    /// Parses a key file.
    pub fn from_json(json: &[u8]) -> Result<Self, FormatError> {
        serde_json::from_slice(json).map_err(|error| FormatError::json("key file", &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapped(cost: ScryptCost) -> KeyFile {
        let master = MasterKey::from_bytes(&[5; 64]).unwrap();
        let origin = (Time::utc(0, 0), "u".to_owned(), "h".to_owned());
        KeyFile::wrap(&master, b"secret", cost, origin, &[7; 64], [1; 16]).unwrap()
    }

    #[test]
    fn what_rustic_leaves_out_is_not_missed() {
        let json = br#"{"kdf":"scrypt","N":2,"r":8,"p":1,"data":"","salt":"","username":null}"#;
        let key = KeyFile::from_json(json).unwrap();
        assert!(key.created.is_zero() && key.username.is_empty() && key.hostname.is_empty());
    }

    #[test]
    fn right_password_opens_and_wrong_one_does_not() {
        let json = wrapped(ScryptCost::RANDOM_PASSWORD).to_json().unwrap();
        let file = KeyFile::from_json(&json).unwrap();
        let master = file.unwrap(b"secret").unwrap();
        assert_eq!(master.parts(), (&[5; 32], &[5; 16], &[5; 16]));
        assert_eq!(
            file.unwrap(b"Secret").unwrap_err(),
            FormatError::Unauthentic
        );
    }

    #[test]
    fn harmful_parameters_are_refused_before_any_work() {
        let mut file = wrapped(ScryptCost::RANDOM_PASSWORD);
        for (n, r, p) in [
            (1 << 40, 8, 1),
            (3, 8, 1),
            (1, 8, 1),
            (2, 0, 1),
            (2, 8, u32::MAX),
            (2, 8, 0),
        ] {
            (file.n, file.r, file.p) = (n, r, p);
            assert!(
                matches!(file.unwrap(b"secret"), Err(FormatError::KeyFile(_))),
                "{n} {r} {p}"
            );
        }
        let mut file = wrapped(ScryptCost::RANDOM_PASSWORD);
        file.kdf = "none".to_owned();
        assert!(matches!(
            file.unwrap(b"secret"),
            Err(FormatError::KeyFile(_))
        ));
        let mut file = wrapped(ScryptCost::RANDOM_PASSWORD);
        file.salt = STANDARD.encode([1; 10]);
        assert!(matches!(
            file.unwrap(b"secret"),
            Err(FormatError::KeyFile(_))
        ));
    }
}
