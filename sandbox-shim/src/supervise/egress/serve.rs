//! The thread that serves the door, the relay and the names.

use super::super::core::Core;
use super::leave::{Refusal, Traveller, carry, dial, leave};
use super::{Out, http};
use crate::egress::routes::Route;
use crate::egress::{dns, socks};
use crate::launch::wall::Listeners;
use crate::lock::lock;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_util::sync::CancellationToken;

/// How long after the agent's end the kernel is asked for connections and questions that were never taken up.
const LAST_LOOK: Duration = Duration::from_millis(1);
/// How long what the agent has said may take to be heard after its end. It lies in the sockets' buffers: only a host outside that
/// takes nothing uses it up.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Serves until the agent has ended, and all it said is heard.
#[derive(Debug)]
pub(crate) struct Serving {
    ended: CancellationToken,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Serving {
    /// Begins.
    ///
    /// # Errors
    /// Without a thread or a runtime.
    pub(crate) fn begin(core: &Arc<Core>, out: &Out, listeners: Listeners) -> io::Result<Self> {
        let (ended, conversations) = (out.ended.clone(), out.conversations.clone());
        let (ending, core) = (ended.clone(), Arc::clone(core));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listening = {
            let _inside = runtime.enter();
            Listening::from_std(listeners)?
        };
        let thread = std::thread::Builder::new().name("wk-egress".into()).spawn(move || {
            runtime.block_on(async {
                listening.serve(&core, &ending).await;
                conversations.close();
                if tokio::time::timeout(LAST_WORDS, conversations.wait()).await.is_err() {
                    tracing::warn!(
                        left = conversations.len(),
                        "connections through the proxy are cut at the agent's end"
                    );
                }
            });
            // A lookup that hangs must not keep the end of the session waiting.
            runtime.shutdown_background();
        })?;
        Ok(Self { ended, thread: Mutex::new(Some(thread)) })
    }

    /// Once no process of the agent is left: hears what they said last, and ends. Doing it twice is harmless.
    pub(crate) fn finish(&self) {
        self.ended.cancel();
        drop(lock(&self.thread).take().map(JoinHandle::join));
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.finish();
    }
}

struct Listening {
    door: TcpListener,
    relay: TcpListener,
    names: TcpListener,
    questions: UdpSocket,
}

impl Listening {
    fn from_std(listeners: Listeners) -> io::Result<Self> {
        let stream = |listener: std::net::TcpListener| {
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        };
        listeners.questions.set_nonblocking(true)?;
        Ok(Self {
            door: stream(listeners.door)?,
            relay: stream(listeners.relay)?,
            names: stream(listeners.names)?,
            questions: UdpSocket::from_std(listeners.questions)?,
        })
    }

    async fn serve(self, core: &Arc<Core>, ended: &CancellationToken) {
        let mut question = vec![0; 4096];
        let over = async || {
            ended.cancelled().await;
            tokio::time::sleep(LAST_LOOK).await;
        };
        loop {
            let accepted = tokio::select! {
                biased;
                met = self.questions.recv_from(&mut question) => {
                    if let Ok((length, from)) = met
                        && let Some(reply) = answer(core, &question[..length], from)
                    {
                        // A program that does not listen any more asks again, or does not care.
                        drop(self.questions.send_to(&reply, from).await);
                    }
                    continue;
                }
                met = self.door.accept() => met.map(|(stream, from)| (Service::Door, stream, from)),
                met = self.relay.accept() => met.map(|(stream, from)| (Service::Relay, stream, from)),
                met = self.names.accept() => met.map(|(stream, from)| (Service::Names, stream, from)),
                () = over() => return,
            };
            let Ok((service, stream, from)) = accepted else {
                // Out of descriptors, most likely: a moment later there may be some.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            // Only connections that the shim made for the agent are met: nobody else on this machine uses this proxy.
            let Some(out) = &core.out else { return };
            let Some(route) = out.routes.meet(from.port()) else { continue };
            let core = Arc::clone(core);
            out.conversations.spawn(async move {
                let served = match service {
                    Service::Door => at_the_door(&core, route, stream).await,
                    Service::Relay => at_the_relay(&core, route, stream).await,
                    Service::Names => at_the_names(&core, route, stream).await,
                };
                if let Err(error) = served {
                    tracing::debug!(%error, "a connection through the proxy has ended");
                }
            });
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Service {
    Door,
    Relay,
    Names,
}

fn answer(core: &Core, question: &[u8], from: SocketAddr) -> Option<Vec<u8>> {
    let process = core.out.as_ref()?.routes.who_asks(from.port())?;
    dns::reply(question, |asked| core.answer_name(&process, asked))
}

/// Questions over a stream, each with its length before it.
async fn at_the_names(core: &Core, route: Route, mut stream: TcpStream) -> io::Result<()> {
    loop {
        let length = stream.read_u16().await?;
        let mut question = vec![0; usize::from(length)];
        stream.read_exact(&mut question).await?;
        let Some(reply) = dns::reply(&question, |asked| core.answer_name(&route.process, asked)) else { return Ok(()) };
        // In one piece: a client may take the first that comes for all of it.
        let length = u16::try_from(reply.len()).unwrap_or(0).to_be_bytes();
        stream.write_all(&[&length[..], &reply].concat()).await?;
    }
}

/// A connect that was turned.
async fn at_the_relay(core: &Arc<Core>, route: Route, stream: TcpStream) -> io::Result<()> {
    let Some(meant) = route.meant else { return Ok(()) };
    let who = Traveller { process: route.process, to: meant.to, port: meant.port };
    if meant.by_request {
        return http::serve(core, who.process.clone(), Some(who), stream).await;
    }
    match dial(core, &who, meant.reason).await {
        Ok(outside) => carry(core, &who, stream, outside).await,
        Err(_) => {
            // A reset, not an orderly end: the nearest thing to a connect that fails.
            stream.set_zero_linger()
        }
    }
}

/// Somebody who speaks to a proxy.
async fn at_the_door(core: &Arc<Core>, route: Route, mut stream: TcpStream) -> io::Result<()> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 0 {
        return Ok(());
    }
    if first[0] != 5 {
        return http::serve(core, route.process, None, stream).await;
    }
    let Some((to, port)) = socks::hear(&mut stream).await? else { return Ok(()) };
    let who = Traveller { process: route.process, to: core.meant(to), port };
    match leave(core, &who, None).await {
        Ok(outside) => {
            socks::answer(&mut stream, socks::Reply::Connected).await?;
            carry(core, &who, stream, outside).await
        }
        Err(Refusal::NotAllowed { .. }) => socks::answer(&mut stream, socks::Reply::NotAllowed).await,
        Err(Refusal::Unreachable(_)) => socks::answer(&mut stream, socks::Reply::Unreachable).await,
    }
}
