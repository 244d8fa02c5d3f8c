//! What others do in the folder, told by the kernel.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt as _;
use inotify::{EventMask, EventOwned, EventStream, Inotify, WatchMask};
use tokio_util::sync::CancellationToken;

/// How long to wait when the kernel has no more watches for us.
const PAUSE: Duration = Duration::from_secs(30);
/// Room for many events at once.
const BUFFER: usize = 64 << 10;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Noticed {
    /// Something became of the file of this name. Our own doing is told as well.
    File(String),
    /// The folder came back, or what happened is not known: everything may have changed.
    Everything,
    /// The folder is gone, or another came in its place.
    Gone,
}

/// Watches until `stop`. While the folder is missing, its nearest ancestor that exists is watched.
/// `failed` is told why nothing can be watched; that is tried again.
pub async fn watch(
    path: PathBuf,
    stop: CancellationToken,
    mut noticed: impl FnMut(Noticed) + Send,
    mut failed: impl FnMut(&io::Error) + Send,
) {
    loop {
        let watching = async {
            loop {
                follow(&path, &mut noticed).await?;
            }
        };
        let ended: io::Result<std::convert::Infallible> = tokio::select! {
            () = stop.cancelled() => return,
            ended = watching => ended,
        };
        let Err(error) = ended;
        failed(&error);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
        noticed(Noticed::Everything);
    }
}

/// Waits until the folder is there, and tells what happens until it is gone.
async fn follow(path: &Path, noticed: &mut (impl FnMut(Noticed) + Send)) -> io::Result<()> {
    let mut stream = Inotify::init()?.into_event_stream(vec![0; BUFFER])?;
    let mask = WatchMask::CREATE
        | WatchMask::MOVE
        | WatchMask::DELETE
        | WatchMask::CLOSE_WRITE
        | WatchMask::MODIFY
        | WatchMask::ATTRIB
        | WatchMask::DELETE_SELF
        | WatchMask::MOVE_SELF
        | WatchMask::ONLYDIR;
    while let Err(error) = stream.watches().add(path, mask) {
        if !is_missing(&error) {
            return Err(error);
        }
        appear(path).await?;
    }
    // What happened before the watch, nobody told.
    noticed(Noticed::Everything);
    loop {
        let event = next(&mut stream).await?;
        if event.mask.contains(EventMask::Q_OVERFLOW) {
            noticed(Noticed::Everything);
            continue;
        }
        let end =
            EventMask::DELETE_SELF | EventMask::MOVE_SELF | EventMask::UNMOUNT | EventMask::IGNORED;
        if event.mask.intersects(end) {
            noticed(Noticed::Gone);
            return Ok(());
        }
        match event.name {
            Some(name) => {
                let name = name.to_string_lossy();
                if !name.starts_with('.') {
                    noticed(Noticed::File(name.into_owned()));
                }
            }
            // Its own mode or owner.
            None => noticed(Noticed::Everything),
        }
    }
}

/// Waits until something appears on the way to a path, or is there already.
async fn appear(path: &Path) -> io::Result<()> {
    let mut stream = Inotify::init()?.into_event_stream(vec![0; BUFFER])?;
    let mask = WatchMask::CREATE
        | WatchMask::MOVED_TO
        | WatchMask::ATTRIB
        | WatchMask::DELETE_SELF
        | WatchMask::MOVE_SELF
        | WatchMask::ONLYDIR;
    for ancestor in path.ancestors().skip(1) {
        match stream.watches().add(ancestor, mask) {
            Ok(_) => {
                // It may have appeared before the watch did.
                let next_down = path
                    .ancestors()
                    .take_while(|below| *below != ancestor)
                    .last()
                    .unwrap_or(path);
                if !next_down.is_dir() {
                    next(&mut stream).await?;
                }
                return Ok(());
            }
            Err(error) if is_missing(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::from(io::ErrorKind::NotFound))
}

fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

async fn next(stream: &mut EventStream<Vec<u8>>) -> io::Result<EventOwned> {
    match stream.next().await {
        Some(event) => event,
        None => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::sync::mpsc::{self, UnboundedReceiver};

    use super::*;

    async fn told(receiver: &mut UnboundedReceiver<Noticed>, expected: &Noticed) {
        let wait = async {
            while let Some(noticed) = receiver.recv().await {
                if noticed == *expected {
                    return;
                }
            }
            panic!("the watch ended");
        };
        tokio::time::timeout(Duration::from_secs(10), wait)
            .await
            .unwrap_or_else(|_| panic!("{expected:?} was not told"));
    }

    #[tokio::test]
    async fn changes_and_the_folder_itself_are_told() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("a/b");
        let stop = CancellationToken::new();
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let watching = tokio::spawn(watch(
            folder.clone(),
            stop.clone(),
            move |noticed| sender.send(noticed).unwrap(),
            |error| panic!("{error}"),
        ));
        tokio::task::yield_now().await;
        for _ in 0..2 {
            fs::create_dir_all(&folder).unwrap();
            told(&mut receiver, &Noticed::Everything).await;
            let file = |name: &str| Noticed::File(name.to_owned());
            fs::write(folder.join("one.json"), "x").unwrap();
            told(&mut receiver, &file("one.json")).await;
            fs::rename(folder.join("one.json"), folder.join("two.json")).unwrap();
            told(&mut receiver, &file("two.json")).await;
            fs::remove_file(folder.join("two.json")).unwrap();
            told(&mut receiver, &file("two.json")).await;
            fs::write(folder.join(".hidden"), "x").unwrap();
            fs::remove_dir_all(outer.path().join("a")).unwrap();
            told(&mut receiver, &Noticed::Gone).await;
        }
        stop.cancel();
        watching.await.unwrap();
    }
}
