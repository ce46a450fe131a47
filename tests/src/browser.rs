//! A headless browser for tests of the web page. The tests control it with the DevTools protocol,
//! so that any installed Chromium or Chrome works.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::Arc,
};

use futures_util::{SinkExt, StreamExt};
use mayfly_stack::find_chromium;
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    sync::{Mutex, OnceCell, Semaphore, SemaphorePermit},
    task::spawn_blocking,
    time::timeout,
};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

use crate::{DEFAULT_TIMEOUT, eventually};

/// Starts the browser with a temporary profile, and stops it when stdin is closed, which happens
/// even if the test process is killed.
const LAUNCH_SCRIPT: &str = r#"
profile=$(mktemp -d)
"$0" "$@" "--user-data-dir=$profile" </dev/null >/dev/null &
browser=$!
exec 2>/dev/null
cat >/dev/null
kill "$browser"
wait "$browser"
# Remaining child processes may still write to the profile.
tries=0
while rm -rf "$profile"; [ -e "$profile" ] && [ $((tries += 1)) -lt 60 ]; do sleep 1; done
"#;

/// Disables the sandbox, which test pages do not need, and requests by the browser itself.
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

/// The maximum number of tests that use the browser at the same time. A page can need a whole core,
/// so more of them would not respond within the timeouts.
const BROWSERS_MAX: usize = 3;

/// A browser context: the cookies and storage of one test.
pub struct Browser {
    devtools: Arc<Mutex<DevTools>>,
    context: String,
    _permit: SemaphorePermit<'static>,
}

/// A tab of a browser.
pub struct Tab {
    devtools: Arc<Mutex<DevTools>>,
    session: String,
}

struct DevTools {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    last_id: u64,
}

impl Browser {
    /// Opens a context, after waiting for other tests if too many use the browser. All tests of this
    /// process share one browser process. A test must open only one context.
    ///
    /// # Panics
    /// If the browser is missing or does not start.
    pub async fn open() -> Self {
        static PERMITS: Semaphore = Semaphore::const_new(BROWSERS_MAX);
        static ADDRESS: OnceCell<String> = OnceCell::const_new();
        let start =
            || async { spawn_blocking(start_browser).await.expect("the task does not panic") };
        let permit = PERMITS.acquire().await.expect("the semaphore is never closed");
        let address = ADDRESS.get_or_init(start).await;
        let (stream, _) = connect_async(address).await.expect("the browser accepts connections");
        let mut devtools = DevTools { stream, last_id: 0 };
        let made = devtools
            .call(None, "Target.createBrowserContext", json!({"disposeOnDetach": true}))
            .await;
        let context = text(&made.expect("a context is created"), "browserContextId");
        Self { devtools: Arc::new(Mutex::new(devtools)), context, _permit: permit }
    }

    /// Opens a tab of this width and loads a page.
    ///
    /// # Panics
    /// If the page does not load.
    pub async fn open_tab(&self, url: &str, width: u32) -> Tab {
        let mut devtools = self.devtools.lock().await;
        let options =
            json!({"url": "about:blank", "browserContextId": self.context, "newWindow": true});
        let made =
            devtools.call(None, "Target.createTarget", options).await.expect("a tab is opened");
        let target = json!({"targetId": made["targetId"], "flatten": true});
        let session =
            devtools.call(None, "Target.attachToTarget", target).await.expect("the tab exists");
        let session = text(&session, "sessionId");
        let size =
            json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600});
        let sized = devtools.call(Some(&session), "Emulation.setDeviceMetricsOverride", size).await;
        sized.expect("the tab is resized");
        let focus = json!({"enabled": true});
        let focused =
            devtools.call(Some(&session), "Emulation.setFocusEmulationEnabled", focus).await;
        focused.expect("focus is emulated");
        drop(devtools);
        let tab = Tab { devtools: Arc::clone(&self.devtools), session };
        tab.navigate(url).await;
        tab
    }
}

impl Tab {
    /// Loads a page and waits until it is complete.
    ///
    /// # Panics
    /// If the page does not load.
    pub async fn navigate(&self, url: &str) {
        let navigated = self.call("Page.navigate", json!({"url": url})).await;
        let navigated = navigated.expect("the browser navigates");
        assert_eq!(navigated.get("errorText"), None, "{url}");
        self.wait_until("document.readyState === 'complete' && location.href !== 'about:blank'")
            .await;
    }

    /// Reloads the page.
    ///
    /// # Panics
    /// If the page does not load.
    pub async fn reload(&self) {
        self.run("window.isOld = true; location.reload()").await;
        self.wait_until("!window.isOld && document.readyState === 'complete'").await;
    }

    /// Runs the body of an async function in the page and returns its result.
    ///
    /// # Panics
    /// If the script throws.
    pub async fn run(&self, script: &str) -> Value {
        self.try_run(script).await.unwrap_or_else(|failed| panic!("{failed}\nin: {script}"))
    }

