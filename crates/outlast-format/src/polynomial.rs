//! Polynomials over GF(2), by which the rolling hash of the chunker is reduced.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::FormatError;

/// An irreducible polynomial of degree 53 over GF(2); bit i is the coefficient of x^i.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Polynomial(u64);

impl Polynomial {
    /// The degree of every polynomial that is used for chunking.
    pub const DEGREE: u32 = 53;

    /// Accepts an irreducible polynomial of degree 53.
    pub fn new(bits: u64) -> Result<Self, FormatError> {
        if degree(bits) != Some(Self::DEGREE) || !is_irreducible(bits) {
            return Err(FormatError::Polynomial(format!("{bits:x}")));
        }
        Ok(Self(bits))
    }

    /// Makes a polynomial from random bits, or `None` where they do not give an irreducible one
    /// (about 26 of 27 times): try again with other bits.
    pub fn from_random(bits: u64) -> Option<Self> {
        let mask = (1 << (Self::DEGREE + 1)) - 1;
        Self::new((bits & mask) | (1 << Self::DEGREE) | 1).ok()
    }

    /// The coefficients.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Remainder of a 128-bit polynomial.
    pub(crate) fn reduce(self, value: u128) -> u64 {
        remainder(value, self.0)
    }
}

fn degree(bits: u64) -> Option<u32> {
    bits.checked_ilog2()
}

/// Remainder of `value` divided by `divisor`, which is not zero.
fn remainder(mut value: u128, divisor: u64) -> u64 {
    let width = u64::BITS - divisor.leading_zeros();
    loop {
        let length = u128::BITS - value.leading_zeros();
        if length < width {
            return value as u64;
        }
        value ^= u128::from(divisor) << (length - width);
    }
}

/// Carry-less product.
fn multiply(left: u64, right: u64) -> u128 {
    (0..u64::BITS)
        .filter(|bit| right >> bit & 1 == 1)
        .fold(0, |product, bit| product ^ (u128::from(left) << bit))
}

fn gcd(mut left: u64, mut right: u64) -> u64 {
    while right != 0 {
        (left, right) = (right, remainder(u128::from(left), right));
    }
    left
}

/// The test of Ben-Or: no factor of degree i divides x^(2^i) - x for any i up to half the degree.
fn is_irreducible(bits: u64) -> bool {
    let Some(degree) = degree(bits) else {
        return false;
    };
    let mut power: u64 = 2;
    for _ in 0..degree / 2 {
        power = remainder(multiply(power, power), bits);
        if gcd(bits, power ^ 2) != 1 {
            return false;
        }
    }
    true
}

impl fmt::Display for Polynomial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl fmt::Debug for Polynomial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Polynomial({:x})", self.0)
    }
}

impl FromStr for Polynomial {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || FormatError::Polynomial(text.chars().take(40).collect());
        if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(bad());
        }
        Self::new(u64::from_str_radix(text, 16).map_err(|_| bad())?)
    }
}

impl Serialize for Polynomial {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Polynomial {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_polynomials() {
        // x^2+x+1 and x^3+x+1 are irreducible; x^2+1 = (x+1)^2 and x^4+x^2+1 = (x^2+x+1)^2 are not.
        for (bits, expected) in [
            (0b111, true),
            (0b1011, true),
            (0b101, false),
            (0b1_0101, false),
        ] {
            assert_eq!(is_irreducible(bits), expected, "{bits:b}");
        }
        assert!(Polynomial::new(0b111).is_err());
        assert!(Polynomial::new(1 << 53).is_err());
        assert!("0x3".parse::<Polynomial>().is_err());
        assert!("".parse::<Polynomial>().is_err());
    }

    #[test]
    fn random_bits_lead_to_one_soon() {
        let mut bits: u64 = 1;
        let found = (0..2000).find_map(|_| {
            bits = bits
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            Polynomial::from_random(bits)
        });
        let polynomial = found.unwrap();
        assert_eq!(
            polynomial.to_string().parse::<Polynomial>().unwrap(),
            polynomial
        );
    }

    #[test]
    fn product_and_remainder_agree() {
        let product = multiply(0b1011, 0b111) as u64;
        assert_eq!(remainder(product.into(), 0b1011), 0);
        assert_eq!(remainder(product.into(), 0b111), 0);
        assert_eq!(gcd(product, 0b111), 0b111);
    }
}
