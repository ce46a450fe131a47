//! The rollups as services read them, compared with a count of all rows.

use std::time::Duration;

use mayfly_cold::ColdStore;
use mayfly_core::{Clock, Snapshot, SystemClock, Timestamp};
use mayfly_runtime::settings;
use mayfly_tests::World;
use tokio_postgres::{Client, NoTls};

/// A query that returns a row for each difference between the rollups and the stored messages.
const DIFFERENCES: &str = "
    WITH by_city AS (
        SELECT city, state, count(*) AS messages FROM messages WHERE city IS NOT NULL
        GROUP BY city, state
    ), by_second AS (
        SELECT date_trunc('second', created_at) AS second, count(*) AS messages FROM messages
        WHERE date_trunc('second', created_at) > now() - interval '59 minutes' GROUP BY 1
    )
    SELECT 'city_counts: ' || wrong.city FROM (
        (TABLE by_city EXCEPT SELECT city, state, messages FROM city_counts) UNION ALL
        (SELECT city, state, messages FROM city_counts EXCEPT TABLE by_city)
    ) AS wrong
    UNION ALL
    SELECT 'cities: ' || coalesce(stored.city, known.city)
        FROM (SELECT DISTINCT city FROM by_city) AS stored FULL JOIN cities AS known USING (city)
        WHERE stored.city IS NULL OR known.city IS NULL
    UNION ALL
    SELECT 'usernames: ' || coalesce(stored.username, known.username)
        FROM (SELECT DISTINCT username FROM messages WHERE username IS NOT NULL) AS stored
            FULL JOIN usernames AS known USING (username)
        WHERE stored.username IS NULL OR known.username IS NULL
    UNION ALL
    SELECT 'message_seconds: ' || second
        FROM by_second AS stored LEFT JOIN message_seconds AS known USING (second)
        WHERE stored.messages IS DISTINCT FROM known.messages";

const TOTALS: &str = "SELECT count(*), count(DISTINCT city COLLATE \"C\"), count(DISTINCT username COLLATE \"C\") \
     FROM messages";

const TOP: &str = "SELECT city, state, count(*) FROM messages WHERE city IS NOT NULL \
     GROUP BY city, state \
     ORDER BY count(*) DESC, city COLLATE \"C\", state COLLATE \"C\" LIMIT 10";

/// The rollups of one database.
pub(super) struct Counts {
    url: String,
    cold: ColdStore,
}

impl Counts {
    pub(super) fn new(world: &World) -> Self {
        Self::with_url(world.stack.env().database_url())
    }

    pub(super) fn with_url(url: &str) -> Self {
        let cold = ColdStore::new(&settings::PostgresSettings {
            url: url.into(),
            timeout: Duration::from_secs(10),
            pool_size_max: 1,
        });
        Self { url: url.to_owned(), cold }
    }

    pub(super) async fn connect(&self) -> Client {
        let (client, connection) =
            tokio_postgres::connect(&self.url, NoTls).await.expect("Postgres responds");
        tokio::spawn(connection);
        client
    }

    pub(super) async fn read(&self) -> Option<Snapshot> {
        self.read_at(SystemClock.now()).await
    }

    pub(super) async fn read_at(&self, at: Timestamp) -> Option<Snapshot> {
        self.cold.statistics().read(at).await.expect("Postgres responds")
    }

    /// Checks the rollups against the stored messages while no worker is storing. Returns the
    /// rollups.
    pub(super) async fn assert_consistent(&self) -> Snapshot {
        let snapshot = self.read().await.expect("the rollups exist");
        let client = self.connect().await;
        let differences = client.query(DIFFERENCES, &[]).await.expect("the query works");
        let differences: Vec<String> = differences.iter().take(20).map(|row| row.get(0)).collect();
        assert!(differences.is_empty(), "{differences:?}");

        let row = client.query_one(TOTALS, &[]).await.expect("the query works");
        let totals = [0, 1, 2].map(|index| count(row.get(index)));
        assert_eq!([snapshot.messages.total, snapshot.cities, snapshot.users], totals);
        let top = client.query(TOP, &[]).await.expect("the query works");
        let top: Vec<(String, Option<String>, u64)> =
            top.iter().map(|row| (row.get(0), row.get(1), count(row.get(2)))).collect();
        let top_cities = snapshot.top_cities.iter();
        let top_cities: Vec<_> =
            top_cities.map(|top| (top.city.clone(), top.state.clone(), top.messages)).collect();
        assert_eq!(top_cities, top);
        snapshot
    }
}

fn count(number: i64) -> u64 {
    u64::try_from(number).expect("a count is not negative")
}
