//! The connection URL for Redis.

use super::{
    Format, Rule,
    authority::{
        CREDENTIALS_RULE, HOST_RULE, check_credentials, check_host, split_credentials, split_port,
    },
};

pub(super) const FORMAT: Format =
    Format { schemes: ["redis://", "rediss://"], example: "redis://user:password@host:6379/0" };

/// Checks a URL without its scheme.
pub(super) fn check(rest: &str) -> Result<(), Rule> {
    if rest.contains('#') {
        return Err("a fragment (#) is not allowed; write # within the password as %23");
    }
    if rest.contains('?') {
        return Err("a query (?) is not allowed; write ? within the password as %3F");
    }
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let (credentials, address) = split_credentials(authority)?;
    if let Some(credentials) = credentials {
        check_credentials(credentials)?;
    }
    if database.contains('@') {
        return Err(CREDENTIALS_RULE);
    }
    let (host, _) = split_port(address)?;
    check_host(host)?;
    if matches!(host, "0.0.0.0" | "[::]") {
        return Err(HOST_RULE);
    }
    let is_number = database.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number || (!database.is_empty() && database.parse::<u16>().is_err()) {
        return Err("the path must be the number of a database");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{parse_text, redis};

    #[test]
    fn url_of_redis_names_a_host() {
        for url in [
            "redis://127.0.0.1:6379",
            "redis://127.0.0.1:6379/",
            "redis://redis",
            "redis://my_redis.example.org./2",
            "redis://[::1]:6379/15",
            "redis://:p%40ss%2Fw@host",
            "redis://user:100%@host",
            "rediss://user:pass@redis.example.org:6380/0",
        ] {
            assert!(parse_text(redis, url).is_ok(), "{url}");
        }
    }

    #[test]
    fn url_that_the_client_or_redis_rejects_is_rejected_with_the_rule() {
        for (url, rule) in [
            ("http://h", "starts with redis:// or rediss://"),
            ("redis+unix:///tmp/s", "starts with redis:// or rediss://"),
            ("redis://", "the host must be"),
            ("redis://:6379", "the host must be"),
            ("redis://:p@ss/w@h", "%40"),
            ("redis://:p@h/w@x", "%2F"),
            ("redis://:p@s@h", "%40"),
            ("redis://a,b", "the host must be"),
            ("redis://a:1,b:2", "the port must be"),
            ("redis://h/notadb", "the number of a database"),
            ("redis://h/-1", "the number of a database"),
            ("redis://h/99999", "the number of a database"),
            ("redis://h/1/2", "the number of a database"),
            ("redis://h:99999", "the port must be"),
            ("redis://h:0", "the port must be"),
            ("redis://h:", "the port must be"),
            ("redis://h:+1", "the port must be"),
            ("redis://h?protocol=resp3", "a query"),
            ("redis://h/0?pool_timeout=10", "a query"),
            ("redis://h#x", "a fragment"),
            ("rediss://h#insecure", "a fragment"),
            ("redis://1.2.3.400", "the host must be"),
            ("redis://0.0.0.0", "the host must be"),
            ("redis://[::1", "the host must be"),
            ("redis://[::1]x", "the host must be"),
            ("redis://h h", "percent-encoded"),
            ("redis://%FF:x@h", "UTF-8"),
        ] {
            let error = parse_text(redis, url).map(|_| ()).expect_err(url);
            assert!(error.contains(rule), "{url}: {error}");
            assert!(url == "redis://" || !error.contains(url), "the value is a secret: {error}");
        }
    }
}
