//! What the sessions are about: names, paths, commands, hosts.

pub(super) const USERS: [&str; 8] = ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi"];

pub(super) const PROJECTS: [&str; 10] =
    ["shop", "billing", "search", "gateway", "mobile", "infra", "docs", "auth", "ledger", "reports"];

/// Name, version, model, adapter.
pub(super) const AGENTS: [[&str; 4]; 3] = [
    ["claude-code", "2.1.197", "claude-sonnet-5", "claude-code"],
    ["codex", "0.169.0", "gpt-6-codex", "codex"],
    ["gemini-cli", "0.21.0", "gemini-3-pro", "jsonl"],
];

pub(super) const TASKS: [&str; 8] = [
    "Fix the failing test in the checkout module and explain what was wrong.",
    "Add pagination to the orders endpoint; keep the old parameters working.",
    "Upgrade the HTTP client and adapt the call sites.",
    "Find out why the nightly job takes twice as long since last week.",
    "Write unit tests for the currency conversion.",
    "Move the configuration from environment variables into one file.",
    "Remove the deprecated feature flag and everything that hangs on it.",
    "Document the public API of the ledger package.",
];

pub(super) const STEPS: [&str; 9] = [
    "Look at the project's layout and its tests",
    "Reproduce the failure",
    "Read the module and find the cause",
    "Change the code",
    "Run the tests again",
    "Update the documentation",
    "Check formatting and lints",
    "Look for other callers",
    "Commit the change",
];

pub(super) const THOUGHTS: [&str; 5] = [
    "The rounding happens twice: once in the model and once in the view. The second one has to go.",
    "The test depends on the order of a map. I will sort the keys before comparing.",
    "Three call sites are left; the last one is generated, so the template has to change.",
    "The index is not used because the column is compared with a function of itself.",
    "All tests pass now. I will look at the diff once more before I commit.",
];

/// Program and its command line; `{}` becomes a file of the workspace.
pub(super) const PROGRAMS: [[&str; 2]; 14] = [
    ["/usr/bin/git", "git status --porcelain"],
    ["/usr/bin/git", "git diff --stat"],
    ["/usr/bin/git", "git log -n 5 --oneline -- {}"],
    ["/usr/bin/rg", "rg -n --no-heading total_price {}"],
    ["/usr/bin/sed", "sed -n 1,120p {}"],
    ["/usr/bin/python3", "python3 -m pytest -q {}"],
    ["/usr/bin/node", "node --test {}"],
    ["/usr/local/cargo/bin/cargo", "cargo test --quiet"],
    ["/usr/bin/make", "make -s check"],
    ["/usr/bin/ls", "ls -la {}"],
    ["/usr/bin/find", "find . -name *.rs -newer {}"],
    ["/usr/bin/cat", "cat {}"],
    ["/usr/bin/wc", "wc -l {}"],
    ["/usr/bin/jq", "jq .version {}"],
];

/// What every program opens before it does anything.
pub(super) const LIBRARIES: [&str; 12] = [
    "/etc/ld.so.cache",
    "/usr/lib/x86_64-linux-gnu/libc.so.6",
    "/usr/lib/x86_64-linux-gnu/libm.so.6",
    "/usr/lib/x86_64-linux-gnu/libpcre2-8.so.0",
    "/usr/lib/x86_64-linux-gnu/libz.so.1",
    "/usr/lib/x86_64-linux-gnu/libselinux.so.1",
    "/usr/lib/locale/locale-archive",
    "/usr/lib/x86_64-linux-gnu/gconv/gconv-modules.cache",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/localtime",
    "/proc/self/maps",
];

pub(super) const FOLDERS: [&str; 10] = [
    "src",
    "src/model",
    "src/view",
    "src/api",
    "tests",
    "tests/unit",
    "docs",
    "target/debug/deps",
    ".git/objects",
    "node_modules/lib",
];

pub(super) const FILES: [&str; 10] =
    ["order", "price", "checkout", "session", "ledger", "currency", "report", "client", "config", "index"];

pub(super) const ENDINGS: [&str; 6] = ["rs", "py", "ts", "md", "json", "toml"];

/// Host, address. The first ones are met more often.
pub(super) const HOSTS: [[&str; 2]; 12] = [
    ["api.anthropic.com", "160.79.104.10"],
    ["api.openai.com", "162.159.140.245"],
    ["github.com", "140.82.121.4"],
    ["crates.io", "18.238.192.50"],
    ["static.crates.io", "151.101.2.137"],
    ["pypi.org", "151.101.64.223"],
    ["files.pythonhosted.org", "151.101.128.223"],
    ["registry.npmjs.org", "104.16.24.34"],
    ["deb.debian.org", "151.101.2.132"],
    ["docs.rs", "18.66.2.10"],
    ["proxy.golang.org", "142.250.185.81"],
    ["raw.githubusercontent.com", "185.199.108.133"],
];

/// Rule id, title.
pub(super) const RULES: [[&str; 2]; 4] = [
    ["7a1c52f4-3b5e-4a0e-9d58-1f0f3f6f0a01", "SecretReadThenEgress"],
    ["7a1c52f4-3b5e-4a0e-9d58-1f0f3f6f0a02", "WriteOutsideWorkspace"],
    ["7a1c52f4-3b5e-4a0e-9d58-1f0f3f6f0a03", "HostOutsidePlan"],
    ["7a1c52f4-3b5e-4a0e-9d58-1f0f3f6f0a04", "UnmediatedEffect"],
];
