//! Tokens of `mayfly.js`: renewal on an open connection, and after a suspension.

use mayfly_stack::Service;
use mayfly_tests::{Browser, DEFAULT_TIMEOUT, Tab, World, eventually};
use serde_json::{Value, json};

use crate::access::{create_operator, credentials::SECRET, setup};

/// How long the server accepts a token after its expiry, in seconds.
const LEEWAY_S: i64 = 30;
/// How long the server accepts the tokens of the tests, in seconds. The client renews them two to
/// four seconds before the end of this time.
const LIFETIME_S: i64 = 8;

/// Connects with a function that signs a token for each request, as the back end of a site would.
/// The server accepts each token for `lifetimeS` seconds.
async fn connect(tab: &Tab, world: &World, channel: &str) {
    let script = format!(
        "const encodeText = (text) => new TextEncoder().encode(text);
         const encode = (bytes) => btoa(String.fromCharCode(...bytes))
             .replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
         const encodeJson = (value) => encode(encodeText(JSON.stringify(value)));
         globalThis.lifetimeS = {LIFETIME_S};
         async function createToken() {{
             const now = Math.floor(Date.now() / 1000);
             const claims = {{
                 sub: 'fred', iat: now - 60, exp: now - {LEEWAY_S} + lifetimeS,
                 mayfly: {{ subscribe: [{channel}] }},
             }};
             const content = encodeJson({{ alg: 'HS256', typ: 'JWT' }}) + '.' + encodeJson(claims);
             const algorithm = {{ name: 'HMAC', hash: 'SHA-256' }};
             const secret = encodeText({secret});
             const key = await crypto.subtle.importKey('raw', secret, algorithm, false, ['sign']);
             const signature = await crypto.subtle.sign('HMAC', key, encodeText(content));
             return content + '.' + encode(new Uint8Array(signature));
         }}
         Object.assign(globalThis, {{ sockets: [], frames: [], codes: [], received: [] }});
         class Recorded extends WebSocket {{
             constructor(url) {{
                 super(url);
                 sockets.push(this);
                 this.addEventListener('message', ({{ data }}) => frames.push(JSON.parse(data)));
                 this.addEventListener('close', ({{ code }}) => codes.push(code));
             }}
         }}
         const {{ connect }} = await import('{url}/mayfly.mjs');
         globalThis.live = connect({{
             url: '{url}', channels: {channel}, token: createToken, WebSocket: Recorded,
         }});
         live.on('message', ({{ text }}) => received.push(text))",
        channel = json!(channel),
        secret = json!(SECRET),
        url = world.url(Service::WsFanout, ""),
    );
    tab.run(&script).await;
    tab.wait_until("live.state.state === 'open'").await;
}

async fn post(world: &World, key: &str, channel: &str, text: &str) {
    let message = json!({"channel": channel, "text": text, "ttl": 600});
    let post = world.http.post(world.ingest_url("/v1/messages")).bearer_auth(key).json(&message);
    assert_eq!(post.send().await.expect("ingest-api responds").status(), 202);
}

async fn count_frames(tab: &Tab, kind: &str) -> Value {
    tab.run(&format!("return frames.filter(({{ type }}) => type === '{kind}').length")).await
}

#[tokio::test]
async fn token_is_renewed_on_the_open_connection() {
    let browser = Browser::open().await;
    let world = setup().scale(Service::WsFanout, 1).start().await;
    let key = create_operator(&world).await;
    let tab = browser.open_tab(&world.url(Service::WsFanout, "/config.json"), 800).await;
    connect(&tab, &world, "client-renewed").await;
    // The connection lasts longer than several tokens.
    tab.wait_until("frames.filter(({ type }) => type === 'authenticated').length >= 3").await;
    post(&world, &key, "client-renewed", "still connected").await;
    tab.wait_until("received.length > 0").await;
    let state = tab.run("return [sockets.length, codes, received, live.state.state]").await;
    assert_eq!(state, json!([1, [], ["still connected"], "open"]));
}

#[tokio::test]
async fn tab_suspended_for_longer_than_its_token_resumes_without_a_gap() {
    let browser = Browser::open().await;
    let world = setup().scale(Service::WsFanout, 1).start().await;
    let key = create_operator(&world).await;
    let tab = browser.open_tab(&world.url(Service::WsFanout, "/config.json"), 800).await;
    let channel = "client-suspended";
    connect(&tab, &world, channel).await;
    post(&world, &key, channel, "before").await;
    tab.wait_until("received.length > 0").await;

    tab.run("globalThis.ticks = 0; setInterval(() => ticks++, 50)").await;
    tab.set_frozen(true).await;
    let ticks = tab.run("return ticks").await;
    post(&world, &key, channel, "while suspended").await;
    eventually(DEFAULT_TIMEOUT, "the server closes the connection", async || {
        let metrics = world.fanout_metrics().await;
        match metrics.sum("connections_closed_total{code=\"4003\"}") {
            1 => Ok(()),
            count => Err(count),
        }
    })
    .await;
    assert_eq!(tab.run("return ticks").await, ticks, "the page runs no timers");
    post(&world, &key, channel, "while disconnected").await;
    tab.set_frozen(false).await;
    // Tokens for the new connection are not renewed while the test checks it.
    tab.run("lifetimeS = 600").await;
    tab.wait_until("received.length >= 3 && live.state.state === 'open'").await;
    let received = tab.run("return received").await;
    assert_eq!(received, json!(["before", "while suspended", "while disconnected"]));
    // A suspended page does not respond to the Close frame, so the page may see another code.
    assert_eq!(tab.run("return [sockets.length, codes.length]").await, json!([2, 1]));
    assert_eq!(count_frames(&tab, "hello").await, 2, "no connection was rejected");
    assert_eq!(count_frames(&tab, "error").await, 0);
    let metrics = world.fanout_metrics().await;
    let closed = ["4003", "4502", "4503"]
        .map(|code| metrics.sum(&format!("connections_closed_total{{code=\"{code}\"}}")));
    assert_eq!(closed, [1, 0, 0]);
    assert!(metrics.sum("authentications_total{result=\"accepted\"}") >= 2, "{metrics:?}");
    for result in ["missing", "unknown", "expired", "revoked"] {
        let series = format!("authentications_total{{result=\"{result}\"}}");
        assert_eq!(metrics.sum(&series), 0, "{result}");
    }
}
