//! Turns what agents say into records, once each.
//!
//! Hooks and streams often say the same thing. A call heard by hook and seen again in the stream is one record; a call seen only
//! in the stream waits for its answer, because its hook may still come, and is then recorded as observed. A thought or a plan that
//! says the same as the one before is not recorded again. Long texts are cut; their size and digest speak of the whole.

use super::{Channel, Said, ToolAnswer, ToolCall};
use crate::causality::{CallFacts, Calls};
use crate::clock;
use crate::contract::{Event, RecordError, Recorder};
use crate::lock::lock;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex};
use wk_schemas::body::{
    PlanDeclared, PlanStep, PromptSubmitted, RecordsLost, StepStatus, Thought, ToolCalled, ToolReturned,
};
use wk_schemas::{Body, Digest, Origin, RecordId};

/// Longest text that is kept of a prompt, a thought, a call's arguments or a tool's answer.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// Told who the agent is: name, version, model.
pub type AgentSeen = Box<dyn Fn(Option<String>, Option<String>, Option<String>) + Send + Sync>;

/// Listens for one session.
pub struct Ear {
    recorder: Arc<dyn Recorder>,
    calls: Arc<Calls>,
    agent_seen: AgentSeen,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What is known of each call, by the agent's id.
    calls: BTreeMap<String, Known>,
    /// Digests of thoughts and prompts that were recorded since the last prompt.
    texts: BTreeSet<Digest>,
    plan: Vec<PlanStep>,
    revision: i32,
    heard: u64,
    hooks: u64,
}

enum Known {
    /// Seen after the fact; its hook may still come.
    Seen(ToolCall, Channel),
    Called {
        tool: String,
        record: RecordId,
    },
    Returned,
}

impl fmt::Debug for Ear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ear").finish_non_exhaustive()
    }
}

impl Ear {
    /// An ear that writes to `recorder` and tells `calls` about tool calls.
    #[must_use]
    pub fn new(recorder: Arc<dyn Recorder>, calls: Arc<Calls>, agent_seen: AgentSeen) -> Self {
        Self { recorder, calls, agent_seen, state: Mutex::default() }
    }

    /// Records what was said, in order. When this returns, it is taken.
    ///
    /// # Errors
    /// [`RecordError`] when something could not be taken: the agent must not do what it announced.
    pub fn hear(&self, said: Vec<Said>, channel: Channel) -> Result<(), RecordError> {
        // One lock for the whole message: two hooks at once must not both take a call for new.
        let mut state = lock(&self.state);
        state.heard += 1;
        if channel == Channel::Hook {
            state.hooks += 1;
        }
        let mut cause = None;
        for said in said {
            match said {
                Said::Agent { name, version, model } => (self.agent_seen)(name, version, model),
                Said::Prompt(text) => self.prompt(&mut state, &text, channel)?,
                Said::Plan { steps, source, explanation } => {
                    self.plan(&mut state, steps, source, explanation, channel, cause)?;
                }
                Said::Thought { text, form } => self.thought(&mut state, &text, form, channel)?,
                Said::Called(call) => cause = self.called(&mut state, call, channel)?,
                Said::Returned(answer) => cause = self.returned(&mut state, answer, channel)?,
                Said::Lost(reason) => self.lost(channel, reason)?,
            }
        }
        Ok(())
    }

    /// Records that something could not be read.
    ///
    /// # Errors
    /// As [`Ear::hear`].
    pub fn lost(&self, channel: Channel, reason: String) -> Result<(), RecordError> {
        let stage = match channel {
            Channel::Stream => "stream",
            Channel::Proxy => "proxy",
            Channel::Otel => "otel",
            Channel::Hook | Channel::Jsonl => "hook",
        };
        self.write(channel, Vec::new(), RecordsLost { count: 1, stage: stage.into(), reason }).map(drop)
    }

    /// The agent has ended: what was seen only in the stream is recorded now, and so is a silence where hooks were expected.
    ///
    /// # Errors
    /// As [`Ear::hear`].
    pub fn end(&self, expects_hooks: bool) -> Result<(), RecordError> {
        let mut state = lock(&self.state);
        let ids: Vec<String> =
            state.calls.iter().filter(|(_, k)| matches!(k, Known::Seen(..))).map(|(id, _)| id.clone()).collect();
        for id in ids {
            if let Some(Known::Seen(call, channel)) = state.calls.remove(&id) {
                self.write_call(&mut state, call, channel)?;
            }
        }
        if expects_hooks && state.hooks == 0 {
            let reason =
                "the agent ran none of the shim's hooks: what it said is known from its streams only, or not at all";
            let lost = RecordsLost { count: -1, stage: "hook".into(), reason: reason.into() };
            self.write(Channel::Hook, Vec::new(), lost)?;
        }
        Ok(())
    }

