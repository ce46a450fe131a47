//! `mayfly.js` and `mayfly.mjs` as the server serves them, in pages and in workers.

use mayfly_stack::Service;
use mayfly_tests::{Browser, Tab, World};
use serde_json::{Value, json};

use crate::live::shared;

const WIDTH: u32 = 800;

/// Opens a document of another origin: the origin of the second instance.
async fn open_cross_origin_tab(browser: &Browser, world: &World) -> Tab {
    let urls = world.urls(Service::WsFanout);
    let url = urls.last().expect("the service has an address");
    browser.open_tab(&format!("{url}/config.json"), WIDTH).await
}

#[tokio::test]
async fn both_forms_work_on_another_origin() {
    let browser = Browser::open().await;
    let world = shared().await;
    let tab = open_cross_origin_tab(&browser, &world).await;
    let live = world.url(Service::WsFanout, "");
    let module = format!(
        "const module = await import('{live}/mayfly.mjs');
         return [typeof module.connect, module.default.connect === module.connect, typeof mayfly]"
    );
    assert_eq!(tab.run(&module).await, json!(["function", true, "undefined"]), "as a module");
    let classic = format!(
        "const script = document.createElement('script');
         script.src = '{live}/mayfly.js';
         await new Promise((done, failed) => {{
             Object.assign(script, {{ onload: done, onerror: failed }});
             document.documentElement.append(script);
         }});
         return [typeof window.mayfly.connect, typeof connect]"
    );
    assert_eq!(tab.run(&classic).await, json!(["function", "undefined"]), "as a script");

    let channel = "client-cross-origin";
    tab.run(&format!(
        "globalThis.received = [];
         const live = mayfly.connect({{ url: '{live}', channels: ['{channel}'] }});
         live.on('message', ({{ text }}) => received.push(text));
         live.on('expired', ({{ by_time }}) => received.push(by_time));
         live.on('state', ({{ state }}) => received.push(state));
         globalThis.live = live"
    ))
    .await;
    tab.wait_until("received.includes('open')").await;
    assert_eq!(tab.run("return live.subscribe('client-second')").await, true);
    world.post_message(&json!({"text": "first", "channel": channel, "ttl": 600})).await;
    world.post_message(&json!({"text": "second", "channel": "client-second", "ttl": 1})).await;
    world.post_message(&json!({"text": "third", "channel": "client-none", "ttl": 600})).await;
    tab.wait_until("received.includes('second') && received.includes(true)").await;
    tab.run("live.close()").await;
    let received = json!(["connecting", "open", "first", "second", true, "closed"]);
    assert_eq!(tab.run("return received").await, received);

    // A new client resumes from the position of another one.
    let position = tab.run("return live.position").await;
    world.post_message(&json!({"text": "fourth", "channel": channel, "ttl": 600})).await;
    let again = format!(
        "const live = mayfly.connect({{ url: '{live}', channels: '{channel}', since: {position} }});
         const resumed = new Promise((done) => live.on('resumed', ({{ resumed }}) => done(resumed)));
         const message = new Promise((done) => live.on('message', ({{ text }}) => done(text)));
         const both = await Promise.all([resumed, message]);
         live.close();
         return both"
    );
    assert_eq!(tab.run(&again).await, json!([true, "fourth"]));
}

