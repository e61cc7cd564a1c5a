//! A real object store that answers 403, 500, slowly, twice, or not at all: a proxy in front of it does to requests what networks,
//! permissions and tired servers do.

use crate::bucket::{self, Bucket};
use crate::stage::{Stage, config, samples, to_the_end, verified_on, writer_on};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use object_store::aws::AmazonS3Builder;
use object_store::{ClientOptions, RetryConfig};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use wk_ingest::{Config, IngestError};
use wk_store::files::Files;
use wk_store::place::Place;
use wk_store::{Lake, Writer};

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// 403, and nothing has happened.
    Refused,
    /// 500, and nothing has happened.
    Failed,
    /// It has happened, and the answer is 500.
    DoneAndFailed,
    /// It has happened, and the connection ends without an answer.
    DoneAndSilent,
    /// It happens twice; the second answer is the one that arrives.
    Twice,
    /// It happens, late.
    Late,
}

const FAULTS: [Fault; 6] =
    [Fault::Refused, Fault::DoneAndFailed, Fault::Twice, Fault::Failed, Fault::DoneAndSilent, Fault::Late];

/// Which requests are done something to.
#[derive(Debug, Clone, Copy)]
enum Plan {
    /// One of n, at random, with a fault at random: a rhythm of its own could meet the same request for ever.
    OneOf(u64),
    /// Those that write, always the same.
    Writes(Fault),
}

/// How long a late answer takes.
const LATE: Duration = Duration::from_millis(900);

struct Shared {
    upstream: String,
    client: reqwest::Client,
    plan: Plan,
    requests: AtomicU64,
    done: AtomicU64,
}

