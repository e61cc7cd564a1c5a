//! What every log promises, kept by the embedded broker and by a real Apache Kafka alike.
//!
//! The Kafka is the one that `WK_TEST_KAFKA` names (`tests/harness/kafka-start` starts one); without it, its half says SKIPPED,
//! and fails if `WK_TEST_REQUIRE` is 1. The tests that restart a broker start one of their own. Beside the promises: what only
//! the embedded log can be asked, the registry, and clients that are not ours.

#![expect(
    clippy::disallowed_methods,
    reason = "the environment names the Kafka, and each test's topics need new names"
)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod crash;
mod logs;
mod registry;
mod secure;
mod stock;
mod suite;

use logs::{Embedded, Kafka};

/// Each promise once for each broker.
macro_rules! promises {
    ($($promise:ident),* $(,)?) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $promise() {
                let log = super::Embedded::start().await;
                super::suite::$promise(&log.brokers()).await;
                log.stop().await;
            })*
        }
        mod kafka {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $promise() {
                if let Some(brokers) = super::Kafka::shared() {
                    super::suite::$promise(&brokers).await;
                }
            })*
        }
    };
}

promises! {
    messages_of_one_key_stay_in_one_partition_in_the_order_of_submission,
    reading_goes_on_from_any_offset,
    a_message_is_found_by_the_time_at_which_the_log_took_it,
    the_log_and_not_the_writer_says_when_it_took_a_message,
    a_group_hands_its_partitions_over_without_a_gap,
    progress_kept_elsewhere_can_be_shown_as_lag,
    a_record_of_950_kilobytes_passes_and_one_of_5_megabytes_is_named,
    an_unknown_topic_is_named_by_writer_and_reader,
    a_position_outside_the_log_is_named_and_never_moved,
    a_position_lost_while_reading_is_named_and_never_moved,
    topics_are_created_once_and_differences_are_named,
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_restart_keeps_every_acknowledged_message_once() {
    let mut log = Embedded::start().await;
    suite::restart_keeps_every_acknowledged_message_once(&mut log).await;
    log.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_restart_keeps_every_acknowledged_message_once() {
    if let Some(mut log) = Kafka::start() {
        suite::restart_keeps_every_acknowledged_message_once(&mut log).await;
    }
}
