//! The order of persistence by itself: for those who check a walk.

use std::collections::HashMap;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use mayfly_core::MessageId;
use uuid::Uuid;

use crate::{Cold, error::ColdError, schema::messages};

impl Cold {
    /// The place of each of these messages in the order of persistence; none of one that is not
    /// stored.
    pub async fn find_places(&self, ids: &[MessageId]) -> Result<Vec<Option<i64>>, ColdError> {
        let wanted: Vec<Uuid> = ids.iter().map(|id| id.as_uuid()).collect();
        let found: Vec<(Uuid, i64)> = self
            .call(async |connection| {
                messages::table
                    .filter(messages::id.eq_any(&wanted))
                    .select((messages::id, messages::seq))
                    .load(connection)
                    .await
            })
            .await?;
        let places: HashMap<Uuid, i64> = found.into_iter().collect();
        Ok(wanted.iter().map(|id| places.get(id).copied()).collect())
    }

    /// The highest place that a message has; none where nothing is stored.
    pub async fn find_highest_place(&self) -> Result<Option<i64>, ColdError> {
        self.call(async |connection| {
            messages::table
                .select(messages::seq)
                .order(messages::seq.desc())
                .first(connection)
                .await
                .optional()
        })
        .await
    }

    /// How many messages have a place from `first` to `last`.
    pub async fn count_places(&self, first: i64, last: i64) -> Result<u64, ColdError> {
        let count: i64 = self
            .call(async |connection| {
                messages::table
                    .filter(messages::seq.between(first, last))
                    .count()
                    .get_result(connection)
                    .await
            })
            .await?;
        Ok(u64::try_from(count).unwrap_or(0))
    }
}