/// Stands before an object store; ends with the value.
struct Proxy {
    endpoint: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    async fn before(bucket: &Bucket, plan: Plan) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            upstream: bucket.endpoint(),
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            plan,
            requests: AtomicU64::new(0),
            done: AtomicU64::new(0),
        });
        let task = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Self { endpoint, shared, task }
    }

    fn place(&self, bucket: &Bucket) -> Place {
        bucket::place(bucket.dir(), Some(self.endpoint.clone()))
    }

    /// How many requests something was done to.
    fn done(&self) -> u64 {
        self.shared.done.load(Ordering::SeqCst)
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&shared), request));
            // An error of the service ends the connection, which is what one of the faults wants.
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
        });
    }
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let fault = shared.fault(&head.method);
    shared.done.fetch_add(u64::from(fault.is_some()), Ordering::SeqCst);
    let forward = || shared.forward(&head, body.clone());
    match fault {
        None => forward().await,
        Some(Fault::Refused) => Ok(refusal(StatusCode::FORBIDDEN, "AccessDenied")),
        Some(Fault::Failed) => Ok(refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalError")),
        Some(Fault::DoneAndFailed) => {
            forward().await?;
            Ok(refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"))
        }
        Some(Fault::DoneAndSilent) => {
            forward().await?;
            Err(io::Error::other("the connection is cut"))
        }
        Some(Fault::Twice) => {
            forward().await?;
            forward().await
        }
        Some(Fault::Late) => {
            let answer = forward().await;
            tokio::time::sleep(LATE).await;
            answer
        }
    }
}

fn refusal(status: StatusCode, code: &str) -> Response<Full<Bytes>> {
    let text =
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>as the test wants it</Message></Error>");
    Response::builder().status(status).header("content-type", "application/xml").body(text.into_bytes().into()).unwrap()
}

/// A number that looks random and is the same in every run (SplitMix64's finalizer; Steele, Lea and Flood, 2014).
fn scattered(number: u64) -> u64 {
    let mixed = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

impl Shared {
    fn fault(&self, method: &Method) -> Option<Fault> {
        let number = self.requests.fetch_add(1, Ordering::SeqCst);
        match self.plan {
            Plan::OneOf(n) => {
                let random = scattered(number);
                let which = usize::try_from(random >> 32).unwrap();
                random.is_multiple_of(n).then(|| FAULTS[which % FAULTS.len()])
            }
            Plan::Writes(fault) => (*method == Method::PUT).then_some(fault),
        }
    }

    /// What the store answers. The request is signed for the name that the client knows, so all of its head goes on as it is.
    async fn forward(&self, head: &hyper::http::request::Parts, body: Bytes) -> io::Result<Response<Full<Bytes>>> {
        let path = head.uri.path_and_query().map_or("/", |p| p.as_str());
        let request = self.client.request(head.method.clone(), format!("{}{path}", self.upstream));
        let answer = request.headers(head.headers.clone()).body(body).send().await.map_err(io::Error::other)?;
        let mut response = Response::builder().status(answer.status());
        for (name, value) in answer.headers() {
            if name != "transfer-encoding" && name != "connection" {
                response = response.header(name, value);
            }
        }
        let body = answer.bytes().await.map_err(io::Error::other)?;
        response.body(body.into()).map_err(io::Error::other)
    }
}

/// An error and its causes.
fn text(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |e| e.source()).fold(error.to_string(), |text, e| format!("{text}: {e}"))
}

/// Whether an error says one of the things that the proxy does.
fn of_the_proxy(error: &str) -> bool {
    ["403", "500", "error sending"].iter().any(|said| error.contains(said))
}

/// Opens a lake on a store that fails now and then, as an operator would: again, until it opens.
async fn writer_at_last(place: &Place) -> Writer {
    let mut said = Vec::new();
    while said.len() < 20 {
        let id = uuid::Uuid::from_u128(1);
        let opened = async {
            let lake = Lake::open_or_create_on(place.make().unwrap(), id, wk_schemas::Timestamp(0))
                .await
                .map_err(|e| text(&e))?;
            Writer::open(lake, crate::stage::key()).await.map_err(|e| text(&e))
        };
        match opened.await {
            Ok(writer) => return writer,
            Err(error) => {
                assert!(of_the_proxy(&error), "{error}");
                said.push(error);
            }
        }
    }
    panic!("the lake did not open in twenty tries: {said:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_refuses_fails_repeats_and_falls_silent_loses_and_doubles_nothing() {
    for one_of in [3, 5, 8] {
        let Some(bucket) = Bucket::start() else { return };
        let stage = Stage::start().await;
        stage.append(samples(one_of, 1200)).await;
        let proxy = Proxy::before(&bucket, Plan::OneOf(one_of)).await;
        // Asked to stop it does not wait for a store to recover, so whoever runs it starts it again.
        let mut stopped = 0;
        loop {
            let writer = writer_at_last(&proxy.place(&bucket)).await;
            let Err(error) = stage.ingest(config(100), writer).run(to_the_end()).await else { break };
            assert!(of_the_proxy(&text(&error)), "{}", text(&error));
            stopped += 1;
            assert!(stopped < 100, "{}", text(&error));
        }
        assert!(proxy.done() > 20, "only {} faults", proxy.done());
        let report = verified_on(bucket.files()).await;
        assert_eq!((report.records, report.duplicates), (1200, 0), "{report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_that_all_happen_twice_or_all_lose_their_answer_are_in_the_lake_once() {
    for fault in [Fault::Twice, Fault::DoneAndFailed] {
        let Some(bucket) = Bucket::start() else { return };
        let stage = Stage::start().await;
        stage.append(samples(7, 300)).await;
        let writer = writer_on(bucket.files()).await;
        let before = writer.lake().snapshot().version;
        drop(writer);
        let proxy = Proxy::before(&bucket, Plan::Writes(fault)).await;
        let impatient = Config { commit_time: Duration::ZERO, ..config(100) };
        let writer =
            Writer::open(Lake::open_on(proxy.place(&bucket).files().unwrap()).await.unwrap(), crate::stage::key());
        // What is tried again by the client alone is enough for the one, and not for the other.
        let ran = stage.ingest(impatient, writer.await.unwrap()).run(to_the_end()).await;
        assert_eq!(ran.is_ok(), fault == Fault::Twice, "{fault:?}: {ran:?}");
        drop(proxy);
        stage.ingest(config(100), writer_on(bucket.files()).await).run(to_the_end()).await.unwrap();
        let report = verified_on(bucket.files()).await;
        assert_eq!((report.records, report.duplicates), (300, 0), "{fault:?}: {report}");
        assert_eq!(before, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_withdraws_its_permission_stops_ingest_with_its_reason_and_loses_nothing() {
    let Some(bucket) = Bucket::start() else { return };
    let stage = Stage::start().await;
    stage.append(samples(3, 900)).await;
    let files = bucket.files();
    drop(writer_on(files).await);
    let proxy = Proxy::before(&bucket, Plan::Writes(Fault::Refused)).await;
    let lake = Lake::open_on(proxy.place(&bucket).files().unwrap()).await.unwrap();
    let writer = Writer::open(lake, crate::stage::key()).await.unwrap();
    let impatient = Config { commit_time: Duration::ZERO, ..config(300) };
    let error = stage.ingest(impatient, writer).run(to_the_end()).await.unwrap_err();
    assert!(matches!(error, IngestError::Commit(_)), "{error:?}");
    let said = text(&error);
    for part in ["nothing is lost", "failed to write `records/day=", "403", "AccessDenied"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let secret = std::fs::read_to_string(bucket.dir().join("secret")).unwrap();
    assert!(!said.contains(&secret) && !format!("{error:?}").contains(&secret));
    drop(proxy);
    let summary = stage.ingest(config(300), writer_on(bucket.files()).await).run(to_the_end()).await.unwrap();
    assert_eq!(summary.rows, 900);
    assert_eq!(verified_on(bucket.files()).await.records, 900);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_answers_come_too_late_is_given_up_on_and_nothing_is_doubled() {
    let Some(bucket) = Bucket::start() else { return };
    let stage = Stage::start().await;
    stage.append(samples(4, 300)).await;
    drop(writer_on(bucket.files()).await);
    let proxy = Proxy::before(&bucket, Plan::Writes(Fault::Late)).await;
    // A client without the patience that the product has.
    let key = |name: &str| std::fs::read_to_string(bucket.dir().join(name)).unwrap().trim().to_owned();
    let store = AmazonS3Builder::new()
        .with_bucket_name("lake")
        .with_endpoint(&proxy.endpoint)
        .with_access_key_id(key("id"))
        .with_secret_access_key(key("secret"))
        .with_client_options(ClientOptions::new().with_allow_http(true).with_timeout(LATE / 3))
        .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
        .build()
        .unwrap();
    let files = Files::on(Arc::new(object_store::prefix::PrefixStore::new(store, "watched/records")));
    let writer = Writer::open(Lake::open_on(files).await.unwrap(), crate::stage::key()).await.unwrap();
    let impatient = Config { commit_time: Duration::ZERO, ..config(100) };
    let error = stage.ingest(impatient, writer).run(to_the_end()).await.unwrap_err();
    assert!(text(&error).contains("failed to write `records/day="), "{}", text(&error));
    drop(proxy);
    let summary = stage.ingest(config(100), writer_on(bucket.files()).await).run(to_the_end()).await.unwrap();
    assert_eq!(summary.rows, 300);
    let report = verified_on(bucket.files()).await;
    assert_eq!((report.records, report.duplicates), (300, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_not_there_is_named() {
    let Some(bucket) = Bucket::start() else { return };
    let place = bucket::place(bucket.dir(), None);
    let wk_store::place::Place::Bucket { places, .. } = place else { panic!("{place}") };
    let nowhere = places.find(Some("s3://nosuchbucket/x"), Path::new("")).unwrap();
    let error = Lake::open_on(nowhere.files().unwrap()).await.unwrap_err();
    assert!(text(&error).contains("nosuchbucket"), "{}", text(&error));
    let empty = places.find(Some("s3://lake/empty"), Path::new("")).unwrap();
    let error = Lake::open_on(empty.files().unwrap()).await.unwrap_err();
    assert!(text(&error).contains("there is no lake at"), "{}", text(&error));
}
