//! Reads what `strace -f -y -o` writes: one call a line, calls that were interrupted by others in two halves.
//!
//! ```text
//! 4711 openat(AT_FDCWD</tmp>, "a\tb", O_RDONLY|O_CLOEXEC) = 3</tmp/a\tb>
//! 4711 wait4(-1,  <unfinished ...>
//! 4712 unlink("x") = -1 ENOENT (No such file or directory)
//! 4711 <... wait4 resumed>NULL, 0, NULL) = 4712
//! ```

use std::collections::HashMap;

/// A system call as strace prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    /// The thread.
    pub(crate) thread: i64,
    pub(crate) name: String,
    pub(crate) arguments: Vec<String>,
    /// The text after `=`; `?` for a call that never returned.
    pub(crate) result: String,
}

impl Call {
    /// The number returned; `None` when the call did not return or was restarted.
    pub(crate) fn returned(&self) -> Option<i64> {
        let number = self.result.split(|c: char| c != '-' && !c.is_ascii_digit()).next()?;
        number.parse().ok()
    }

    /// 0 for success, else the error; `None` when the call did not return.
    pub(crate) fn outcome(&self) -> Option<i64> {
        match self.returned()? {
            n if n >= 0 => Some(0),
            _ => {
                let name = self.result.split_whitespace().nth(1).unwrap_or_default();
                Some(errno(name).unwrap_or_else(|| panic!("no number is known for the error {name}")))
            }
        }
    }
}

/// All calls, in the order in which they began.
pub(crate) fn read(text: &str) -> Vec<Call> {
    let mut whole: Vec<(i64, String)> = Vec::new();
    let mut open: HashMap<i64, usize> = HashMap::new();
    for line in text.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let (thread, rest): (i64, &str) = (thread.parse().unwrap(), rest.trim_start());
        if rest.starts_with("+++") || rest.starts_with("---") {
            continue;
        }
        if let Some(resumed) = rest.strip_prefix("<... ") {
            let at = open.remove(&thread).unwrap_or_else(|| panic!("nothing was interrupted before: {line}"));
            let end = resumed.split_once(" resumed>").unwrap_or_else(|| panic!("no end of the name: {line}")).1;
            whole[at].1.push_str(end);
        } else if let Some(begun) = rest.strip_suffix("<unfinished ...>") {
            open.insert(thread, whole.len());
            whole.push((thread, begun.to_owned()));
        } else {
            whole.push((thread, rest.to_owned()));
        }
    }
    whole.into_iter().filter_map(|(thread, text)| call(thread, &text)).collect()
}

fn call(thread: i64, text: &str) -> Option<Call> {
    let (name, rest) = text.split_once('(')?;
    let (arguments, rest) = arguments(rest);
    let result = rest.trim_start().strip_prefix('=').unwrap_or("?").trim().to_owned();
    Some(Call { thread, name: name.to_owned(), arguments, result })
}

/// Splits at the commas between arguments; returns them and what follows the closing parenthesis.
fn arguments(text: &str) -> (Vec<String>, &str) {
    let mut arguments = Vec::new();
    let (mut depth, mut start, mut quoted, mut escaped) = (0_i32, 0, false, false);
    // Behind a descriptor stands what it refers to, in angle brackets: a path may hold any of the other signs.
    let mut angles = 0_i32;
    let mut before = ' ';
    for (at, sign) in text.char_indices() {
        if quoted {
            match sign {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => quoted = false,
                _ => {}
            }
        } else if angles > 0 {
            match sign {
                '<' => angles += 1,
                '>' if before != '-' => angles -= 1,
                _ => {}
            }
        } else {
            match sign {
                '"' => quoted = true,
                '<' if before.is_ascii_digit() || before == 'D' => angles = 1,
                '(' | '[' | '{' => depth += 1,
                ')' if depth == 0 => {
                    if at > start || !arguments.is_empty() {
                        arguments.push(text[start..at].trim().to_owned());
                    }
                    return (arguments, &text[at + 1..]);
                }
                ')' | ']' | '}' => depth -= 1,
                ',' if depth == 0 => {
                    arguments.push(text[start..at].trim().to_owned());
                    start = at + 1;
                }
                _ => {}
            }
        }
        before = sign;
    }
    arguments.push(text[start..].trim().to_owned());
    (arguments, "")
}

/// The text of a quoted argument; `None` for a pointer or `NULL`.
///
/// # Panics
/// When strace cut it: the limit given with `-s` was too small.
pub(crate) fn quoted(argument: &str) -> Option<String> {
    let inner = argument.strip_prefix('"')?;
    assert!(!inner.ends_with("\"..."), "strace cut a text: {argument}");
    Some(unescaped(inner.strip_suffix('"')?))
}

