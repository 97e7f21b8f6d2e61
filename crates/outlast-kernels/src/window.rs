//! The search for windows whose value is zero.
//!
//! A Rabin fingerprint is the remainder of a polynomial over GF(2), so every bit of it is a sum of bits of
//! the window: which ones depends on the polynomial alone. For one bit of the value and one bit position
//! m within bytes, the contributions at 64 neighbouring positions are a convolution over GF(2) of the bits m
//! of 128 neighbouring bytes, which is one carry-less multiplication. Eight bits of the value are computed
//! in this way at all positions; where all eight are zero, once in 256 positions, the whole value is.

/// Bytes that a value depends on.
pub const WINDOW_BYTES: usize = 64;
/// Bits of a value that must be zero.
pub const VALUE_BITS: u32 = 20;
/// Bits of the value that are tested at every position.
pub(crate) const TESTED_BITS: usize = 8;

/// What each bit of a window contributes to the value: `weights[distance][bit]` is for a bit of the byte so
/// far before the window's last one. Only the lowest [`VALUE_BITS`] bits count.
pub type Weights = [[u32; 8]; WINDOW_BYTES];

/// How a search is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// With vectors of 512 bits: AVX-512 (F, BW, VBMI), GFNI and VPCLMULQDQ.
    Wide,
    /// With vectors of 128 bits: PCLMULQDQ.
    Narrow,
    /// Window by window, on any processor. Slow: it defines what the others compute.
    Plain,
}

impl Form {
    /// All forms, the fastest first.
    pub const ALL: [Self; 3] = [Self::Wide, Self::Narrow, Self::Plain];

    /// Whether this processor can do it.
    pub fn is_offered(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Wide => crate::x86::offers_wide(),
            #[cfg(target_arch = "x86_64")]
            Self::Narrow => crate::x86::offers_narrow(),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Wide | Self::Narrow => false,
            Self::Plain => true,
        }
    }
}

/// Looks for windows whose value is zero.
#[derive(Clone)]
pub struct WindowSearch {
    form: Form,
    tables: Box<Tables>,
}

impl std::fmt::Debug for WindowSearch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WindowSearch")
            .field("form", &self.form)
            .finish_non_exhaustive()
    }
}

/// What is computed from the weights beforehand.
#[derive(Clone)]
pub(crate) struct Tables {
    /// What a byte contributes to the value, by its distance from the window's end.
    bytes: [[u32; 256]; WINDOW_BYTES],
    /// `factors[k][m]`: bit j says whether bit m of the byte at distance j contributes to bit k of the
    /// value.
    pub(crate) factors: [[u64; 8]; TESTED_BITS],
}

impl Tables {
    fn new(weights: &Weights) -> Self {
        let mut tables = Self {
            bytes: [[0; 256]; WINDOW_BYTES],
            factors: [[0; 8]; TESTED_BITS],
        };
        let mask = (1 << VALUE_BITS) - 1;
        for (distance, bits) in weights.iter().enumerate() {
            for (byte, value) in tables.bytes[distance].iter_mut().enumerate() {
                let set = bits
                    .iter()
                    .enumerate()
                    .filter(|(bit, _)| byte >> bit & 1 == 1);
                *value = set.fold(0, |value, (_, weight)| value ^ (weight & mask));
            }
            for (k, factors) in tables.factors.iter_mut().enumerate() {
                for (weight, factor) in bits.iter().zip(factors) {
                    *factor |= u64::from(weight >> k & 1) << distance;
                }
            }
        }
        tables
    }

    /// Whether the value of a window is zero.
    #[inline]
    pub(crate) fn is_zero(&self, window: &[u8; WINDOW_BYTES]) -> bool {
        let last_first = window.iter().rev();
        let contributions = last_first
            .zip(&self.bytes)
            .map(|(&byte, table)| table[usize::from(byte)]);
        contributions.fold(0, |value, one| value ^ one) == 0
    }

    /// Whether the value of the window that ends before `end` is zero; no window begins before the first byte.
    #[inline]
    pub(crate) fn is_zero_at(&self, bytes: &[u8], end: usize) -> bool {
        let window = bytes.get(..end).and_then(|before| before.last_chunk());
        window.is_some_and(|window| self.is_zero(window))
    }

    fn first_plain(&self, bytes: &[u8], from: usize) -> Option<usize> {
        (from..=bytes.len()).find(|&end| self.is_zero_at(bytes, end))
    }
}

impl WindowSearch {
    /// A search in the fastest form that this processor offers, or `None` where only the plain one is:
    /// who rolls a value from window to window is faster than that.
    pub fn fast(weights: &Weights) -> Option<Self> {
        let mut forms = Form::ALL.into_iter();
        let form = forms.find(|form| *form != Form::Plain && form.is_offered())?;
        Self::in_form(form, weights)
    }

    /// A search in this form, or `None` if this processor does not offer it.
    pub fn in_form(form: Form, weights: &Weights) -> Option<Self> {
        form.is_offered().then(|| Self {
            form,
            tables: Box::new(Tables::new(weights)),
        })
    }

    /// How it is done.
    pub fn form(&self) -> Form {
        self.form
    }

    /// The first position from `from` on before which a window of `bytes` ends whose value is zero.
    pub fn first(&self, bytes: &[u8], from: usize) -> Option<usize> {
        let from = from.max(WINDOW_BYTES);
        match self.form {
            _ if from > bytes.len() => None,
            #[cfg(target_arch = "x86_64")]
            Form::Wide => crate::x86::first_wide(&self.tables, bytes, from),
            #[cfg(target_arch = "x86_64")]
            Form::Narrow => crate::x86::first_narrow(&self.tables, bytes, from),
            _ => self.tables.first_plain(bytes, from),
        }
    }
}
