//! What requests and room cost, roughly.

use super::client::RequestCounts;

/// Bytes of a gigabyte, as providers charge for it.
const GIGABYTE: f64 = 1_073_741_824.0;

/// Prices in one currency. Providers change theirs and differ by region: look yours up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prices {
    /// A thousand writes or listings.
    pub per_1000_writes: f64,
    /// A thousand reads.
    pub per_1000_reads: f64,
    /// A gigabyte kept for a month.
    pub per_gigabyte_month: f64,
    /// A gigabyte that leaves the provider.
    pub per_gigabyte_out: f64,
}

/// Rounded list prices of a large provider's standard class in US dollars; deletions and uploads cost
/// nothing there.
pub const ROUNDED_PRICES: Prices = Prices {
    per_1000_writes: 0.005,
    per_1000_reads: 0.0004,
    per_gigabyte_month: 0.023,
    per_gigabyte_out: 0.09,
};

impl Prices {
    /// What these requests cost.
    pub fn of_requests(&self, counts: &RequestCounts) -> f64 {
        let writes = (counts.writes + counts.lists) as f64 / 1000.0 * self.per_1000_writes;
        let reads = counts.reads as f64 / 1000.0 * self.per_1000_reads;
        writes + reads + counts.bytes_down as f64 / GIGABYTE * self.per_gigabyte_out
    }

    /// What it costs to keep so many bytes for a month.
    pub fn of_month(&self, bytes: u64) -> f64 {
        bytes as f64 / GIGABYTE * self.per_gigabyte_month
    }

    /// What it costs to extend so many objects once: each is asked for its retention and extended,
    /// and listings tell of a thousand at a time.
    pub fn of_renewal(&self, objects: u64) -> f64 {
        self.of_requests(&RequestCounts {
            writes: objects,
            reads: objects,
            lists: objects.div_ceil(1000),
            ..RequestCounts::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums() {
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        let counts = RequestCounts {
            writes: 1000,
            lists: 1000,
            reads: 10_000,
            deletes: 5,
            bytes_up: 1 << 40,
            bytes_down: 1 << 30,
        };
        assert!(near(
            ROUNDED_PRICES.of_requests(&counts),
            0.005 * 2.0 + 0.004 + 0.09
        ));
        assert!(near(ROUNDED_PRICES.of_month(100 << 30), 2.3));
        assert!(near(
            ROUNDED_PRICES.of_renewal(1_000_000),
            5.0 + 0.4 + 0.005
        ));
    }
}
