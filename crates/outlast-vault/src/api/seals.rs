//! Seals: made, listed, and proven by their receipts.

use outlast_custody::{LIST_OBJECTS_MAX, RepositoryName, Scope};
use outlast_wire::api::{SEALS_MAX, SealMade, SealPage, SealRow};

use super::bodies::Bodies;
use super::objects::{LIST_RECORD_BYTES, list_of};
use super::query::Query;
use super::{Refused, json, not_found, raw, refused};
use crate::http::{Request, Response};
use crate::vault::{Caller, Vault};

/// Seals a snapshot with exactly the objects of a list, and answers with the receipt.
pub(super) fn make(
    vault: &Vault,
    caller: &Caller,
    bodies: &Bodies,
    request: Request<'_>,
    query: &Query,
) -> Result<Response, Refused> {
    caller.require(Scope::Append, "only an append token seals")?;
    let snapshot = query
        .snapshot
        .ok_or_else(|| refused(400, "query", "?snapshot=ID says what is sealed"))?;
    let most = LIST_OBJECTS_MAX as u64 * LIST_RECORD_BYTES;
    let bytes = bodies.read(caller.repository(), request, most)?;
    let list = list_of(&bytes)?;
    // A client whose answer was lost asks again: the seal that it has is as good as another.
    let index = match vault.same_seal(caller.repository(), snapshot, &list)? {
        Some(index) => index,
        None => vault.seal(caller, snapshot, &list)?,
    };
    let receipt = vault.receipt(caller.repository(), index)?.encode();
    Ok(json(200, &SealMade { index, receipt }))
}

fn row(vault: &Vault, repository: &RepositoryName, index: u64) -> Result<SealRow, Refused> {
    let seal = vault.seal_at(repository, index)?.ok_or_else(not_found)?;
    let until = vault.held_until(repository, index)?.unwrap_or(seal.until);
    Ok(SealRow { index, until, seal })
}

fn row_of(vault: &Vault, caller: &Caller, index: &str) -> Result<SealRow, Refused> {
    vault.view(caller)?;
    let index = index.parse::<u64>().map_err(|_| not_found())?;
    row(vault, caller.repository(), index)
}

/// A page of the repository's seals, of one snapshot or of all.
pub(super) fn list(vault: &Vault, caller: &Caller, query: &Query) -> Result<Response, Refused> {
    vault.view(caller)?;
    let after: Option<u64> = query.after()?;
    let page = query.page(SEALS_MAX);
    let mut indexes = Vec::new();
    vault.seals_after(caller.repository(), after, &mut |index, seal| {
        if query.snapshot.is_none_or(|id| id == seal.snapshot.0) {
            indexes.push(index);
        }
        indexes.len() <= page
    })?;
    let more = indexes.len() > page;
    indexes.truncate(page);
    let next = more.then(|| indexes.last().copied()).flatten();
    let repository = caller.repository();
    let seals = indexes
        .into_iter()
        .map(|index| row(vault, repository, index));
    let seals = seals.collect::<Result<_, _>>()?;
    Ok(json(200, &SealPage { seals, next }))
}

/// One seal.
pub(super) fn one(vault: &Vault, caller: &Caller, index: &str) -> Result<Response, Refused> {
    Ok(json(200, &row_of(vault, caller, index)?))
}

/// The receipt of a seal.
pub(super) fn receipt(vault: &Vault, caller: &Caller, index: &str) -> Result<Response, Refused> {
    let row = row_of(vault, caller, index)?;
    let receipt = vault.receipt(caller.repository(), row.index)?;
    let text = receipt.encode().into_bytes();
    Ok(raw("text/plain; charset=utf-8", text))
}

/// The list that a seal covers; a seal of everything has none.
pub(super) fn sealed_list(
    vault: &Vault,
    caller: &Caller,
    index: &str,
) -> Result<Response, Refused> {
    let row = row_of(vault, caller, index)?;
    let list = vault.sealed_list(&row.seal)?.ok_or_else(not_found)?;
    Ok(raw("application/octet-stream", list.encode()))
}