    /// Waits until an expression is true. The page itself polls the expression and returns the page
    /// text only once per second, because reading the text is expensive.
    ///
    /// # Panics
    /// If that takes too long; the message contains the text of the page.
    pub async fn wait_until(&self, expression: &str) {
        let script = format!(
            "for (const end = Date.now() + 1_000; Date.now() < end; ) {{
                if ({expression}) return true;
                await new Promise((resolve) => setTimeout(resolve, 20));
            }}
            return document.body?.innerText ?? ''"
        );
        let look = async || match self.try_run(&script).await {
            Ok(Value::Bool(true)) => Ok(()),
            Ok(other) => Err(other.to_string()),
            Err(failed) => Err(failed),
        };
        eventually(DEFAULT_TIMEOUT, expression, look).await;
    }

    /// Waits until the text of an element contains `part`.
    ///
    /// # Panics
    /// If that takes too long.
    pub async fn wait_for_text(&self, selector: &str, part: &str) {
        let (selector, part) = (json!(selector), json!(part));
        self.wait_until(&format!(
            "document.querySelector({selector})?.textContent.includes({part})"
        ))
        .await;
    }

    /// Freezes or resumes the page, as browsers do with hidden tabs. A frozen page runs no scripts
    /// and no timers.
    ///
    /// # Panics
    /// If the tab does not exist.
    pub async fn set_frozen(&self, is_frozen: bool) {
        let state = if is_frozen { "frozen" } else { "active" };
        // The browser freezes only hidden pages, and a focused page is visible.
        let focus = self.call("Emulation.setFocusEmulationEnabled", json!({"enabled": !is_frozen}));
        focus.await.expect("the tab exists");
        let changed = self.call("Page.setWebLifecycleState", json!({"state": state})).await;
        changed.expect("the tab exists");
    }

    /// Replaces the text of a field by typing.
    ///
    /// # Panics
    /// If the field does not exist.
    pub async fn fill(&self, selector: &str, value: &str) {
        let selector = json!(selector);
        self.run(&format!(
            "const field = document.querySelector({selector}); field.focus(); field.select()"
        ))
        .await;
        let typed = self.call("Input.insertText", json!({"text": value})).await;
        typed.expect("the focused field accepts text");
    }

    /// Clicks an element.
    ///
    /// # Panics
    /// If the element does not exist.
    pub async fn click(&self, selector: &str) {
        self.run(&format!("document.querySelector({}).click()", json!(selector))).await;
    }

    /// Returns the browser's counters for this tab, such as `LayoutCount` and `TaskDuration` in
    /// seconds, by name.
    ///
    /// # Panics
    /// If the tab does not exist.
    pub async fn read_metrics(&self) -> BTreeMap<String, f64> {
        self.call("Performance.enable", json!({})).await.expect("the tab exists");
        let read = self.call("Performance.getMetrics", json!({})).await.expect("the tab exists");
        let metrics = read["metrics"].as_array().expect("the metrics are an array");
        let parse = |metric: &Value| {
            (text(metric, "name"), metric["value"].as_f64().expect("a metric is a number"))
        };
        metrics.iter().map(parse).collect()
    }

    async fn try_run(&self, script: &str) -> Result<Value, String> {
        let expression = format!("(async () => {{ {script} }})()");
        let parameters =
            json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let evaluated = self.call("Runtime.evaluate", parameters).await?;
        match evaluated.get("exceptionDetails") {
            Some(details) => Err(details["exception"]["description"].to_string()),
            None => Ok(evaluated["result"]["value"].clone()),
        }
    }

    async fn call(&self, method: &str, parameters: Value) -> Result<Value, String> {
        self.devtools.lock().await.call(Some(&self.session), method, parameters).await
    }
}

impl DevTools {
    /// Calls a method and returns its result. Events are ignored.
    async fn call(
        &mut self,
        session: Option<&str>,
        method: &str,
        parameters: Value,
    ) -> Result<Value, String> {
        self.last_id += 1;
        let mut request = json!({"id": self.last_id, "method": method, "params": parameters});
        if let Some(session) = session {
            request["sessionId"] = session.into();
        }
        let sent = self.stream.send(Message::text(request.to_string())).await;
        sent.map_err(|error| error.to_string())?;
        let response = timeout(DEFAULT_TIMEOUT, self.receive_response()).await;
        response.map_err(|_| format!("{method}: timed out"))?
    }

    async fn receive_response(&mut self) -> Result<Value, String> {
        while let Some(received) = self.stream.next().await {
            let received = received.map_err(|error| error.to_string())?;
            let Ok(Ok(mut frame)) = received.to_text().map(serde_json::from_str::<Value>) else {
                continue;
            };
            if frame["id"] == self.last_id {
                return match frame.get("error") {
                    Some(error) => Err(error.to_string()),
                    None => Ok(frame["result"].take()),
                };
            }
        }
        Err("the browser closed the connection".into())
    }
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().expect("the value is a string").to_owned()
}

/// Starts the browser and returns the URL of its DevTools protocol.
fn start_browser() -> String {
    let program = find_chromium().expect("Chromium is installed (`mayfly ensure-installed`)");
    let mut command = Command::new("sh");
    command.args(["-c", LAUNCH_SCRIPT]).arg(program).args(ARGUMENTS).arg("about:blank");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the shell is started");
    let mut lines = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
    let address = lines
        .by_ref()
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("DevTools listening on ").map(str::to_owned))
        .expect("Chromium starts");
    // Drains the remaining output, so that a full pipe never blocks the browser.
    std::thread::spawn(move || lines.for_each(drop));
    // Keeps stdin of the script open until this process exits.
    std::mem::forget(child);
    address
}
