//! Trend snapshots, watched hosts, and calls to the visitor source.

mod record;
mod request;
mod snapshots;
mod take;
mod watched_hosts;

use mayfly_auth::Key;
use mayfly_core::{Host, KeyHash};
use mayfly_hot::{
    CallDecision, CallDenied, CallReason, Lease, SourceCall, SourceOutcome, SourceState,
};

use crate::{TestStore, access, host};

const HOST: &str = "a.org";
const REGISTERED: SourceOutcome = SourceOutcome::Answered { is_registered: true };

impl TestStore {
    /// Loads API keys. No call is made before the API keys are loaded.
    async fn load_api_keys(&self, keys: &[(KeyHash, Key)]) {
        let api_keys = self.hot.api_keys();
        let reload = api_keys.begin_reload().await.expect("Redis responds").expect("a reload");
        let keys = access::supported(keys);
        assert!(api_keys.put_page(&reload, &keys, Some(1)).await.expect("Redis responds"));
    }

    async fn request_call(&self, key: &str) -> bool {
        let requested = self.hot.source().request_call(&host(HOST), key).await;
        requested.expect("Redis responds")
    }

    async fn requested_hosts(&self) -> Vec<Host> {
        self.hot.source().list_requested_hosts().await.expect("Redis responds")
    }

    async fn try_take(&self, lease: &Lease, reason: CallReason) -> CallDecision {
        let decision = self.hot.source().take_call(lease, &host(HOST), reason).await;
        decision.expect("Redis responds")
    }

    /// Takes a call that is due.
    async fn take(&self, lease: &Lease, reason: CallReason) -> SourceCall {
        self.try_take(lease, reason).await.expect("a call")
    }

    /// Takes a call, records its outcome, and lets the interval until the next call pass.
    async fn call(&self, lease: &Lease, reason: CallReason, outcome: SourceOutcome) -> SourceCall {
        let call = self.take(lease, reason).await;
        assert!(self.record(lease, &call, outcome).await);
        self.let_interval_pass().await;
        call
    }

    async fn record(&self, lease: &Lease, call: &SourceCall, outcome: SourceOutcome) -> bool {
        let ended_at = call.called_at;
        let recorded = self.hot.source().record_call(lease, call, ended_at, outcome, None).await;
        recorded.expect("Redis responds")
    }

    /// Makes the last call look old enough to allow the next call.
    async fn let_interval_pass(&self) {
        self.set_source("called_at", "1").await;
    }

    async fn set_source(&self, field: &str, value: &str) {
        self.query::<()>(&["HSET", &self.keys().source(&host(HOST)), field, value]).await;
    }

    async fn has_source(&self, field: &str) -> bool {
        self.query(&["HEXISTS", &self.keys().source(&host(HOST)), field]).await
    }

    /// Returns the state of the source for a key.
    async fn source_state(&self, key: &str) -> SourceState {
        let state = self.hot.source().find_state(&host(HOST), &KeyHash::from_key(key)).await;
        state.expect("Redis responds")
    }
}

fn api_key(text: &str, is_revoked: bool) -> (KeyHash, Key) {
    let key = access::api_key(text, &["b.org", HOST]);
    if is_revoked { access::revoke(key) } else { key }
}

fn denied(decision: CallDecision) -> CallDenied {
    decision.map(|_| ()).expect_err("no call")
}
