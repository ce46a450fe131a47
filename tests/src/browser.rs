//! A Chromium that tests look at the page with. It is driven over its own protocol, so that any
//! Chromium or Chrome that is there will do.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::Arc,
};

use futures_util::{SinkExt, StreamExt};
use mayfly_stack::find_chromium;
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    sync::{Mutex, OnceCell},
    task::spawn_blocking,
    time::timeout,
};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

use crate::{PATIENCE, eventually};

/// Starts it with a profile that lasts as long as it does, and ends it with this process, however that ends: then what
/// it reads is over.
const LEASH: &str = r#"
profile=$(mktemp -d)
"$0" "$@" "--user-data-dir=$profile" </dev/null >/dev/null &
browser=$!
exec 2>/dev/null
cat >/dev/null
kill "$browser"
wait "$browser"
# What is left of it may write for a moment longer.
while rm -rf "$profile"; sleep 1; [ -e "$profile" ]; do :; done
"#;

/// Only pages of these tests are opened, and nothing is asked of the network.
const ARGUMENTS: [&str; 13] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
    "--lang=en-US",
    "--remote-debugging-port=0",
];

/// A window of its own for one test, with a memory of its own.
pub struct Browser {
    wire: Arc<Mutex<Wire>>,
    context: String,
}

/// One page of it.
pub struct Tab {
    wire: Arc<Mutex<Wire>>,
    session: String,
}

struct Wire {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    last_id: u64,
}

impl Browser {
    /// Opens one; the program is the same for all tests of this process.
    ///
    /// # Panics
    /// When it is not there, or does not start.
    pub async fn open() -> Self {
        static ADDRESS: OnceCell<String> = OnceCell::const_new();
        let start = || async { spawn_blocking(start).await.expect("it is started") };
        let address = ADDRESS.get_or_init(start).await;
        let (stream, _) = connect_async(address).await.expect("the browser takes connections");
        let mut wire = Wire { stream, last_id: 0 };
        let made =
            wire.call(None, "Target.createBrowserContext", json!({"disposeOnDetach": true})).await;
        let context = text(&made.expect("there is room for a test"), "browserContextId");
        Self { wire: Arc::new(Mutex::new(wire)), context }
    }

    /// Opens a tab with a page in it, this wide.
    ///
    /// # Panics
    /// When the page does not load.
    pub async fn tab(&self, url: &str, width: u32) -> Tab {
        let mut wire = self.wire.lock().await;
        let wanted =
            json!({"url": "about:blank", "browserContextId": self.context, "newWindow": true});
        let made = wire.call(None, "Target.createTarget", wanted).await.expect("a tab opens");
        let target = json!({"targetId": made["targetId"], "flatten": true});
        let session = wire.call(None, "Target.attachToTarget", target).await.expect("it is there");
        let session = text(&session, "sessionId");
        let size =
            json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600});
        let sized = wire.call(Some(&session), "Emulation.setDeviceMetricsOverride", size).await;
        sized.expect("a tab has a size");
        let focus = json!({"enabled": true});
        let focused = wire.call(Some(&session), "Emulation.setFocusEmulationEnabled", focus).await;
        focused.expect("a tab can believe that it is looked at");
        drop(wire);
        let tab = Tab { wire: Arc::clone(&self.wire), session };
        tab.go(url).await;
        tab
    }
}

impl Tab {
    /// Loads a page; returns when all of it is there.
    ///
    /// # Panics
    /// When it does not load.
    pub async fn go(&self, url: &str) {
        let asked = json!({"url": url});
        let gone = self.call("Page.navigate", asked).await.expect("a tab goes where it is sent");
        assert_eq!(gone.get("errorText"), None, "{url}");
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'").await;
    }

    /// Loads the same page again.
    ///
    /// # Panics
    /// When it does not load.
    pub async fn reload(&self) {
        self.run("window.isOld = true; location.reload()").await;
        self.until("!window.isOld && document.readyState === 'complete'").await;
    }

    /// Runs a script in it, which may wait and return something.
    ///
    /// # Panics
    /// When the script fails.
    pub async fn run(&self, script: &str) -> Value {
        self.try_run(script).await.unwrap_or_else(|failed| panic!("{failed}\nin: {script}"))
    }

