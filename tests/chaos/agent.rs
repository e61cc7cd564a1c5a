//! An agent that works until it is told that it is enough, misbehaves a little, and counts what it did.

use crate::harness::{Installation, Process, eventually};
use std::fs;
use std::path::{Path, PathBuf};

/// Every step makes a file and reads it back. The misdeeds are such as a watcher notes without stopping anything; one of them is
/// the last thing it does.
const SCRIPT: &str = r#"
step=0
while [ ! -e enough ]; do
  while [ -e pause ]; do sleep 1; done
  echo "$step" > "made-$step"
  cat "made-$step" > /dev/null
  step=$((step + 1))
  echo "$step" > steps.new && mv steps.new steps
  case $step in
    3) cat "$HOME/.aws/credentials" > /dev/null ;;
    5) echo "alias ls=true" >> "$HOME/.bashrc" ;;
    7) echo mine > "$HOME/elsewhere" ;;
  esac
  sleep 0.02
done
echo "alias ls=true" >> "$HOME/.profile"
"#;

/// What the agent changes last. A watcher judges a session's records in their order and writes what it finds in that order, so when
/// the finding about this is in the lake, everything that is found of the session is.
pub(crate) const CHANGED_LAST: &str = "/.profile";

/// One run of the agent.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) folder: PathBuf,
    pub(crate) process: Process,
}

impl Agent {
    /// Starts it under `wk run` and waits until it works.
    pub(crate) fn start(installation: &Installation, name: &str) -> Self {
        let folder = installation.log("work").join(name);
        let home = installation.log("homes").join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::create_dir_all(home.join(".aws")).unwrap();
        fs::write(home.join(".aws/credentials"), "[default]\naws_secret_access_key = planted-by-the-test\n").unwrap();
        let policy = Path::new(env!("CARGO_MANIFEST_DIR")).join("sandbox-shim/policies/observe.toml");
        let mut command = installation.wk(["run", "--policy"]);
        command.arg(policy).args(["--", "/bin/sh", "-c", SCRIPT]).current_dir(&folder).env("HOME", home);
        let mut agent = Self { process: Process::start(&mut command, &installation.log(name)), folder };
        eventually("the agent to work", || {
            if let Some(status) = agent.process.ended() {
                panic!("the agent's session ended with {status}:\n{}", installation.printed(name));
            }
            (agent.steps() >= 1).then_some(())
        });
        agent
    }

    /// How many steps it says it has done.
    pub(crate) fn steps(&self) -> i64 {
        fs::read_to_string(self.folder.join("steps")).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }

    /// Waits until it has done more than that.
    pub(crate) fn wait_for(&mut self, steps: i64) {
        eventually(&format!("step {steps}"), || {
            assert!(self.process.ended().is_none(), "the session ended before step {steps}");
            (self.steps() >= steps).then_some(())
        });
    }

    /// Lets it rest until [`Agent::goes_on`]; how many steps it has done.
    pub(crate) fn rests(&mut self) -> i64 {
        fs::write(self.folder.join("pause"), "").unwrap();
        eventually("the agent to rest", || {
            let steps = self.steps();
            std::thread::sleep(std::time::Duration::from_secs(2));
            (self.steps() == steps).then_some(steps)
        })
    }

    pub(crate) fn goes_on(&self) {
        fs::remove_file(self.folder.join("pause")).unwrap();
    }

    /// Tells it that it is enough, and waits for the end of its session.
    pub(crate) fn finish(&mut self) {
        self.wait_for(8);
        fs::write(self.folder.join("enough"), "").unwrap();
        let status = self.process.wait();
        assert!(status.success(), "the session ended with {status}");
    }
}
