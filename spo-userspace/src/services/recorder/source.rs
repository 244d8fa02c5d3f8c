//! What a recorder needs of whoever tells what containers did.

use std::error::Error;
use std::io;

use crate::api::profile_recording::Recorder;
use crate::controller::recorder::News;
use crate::event::SubjectId;
use crate::recorder::cluster::Cluster;
use crate::telemetry::metrics::Metrics;

/// Why a source does not do what it is to do.
pub(in crate::services) type Failure = Box<dyn Error + Send + Sync>;

/// Tells what containers did from now on, for as long as it is there.
pub(in crate::services) trait Source: Sized + Send + 'static {
    /// What it has to know, and the numbers that it tells.
    type Settings: Clone + Send;
    /// Which recordings it is for.
    const RECORDER: Recorder;
    /// What the log says when it is there, when it goes, and when it cannot be.
    const SAYS: [&'static str; 3];

    /// Tells its numbers whenever somebody looks.
    fn gauges(settings: &Self::Settings, metrics: &Metrics);

    /// Begins.
    fn start(settings: Self::Settings) -> impl Future<Output = Result<Self, Failure>> + Send;

    /// Something happened in the cluster, before it is looked at what containers did.
    fn news(&mut self, news: &News);

    /// Waits until there is something to look at.
    fn ready(&self) -> impl Future<Output = io::Result<()>> + Send;

    /// Nobody wants what this subject does any more.
    fn release(&mut self, subject: SubjectId);

    /// Whether something waits for a sweep.
    fn is_due(&self) -> bool;

    /// Why it sees nothing at the moment, if it found that out by its last sweep.
    fn trouble(&self) -> Option<String>;

    /// Tells the machine what there is. With a sweep, that is all that happened before, and what
    /// ended; it takes some time.
    fn look(
        self,
        cluster: &mut Cluster,
        sweep: bool,
    ) -> impl Future<Output = Result<Self, Failure>> + Send;
}