/// What a descriptor refers to: the text between the angle brackets behind it.
pub(crate) fn referent(argument: &str) -> Option<String> {
    let (_, rest) = argument.split_once('<')?;
    Some(unescaped(rest.strip_suffix('>')?.trim_end_matches(" (deleted)")))
}

/// A field of a printed structure: `sun_path` of `{sa_family=AF_UNIX, sun_path="/x"}`.
pub(crate) fn field<'a>(structure: &'a str, name: &str) -> Option<&'a str> {
    let start = structure.find(&format!("{name}="))? + name.len() + 1;
    let rest = &structure[start..];
    let end = if rest.trim_start_matches('@').starts_with('"') {
        rest.char_indices().skip_while(|(_, c)| *c != '"').skip(1).find(|(_, c)| *c == '"')?.0 + 1
    } else {
        rest.find([',', '}']).unwrap_or(rest.len())
    };
    Some(&rest[..end])
}

fn unescaped(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'\\' {
            out.push(bytes[at]);
            at += 1;
            continue;
        }
        let digits = bytes[at + 1..].iter().take(3).take_while(|b| (b'0'..=b'7').contains(*b)).count();
        if digits > 0 {
            let value = u32::from_str_radix(&text[at + 1..=at + digits], 8).unwrap();
            out.push(u8::try_from(value).unwrap());
            at += 1 + digits;
        } else {
            out.push(match bytes.get(at + 1) {
                Some(b'n') => b'\n',
                Some(b't') => b'\t',
                Some(b'r') => b'\r',
                Some(b'v') => 0x0b,
                Some(b'f') => 0x0c,
                Some(other) => *other,
                None => b'\\',
            });
            at += 2;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn errno(name: &str) -> Option<i64> {
    const NUMBERS: &[(&str, i64)] = &[
        ("EPERM", 1),
        ("ENOENT", 2),
        ("EINTR", 4),
        ("ENXIO", 6),
        ("EBADF", 9),
        ("EAGAIN", 11),
        ("EACCES", 13),
        ("EFAULT", 14),
        ("EEXIST", 17),
        ("EXDEV", 18),
        ("ENOTDIR", 20),
        ("EISDIR", 21),
        ("EINVAL", 22),
        ("ESPIPE", 29),
        ("EROFS", 30),
        ("ENOSYS", 38),
        ("ENOTEMPTY", 39),
        ("ELOOP", 40),
        ("ECHILD", 10),
        ("ENOTSOCK", 88),
        ("EOPNOTSUPP", 95),
        ("EADDRINUSE", 98),
        ("ENOTCONN", 107),
        ("ECONNREFUSED", 111),
        ("EINPROGRESS", 115),
    ];
    NUMBERS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_put_together_where_the_call_began() {
        let text = "7 wait4(-1,  <unfinished ...>\n8 unlink(\"x\") = -1 ENOENT (No such file)\n7 <... wait4 resumed>NULL, 0) = 8\n";
        let calls = read(text);
        let names: Vec<_> = calls.iter().map(|call| (call.thread, call.name.as_str(), call.outcome())).collect();
        assert_eq!(names, [(7, "wait4", Some(0)), (8, "unlink", Some(2))]);
        assert_eq!(calls[0].arguments, ["-1", "NULL", "0"]);
    }

    #[test]
    fn arguments_are_split_outside_of_quotes_and_brackets() {
        let call =
            call(1, r#"openat(3</a, b (c)>, "q\",\47", {x=[1, 2], y=f(3)}, O_RDONLY) = 5</tmp/\303\244>"#).unwrap();
        assert_eq!(call.arguments, ["3</a, b (c)>", r#""q\",\47""#, "{x=[1, 2], y=f(3)}", "O_RDONLY"]);
        assert_eq!(quoted(&call.arguments[1]).unwrap(), "q\",'");
        assert_eq!(referent(&call.arguments[0]).unwrap(), "/a, b (c)");
        assert_eq!(referent(&call.result).unwrap(), "/tmp/ä");
        assert_eq!(call.returned(), Some(5));
    }

    #[test]
    fn fields_of_addresses_are_found() {
        let address = r#"{sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("10.0.0.1")}"#;
        assert_eq!(field(address, "sin_port"), Some("htons(80)"));
        assert_eq!(field(r#"{sa_family=AF_UNIX, sun_path=@"a,b"}"#, "sun_path"), Some(r#"@"a,b""#));
    }
}
