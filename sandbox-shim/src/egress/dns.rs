//! Answers a question for a name, without asking anybody. What comes is the agent's own bytes.

use simple_dns::rdata::{A, RData};
use simple_dns::{CLASS, OPCODE, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE};
use std::net::Ipv4Addr;

/// How long a program may keep an answer, in seconds. An address stands for its name as long as the session lasts.
const KEPT_FOR: u32 = 60;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    /// In lower case, without the last dot.
    pub name: String,
    /// A, AAAA, TXT, or its number.
    pub kind: String,
}

/// What is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    /// This address.
    Address(Ipv4Addr),
    /// The name is there, and has nothing of this kind.
    Nothing,
    /// There is no such name.
    Unknown,
    /// Not asked here.
    Refused,
}

/// The reply to a message; `None` when it is no question that could be answered at all.
pub(crate) fn reply(message: &[u8], say: impl FnOnce(&Question) -> Said) -> Option<Vec<u8>> {
    let query = Packet::parse(message).ok()?;
    if query.has_flags(PacketFlag::RESPONSE) {
        return None;
    }
    let mut reply = Packet::new_reply(query.id());
    reply.set_flags(PacketFlag::RECURSION_AVAILABLE);
    if query.has_flags(PacketFlag::RECURSION_DESIRED) {
        reply.set_flags(PacketFlag::RECURSION_DESIRED);
    }
    let [question] = query.questions.as_slice() else {
        *reply.rcode_mut() = RCODE::FormatError;
        return reply.build_bytes_vec().ok();
    };
    reply.questions.push(question.clone());
    let asked = Question { name: question.qname.to_string().to_ascii_lowercase(), kind: kind(question.qtype) };
    let said = if query.opcode() == OPCODE::StandardQuery { say(&asked) } else { Said::Refused };
    match said {
        Said::Address(address) => {
            let data = RData::A(A::from(address));
            reply.answers.push(ResourceRecord::new(question.qname.clone(), CLASS::IN, KEPT_FOR, data));
        }
        Said::Nothing => {}
        Said::Unknown => *reply.rcode_mut() = RCODE::NameError,
        Said::Refused => *reply.rcode_mut() = RCODE::Refused,
    }
    reply.build_bytes_vec_compressed().ok()
}

fn kind(asked: QTYPE) -> String {
    match asked {
        QTYPE::TYPE(TYPE::Unknown(number)) => number.to_string(),
        QTYPE::TYPE(kind) => format!("{kind:?}"),
        QTYPE::IXFR => "IXFR".to_owned(),
        QTYPE::AXFR => "AXFR".to_owned(),
        QTYPE::MAILB => "MAILB".to_owned(),
        QTYPE::MAILA => "MAILA".to_owned(),
        QTYPE::ANY => "ANY".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const QUERY: &[u8] =
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03wWw\x07example\x03org\x00\x00\x01\x00\x01";

    #[test]
    fn a_question_is_read_and_its_reply_holds_the_address() {
        let expected = Question { name: "www.example.org".into(), kind: "A".into() };
        let reply = reply(QUERY, |asked| {
            assert_eq!(*asked, expected);
            Said::Address(Ipv4Addr::new(198, 18, 0, 1))
        });
        let reply = reply.unwrap();
        let read = Packet::parse(&reply).unwrap();
        assert_eq!((read.id(), read.rcode(), read.answers.len()), (0x1234, RCODE::NoError, 1));
        assert_eq!(reply[reply.len() - 4..], [198, 18, 0, 1]);
    }

    #[test]
    fn a_refusal_says_so_and_holds_no_address() {
        for (said, code) in
            [(Said::Refused, RCODE::Refused), (Said::Unknown, RCODE::NameError), (Said::Nothing, RCODE::NoError)]
        {
            let reply = reply(QUERY, |_| said).unwrap();
            let read = Packet::parse(&reply).unwrap();
            assert_eq!((read.rcode(), read.answers.len()), (code, 0));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_answering_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            drop(reply(&bytes, |_| Said::Nothing));
        }
    }
}
