//! Hands in what there is when the recorder ends.

use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep_until};

use super::super::{RecorderError, Source};
use super::Recorder;
use crate::controller::recorder::{Change, Done};

/// How long what was recorded may take to be written at the end. The kubelet waits for thirty seconds.
const END: Duration = Duration::from_secs(20);

impl<S: Source> Recorder<S> {
    /// Writes what there is, again and again until it is written or too much time has passed. What a
    /// recording says of this node is withdrawn only when all that was recorded for it is written.
    pub(super) async fn end(
        mut self,
        changes: &[Change],
        mut dones: UnboundedReceiver<Done>,
    ) -> Result<(), RecorderError> {
        let deadline = Instant::now() + END;
        let news = self.sight.take(changes);
        if let Some(source) = &mut self.source {
            for news in &news {
                source.news(news);
            }
        }
        let looked = self.look(true).await;
        for news in news {
            self.take(news);
        }
        self.cluster.stop();
        self.failures.clear();
        for (at, _) in &mut self.failed {
            *at = Instant::now();
        }
        loop {
            let now = Instant::now();
            self.retry(now);
            self.steps();
            self.withdraw(now);
            if self.cluster.is_written() && !self.is_telling() {
                return looked;
            }
            if now >= deadline {
                tracing::warn!("not all that was recorded could be written before the end");
                return looked;
            }
            let failed = self.failed.iter().map(|(at, _)| *at).min();
            let wake = [failed, self.next_status()].into_iter().flatten();
            tokio::select! {
                done = dones.recv() => match done {
                    Some(done) => self.done(done),
                    // Nobody writes any more.
                    None => return looked,
                },
                () = sleep_until(wake.min().map_or(deadline, |at| at.min(deadline))) => {}
            }
        }
    }
}
