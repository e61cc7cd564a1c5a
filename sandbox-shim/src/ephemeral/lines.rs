//! What changed in a text, line by line, in the form that `diff -u` made common.

use std::fmt::Write as _;

/// Lines of context around a change.
const CONTEXT: usize = 3;

/// The most pairs of lines that are compared; beyond it a changed stretch is shown as replaced whole.
const PAIRS_MAX: usize = 16_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edit {
    Keep,
    Remove,
    Add,
}

/// The difference between two texts as hunks of a unified diff; empty when there is none, `None` when one of them is no text.
#[must_use]
pub fn unified(before: &[u8], after: &[u8]) -> Option<String> {
    let (before, after) = (std::str::from_utf8(before).ok()?, std::str::from_utf8(after).ok()?);
    if before.contains('\0') || after.contains('\0') {
        return None;
    }
    let old: Vec<&str> = before.split_inclusive('\n').collect();
    let new: Vec<&str> = after.split_inclusive('\n').collect();
    let edits = edits(&old, &new);
    Some(hunks(&edits, &old, &new))
}

/// The shortest way from `old` to `new` in their middle, the equal beginning and end taken off first.
fn edits(old: &[&str], new: &[&str]) -> Vec<Edit> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (&old[head..], &new[head..]);
    let tail = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    let (a, b) = (&old_rest[..old_rest.len() - tail], &new_rest[..new_rest.len() - tail]);
    let mut edits = vec![Edit::Keep; head];
    if a.len().saturating_mul(b.len()) > PAIRS_MAX {
        edits.extend(vec![Edit::Remove; a.len()]);
        edits.extend(vec![Edit::Add; b.len()]);
    } else {
        middle(a, b, &mut edits);
    }
    edits.extend(vec![Edit::Keep; tail]);
    edits
}

/// By the longest common subsequence: `common[i][j]` is its length in what follows line `i` of `a` and line `j` of `b`.
fn middle(a: &[&str], b: &[&str], edits: &mut Vec<Edit>) {
    let width = b.len() + 1;
    let mut common = vec![0_u32; (a.len() + 1) * width];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            common[i * width + j] = if a[i] == b[j] {
                common[(i + 1) * width + j + 1] + 1
            } else {
                common[(i + 1) * width + j].max(common[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            edits.push(Edit::Keep);
            (i, j) = (i + 1, j + 1);
        } else if j == b.len() || (i < a.len() && common[(i + 1) * width + j] >= common[i * width + j + 1]) {
            edits.push(Edit::Remove);
            i += 1;
        } else {
            edits.push(Edit::Add);
            j += 1;
        }
    }
}

fn hunks(edits: &[Edit], old: &[&str], new: &[&str]) -> String {
    let mut out = String::new();
    let (mut at, mut i, mut j) = (0, 0, 0);
    while let Some(next) = edits[at..].iter().position(|edit| *edit != Edit::Keep) {
        let begin = next.saturating_sub(CONTEXT);
        (i, j) = (i + begin, j + begin);
        at += begin;
        let end = hunk_end(&edits[at..]) + at;
        let hunk = &edits[at..end];
        let of = |skipped: Edit| hunk.iter().filter(|edit| **edit != skipped).count();
        let (removed, added) = (of(Edit::Add), of(Edit::Remove));
        let first = |line: usize, count: usize| if count == 0 { line } else { line + 1 };
        let (from, to) = (first(i, removed), first(j, added));
        writeln!(out, "@@ -{from},{removed} +{to},{added} @@").expect("writing to a String does not fail");
        for edit in hunk {
            let (sign, line) = match edit {
                Edit::Keep => (' ', old[i]),
                Edit::Remove => ('-', old[i]),
                Edit::Add => ('+', new[j]),
            };
            out.push(sign);
            out.push_str(line);
            if !line.ends_with('\n') {
                out.push_str("\n\\ No newline at end of file\n");
            }
            i += usize::from(*edit != Edit::Add);
            j += usize::from(*edit != Edit::Remove);
        }
        at = end;
    }
    out
}

/// Where a hunk ends that begins here: after the context of its last change, when the next change is further away than two contexts.
fn hunk_end(edits: &[Edit]) -> usize {
    let (mut last, mut at) = (0, 0);
    while at < edits.len() {
        if edits[at] != Edit::Keep {
            last = at + 1;
        } else if last > 0 && at >= last + 2 * CONTEXT {
            break;
        }
        at += 1;
    }
    (last + CONTEXT).min(edits.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_changed_line_is_shown_between_its_neighbours() {
        let before = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
        let after = "1\n2\n3\n4\nfive\n6\n7\n8\n9";
        let wanted = "@@ -2,8 +2,8 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n-9\n+9\n\\ No newline at end of file\n";
        assert_eq!(unified(before.as_bytes(), after.as_bytes()).unwrap(), wanted);
        assert_eq!(unified(b"", b"a\n").unwrap(), "@@ -0,0 +1,1 @@\n+a\n");
        assert_eq!(unified(b"a\n", b"a\n").unwrap(), "");
        assert_eq!(unified(b"\xff", b"a"), None);
        assert_eq!(unified(b"a\0", b"a"), None);
    }

    /// Does what a diff says, and checks that it speaks of lines that are there.
    fn patched(old: &str, diff: &str) -> String {
        let old: Vec<&str> = old.split_inclusive('\n').collect();
        let (mut out, mut at) = (String::new(), 0);
        for line in diff.split_inclusive('\n') {
            if let Some(head) = line.strip_prefix("@@ -") {
                let (from, count) = head.split(' ').next().unwrap().split_once(',').unwrap();
                let from: usize = from.parse::<usize>().unwrap() - usize::from(count != "0");
                out.extend(old[at..from].iter().copied());
                at = from;
                continue;
            }
            let (sign, text) = line.split_at(1);
            if sign != "+" {
                assert_eq!(old[at], text);
                at += 1;
            }
            if sign != "-" {
                out.push_str(text);
            }
        }
        out.extend(old[at..].iter().copied());
        out
    }

    proptest! {
        #[test]
        fn doing_what_the_diff_says_gives_the_new_text(old in lines(), new in lines()) {
            let diff = unified(old.as_bytes(), new.as_bytes()).unwrap();
            prop_assert_eq!(patched(&old, &diff), new);
        }
    }

    fn lines() -> impl Strategy<Value = String> {
        proptest::collection::vec("[a-c]", 0..30)
            .prop_map(|lines| lines.iter().map(|line| format!("{line}\n")).collect())
    }
}
