//! JSON over HTTP, signed as Standard Webhooks has it: `webhook-id`, `webhook-timestamp`, `webhook-signature`.

use super::alert::Alert;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

/// The body.
pub(super) fn body(alert: &Alert) -> Value {
    json!({"type": "watchkeeper.finding", "data": alert})
}

/// `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`. A secret `whsec_…` is base64, any other is taken as it is.
///
/// A receiver makes the same and compares in constant time; it refuses timestamps that are more than five minutes off.
#[must_use]
pub fn signature(secret: &str, id: &str, timestamp: u64, body: &str) -> String {
    let key = secret.strip_prefix("whsec_").and_then(|s| STANDARD.decode(s).ok());
    let key = key.unwrap_or_else(|| secret.as_bytes().to_vec());
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("HMAC takes keys of every length");
    mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_specification() {
        // The example of Standard Webhooks, which every library of theirs tests against.
        let signed = signature(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            "{\"test\": 2432232314}",
        );
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
