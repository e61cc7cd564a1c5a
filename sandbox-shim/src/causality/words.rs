//! Whether the words of a tool call name an object, however they are quoted and shortened. Pure.

use std::path::Path;

/// Whether these words name an object; `base` is the folder that they are said in.
pub(super) fn name(words: &[String], object: &str, base: Option<&Path>, home: Option<&Path>) -> bool {
    // Agents write a file anew beside itself and rename it: `README.md.tmp.2.adce096e7a71` is README.md's.
    let object = object.split_once(".tmp.").map_or(object, |(written, _)| written);
    let mut forms = vec![object.to_owned()];
    let path = Path::new(object);
    if path.is_absolute() {
        add_path_forms(path, base, home, &mut forms);
        // A directory that is named covers what is in it, as long as it is not the root, a child of the root, or the
        // home or working directory itself: those are named by accident.
        for folder in path.ancestors().skip(1) {
            let is_wide = folder.components().count() < 3
                || home.is_some_and(|h| h.starts_with(folder))
                || base.is_some_and(|b| b.starts_with(folder));
            if !is_wide {
                forms.push(folder.display().to_string());
                add_path_forms(folder, base, home, &mut forms);
            }
        }
    } else if let Some((host, port)) = object.rsplit_once(':')
        && port.parse::<u16>().is_ok()
    {
        forms.push(host.trim_matches(['[', ']']).to_owned());
    }
    words.iter().any(|word| forms.iter().any(|form| stands_in(word, form)))
}

/// The ways in which a path may be said.
fn add_path_forms(path: &Path, base: Option<&Path>, home: Option<&Path>, forms: &mut Vec<String>) {
    let mut relative = |base: &Path, prefix: &str| {
        if let Ok(rest) = path.strip_prefix(base)
            && !rest.as_os_str().is_empty()
        {
            forms.push(format!("{prefix}{}", rest.display()));
        }
    };
    if let Some(base) = base {
        relative(base, "");
    }
    if let Some(home) = home {
        relative(home, "~/");
        relative(home, "$HOME/");
        relative(home, "${HOME}/");
    }
    let parent = path.parent().and_then(Path::file_name);
    if parent.is_some_and(|p| p == "bin" || p == "sbin")
        && let Some(name) = path.file_name()
    {
        forms.push(name.to_string_lossy().into_owned());
    }
}

/// Whether `form` stands in `text` as a whole word: not inside a longer name or path.
fn stands_in(text: &str, form: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    !form.is_empty()
        && text.match_indices(form).any(|(at, _)| {
            let ahead = &text[..at];
            let in_url = ahead.ends_with("//");
            let mut behind = text[at + form.len()..].chars();
            let next = behind.next();
            let goes_on = behind.next().is_some_and(part_of_name);
            let ends = match next {
                // A full stop or a slash ends the word unless the name goes on; in a URL the host ends at the slash.
                Some('.') => !goes_on,
                Some('/') => !goes_on || in_url,
                Some(c) => !part_of_name(c),
                None => true,
            };
            let begins = match ahead.strip_suffix("./").unwrap_or(ahead).chars().next_back() {
                // `/etc` does not begin in `/other/etc`.
                Some('/') => in_url,
                Some(c) => !part_of_name(c) && c != '~',
                None => true,
            };
            begins && ends
        })
}

/// Takes shell quotes and backslashes out.
pub(super) fn unquote(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, '\'' | '"' | '\\')).collect()
}

/// Takes out quotes, backslashes and blanks: agents wrap a command in `eval '…'` and quote it again.
pub(super) fn squeeze(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, '\'' | '"' | '\\') && !c.is_whitespace()).collect()
}