    /// Waits until an expression is true.
    ///
    /// # Panics
    /// When it is not in time; says what the page shows.
    pub async fn until(&self, expression: &str) {
        let script = format!("return Boolean({expression}) || document.body?.innerText || ''");
        let look = async || match self.try_run(&script).await {
            Ok(Value::Bool(true)) => Ok(()),
            Ok(other) => Err(other.to_string()),
            Err(failed) => Err(failed),
        };
        eventually(PATIENCE, expression, look).await;
    }

    /// Waits until the text of an element contains something.
    ///
    /// # Panics
    /// When it does not in time.
    pub async fn shows(&self, selector: &str, part: &str) {
        let (selector, part) = (json!(selector), json!(part));
        self.until(&format!("document.querySelector({selector})?.textContent.includes({part})"))
            .await;
    }

    /// Types into a field, in place of what is there.
    ///
    /// # Panics
    /// When there is no such field.
    pub async fn fill(&self, selector: &str, value: &str) {
        let selector = json!(selector);
        self.run(&format!(
            "const field = document.querySelector({selector}); field.focus(); field.select()"
        ))
        .await;
        let typed = self.call("Input.insertText", json!({"text": value})).await;
        typed.expect("what has the focus takes text");
    }

    /// Clicks what a selector names.
    ///
    /// # Panics
    /// When there is none.
    pub async fn click(&self, selector: &str) {
        self.run(&format!("document.querySelector({}).click()", json!(selector))).await;
    }

    async fn try_run(&self, script: &str) -> Result<Value, String> {
        let expression = format!("(async () => {{ {script} }})()");
        let asked = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let done = self.call("Runtime.evaluate", asked).await?;
        match done.get("exceptionDetails") {
            Some(failed) => Err(failed["exception"]["description"].to_string()),
            None => Ok(done["result"]["value"].clone()),
        }
    }

    async fn call(&self, method: &str, parameters: Value) -> Result<Value, String> {
        self.wire.lock().await.call(Some(&self.session), method, parameters).await
    }
}

impl Wire {
    /// Asks the browser for something and waits for the answer; what it tells besides is passed over.
    async fn call(
        &mut self,
        session: Option<&str>,
        method: &str,
        parameters: Value,
    ) -> Result<Value, String> {
        self.last_id += 1;
        let mut asked = json!({"id": self.last_id, "method": method, "params": parameters});
        if let Some(session) = session {
            asked["sessionId"] = session.into();
        }
        let sent = self.stream.send(Message::text(asked.to_string())).await;
        sent.map_err(|error| error.to_string())?;
        let answer = timeout(PATIENCE, self.answer()).await;
        answer.map_err(|_| format!("{method}: no answer"))?
    }

    async fn answer(&mut self) -> Result<Value, String> {
        while let Some(told) = self.stream.next().await {
            let told = told.map_err(|error| error.to_string())?;
            let Ok(Ok(mut told)) = told.to_text().map(serde_json::from_str::<Value>) else {
                continue;
            };
            if told["id"] == self.last_id {
                return match told.get("error") {
                    Some(error) => Err(error.to_string()),
                    None => Ok(told["result"].take()),
                };
            }
        }
        Err("the browser is gone".into())
    }
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().expect("the browser names it").to_owned()
}

/// Starts Chromium; gives the address at which it takes orders.
fn start() -> String {
    let program = find_chromium().expect("`make test` has looked for it");
    let mut command = Command::new("sh");
    command.args(["-c", LEASH]).arg(program).args(ARGUMENTS).arg("about:blank");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("a shell can be started");
    let mut lines = BufReader::new(child.stderr.take().expect("its words are read")).lines();
    let address = lines
        .by_ref()
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("DevTools listening on ").map(str::to_owned))
        .expect("Chromium starts");
    // It may say more, and must not have to wait until somebody reads that.
    std::thread::spawn(move || lines.for_each(drop));
    // The end of the leash is held until this process ends.
    std::mem::forget(child);
    address
}
