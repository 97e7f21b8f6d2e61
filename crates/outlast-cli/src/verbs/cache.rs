//! `cache`: lists local caches and removes old ones.

use std::time::{Duration, SystemTime};

use clap::Args;
use outlast_ops::CacheChoice;
use outlast_store::{list_caches, remove_old_caches};

use crate::context::Context;
use crate::exit::{self, Failure};
use crate::render::table::Table;
use crate::render::{message, units};

/// Arguments of `cache`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Remove caches that were not used for a while
    #[arg(long)]
    cleanup: bool,
    /// So many days are a while
    #[arg(long, default_value_t = 30, value_name = "DAYS")]
    max_age: u64,
    /// Do not count the sizes of the caches
    #[arg(long)]
    no_size: bool,
}

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Lists caches or removes old ones.
pub fn run(context: &Context, arguments: &Arguments) -> Result<u8, Failure> {
    let CacheChoice::Folder(folder) = context.cache() else {
        return Err(Failure::new(
            "Refusing to do anything, the cache is disabled",
        ));
    };
    let now = SystemTime::now();
    if arguments.cleanup || context.global.cleanup_cache {
        let age = DAY.saturating_mul(u32::try_from(arguments.max_age).unwrap_or(u32::MAX));
        let mut removed = 0;
        for (cache, result) in remove_old_caches(&folder, age, now)? {
            match result {
                Ok(()) => removed += 1,
                Err(error) => message::warning(&format!("{}: {error}", cache.folder.display())),
            }
        }
        message::line(format!(
            "removed {removed} old caches in {}",
            folder.display()
        ));
        return Ok(exit::OK);
    }
    let caches = list_caches(&folder)?;
    if caches.is_empty() {
        message::line(format!("no caches in {}", folder.display()));
        return Ok(exit::OK);
    }
    let mut table = Table::new(&["Repository", "Last used", "Old", "Size"]);
    for cache in &caches {
        let age = cache.age(now);
        let old = if age > DAY.saturating_mul(arguments.max_age as u32) {
            "yes"
        } else {
            ""
        };
        let size = if arguments.no_size {
            String::new()
        } else {
            units::bytes(cache.bytes())
        };
        let days = age.as_secs() / DAY.as_secs();
        table.push(vec![
            cache.id.to_hex()[..10].to_owned(),
            format!("{days} days ago"),
            old.to_owned(),
            size,
        ]);
    }
    for line in table.lines() {
        message::line(line);
    }
    message::line(format!("{} caches in {}", caches.len(), folder.display()));
    Ok(exit::OK)
}