    fn prompt(&self, state: &mut State, text: &str, channel: Channel) -> Result<(), RecordError> {
        // The same words may be said again after a new prompt.
        state.texts.clear();
        let (text, text_bytes, text_digest) = cut(text);
        let channel_name = channel.as_str().into();
        let body = PromptSubmitted { text, text_bytes, text_digest, channel: channel_name };
        self.write(channel, Vec::new(), body).map(drop)
    }

    fn plan(
        &self,
        state: &mut State,
        steps: Vec<PlanStep>,
        source: &str,
        explanation: Option<String>,
        channel: Channel,
        cause: Option<RecordId>,
    ) -> Result<(), RecordError> {
        // A stream knows only done and not done, so it must not take back that a step was in progress.
        let is_same = |a: &[PlanStep], b: &[PlanStep]| {
            let key = |s: &PlanStep| match channel {
                Channel::Stream if s.status == StepStatus::InProgress => (s.text.clone(), StepStatus::Pending),
                Channel::Stream | Channel::Hook | Channel::Proxy | Channel::Otel | Channel::Jsonl => {
                    (s.text.clone(), s.status)
                }
            };
            a.iter().map(key).eq(b.iter().map(key))
        };
        if steps.is_empty() || is_same(&steps, &state.plan) {
            return Ok(());
        }
        let body = PlanDeclared {
            revision: state.revision,
            steps: steps.iter().map(|s| PlanStep { text: cut(&s.text).0, status: s.status }).collect(),
            source: source.into(),
            confidence: 1.0,
            explanation: explanation.map(|e| cut(&e).0),
        };
        self.write(channel, cause.into_iter().collect(), body)?;
        state.revision += 1;
        state.plan = steps;
        Ok(())
    }

    fn thought(&self, state: &mut State, text: &str, form: &str, channel: Channel) -> Result<(), RecordError> {
        let (text, text_bytes, text_digest) = cut(text);
        if !state.texts.insert(text_digest) {
            return Ok(());
        }
        let channel_name = channel.as_str().into();
        let body = Thought { text, text_bytes, text_digest, form: form.into(), channel: channel_name };
        self.write(channel, Vec::new(), body).map(drop)
    }

    fn called(&self, state: &mut State, call: ToolCall, channel: Channel) -> Result<Option<RecordId>, RecordError> {
        match state.calls.get(&call.id) {
            Some(Known::Called { .. } | Known::Returned) => Ok(None),
            Some(Known::Seen(..)) | None if matches!(channel, Channel::Stream | Channel::Otel) => {
                state.calls.insert(call.id.clone(), Known::Seen(call, channel));
                Ok(None)
            }
            Some(Known::Seen(..)) | None => self.write_call(state, call, channel).map(Some),
        }
    }

    fn write_call(&self, state: &mut State, call: ToolCall, channel: Channel) -> Result<RecordId, RecordError> {
        let (arguments, arguments_bytes, arguments_digest) = cut(&call.arguments);
        let waits = match channel {
            Channel::Hook | Channel::Jsonl => true,
            Channel::Proxy => call.waits,
            Channel::Stream | Channel::Otel => false,
        };
        let decision = if waits { "allowed" } else { "observed" };
        let body = ToolCalled {
            tool_call_id: call.id.clone(),
            tool: call.tool.clone(),
            tool_class: call.class.into(),
            arguments,
            arguments_bytes,
            arguments_digest,
            command_text: call.command.as_deref().map(|c| cut(c).0),
            working_directory: call.working_directory.as_ref().map(|d| d.display().to_string()),
            subagent_id: call.subagent,
            channel: channel.as_str().into(),
            decision: decision.into(),
            reason: None,
        };
        // The table first: once the record is there, effects may come at any time.
        if !matches!(channel, Channel::Stream | Channel::Otel) {
            self.calls.open(CallFacts {
                id: call.id.clone(),
                starts_processes: call.class == "shell",
                command: call.command,
                names: call.names,
                working_directory: call.working_directory,
            });
        }
        // What a sub-agent does follows from the call that started it.
        let cause = call.parent.and_then(|parent| match state.calls.get(&parent) {
            Some(Known::Called { record, .. }) => Some(*record),
            Some(Known::Seen(..) | Known::Returned) | None => None,
        });
        // A call that waits is said before the fact, by whatever way it comes.
        let said_by = if waits { Channel::Hook } else { channel };
        let record = self.write(said_by, cause.into_iter().collect(), body)?;
        state.calls.insert(call.id, Known::Called { tool: call.tool, record });
        Ok(record)
    }

