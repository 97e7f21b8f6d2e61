//! How fast one core finds boundaries in each form, and how fast it hashes: `cargo xtask bench kernels`.

#![allow(clippy::print_stdout, reason = "it is a program that reports")]

use std::hint::black_box;
use std::time::Instant;

use outlast_format::{Chunker, Form, Polynomial};
use outlast_object::hash;

/// Bytes of the data, more than any cache has.
const BYTES: usize = 128 << 20;
/// Rounds, of which the median counts.
const ROUNDS: usize = 5;

fn noise(mut seed: u64) -> Vec<u8> {
    let next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed.to_le_bytes()
    };
    std::iter::repeat_with(next)
        .take(BYTES / 8)
        .flatten()
        .collect()
}

/// Lines of words and numbers, as in a dump.
fn text() -> Vec<u8> {
    let line = |number: usize| {
        let words = ["alpha", "beta", "gamma", "delta"];
        format!(
            "({number},'{}','{}',{}),\n",
            words[number % 4],
            words[number / 7 % 4],
            number * 37
        )
    };
    let mut bytes: Vec<u8> = (0..)
        .flat_map(|number| line(number).into_bytes())
        .take(BYTES)
        .collect();
    bytes.truncate(BYTES);
    bytes
}

fn rate(mut work: impl FnMut()) -> f64 {
    let mut rates: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let began = Instant::now();
            work();
            BYTES as f64 / 1e6 / began.elapsed().as_secs_f64()
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    rates[ROUNDS / 2]
}

fn cut(chunker: &Chunker, mut rest: &[u8]) {
    while let Some(end) = chunker.boundary(rest, 0) {
        rest = black_box(&rest[end..]);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let polynomial = Polynomial::new(0x003D_A335_8B4D_C173)?;
    for (name, bytes) in [("random", noise(1)), ("dump", text())] {
        let portable = Chunker::in_form(polynomial, None).ok_or("no portable form")?;
        let portable = rate(|| cut(&portable, &bytes));
        println!("{name}: boundaries, portable: {portable:.0} MB/s");
        for form in [Form::Narrow, Form::Wide] {
            match Chunker::in_form(polynomial, Some(form)) {
                Some(chunker) => {
                    let rate = rate(|| cut(&chunker, &bytes));
                    let ratio = rate / portable;
                    println!("{name}: boundaries, {form:?}: {rate:.0} MB/s, x{ratio:.1}");
                }
                None => println!("{name}: this processor does not offer {form:?}"),
            }
        }
        let rate = rate(|| {
            black_box(hash(&bytes));
        });
        println!("{name}: SHA-256: {rate:.0} MB/s");
    }
    Ok(())
}
