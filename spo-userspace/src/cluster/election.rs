//! One of several processes leads: it holds a `Lease`, and renews it. The rules are those of
//! client-go's `leaderelection`: whether a lease has run out is judged by our own clock, from when
//! we last saw it change, so that clocks need not agree.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Client, Error};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::error::told;

/// How long a lease holds without being renewed.
const DURATION: Duration = Duration::from_secs(15);
/// How long the leader tries to renew before it gives up, so that it has stopped when others begin.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long what the leader does may take to end after [`Election::keep`]: together with `DEADLINE`
/// less than `DURATION`, after which another one may lead.
pub const ENDING: Duration = Duration::from_secs(4);
/// How often the leader renews, and others look.
const INTERVAL: Duration = Duration::from_secs(2);

/// A candidate.
pub struct Election {
    leases: Api<Lease>,
    name: String,
    identity: String,
    standing: watch::Sender<Standing>,
}

/// Where a candidate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nobody knows: the lease could not be read.
    Unknown,
    /// Another one leads.
    Waits,
    /// This one leads.
    Leads,
}

/// What is known of the lease.
struct Seen {
    holder: Option<String>,
    renewed: Option<MicroTime>,
    version: Option<String>,
    at: Instant,
}

impl Election {
    /// A candidate for the lease `name`. The identity must be this process's alone.
    pub fn new(client: Client, namespace: &str, name: &str, identity: String) -> Self {
        Self {
            leases: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity,
            standing: watch::Sender::new(Standing::Unknown),
        }
    }

    /// Where this process stands, now and later.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Waits until this process leads; false if `stop` came first.
    pub async fn win(&self, stop: &CancellationToken) -> bool {
        let mut seen: Option<Seen> = None;
        loop {
            let tried = tokio::time::timeout(DEADLINE, self.try_to_lead(&mut seen));
            let tried = tokio::select! {
                () = stop.cancelled() => return false,
                tried = tried => tried,
            };
            let Ok(tried) = tried else {
                self.standing.send_replace(Standing::Unknown);
                tracing::warn!(lease = self.name, "the API server does not answer");
                continue;
            };
            match tried {
                Ok(true) => {
                    self.standing.send_replace(Standing::Leads);
                    return true;
                }
                Ok(false) => {
                    self.standing.send_replace(Standing::Waits);
                }
                Err(error) => {
                    self.standing.send_replace(Standing::Unknown);
                    let error = told(&error);
                    tracing::warn!(error, lease = self.name, "cannot read or take the lease");
                }
            }
            tokio::select! {
                () = stop.cancelled() => return false,
                () = tokio::time::sleep(INTERVAL) => {}
            }
        }
    }

    /// Renews until `stop`; the lease is ours a little longer then, see [`ENDING`]. Returns earlier if
    /// it was lost. In either case, what the leader does must end at once.
    pub async fn keep(&self, stop: &CancellationToken) -> Kept {
        let mut renewed = Instant::now();
        loop {
            let renewal = async {
                tokio::time::sleep(INTERVAL).await;
                let left = DEADLINE.saturating_sub(renewed.elapsed());
                tokio::time::timeout(left, self.renew()).await
            };
            let renewal = tokio::select! {
                () = stop.cancelled() => return Kept::Asked,
                renewal = renewal => renewal,
            };
            match renewal {
                Ok(Ok(true)) => renewed = Instant::now(),
                Ok(Ok(false)) => return Kept::Lost,
                Ok(Err(error)) => {
                    let error = told(&error);
                    tracing::warn!(error, lease = self.name, "cannot renew the lease");
                }
                Err(_) => {}
            }
            if renewed.elapsed() >= DEADLINE {
                return Kept::Lost;
            }
        }
    }

    /// Gives the lease back, so that the next one need not wait until it runs out. For whoever has
    /// stopped doing what only the leader does.
    pub async fn give_back(&self) {
        let why = match tokio::time::timeout(ENDING, self.write("", 1)).await {
            Ok(Ok(_)) => return,
            Ok(Err(error)) => told(&error),
            Err(_) => "the API server does not answer".to_owned(),
        };
        tracing::warn!(
            error = why,
            lease = self.name,
            "cannot give the lease back; others wait until it runs out"
        );
    }

    async fn try_to_lead(&self, seen: &mut Option<Seen>) -> Result<bool, Error> {
        let Some(lease) = self.leases.get_opt(&self.name).await? else {
            return taken(self.create().await);
        };
        let version = lease.metadata.resource_version.clone();
        let spec = lease.spec.clone().unwrap_or_default();
        let unchanged = seen.as_ref().filter(|seen| {
            seen.holder == spec.holder_identity
                && seen.renewed == spec.renew_time
                && seen.version == version
        });
        let since = unchanged.map_or_else(Instant::now, |seen| seen.at);
        let holder = spec.holder_identity.clone().unwrap_or_default();
        *seen = Some(Seen {
            holder: spec.holder_identity.clone(),
            renewed: spec.renew_time.clone(),
            version,
            at: since,
        });
        let duration = spec
            .lease_duration_seconds
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map_or(DURATION, Duration::from_secs);
        if !holder.is_empty() && holder != self.identity && since.elapsed() < duration {
            return Ok(false);
        }
        let seconds = DURATION.as_secs();
        taken(self.replace(lease, &self.identity, seconds).await)
    }

    async fn renew(&self) -> Result<bool, Error> {
        self.write(&self.identity, DURATION.as_secs()).await
    }

    /// Writes the lease if it is ours.
    async fn write(&self, holder: &str, seconds: u64) -> Result<bool, Error> {
        let lease = self.leases.get(&self.name).await?;
        let current = lease
            .spec
            .as_ref()
            .and_then(|spec| spec.holder_identity.as_deref());
        if current != Some(self.identity.as_str()) {
            return Ok(false);
        }
        self.replace(lease, holder, seconds).await.map(|()| true)
    }

    async fn create(&self) -> Result<(), Error> {
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(spec(
                LeaseSpec::default(),
                &self.identity,
                DURATION.as_secs(),
            )),
        };
        self.leases.create(&PostParams::default(), &lease).await?;
        Ok(())
    }

    async fn replace(&self, mut lease: Lease, holder: &str, seconds: u64) -> Result<(), Error> {
        lease.spec = Some(spec(lease.spec.unwrap_or_default(), holder, seconds));
        self.leases
            .replace(&self.name, &PostParams::default(), &lease)
            .await?;
        Ok(())
    }
}

/// How a leadership ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// We were asked to stop, and still lead.
    Asked,
    /// Somebody else may lead now.
    Lost,
}

/// Somebody else was faster: that is no error.
fn taken(result: Result<(), Error>) -> Result<bool, Error> {
    match result {
        Ok(()) => Ok(true),
        Err(Error::Api(status)) if status.is_conflict() || status.is_already_exists() => Ok(false),
        Err(error) => Err(error),
    }
}

fn spec(old: LeaseSpec, holder: &str, seconds: u64) -> LeaseSpec {
    let now = MicroTime(jiff::Timestamp::now());
    let same = old.holder_identity.as_deref() == Some(holder);
    LeaseSpec {
        holder_identity: Some(holder.to_owned()),
        lease_duration_seconds: i32::try_from(seconds).ok(),
        acquire_time: if same {
            old.acquire_time
        } else {
            Some(now.clone())
        },
        renew_time: Some(now),
        lease_transitions: if same {
            old.lease_transitions
        } else {
            Some(old.lease_transitions.unwrap_or(0).saturating_add(1))
        },
        ..old
    }
}