    fn returned(
        &self,
        state: &mut State,
        answer: ToolAnswer,
        channel: Channel,
    ) -> Result<Option<RecordId>, RecordError> {
        let (tool, cause) = match state.calls.remove(&answer.id) {
            Some(Known::Returned) => {
                state.calls.insert(answer.id, Known::Returned);
                return Ok(None);
            }
            Some(Known::Called { tool, record }) => (tool, Some(record)),
            Some(Known::Seen(call, seen)) => {
                let tool = call.tool.clone();
                (tool, Some(self.write_call(state, call, seen)?))
            }
            // An answer to a call that nobody announced.
            None => (String::new(), None),
        };
        self.calls.close(&answer.id);
        state.calls.insert(answer.id.clone(), Known::Returned);
        let (output, output_bytes, output_digest) = cut(&answer.output);
        let body = ToolReturned {
            tool_call_id: answer.id,
            tool: if answer.tool.is_empty() { tool } else { answer.tool },
            success: answer.success,
            output,
            output_bytes,
            output_digest,
            duration_us: answer.duration_us,
            channel: channel.as_str().into(),
        };
        self.write(channel, cause.into_iter().collect(), body).map(Some)
    }

    fn write(
        &self,
        channel: Channel,
        caused_by: Vec<RecordId>,
        body: impl Into<Body>,
    ) -> Result<RecordId, RecordError> {
        let origin = match channel {
            Channel::Hook | Channel::Jsonl => Origin::Hook,
            Channel::Stream | Channel::Proxy | Channel::Otel => Origin::Transcript,
        };
        self.recorder.record(Event { origin, caused_by, occurred_at: clock::now(), body: body.into() })
    }
}

