//! `wk sql` in a real terminal: tmux holds it, types into it, and reads what stands on the screen.

use crate::{harness, place};
use std::path::Path;
use std::process::Command;

const WIDTH: usize = 90;

/// A tmux server of its own with one window.
struct Terminal {
    folder: tempfile::TempDir,
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

impl Terminal {
    /// Starts a program in a window; `None` when there is no tmux.
    fn open(command: &str) -> Option<Self> {
        Command::new("tmux").arg("-V").output().ok()?;
        let terminal = Self { folder: tempfile::tempdir().unwrap() };
        let width = WIDTH.to_string();
        // The window outlives its program, so that its last words can be read: Ctrl-C goes to this shell too, which would end on it.
        terminal.tmux(&[
            "new-session",
            "-d",
            "-x",
            &width,
            "-y",
            "50",
            "sh",
            "-c",
            &format!("trap : INT; {command}; echo left $?; sleep 600"),
        ]);
        Some(terminal)
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let mut tmux = Command::new("tmux");
        tmux.arg("-S").arg(self.folder.path().join("socket")).args(["-f", "/dev/null"]).args(arguments);
        let done = tmux.output().unwrap();
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    fn types(&self, text: &str) {
        // A semicolon at the end would end tmux's own command.
        let text = text.strip_suffix(';').map_or_else(|| text.to_owned(), |most| format!("{most}\\;"));
        self.tmux(&["send-keys", "-l", &text]);
    }

    fn presses(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    fn clears(&self) {
        self.presses("C-l");
        self.until("an empty screen", |screen| screen.trim() == "wk>");
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// The screen, once it is as `holds` wants it.
    fn until(&self, what: &str, holds: impl Fn(&str) -> bool) -> String {
        harness::eventually(what, || {
            let screen = self.screen();
            holds(&screen).then_some(screen)
        })
    }

    fn shows(&self, text: &str) -> String {
        self.until(text, |screen| screen.contains(text))
    }
}

fn shell(data: &Path) -> String {
    format!("{} --data '{}' sql", harness::wk().get_program().to_string_lossy(), data.display())
}

#[test]
fn the_shell_reads_lines_keeps_history_gives_up_and_draws_tables_that_fit() {
    let (_dir, installation, workspace) = place();
    // With the services up, questions are put on record and nothing else is said on the terminal.
    let _up = installation.up();
    assert!(installation.run(&[], &workspace, ["true"]).status.success());
    harness::eventually("the session in the lake", || {
        let ended = installation.try_sql("SELECT 1 AS one FROM records WHERE kind = 'session_ended'");
        ended.is_ok_and(|rows| rows.len() == 1).then_some(())
    });
    let Some(terminal) = Terminal::open(&shell(&installation.data())) else {
        return harness::skip("tmux is not on the path");
    };
    terminal.shows("`\\q` to leave.");

    // A question of several lines, and its answer.
    terminal.types("SELECT kind, count(*) AS n FROM records");
    terminal.presses("Enter");
    terminal.types("WHERE kind = 'session_started' GROUP BY kind;");
    terminal.presses("Enter");
    let screen = terminal.shows(" ms)");
    assert!(screen.contains("│ session_started"), "{screen}");

    // A table that is wider than the terminal is made to fit: no line of it runs over.
    terminal.clears();
    terminal.types("SELECT session_id, kind, who, what FROM timeline ORDER BY time LIMIT 3;");
    terminal.presses("Enter");
    let screen = terminal.shows(" ms)");
    let (tops, bottoms) = (screen.matches('┌').count(), screen.matches('┘').count());
    assert_eq!((tops, bottoms), (1, 1), "{screen}");
    for line in screen.lines().filter(|line| line.starts_with(['┌', '│', '╞', '├', '└'])) {
        assert!(line.trim_end().ends_with(['┐', '│', '╡', '┤', '┘']), "`{line}` runs over in\n{screen}");
    }

    // Ctrl-C empties the line, and gives up a question that would take for ever.
    terminal.clears();
    terminal.types("SELECT nonsense");
    terminal.presses("C-c");
    terminal.types(
        "SELECT count(*) FROM columns a, columns b, columns c, columns d, columns e WHERE a.description < b.description \
         AND c.description < d.description AND d.description < e.description;",
    );
    terminal.presses("Enter");
    // Pressed before the question runs it empties the line, which is empty.
    harness::eventually("a question given up", || {
        terminal.presses("C-c");
        terminal.screen().contains("error: cancelled").then_some(())
    });

    // What was asked comes back, also in the next shell.
    terminal.clears();
    terminal.types("\\saved dead-letters-by-reason");
    terminal.presses("Enter");
    terminal.shows(" ms)");
    terminal.presses("C-d");
    terminal.shows("left 0");
    let again = Terminal::open(&shell(&installation.data())).unwrap();
    again.shows("`\\q` to leave.");
    again.presses("Up");
    again.shows("wk> \\saved dead-letters-by-reason");
}
