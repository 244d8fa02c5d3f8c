//! Keys that wait for work. A key waits at most once, however often it is put in, and is never worked
//! on twice at a time; what fails is tried again, each time a little later.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::time::DelayQueue;
use tokio_util::time::delay_queue::Key;

/// The first wait after a failure; each further one doubles it.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// The longest wait after a failure.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// What became of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There is nothing more to do until something changes.
    Done,
    /// It is to be looked at again after this time.
    Again(Duration),
    /// It is to be tried again, later each time.
    Failed,
}

/// Takes keys, from anywhere.
#[derive(Debug)]
pub struct Queue<K>(Arc<Shared<K>>);

impl<K> Clone for Queue<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// Where the keys of a [`Queue`] come out.
#[derive(Debug)]
pub struct Keys<K>(Arc<Shared<K>>);

#[derive(Debug)]
struct Shared<K> {
    /// What was put in and not yet taken out, and how long it is to wait. A list of all objects puts
    /// in thousands before anybody can take one, so that each key has one place here already.
    added: Mutex<HashMap<K, Duration>>,
    word: Notify,
    length: AtomicUsize,
}

/// A queue, which holds each key once.
pub fn queue<K>() -> (Queue<K>, Keys<K>) {
    let shared = Arc::new(Shared {
        added: Mutex::default(),
        word: Notify::new(),
        length: AtomicUsize::new(0),
    });
    (Queue(shared.clone()), Keys(shared))
}

impl<K> Queue<K> {
    /// How many keys wait or are worked on, those among them that failed and are tried again.
    pub fn length(&self) -> usize {
        self.0.length.load(Ordering::Relaxed)
    }
}

impl<K: Eq + Hash> Queue<K> {
    /// Has a key worked on soon.
    pub fn add(&self, key: K) {
        self.add_after(key, Duration::ZERO);
    }

    /// Has a key worked on after a time, or sooner if somebody else asks for that.
    pub fn add_after(&self, key: K, delay: Duration) {
        let mut added = self.0.added();
        let soonest = added.entry(key).or_insert(delay);
        *soonest = delay.min(*soonest);
        drop(added);
        self.0.word.notify_one();
    }
}

impl<K> Shared<K> {
    fn added(&self) -> MutexGuard<'_, HashMap<K, Duration>> {
        self.added.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Debug + Eq + Hash + Send + 'static> Keys<K> {
    /// Works until `stop`, on `most` keys at a time; then ends what runs. A key that is added
    /// waits for `settle` first, so that many changes at once cost one turn.
    pub async fn work<F, Fut>(
        self,
        most: usize,
        settle: Duration,
        stop: CancellationToken,
        handle: F,
    ) where
        F: Fn(K) -> Fut,
        Fut: Future<Output = Outcome> + Send + 'static,
    {
        let Self(shared) = self;
        let mut state = State::new();
        let mut running = JoinSet::new();
        loop {
            let free = running.len() < most;
            let length = state.places.len() + running.len();
            shared.length.store(length, Ordering::Relaxed);
            tokio::select! {
                () = stop.cancelled() => break,
                () = shared.word.notified() => {
                    let added = std::mem::take(&mut *shared.added());
                    for (key, delay) in added {
                        state.add(key, delay.max(settle));
                    }
                }
                Some(due) = state.next(), if free => {
                    let key = due;
                    if state.begin(&key) {
                        let work = handle(key.clone());
                        running.spawn(async move { (key, work.await) });
                    }
                }
                Some(ended) = running.join_next(), if !running.is_empty() => match ended {
                    Ok((key, outcome)) => state.end(key, outcome),
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                },
            }
        }
        while let Some(ended) = running.join_next().await {
            drop(ended);
        }
    }
}

struct State<K> {
    waiting: DelayQueue<K>,
    places: HashMap<K, Key>,
    running: HashSet<K>,
    /// Asked for while it was worked on, and how long it waits then.
    again: HashMap<K, Duration>,
    failures: HashMap<K, u32>,
}

impl<K: Clone + Eq + Hash> State<K> {
    fn new() -> Self {
        Self {
            waiting: DelayQueue::new(),
            places: HashMap::new(),
            running: HashSet::new(),
            again: HashMap::new(),
            failures: HashMap::new(),
        }
    }

    fn add(&mut self, key: K, delay: Duration) {
        if self.running.contains(&key) {
            let soonest = self.again.entry(key).or_insert(delay);
            *soonest = delay.min(*soonest);
            return;
        }
        if let Some(place) = self.places.get(&key) {
            let due = self.waiting.deadline(place);
            if due > tokio::time::Instant::now() + delay {
                self.waiting.reset(place, delay);
            }
            return;
        }
        let place = self.waiting.insert(key.clone(), delay);
        self.places.insert(key, place);
    }

    /// The next key that is due. Waits for ever if there is none.
    async fn next(&mut self) -> Option<K> {
        if self.waiting.is_empty() {
            std::future::pending::<()>().await;
        }
        let due = std::future::poll_fn(|context| self.waiting.poll_expired(context)).await?;
        let key = due.into_inner();
        self.places.remove(&key);
        Some(key)
    }

    fn begin(&mut self, key: &K) -> bool {
        self.running.insert(key.clone())
    }

