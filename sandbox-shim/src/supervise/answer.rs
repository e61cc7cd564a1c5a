//! What goes back to the agent, and what is done in its place: now, or when the session is resumed.

use super::core::Core;
use crate::gate::Waiting;
use crate::sys;
use crate::sys::seccomp::{self, Answer};
use crate::workers::Job;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

impl Core {
    /// Answers, now or when the session is resumed.
    pub(crate) fn answer(&self, id: u64, answer: Answer) {
        self.gate.pass(Waiting::Answer(id, answer), |_| {
            // ENOENT: killed while it waited. Nobody is left to be told.
            seccomp::answer(self.listener.as_fd(), id, answer).ok();
        });
    }

    /// Answers with a descriptor; an error goes to the process instead.
    pub(crate) fn answer_with(&self, id: u64, file: io::Result<OwnedFd>, close_on_exec: bool) {
        let given = file
            .and_then(|file| seccomp::answer_with_descriptor(self.listener.as_fd(), id, file.as_fd(), close_on_exec));
        if let Err(error) = given {
            self.answer(id, Answer::Error(sys::errno(&error)));
        }
    }

    /// Acts in the agent's place on a worker, now or when the session is resumed.
    pub(crate) fn act(&self, act: impl FnOnce(&Core) + Send + 'static) {
        let me = self.me.clone();
        let job: Job = Box::new(move || {
            if let Some(core) = me.upgrade() {
                act(&core);
            }
        });
        let me = self.me.clone();
        self.workers.run(Box::new(move || {
            if let Some(core) = me.upgrade() {
                core.gate.pass(Waiting::Act(job), |what| {
                    if let Waiting::Act(job) = what {
                        job();
                    }
                });
            }
        }));
    }

    /// Lets everything through that waited while the session was frozen.
    pub(crate) fn reopen(&self) {
        for waiting in self.gate.open() {
            match waiting {
                Waiting::Call(call) => self.take(call),
                Waiting::Answer(id, answer) => self.answer(id, answer),
                Waiting::Act(job) => self.workers.run(job),
            }
        }
        self.wake();
    }

    /// Has something done by a worker that touches the agent in no way, frozen or not: the thread that receives must not wait for a
    /// disk.
    pub(crate) fn aside(&self, act: impl FnOnce(&Core) + Send + 'static) {
        let me = self.me.clone();
        self.workers.run(Box::new(move || {
            if let Some(core) = me.upgrade() {
                act(&core);
            }
        }));
    }
}
