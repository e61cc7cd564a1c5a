//! A build loop under `wk-shim` with a real Kafka that is cut off and comes back at random: the chain stays whole, nothing is lost,
//! memory does not grow.
//!
//! `WK_SOAK_SECONDS` says how long (`tests/bench/soak` makes it ten minutes; without it nothing is run), `WK_SOAK_SEED` which cuts.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]
#![expect(clippy::disallowed_methods, reason = "a test is told its length by the environment, and cuts by the clock")]

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePublicKey as _;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use wk_schemas::{Body, Chain, Kind, Record, Topic, codec};
use wk_wire::kafka::{Cluster, Reader};
use wk_wire::registry_server::RegistryServer;
use wk_wire::topics::{self, TopicSpec};
use wk_wire::{Brokers, Read};

/// Each round makes a small tree, compiles it, packs it, reads it back and removes it; the process that says its number must be found
/// in the record.
const BUILD_LOOP: &str = r#"
n=0
while [ ! -e enough ]; do
  n=$((n+1))
  /bin/echo "round $n" > /dev/null
  mkdir -p tree out
  for f in 1 2 3 4 5 6 7 8 9 10 11 12; do echo "def f$f(): return $f" > tree/m$f.py; done
  python3 -m compileall -q tree
  tar cf tree.tar tree && tar xf tree.tar -C out
  grep -r return out > found
  rm -r tree out tree.tar
  echo $n > rounds.new && mv rounds.new rounds
  sleep 0.05
done
"#;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Same seed, same cuts.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

struct Kafka {
    folder: PathBuf,
    bootstrap: String,
    pid: String,
}

impl Kafka {
    fn script(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/harness").join(name)
    }

    fn start(folder: &Path) -> Option<Self> {
        let output = Command::new(Self::script("kafka-start")).arg(folder).stderr(Stdio::inherit()).output().unwrap();
        if output.status.code() == Some(75) {
            return None;
        }
        assert!(output.status.success(), "kafka-start: {}", output.status);
        let text = String::from_utf8(output.stdout).unwrap();
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
        Some(Self { folder: folder.to_owned(), bootstrap: field("bootstrap="), pid: field("pid=") })
    }

    fn stop(&self) {
        assert!(Command::new(Self::script("kafka-stop")).arg(&self.folder).status().unwrap().success());
    }

    fn signal(&self, name: &str) {
        assert!(Command::new("kill").arg(name).arg(&self.pid).status().unwrap().success());
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        Command::new("kill").arg("-CONT").arg(&self.pid).stderr(Stdio::null()).status().ok();
        Command::new(Self::script("kafka-stop")).arg(&self.folder).status().ok();
    }
}

/// The shim, ended with the test.
struct Shim(Child);

impl Drop for Shim {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Shim {
    fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
    }
}

fn until<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(300), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

async fn records(brokers: &Brokers) -> Vec<Record> {
    let topic = Topic::Events.name();
    let cluster = Cluster::connect(brokers).unwrap();
    let mut all = Vec::new();
    for partition in cluster.partitions(topic).await.unwrap() {
        let high = cluster.watermarks(topic, partition).await.unwrap().high;
        let mut reader = Reader::assign(brokers, &[(topic, partition, 0)]).await.unwrap();
        let mut reached = 0;
        while reached < high {
            for message in reader.next_batch(5000, Duration::from_secs(30)).await.unwrap() {
                reached = message.offset + 1;
                all.push(codec::decode(wk_wire::unframe(&message.value).unwrap().1).unwrap());
            }
        }
    }
    all
}

