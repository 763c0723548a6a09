//! `null` as Go reads it: as nothing, wherever it stands. Functions for `deserialize_with`.

use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

/// `null` is the default.
pub(super) fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    d: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(d)?.unwrap_or_default())
}

/// Texts, of which each may be `null` and is then empty.
pub(super) fn texts<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<String>, D::Error> {
    let texts: Option<Vec<Option<String>>> = Option::deserialize(d)?;
    Ok(texts.unwrap_or_default().into_iter().map(Option::unwrap_or_default).collect())
}

/// Texts by key, of which each may be `null` and is then empty.
pub(super) fn text_map<'de, D: Deserializer<'de>>(d: D) -> Result<BTreeMap<String, String>, D::Error> {
    let texts: Option<BTreeMap<String, Option<String>>> = Option::deserialize(d)?;
    Ok(texts.unwrap_or_default().into_iter().map(|(key, text)| (key, text.unwrap_or_default())).collect())
}
