//! The requirements for a Postgres server: version, encoding, access mode and rights.

use diesel::{
    QueryableByName,
    result::QueryResult,
    sql_types::{Array, Bool, Integer, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::ColdAccess;

/// The oldest supported version, in the format of `server_version_num`.
const VERSION_NUM_MIN: i32 = 150_000;
const VERSION_MIN: u32 = 15;
/// The only encoding that can store every message.
const ENCODING: &str = "UTF8";

/// The state of a server and of a session with it.
#[derive(Debug, QueryableByName)]
pub(crate) struct Server {
    #[diesel(sql_type = Integer)]
    version_num: i32,
    #[diesel(sql_type = Text)]
    version: String,
    #[diesel(sql_type = Text)]
    encoding: String,
    #[diesel(sql_type = Text)]
    database: String,
    #[diesel(sql_type = Text)]
    username: String,
    #[diesel(sql_type = Bool)]
    is_replica: bool,
    #[diesel(sql_type = Bool)]
    is_read_only: bool,
    /// The missing rights, such as `INSERT on messages`.
    #[diesel(sql_type = Text)]
    missing_rights: String,
    /// The settings that are off although the durability of commits depends on them.
    #[diesel(sql_type = Text)]
    unsafe_settings: String,
    /// Whether the access includes writes.
    #[diesel(sql_type = Bool)]
    needs_write: bool,
}

impl Server {
    /// Reads the state with one query. The cost of the query does not depend on the amount of data.
    /// Tables that do not exist yet are not checked.
    pub(crate) async fn read(
        connection: &mut AsyncPgConnection,
        access: ColdAccess,
    ) -> QueryResult<Self> {
        let rights = access.rights().iter();
        let (tables, privileges): (Vec<&str>, Vec<&str>) = rights
            .flat_map(|(table, privileges)| privileges.iter().map(move |one| (*table, *one)))
            .unzip();
        diesel::sql_query(
            "SELECT current_setting('server_version_num')::int AS version_num, \
             current_setting('server_version') AS version, \
             current_setting('server_encoding') AS encoding, \
             current_database()::text AS database, \
             current_user::text AS username, \
             pg_is_in_recovery() AS is_replica, \
             current_setting('transaction_read_only') = 'on' AS is_read_only, \
             coalesce((SELECT string_agg(privilege || ' on ' || name, ', ') \
                 FROM unnest($1, $2) AS needed (name, privilege) \
                 WHERE NOT has_table_privilege(to_regclass(name), privilege)), '') \
                 AS missing_rights, \
             (SELECT coalesce(string_agg(name, ', ' ORDER BY name), '') \
                 FROM unnest(ARRAY['fsync', 'synchronous_commit']) AS one (name) \
                 WHERE current_setting(name) = 'off') AS unsafe_settings, \
             $3 AS needs_write",
        )
        .bind::<Array<Text>, _>(tables)
        .bind::<Array<Text>, _>(privileges)
        .bind::<Bool, _>(access.is_writing())
        .get_result(connection)
        .await
    }

    /// Returns whether the session cannot write.
    pub(super) fn is_read_only(&self) -> bool {
        self.is_replica || self.is_read_only
    }

    /// Returns the settings with which the server can lose confirmed commits when it crashes, if
    /// any and if the access includes writes.
    pub(super) fn find_unsafe_settings(&self) -> Option<&str> {
        Some(self.unsafe_settings.as_str()).filter(|names| self.needs_write && !names.is_empty())
    }

    /// Describes the first requirement that the server does not meet, if any.
    pub(crate) fn find_unmet_requirement(&self) -> Option<String> {
        let Self { version, encoding, database, username, .. } = self;
        if self.version_num < VERSION_NUM_MIN {
            return Some(format!(
                "the version of Postgres is {version}; Mayfly requires {VERSION_MIN} or later"
            ));
        }
        if encoding != ENCODING {
            return Some(format!(
                "the encoding of the database {database} is {encoding}; Mayfly requires {ENCODING}: \
                 create the database with ENCODING 'UTF8' TEMPLATE template0"
            ));
        }
        if self.needs_write && self.is_replica {
            return Some("the server is a read-only replica; the primary is needed".to_owned());
        }
        if self.needs_write && self.is_read_only {
            return Some(format!(
                "the database {database} is read-only (default_transaction_read_only is on)"
            ));
        }
        let missing = &self.missing_rights;
        (!missing.is_empty()).then(|| format!("the user {username} lacks rights: {missing}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> Server {
        Server {
            version_num: 150_004,
            version: "15.4".into(),
            encoding: "UTF8".into(),
            database: "mayfly".into(),
            username: "app".into(),
            is_replica: false,
            is_read_only: false,
            missing_rights: String::new(),
            unsafe_settings: String::new(),
            needs_write: true,
        }
    }

    #[test]
    fn unsuitable_server_is_described() {
        assert_eq!(server().find_unmet_requirement(), None);
        for (server, part) in [
            (
                Server { version_num: 140_009, version: "14.9".into(), ..server() },
                "the version of Postgres is 14.9; Mayfly requires 15 or later",
            ),
            (Server { encoding: "LATIN1".into(), ..server() }, "is LATIN1; Mayfly requires UTF8"),
            (Server { is_replica: true, is_read_only: true, ..server() }, "read-only replica"),
            (Server { is_read_only: true, ..server() }, "mayfly is read-only"),
            (
                Server { missing_rights: "INSERT on messages".into(), ..server() },
                "the user app lacks rights: INSERT on messages",
            ),
        ] {
            let found = server.find_unmet_requirement().expect("an unmet requirement");
            assert!(found.contains(part), "{found}");
        }
    }

    #[test]
    fn reader_accepts_a_replica() {
        let replica =
            Server { is_replica: true, is_read_only: true, needs_write: false, ..server() };
        assert_eq!(replica.find_unmet_requirement(), None);
    }
}
