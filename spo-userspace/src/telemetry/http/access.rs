//! Who may get a path: the cluster says who a token belongs to, and what that user may do.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};
use ring::digest::{Context, SHA256};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::cluster::error::told;

/// How long a yes counts. A right that is taken away lasts so much longer.
const YES: Duration = Duration::from_secs(30);
/// How long a no counts.
const NO: Duration = Duration::from_secs(5);
/// Answers that are remembered.
const MOST: usize = 256;
/// Questions to the cluster at a time: strangers ask through us.
const AT_A_TIME: usize = 4;

/// Asks the cluster, and remembers the answers for a moment.
pub struct Access {
    tokens: Api<TokenReview>,
    rights: Api<SubjectAccessReview>,
    asking: Semaphore,
    answers: Mutex<Answers>,
}

/// Why a request is not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// There is no token, or none that the cluster knows.
    Unknown(&'static str),
    /// The user has no right.
    Forbidden { user: String, path: String },
    /// The cluster does not answer.
    Unavailable,
}

impl Access {
    /// Asks through this client, whose user must be allowed to create `tokenreviews` and
    /// `subjectaccessreviews`.
    pub fn new(client: Client) -> Self {
        Self {
            tokens: Api::all(client.clone()),
            rights: Api::all(client),
            asking: Semaphore::new(AT_A_TIME),
            answers: Mutex::default(),
        }
    }

    /// Whether the owner of a token may get a path.
    pub(super) async fn check(&self, token: Option<&str>, path: &str) -> Result<(), Denied> {
        let Some(token) = token.filter(|token| !token.is_empty()) else {
            return Err(Denied::Unknown("there is no bearer token in the request"));
        };
        let key = key(token, path);
        if let Some(answer) = self.known(&key) {
            return answer;
        }
        let Ok(_turn) = self.asking.acquire().await else {
            return Err(Denied::Unavailable);
        };
        // Somebody else may have asked meanwhile.
        if let Some(answer) = self.known(&key) {
            return answer;
        }
        let answer = self.ask(token, path).await.unwrap_or_else(|error| {
            tracing::warn!(
                error = told(&error),
                "cannot ask the cluster who may read metrics"
            );
            Err(Denied::Unavailable)
        });
        if answer != Err(Denied::Unavailable) {
            let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            answers.put(key, answer.clone(), Instant::now());
        }
        answer
    }

    fn known(&self, key: &Key) -> Option<Result<(), Denied>> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.get(key, Instant::now())
    }

    async fn ask(&self, token: &str, path: &str) -> Result<Result<(), Denied>, kube::Error> {
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: Some(token.to_owned()),
                audiences: None,
            },
            ..TokenReview::default()
        };
        let review = self.tokens.create(&PostParams::default(), &review).await?;
        let status = review.status.unwrap_or_default();
        let Some(user) = status.user.filter(|_| status.authenticated == Some(true)) else {
            return Ok(Err(Denied::Unknown("the cluster does not know the token")));
        };
        let UserInfo {
            extra,
            groups,
            uid,
            username,
        } = user;
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                extra,
                groups,
                uid,
                user: username.clone(),
                non_resource_attributes: Some(NonResourceAttributes {
                    path: Some(path.to_owned()),
                    verb: Some("get".to_owned()),
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let review = self.rights.create(&PostParams::default(), &review).await?;
        if review.status.is_some_and(|status| status.allowed) {
            return Ok(Ok(()));
        }
        Ok(Err(Denied::Forbidden {
            user: username.unwrap_or_default(),
            path: path.to_owned(),
        }))
    }
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        match self {
            Self::Unknown(why) => {
                let text = format!("{why}: send one of a service account\n");
                let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
                (StatusCode::UNAUTHORIZED, challenge, text).into_response()
            }
            Self::Forbidden { user, path } => {
                let text = format!(
                    "{user} may not get {path}: bind a ClusterRole to it that has the verb get for this nonResourceURL, such as spo-metrics-client\n"
                );
                (StatusCode::FORBIDDEN, text).into_response()
            }
            Self::Unavailable => {
                let text = "the cluster does not say who may read this: try again\n";
                (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
            }
        }
    }
}

/// A token and a path; the token itself is not kept.
type Key = Vec<u8>;

fn key(token: &str, path: &str) -> Key {
    let mut hash = Context::new(&SHA256);
    hash.update(&token.len().to_le_bytes());
    hash.update(token.as_bytes());
    hash.update(path.as_bytes());
    hash.finish().as_ref().to_vec()
}

/// Answers, and until when they count.
#[derive(Default)]
struct Answers(HashMap<Key, (Result<(), Denied>, Instant)>);

impl Answers {
    fn get(&self, key: &Key, now: Instant) -> Option<Result<(), Denied>> {
        let (answer, until) = self.0.get(key)?;
        (*until > now).then(|| answer.clone())
    }

    fn put(&mut self, key: Key, answer: Result<(), Denied>, now: Instant) {
        if self.0.len() >= MOST {
            self.0.retain(|_, (_, until)| *until > now);
        }
        if self.0.len() >= MOST {
            self.0.clear();
        }
        let time = if answer.is_ok() { YES } else { NO };
        self.0.insert(key, (answer, now + time));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn answers_count_for_a_moment() {
        let mut answers = Answers::default();
        let start = Instant::now();
        let (good, bad) = (key("a", "/metrics"), key("b", "/metrics"));
        answers.put(good.clone(), Ok(()), start);
        answers.put(bad.clone(), Err(Denied::Unknown("")), start);
        assert_eq!(answers.get(&good, start), Some(Ok(())));
        assert_eq!(answers.get(&key("a", "/metrics-spod"), start), None);
        let soon = start + NO;
        assert_eq!(answers.get(&bad, soon), None);
        assert_eq!(answers.get(&good, soon), Some(Ok(())));
        assert_eq!(answers.get(&good, start + YES), None);
    }

    #[tokio::test(start_paused = true)]
    async fn few_answers_are_kept() {
        let mut answers = Answers::default();
        for number in 0..10 * MOST {
            let denied = Err(Denied::Unknown(""));
            answers.put(key(&number.to_string(), "/"), denied, Instant::now());
            assert!(answers.0.len() <= MOST);
        }
    }
}
