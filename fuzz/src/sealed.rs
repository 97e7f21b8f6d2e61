//! What is encrypted: the envelope, and documents inside of it.

use outlast_format::{SEAL_BYTES, decode_unpacked, encode_unpacked};

use crate::{IV, key};

/// The envelope around everything.
pub fn envelope(data: &[u8]) {
    let key = key();
    assert!(key.open(data).is_err(), "nobody guesses a seal");

    let sealed = key.seal(IV, data).expect("anything can be sealed");
    assert_eq!(sealed.len(), data.len() + SEAL_BYTES);
    assert_eq!(key.open(&sealed).as_deref(), Ok(data));

    // The input also says which bit is flipped and where the rest is cut off.
    let place = data.iter().fold(0_usize, |sum, byte| {
        sum.wrapping_mul(31) + usize::from(*byte)
    });
    let mut damaged = sealed.clone();
    damaged[place % sealed.len()] ^= 1 << (place % 8);
    assert!(key.open(&damaged).is_err(), "a flipped bit is noticed");
    let cut = &sealed[..place % sealed.len()];
    assert!(key.open(cut).is_err(), "a cut is noticed");
}

/// A document outside packs, compressed or not: the input is what stands inside the seal.
pub fn unpacked(data: &[u8]) {
    let key = key();
    let sealed = key.seal(IV, data).expect("anything can be sealed");
    if let Ok(json) = decode_unpacked(&sealed, &key)
        && matches!(json.first(), Some(b'{' | b'['))
    {
        for version in [1, 2] {
            let again = encode_unpacked(&json, version, &key, IV).expect("it can be written");
            assert_eq!(decode_unpacked(&again, &key).as_ref(), Ok(&json));
        }
    }
}