/// Cuts a text at [`TEXT_BYTES_MAX`], between characters; size and digest are those of the whole.
fn cut(text: &str) -> (String, i64, Digest) {
    let end = text.floor_char_boundary(TEXT_BYTES_MAX);
    let bytes = i64::try_from(text.len()).unwrap_or(i64::MAX);
    (text[..end].to_owned(), bytes, Digest::of(text.as_bytes()))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::causality::CallTable;
    use crate::contract::{Causality, ProcessFacts, Tie};
    use uuid::Uuid;
    use wk_schemas::Kind;

    /// Keeps what is recorded.
    #[derive(Default)]
    pub(crate) struct Kept(Mutex<Vec<Event>>);

    impl Kept {
        pub(crate) fn events(&self) -> Vec<Event> {
            self.0.lock().unwrap().clone()
        }
    }

    /// An ear that tells `kept`.
    pub(crate) fn ear_for(kept: &Arc<Kept>) -> Ear {
        Ear::new(Arc::clone(kept) as _, Calls::new(CallTable::default()), Box::new(|_, _, _| {}))
    }

    impl Recorder for Kept {
        fn record(&self, event: Event) -> Result<RecordId, RecordError> {
            let mut events = self.0.lock().unwrap();
            events.push(event);
            Ok(RecordId(Uuid::from_u128(events.len() as u128)))
        }
        fn record_durable(&self, event: Event) -> Result<RecordId, RecordError> {
            self.record(event)
        }
    }

    fn ear() -> (Arc<Kept>, Arc<Calls>, Ear) {
        let kept = Arc::new(Kept::default());
        let calls = Calls::new(CallTable::default());
        let ear = Ear::new(Arc::clone(&kept) as _, Arc::clone(&calls), Box::new(|_, _, _| {}));
        (kept, calls, ear)
    }

    fn kinds(kept: &Kept) -> Vec<Kind> {
        kept.0.lock().unwrap().iter().map(|e| e.body.kind()).collect()
    }

    fn shell(id: &str) -> Said {
        let call = ToolCall {
            id: id.into(),
            tool: "Bash".into(),
            class: "shell",
            command: Some("ls".into()),
            ..ToolCall::default()
        };
        Said::Called(call)
    }

    fn answer(id: &str) -> Said {
        Said::Returned(ToolAnswer { id: id.into(), output: "x".into(), ..ToolAnswer::default() })
    }

    #[test]
    fn a_call_that_hook_and_stream_both_tell_is_recorded_once() {
        let (kept, _, ear) = ear();
        // The stream is written before the hook runs.
        ear.hear(vec![shell("a")], Channel::Stream).unwrap();
        ear.hear(vec![shell("a")], Channel::Hook).unwrap();
        ear.hear(vec![answer("a")], Channel::Hook).unwrap();
        ear.hear(vec![answer("a")], Channel::Stream).unwrap();
        assert_eq!(kinds(&kept), [Kind::ToolCalled, Kind::ToolReturned]);
        let events = kept.0.lock().unwrap();
        let Body::ToolCalled(call) = &events[0].body else { panic!() };
        assert_eq!((call.channel.as_str(), call.decision.as_str()), ("hook", "allowed"));
        assert_eq!(events[1].caused_by, [RecordId(Uuid::from_u128(1))]);
        let Body::ToolReturned(back) = &events[1].body else { panic!() };
        assert_eq!(back.tool, "Bash");
    }

    #[test]
    fn a_call_that_only_the_stream_tells_is_observed_when_it_returns_or_at_the_end() {
        let (kept, _, ear) = ear();
        ear.hear(vec![shell("a"), shell("b")], Channel::Stream).unwrap();
        assert!(kinds(&kept).is_empty());
        ear.hear(vec![answer("a")], Channel::Stream).unwrap();
        ear.end(true).unwrap();
        assert_eq!(kinds(&kept), [Kind::ToolCalled, Kind::ToolReturned, Kind::ToolCalled, Kind::RecordsLost]);
        let events = kept.0.lock().unwrap();
        let Body::ToolCalled(call) = &events[0].body else { panic!() };
        assert_eq!(call.decision, "observed");
    }

    #[test]
    fn a_process_is_tied_to_the_call_from_the_moment_the_hook_is_answered() {
        let (_, calls, ear) = ear();
        ear.hear(vec![shell("a")], Channel::Hook).unwrap();
        let process = ProcessFacts {
            pid: 1,
            process_uid: "1-1".into(),
            image: "/bin/bash".into(),
            argv: ["bash", "-c", "ls"].map(String::from).to_vec(),
            working_directory: "/".into(),
            is_root: false,
        };
        let agent = Tie { tool_call_id: None, is_agent: true };
        let tie = calls.process_started(&process, Some(&agent));
        assert_eq!(tie.tool_call_id.as_deref(), Some("a"));
        ear.hear(vec![answer("a")], Channel::Hook).unwrap();
        assert_eq!(calls.process_started(&process, Some(&agent)), Tie::default());
    }

    #[test]
    fn plans_are_counted_and_repeats_are_not() {
        let (kept, _, ear) = ear();
        let plan = |status| Said::Plan {
            steps: vec![PlanStep { text: "one".into(), status }],
            source: "update_plan",
            explanation: None,
        };
        ear.hear(vec![plan(StepStatus::InProgress)], Channel::Hook).unwrap();
        ear.hear(vec![plan(StepStatus::Pending)], Channel::Stream).unwrap();
        ear.hear(vec![plan(StepStatus::Completed)], Channel::Hook).unwrap();
        ear.hear(vec![plan(StepStatus::Completed)], Channel::Stream).unwrap();
        let events = kept.0.lock().unwrap();
        let revisions: Vec<_> = events
            .iter()
            .map(|e| match &e.body {
                Body::PlanDeclared(p) => (p.revision, p.steps[0].status),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(revisions, [(0, StepStatus::InProgress), (1, StepStatus::Completed)]);
    }

    #[test]
    fn a_long_answer_is_cut_between_characters_and_its_size_and_digest_stay() {
        let whole = "é".repeat(TEXT_BYTES_MAX);
        let (text, bytes, digest) = cut(&whole);
        assert_eq!(text.len(), TEXT_BYTES_MAX);
        assert_eq!(bytes, i64::try_from(2 * TEXT_BYTES_MAX).unwrap());
        assert_eq!(digest, Digest::of(whole.as_bytes()));
    }
}