    fn end(&mut self, key: K, outcome: Outcome) {
        self.running.remove(&key);
        let wanted = self.again.remove(&key);
        let own = match outcome {
            Outcome::Done => {
                self.failures.remove(&key);
                None
            }
            Outcome::Again(delay) => {
                self.failures.remove(&key);
                Some(delay)
            }
            Outcome::Failed => {
                let failures = self.failures.entry(key.clone()).or_insert(0);
                let wait = FIRST_WAIT.saturating_mul(1 << (*failures).min(16));
                *failures += 1;
                Some(wait.min(LONGEST_WAIT))
            }
        };
        if let Some(delay) = [wanted, own].into_iter().flatten().min() {
            self.add(key, delay);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What was worked on, and when, in milliseconds.
    type Log = Arc<Mutex<Vec<(&'static str, u128)>>>;

    async fn run(
        settle: u64,
        fill: impl FnOnce(&Queue<&'static str>),
        outcome: impl Fn(&'static str, usize) -> Outcome + Clone + Send + Sync + 'static,
        time: u64,
    ) -> Vec<(&'static str, u128)> {
        let (queue, keys) = queue();
        let stop = CancellationToken::new();
        let log = Log::default();
        let start = tokio::time::Instant::now();
        fill(&queue);
        let seen = log.clone();
        let handle = move |key| {
            let mut log = seen.lock().unwrap();
            log.push((key, start.elapsed().as_millis()));
            let count = log.iter().filter(|(known, _)| *known == key).count();
            let outcome = outcome(key, count);
            async move {
                tokio::time::sleep(Duration::from_millis(10)).await;
                outcome
            }
        };
        let settle = Duration::from_millis(settle);
        let work = tokio::spawn(keys.work(2, settle, stop.clone(), handle));
        tokio::time::sleep(Duration::from_millis(time)).await;
        stop.cancel();
        work.await.unwrap();
        drop(queue);
        Arc::try_unwrap(log).unwrap().into_inner().unwrap()
    }

    /// Adds a key while the first ones are worked on.
    fn add_later(queue: &Queue<&'static str>, key: &'static str) {
        let queue = queue.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            queue.add(key);
        });
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_waits_once() {
        let fill = |queue: &Queue<_>| {
            queue.add("a");
            queue.add("a");
            queue.add_after("a", Duration::from_secs(5));
        };
        let log = run(50, fill, |_, _| Outcome::Done, 20_000).await;
        assert_eq!(log.len(), 1, "{log:?}");
        assert!((50..55).contains(&log[0].1), "{log:?}");
    }

    #[test]
    fn a_key_has_one_place_before_anybody_takes_it() {
        let (queue, keys) = queue();
        for number in 0..10_000 {
            queue.add_after(number % 3, Duration::from_secs(number));
        }
        let added = keys.0.added();
        assert_eq!(added.len(), 3);
        assert_eq!(added[&2], Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_sooner_wish_counts() {
        let fill = |queue: &Queue<_>| {
            queue.add_after("a", Duration::from_secs(5));
            queue.add("a");
        };
        let log = run(0, fill, |_, _| Outcome::Done, 20_000).await;
        assert_eq!(log.len(), 1, "{log:?}");
        assert!(log[0].1 < 10, "{log:?}");
        // So it does for a key that has been taken in.
        let fill = |queue: &Queue<_>| {
            queue.add_after("a", Duration::from_secs(5));
            add_later(queue, "a");
        };
        let log = run(0, fill, |_, _| Outcome::Done, 20_000).await;
        assert_eq!(log.len(), 1, "{log:?}");
        assert!(log[0].1 < 10, "{log:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_asked_for_during_the_work_comes_after_it() {
        let fill = |queue: &Queue<_>| {
            queue.add("a");
            add_later(queue, "a");
        };
        let log = run(0, fill, |_, _| Outcome::Done, 1_000).await;
        assert_eq!(log.len(), 2, "{log:?}");
        assert!(log[1].1 >= log[0].1 + 10, "{log:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_wait_longer_each_time() {
        let outcome = |_, count| match count {
            1..=3 => Outcome::Failed,
            _ => Outcome::Done,
        };
        let log = run(0, |queue| queue.add("a"), outcome, 60_000).await;
        let waits: Vec<_> = log.windows(2).map(|pair| pair[1].1 - pair[0].1).collect();
        assert_eq!(waits.len(), 3, "{log:?}");
        for (wait, expected) in waits.iter().zip([210, 410, 810]) {
            assert!((expected..expected + 5).contains(wait), "{waits:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn many_keys_at_a_time_but_no_key_twice() {
        let fill = |queue: &Queue<_>| {
            for key in ["a", "b", "c"] {
                queue.add(key);
            }
        };
        let again = |key, count| match (key, count) {
            ("a", 1) => Outcome::Again(Duration::ZERO),
            _ => Outcome::Done,
        };
        let log = run(0, fill, again, 1_000).await;
        assert_eq!(log.len(), 4, "{log:?}");
        assert!(log[1].1 < log[0].1 + 10, "{log:?}");
        assert!(log[2].1 >= log[0].1 + 10, "two at a time: {log:?}");
        let at = |key| log.iter().filter(move |(known, _)| *known == key);
        let times: Vec<_> = at("a").map(|(_, time)| *time).collect();
        assert!(times[1] >= times[0] + 10, "{log:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_failed_counts_until_it_is_done() {
        let (queue, keys) = queue();
        let stop = CancellationToken::new();
        let tries = Arc::<AtomicUsize>::default();
        let handle = move |_key: &str| {
            let outcome = match tries.fetch_add(1, Ordering::Relaxed) {
                0 => Outcome::Failed,
                _ => Outcome::Done,
            };
            async move { outcome }
        };
        queue.add("a");
        let work = tokio::spawn(keys.work(2, Duration::ZERO, stop.clone(), handle));
        tokio::time::sleep(FIRST_WAIT / 2).await;
        assert_eq!(queue.length(), 1);
        tokio::time::sleep(FIRST_WAIT).await;
        assert_eq!(queue.length(), 0);
        stop.cancel();
        work.await.unwrap();
    }
}