#[tokio::test]
async fn both_forms_work_in_workers() {
    let browser = Browser::open().await;
    let world = shared().await;
    let tab = open_cross_origin_tab(&browser, &world).await;
    let live = world.url(Service::WsFanout, "");
    let rows = [
        ("classic", format!("importScripts('{live}/mayfly.js'); const {{ connect }} = mayfly;")),
        ("module", format!("import {{ connect }} from '{live}/mayfly.mjs';")),
    ];
    for (kind, load) in rows {
        let script = format!(
            "{load} const live = connect({{ url: '{live}', channels: [] }}); \
             live.on('state', ({{ state }}) => postMessage(state));"
        );
        let states = format!(
            "const url = URL.createObjectURL(new Blob([{}], {{ type: 'text/javascript' }}));
             const worker = new Worker(url, {{ type: '{kind}' }});
             const states = [];
             await new Promise((done, failed) => {{
                 worker.onerror = ({{ message }}) => failed(new Error(message));
                 worker.onmessage = ({{ data }}) => states.push(data) > 1 && done();
             }});
             worker.terminate();
             return states",
            json!(script)
        );
        assert_eq!(tab.run(&states).await, json!(["connecting", "open"]), "{kind} worker");
    }

    // A service worker is a file of its own origin, and its modules have no top-level await.
    let tab = browser.open_tab(&world.url(Service::WsFanout, "/config.json"), WIDTH).await;
    for (kind, file) in [("classic", "/mayfly.js"), ("module", "/mayfly.mjs")] {
        let register = format!(
            "const worker = await navigator.serviceWorker.register('{file}', {{ type: '{kind}' }});
             return worker.unregister()"
        );
        assert_eq!(tab.run(&register).await, true, "{kind} service worker");
    }
}

#[tokio::test]
async fn subscriptions_are_counted_and_survive_a_reconnect() {
    let browser = Browser::open().await;
    let world = shared().await;
    let tab = open_cross_origin_tab(&browser, &world).await;
    let live = world.url(Service::WsFanout, "");
    let start = format!(
        "globalThis.received = [];
         globalThis.sockets = [];
         class Recorded extends WebSocket {{
             constructor(url) {{
                 super(url);
                 sockets.push(this);
             }}
         }}
         const {{ connect }} = await import('{live}/mayfly.mjs');
         const live = connect({{ url: '{live}', channels: [], WebSocket: Recorded }});
         live.on('message', ({{ text }}) => received.push(text));
         globalThis.live = live;
         const names = Array.from({{ length: 126 }}, (_, n) => String(n).padStart(64, 'client-long-'));
         await live.subscribe(names);
         await Promise.all(['client-kept', 'client-kept', 'client-removed'].map((one) => live.subscribe(one)));
         await Promise.all(['client-kept', 'client-removed'].map((one) => live.unsubscribe(one)));
         return names[0]"
    );
    let long = tab.run(&start).await;
    let post = async |text: &str| {
        for channel in [&json!("client-removed"), &json!("client-kept"), &long] {
            world.post_message(&json!({"text": text, "channel": channel, "ttl": 600})).await;
        }
    };
    post("before").await;
    tab.wait_until("received.length >= 2").await;
    tab.run("sockets.at(-1).close()").await;
    tab.wait_until("sockets.length > 1 && live.state.state === 'open'").await;
    post("after").await;
    tab.wait_until("received.length >= 4").await;
    assert_eq!(tab.run("return received").await, json!(["before", "before", "after", "after"]));
    let urls = tab.run("return sockets.map(({ url }) => new URL(url).search)").await;
    assert_eq!(urls, json!(["?connect=frame", "?connect=frame"]));

    // The client returns from all channels to the named ones.
    let calls = "await live.subscribe('*');
         await live.unsubscribe('*');
         const subscribed = await live.subscribe('client-last');
         live.close();
         return [subscribed, await live.subscribe('client-last').catch(({ code }) => code)]";
    assert_eq!(tab.run(calls).await, json!([true, "closed"]));
}

#[tokio::test]
async fn mistakes_throw_before_anything_is_sent() {
    let browser = Browser::open().await;
    let world = shared().await;
    let tab = open_cross_origin_tab(&browser, &world).await;
    let live = world.url(Service::WsFanout, "");
    let script = format!(
        "const {{ connect }} = await import('{live}/mayfly.mjs');
         return [
             {{ url: 'localhost:8080' }}, {{ url: 'live.example' }}, {{ channel: 'a' }},
             {{ channels: null }}, {{ url: '{live}/v1/live?channel=a' }},
         ].map((options) => {{
             try {{
                 connect(options).close();
                 return null;
             }} catch (error) {{
                 return [error.name, Object.keys(options).some((key) => error.message.includes(key))];
             }}
         }})"
    );
    let expected = Value::from(vec![json!(["TypeError", true]); 5]);
    assert_eq!(tab.run(&script).await, expected);
}
