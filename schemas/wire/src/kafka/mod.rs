//! The log over the Kafka protocol, through librdkafka: the only client that the system has.

mod brokers;
mod cluster;
mod context;
mod copies;
mod group;
mod producer;
mod reader;

pub(crate) use brokers::read_secret;
pub use brokers::{Brokers, BrokersError, Sasl, SaslMechanism, Tls};
pub use cluster::{Cluster, Watermarks};
pub use context::ClientError;
pub(crate) use context::Traced;
pub use group::{GroupEvent, GroupReader, Lag};
pub use producer::{Delivery, Producer};
pub use reader::{AssignError, Reader};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topics::{self, TopicSpec};
    use crate::{Append as _, Read as _};

    /// Loops that use these run on any thread of the runtime; never called, it only has to compile.
    #[expect(dead_code, reason = "the compiler is the test")]
    async fn every_call_may_move_between_threads(mut reader: Reader, mut group: GroupReader, producer: Producer) {
        fn movable<T: Send>(future: T) -> T {
            future
        }
        let brokers = Brokers::plain("127.0.0.1:1");
        let cluster = reader.cluster().clone();
        drop(movable(Reader::assign(&brokers, &[])).await);
        drop(movable(reader.next()).await);
        drop(movable(reader.next_batch(1, std::time::Duration::ZERO)).await);
        drop(movable(GroupReader::subscribe(&brokers, "", &[])).await);
        drop(movable(group.next()).await);
        drop(movable(group.commit(&[])).await);
        movable(group.leave()).await;
        drop(movable(Lag::of(&brokers, "", "")).await);
        drop(movable(Lag::publish(&brokers, "", &[])).await);
        drop(movable(cluster.watermarks("", 0)).await);
        drop(movable(cluster.offsets_for_time("", 0)).await);
        drop(movable(producer.append("", b"", b"")).await);
        drop(movable(topics::create(&brokers, &TopicSpec::SINGLE)).await);
    }
}
