//! The statistics as services read them, and as a count of all rows gives them.

use std::time::Duration;

use mayfly_cold::Cold;
use mayfly_core::{Clock, Snapshot, SystemClock, Timestamp};
use mayfly_runtime::settings;
use mayfly_tests::World;
use tokio_postgres::{Client, NoTls};

/// Where what is counted differs from what is there, a line for each way in which it does.
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

/// One database, looked at both ways.
pub(super) struct Counts {
    url: String,
    cold: Cold,
}

impl Counts {
    pub(super) fn of(world: &World) -> Self {
        Self::at(world.stack.env().database_url())
    }

    pub(super) fn at(url: &str) -> Self {
        let cold = Cold::new(&settings::Postgres {
            url: url.into(),
            timeout: Duration::from_secs(10),
            pool_size_max: 1,
        });
        Self { url: url.to_owned(), cold }
    }

    pub(super) async fn connect(&self) -> Client {
        let (client, connection) =
            tokio_postgres::connect(&self.url, NoTls).await.expect("Postgres answers");
        tokio::spawn(connection);
        client
    }

    pub(super) async fn read(&self) -> Option<Snapshot> {
        self.read_at(SystemClock.now()).await
    }

    pub(super) async fn read_at(&self, at: Timestamp) -> Option<Snapshot> {
        self.cold.read_statistics(at).await.expect("Postgres answers")
    }

    /// Compares all that is counted with what is there, while nobody stores; gives what is counted.
    pub(super) async fn assert_true(&self) -> Snapshot {
        let seen = self.read().await.expect("they are counted");
        let client = self.connect().await;
        let wrong = client.query(DIFFERENCES, &[]).await.expect("the query works");
        let wrong: Vec<String> = wrong.iter().take(20).map(|row| row.get(0)).collect();
        assert!(wrong.is_empty(), "{wrong:?}");

        let row = client.query_one(TOTALS, &[]).await.expect("the query works");
        let totals = [0, 1, 2].map(|place| count(row.get(place)));
        assert_eq!([seen.messages.total, seen.cities, seen.users], totals);
        let top = client.query(TOP, &[]).await.expect("the query works");
        let top: Vec<(String, Option<String>, u64)> =
            top.iter().map(|row| (row.get(0), row.get(1), count(row.get(2)))).collect();
        let named = seen.top_cities.iter();
        let named: Vec<_> =
            named.map(|top| (top.city.clone(), top.state.clone(), top.messages)).collect();
        assert_eq!(named, top);
        seen
    }
}

fn count(number: i64) -> u64 {
    u64::try_from(number).expect("a count is not negative")
}