#[test]
fn a_build_loop_with_the_broker_cut_and_restored_at_random_loses_nothing_and_does_not_grow() {
    let seconds = number("WK_SOAK_SECONDS", 0);
    if seconds == 0 {
        eprintln!("SKIPPED: WK_SOAK_SECONDS is not set; tests/bench/soak sets it");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let Some(mut kafka) = Kafka::start(&folder.path().join("kafka")) else {
        assert!(
            std::env::var_os("WK_TEST_REQUIRE").is_none(),
            "no Apache Kafka can be had, and WK_TEST_REQUIRE is set"
        );
        eprintln!("SKIPPED: no Apache Kafka can be had");
        return;
    };
    let seed = number("WK_SOAK_SEED", u64::from(std::process::id()));
    println!("{seconds} s, seed {seed}: WK_SOAK_SEED={seed} WK_SOAK_SECONDS={seconds} repeats the cuts");
    let mut dice = Dice(seed);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let registry = runtime.block_on(RegistryServer::start(&folder.path().join("schemas.json"), 0)).unwrap();
    let brokers = Brokers::plain(kafka.bootstrap.clone());
    runtime.block_on(topics::create(&brokers, &TopicSpec::SINGLE)).unwrap();

    let (data, work) = (folder.path().join("data"), folder.path().join("work"));
    std::fs::create_dir_all(data.join("keys")).unwrap();
    std::fs::create_dir(&work).unwrap();
    let key = SigningKey::from_bytes(&[7; 32]).verifying_key().to_public_key_pem(LineEnding::LF).unwrap();
    std::fs::write(data.join("keys/command.pub"), key).unwrap();
    let config = folder.path().join("shim.toml");
    std::fs::write(&config, "[shim]\ndrain_patience = \"5m\"\nconnect_patience = \"5m\"\n").unwrap();
    let mut shim = Shim(
        Command::new(env!("CARGO_BIN_EXE_wk-shim"))
            .args(["--brokers", &kafka.bootstrap, "--registry", registry.url(), "--config"])
            .arg(&config)
            .arg("--data")
            .arg(&data)
            .args(["run", "--policy", "observe", "--", "sh", "-c", BUILD_LOOP])
            .current_dir(&work)
            .stdin(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let rounds = || std::fs::read_to_string(work.join("rounds")).ok().and_then(|n| n.trim().parse::<u64>().ok());
    until("the first round", rounds);

    let begun = Instant::now();
    let mut sizes = Vec::new();
    let mut cuts = 0;
    while begun.elapsed() < Duration::from_secs(seconds) {
        let pause = |length: u64, sizes: &mut Vec<u64>, shim: &Shim| {
            for _ in 0..length {
                std::thread::sleep(Duration::from_millis(250));
                sizes.push(shim.resident_kib());
            }
        };
        pause(4 + dice.below(24), &mut sizes, &shim);
        cuts += 1;
        if dice.below(3) == 0 {
            kafka.stop();
            pause(4 + dice.below(40), &mut sizes, &shim);
            let again = Kafka::start(&kafka.folder).unwrap();
            kafka.pid.clone_from(&again.pid);
            std::mem::forget(again);
        } else {
            // It neither answers nor hangs up.
            kafka.signal("-STOP");
            pause(2 + dice.below(24), &mut sizes, &shim);
            kafka.signal("-CONT");
        }
        assert!(shim.0.try_wait().unwrap().is_none(), "the session ended by itself");
    }
    // Whatever it stood still for is over: it goes on.
    let then = rounds().unwrap();
    until("another round", || rounds().filter(|n| *n > then));
    std::fs::write(work.join("enough"), "").unwrap();
    let status = until("the end of the session", || shim.0.try_wait().unwrap());
    assert!(status.success(), "{status}");
    let rounds = rounds().unwrap();

    let records = runtime.block_on(records(&brokers));
    let mut chain = Chain::default();
    for record in &records {
        let (seq, before) = (record.header.seq, record.header.prev_digest);
        chain.follow(seq, before, &codec::encode(record)).unwrap();
    }
    assert_eq!(records.last().unwrap().kind(), Kind::SessionEnded);
    let mut said = records.iter().filter_map(|record| match &record.body {
        Body::ProcessStarted(p) => p.command_line.strip_prefix("/bin/echo round ")?.parse::<u64>().ok(),
        _ => None,
    });
    for round in 1..=rounds {
        assert_eq!(said.next(), Some(round), "of {rounds} rounds");
    }
    let lost = records.iter().filter(|record| record.kind() == Kind::RecordsLost).count();
    // A session without hooks says so at its end; nothing else may be missing.
    assert!(lost <= 1, "{lost} records say that something was lost");
    let part = (sizes.len() / 4).max(1);
    let most = |sizes: &[u64]| sizes.iter().copied().max().unwrap_or(0);
    let (early, late) = (most(&sizes[..part]), most(&sizes[sizes.len() - part..]));
    println!(
        "MEASURED {rounds} rounds, {} records, {cuts} cuts; resident KiB: first quarter at most {early}, last quarter at most {late}, ever {}",
        records.len(),
        most(&sizes)
    );
    // What it holds in memory does not depend on how long it runs or on how much waits for the log.
    assert!(late < early + (32 << 10), "grew from {early} to {late} KiB");
    drop(registry);
}
