//! The accept loop of every socket by which an agent comes in.
//!
//! So many callers are inside at once and more wait in the kernel's queue; a caller whose talk fails has gone away, which is nothing to
//! stop for; and all of them are gone when the session ends.

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::error::Error;
use std::fmt::Display;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// How long nobody is let in after one could not be: out of descriptors, for instance.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Who is let in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Callers {
    /// What they are, for the traces.
    pub(super) who: &'static str,
    /// So many at once; more wait.
    pub(super) at_most: usize,
}

/// Where callers come in.
pub(super) trait Entrance {
    /// What a caller is talked to by.
    type Stream;

    /// Waits for the next caller. Cancel safe.
    fn next(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Entrance for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<UnixStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

impl Entrance for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<TcpStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

impl Callers {
    /// Lets them in at `entrance` until `stop`; `talk` is the whole of what is said with one. Each talk is a task of its own, and is
    /// dropped at `stop`.
    pub(super) async fn admit<E, T, F>(self, entrance: E, stop: CancellationToken, talk: impl Fn(E::Stream) -> T)
    where
        E: Entrance,
        T: Future<Output = Result<(), F>> + Send + 'static,
        F: Display,
    {
        let who = self.who;
        let places = Arc::new(Semaphore::new(self.at_most));
        loop {
            let next = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (entrance.next().await, place)
            };
            let (accepted, place) = tokio::select! {
                next = next => next,
                () = stop.cancelled() => return,
            };
            match accepted {
                Ok(stream) => {
                    let (talk, stop) = (talk(stream), stop.clone());
                    tokio::spawn(async move {
                        let _place = place;
                        tokio::select! {
                            done = talk => if let Err(error) = done {
                                tracing::debug!(who, %error, "a caller went away");
                            },
                            () = stop.cancelled() => {}
                        }
                    });
                }
                Err(error) => {
                    // Callers wait, and a hook that waits holds its tool call.
                    tracing::warn!(who, %error, "a caller could not be admitted");
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
            }
        }
    }

    /// The same for callers that speak HTTP: each of their requests gets its `answer`.
    pub(super) async fn admit_http<A, B>(
        self,
        listener: TcpListener,
        stop: CancellationToken,
        answer: impl Fn(Request<Incoming>) -> A + Clone + Send + 'static,
    ) where
        A: Future<Output = Response<B>> + Send + 'static,
        B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        self.admit(listener, stop, move |stream| {
            let answer = answer.clone();
            let service = service_fn(move |request| {
                let answered = answer(request);
                async move { Ok::<_, Infallible>(answered.await) }
            });
            http1::Builder::new().serve_connection(TokioIo::new(stream), service)
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::mpsc;

    /// Says hello, and then reads until the other side has gone.
    async fn greet(mut stream: UnixStream, greeted: mpsc::Sender<()>) -> io::Result<()> {
        stream.write_all(b"hello").await?;
        greeted.send(()).await.map_err(io::Error::other)?;
        stream.read_to_end(&mut Vec::new()).await.map(drop)
    }

    #[tokio::test]
    async fn so_many_are_inside_at_once_and_the_next_comes_in_when_one_has_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("in.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let stop = CancellationToken::new();
        let (greeted, mut greetings) = mpsc::channel(9);
        let callers = Callers { who: "test", at_most: 2 };
        let admitting =
            tokio::spawn(callers.admit(listener, stop.clone(), move |stream| greet(stream, greeted.clone())));
        let mut first = UnixStream::connect(&path).await.unwrap();
        let mut second = UnixStream::connect(&path).await.unwrap();
        let mut third = UnixStream::connect(&path).await.unwrap();
        let mut said = [0; 5];
        first.read_exact(&mut said).await.unwrap();
        second.read_exact(&mut said).await.unwrap();
        greetings.recv().await.unwrap();
        greetings.recv().await.unwrap();
        // Both places are taken until one of the two goes: the loop cannot have taken the third in.
        assert!(greetings.try_recv().is_err());
        assert_eq!(third.try_read(&mut said).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(first);
        third.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"hello");
        stop.cancel();
        admitting.await.unwrap();
        // Whoever was inside is sent away.
        for mut stream in [second, third] {
            assert_eq!(stream.read(&mut said).await.unwrap(), 0);
        }
        assert!(UnixStream::connect(&path).await.is_err());
    }
}
