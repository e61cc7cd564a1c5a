//! The shim's end of the line to its init.

use super::frame::{self, Frame};
use crate::sys::net;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[derive(Debug, Default)]
struct Heard {
    /// The answer to an order, and the descriptor that came with it.
    done: Option<(Frame, Option<OwnedFd>)>,
    exited: Option<i32>,
    failed: Option<Frame>,
    closed: bool,
}

impl Heard {
    fn has_answered(&self, kind: i32) -> bool {
        self.done.as_ref().is_some_and(|(done, _)| done.b == kind)
    }
}

/// A line to the init: orders go one at a time, news come when they come.
#[derive(Debug)]
pub(crate) struct Line {
    stream: UnixStream,
    ordering: Mutex<()>,
    heard: Mutex<Heard>,
    news: Condvar,
}

impl Line {
    /// Takes the shim's end.
    #[must_use]
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self { stream, ordering: Mutex::default(), heard: Mutex::default(), news: Condvar::new() }
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Receives the listener, the first thing the init sends; or the frame that says what failed.
    ///
    /// # Errors
    /// `UnexpectedEof` when the init died without a word.
    pub(crate) fn listener(&self) -> io::Result<Result<OwnedFd, Frame>> {
        self.receive().map(|(frame, listener)| listener.ok_or(frame))
    }

    /// Receives a frame, which comes in one piece, and the descriptor that comes with it.
    fn receive(&self) -> io::Result<(Frame, Option<OwnedFd>)> {
        let mut bytes = [0; frame::LENGTH];
        loop {
            return match net::receive_descriptor(self.stream.as_fd(), &mut bytes) {
                Ok((frame::LENGTH, came)) => Ok((Frame::parse(bytes), came)),
                Ok(_) => Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
        }
    }

    /// Receives a socket of the agent's network, which the init sends before the listener; or the frame that says what failed.
    ///
    /// # Errors
    /// `UnexpectedEof` when the init died without a word.
    pub(crate) fn socket(&self) -> io::Result<Result<OwnedFd, Frame>> {
        // On the line it looks like the listener, and comes in a fixed order.
        self.listener()
    }

    /// Listens until the init is gone.
    pub(crate) fn listen(&self) {
        loop {
            let received = self.receive();
            let mut heard = self.heard();
            match received {
                Ok((frame, _)) if frame.kind == frame::EXITED => heard.exited = Some(frame.a),
                Ok((frame, came)) if frame.kind == frame::DONE => heard.done = Some((frame, came)),
                Ok((frame, _)) => heard.failed = Some(frame),
                Err(_) => heard.closed = true,
            }
            let closed = heard.closed;
            drop(heard);
            self.news.notify_all();
            if closed {
                return;
            }
        }
    }

    /// Gives an order and waits until it is carried out.
    ///
    /// # Errors
    /// What the init says, or `BrokenPipe` when it is gone, or `TimedOut` when it does not answer.
    pub(crate) fn order(&self, kind: i32, detail: i32) -> io::Result<()> {
        self.ask(kind, detail).map(drop)
    }

    /// Has a socket for streams of this family made in the agent's network; it does not block.
    ///
    /// # Errors
    /// As [`Line::order`]; `TimedOut` too while the init stands still with a frozen session.
    pub(crate) fn stream(&self, family: i32) -> io::Result<OwnedFd> {
        self.ask(frame::STREAM, family)?.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    fn ask(&self, kind: i32, detail: i32) -> io::Result<Option<OwnedFd>> {
        let _one_at_a_time = self.ordering.lock().unwrap_or_else(PoisonError::into_inner);
        self.heard().done = None;
        frame::send(self.stream.as_fd(), Frame { kind, a: detail, b: 0 })?;
        let (mut heard, timeout) = self
            .news
            .wait_timeout_while(self.heard(), Duration::from_secs(5), |heard| {
                !heard.has_answered(kind) && !heard.closed
            })
            .unwrap_or_else(PoisonError::into_inner);
        // What answers an earlier order comes too late for it, and is no answer to this one.
        match heard.done.take().filter(|(done, _)| done.b == kind) {
            Some((done, came)) if done.a == 0 => Ok(came),
            Some((done, _)) => Err(io::Error::from_raw_os_error(done.a)),
            None if timeout.timed_out() => Err(io::ErrorKind::TimedOut.into()),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Waits until the agent's first process has ended or the init is gone; its status, or the step that failed.
    pub(crate) fn wait(&self) -> (Option<i32>, Option<Frame>) {
        let heard = self
            .news
            .wait_while(self.heard(), |heard| heard.exited.is_none() && !heard.closed)
            .unwrap_or_else(PoisonError::into_inner);
        (heard.exited, heard.failed)
    }

    /// Waits until the init is gone.
    pub(crate) fn wait_closed(&self, at_most: Duration) -> bool {
        let (heard, _) = self
            .news
            .wait_timeout_while(self.heard(), at_most, |heard| !heard.closed)
            .unwrap_or_else(PoisonError::into_inner);
        heard.closed
    }

    /// Hangs up, which ends the init and with it the agent.
    pub(crate) fn hang_up(&self) {
        self.stream.shutdown(std::net::Shutdown::Both).ok();
    }
}
