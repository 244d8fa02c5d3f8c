//! What went wrong between us and the API server, in one short line. The library's own texts may
//! have a whole answer of the server in them, and texts of objects that anybody may write.

use std::error::Error;

use kube::core::Status;

/// The longest text of one cause, in characters.
const LONGEST: usize = 240;

/// An error with its causes, each once and short, and what can be done about it.
pub fn told(error: &(dyn Error + 'static)) -> String {
    let mut parts = Vec::new();
    let mut advice = None;
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(status) = refusal(error) {
            parts.push(answer(status));
            advice = advice_on(status);
            break;
        }
        next = error.source();
        let text = error.to_string();
        // Many texts end in that of their cause.
        let cause = next.map(ToString::to_string).unwrap_or_default();
        let own = text.strip_suffix(&cause).unwrap_or(&text);
        let own = plain(own.trim_end_matches([':', ' ']));
        if !own.is_empty() {
            parts.push(own);
        }
        if let Some(kube::Error::Service(_) | kube::Error::HyperError(_)) = error.downcast_ref() {
            advice = Some("is the API server there, and the way to it open?");
        }
        if let Some(kube::Error::SerdeError(_)) = error.downcast_ref() {
            advice = Some(
                "the answer is not what this version expects: is it the API server that answers, and are the definitions those of this version?",
            );
        }
    }
    let mut line = parts.join(": ");
    if let Some(advice) = advice {
        line = format!("{line}; {advice}");
    }
    line
}

/// What the server said, if that is what went wrong.
fn refusal<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Status> {
    if let Some(kube::Error::Api(status)) = error.downcast_ref() {
        return Some(status);
    }
    let boxed = error.downcast_ref::<Box<Status>>();
    boxed.map(AsRef::as_ref).or_else(|| error.downcast_ref())
}

fn answer(status: &Status) -> String {
    let Status {
        code,
        reason,
        message,
        ..
    } = status;
    format!("{code} {}: {}", plain(reason), plain(message))
}

fn advice_on(status: &Status) -> Option<&'static str> {
    Some(match status.code {
        401 => "the server does not know this process: is its token valid?",
        403 => {
            "the roles of deploy/ give this right: are they those of this version, and bound to this account?"
        }
        404 if status.message.contains("requested resource") => {
            "the server does not know the kind: apply deploy/crds"
        }
        429 | 500..=599 => "the API server is overloaded or fails: its own log says more",
        _ => return None,
    })
}

/// Without what could begin a line or steer a terminal, and not too long.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut characters = text.chars();
    for character in characters.by_ref().take(LONGEST) {
        match character {
            '"' | '\'' | '\\' => plain.push(character),
            other => plain.extend(other.escape_debug()),
        }
    }
    if characters.next().is_some() {
        plain.push('…');
    }
    plain
}

#[cfg(test)]
mod tests {
    use std::io;

    use kube::runtime::watcher;
    use serde_json::json;

    use super::*;

    fn status(code: u16, reason: &str, message: &str) -> Box<Status> {
        let status = json!({ "code": code, "reason": reason, "message": message });
        Box::new(serde_json::from_value(status).unwrap())
    }

    #[test]
    fn a_refusal_is_one_line_with_what_to_do() {
        let message = "seccompprofiles is forbidden: User \"x\" cannot list";
        let api = || kube::Error::Api(status(403, "Forbidden", message));
        let expected = format!(
            "403 Forbidden: {message}; the roles of deploy/ give this right: are they those of \
             this version, and bound to this account?"
        );
        assert_eq!(told(&api()), expected);
        let watch = watcher::Error::InitialListFailed(api());
        let begin = "failed to perform initial object list: ";
        assert_eq!(told(&watch), format!("{begin}{expected}"));
        let gone = watcher::Error::WatchError(status(410, "Expired", "too old"));
        assert_eq!(
            told(&gone),
            "error returned by apiserver during watch: 410 Expired: too old"
        );
    }

    #[test]
    fn a_server_that_is_away_is_told_once() {
        let refused = io::Error::from_raw_os_error(111);
        let error = watcher::Error::WatchStartFailed(kube::Error::Service(Box::new(refused)));
        assert_eq!(
            told(&error),
            "failed to start watching object: ServiceError: Connection refused (os error 111); \
             is the API server there, and the way to it open?"
        );
    }

    #[test]
    fn what_a_server_sends_cannot_do_harm() {
        let page = format!("<html>\n\u{1b}[2Jfake\r\u{202e}{}", "x".repeat(100_000));
        let error = kube::Error::Api(status(502, "Failed to parse\nerror data", &page));
        let line = told(&error);
        assert!(
            line.starts_with(r"502 Failed to parse\nerror data: <html>\n\u{1b}[2Jfake\r\u{202e}x"),
            "{line}"
        );
        assert!(
            line.len() < 600 && !line.chars().any(char::is_control),
            "{line}"
        );
        assert!(line.ends_with("its own log says more"), "{line}");

        let object = format!("\"{}\\n\\u001b[31m\"", "y".repeat(10_000));
        let garbage = serde_json::from_str::<u32>(&object).unwrap_err();
        let line = told(&kube::Error::SerdeError(garbage));
        assert!(
            line.len() < 800 && !line.chars().any(char::is_control),
            "{line}"
        );
        assert!(line.contains("is it the API server that answers"), "{line}");
    }
}
