#!/usr/bin/env python3
"""Records benign sessions: real agents (Claude Code, Codex) do ordinary work under `wk run`, led by a scripted model.

    record.py --wk <the program wk> --brokers <host:port> --registry <url> --scratch <empty folder> --out kernel.records.xz

Brokers (tests/harness/kafka-start) and registry are empty and hold the topics (`wk topics create`). The agents come from
tests/harness/tools-install; git, cc, make, node, npm, cargo and python3 from PATH. Projects are made in /home/dev, which is made
if it is not there. Python needs confluent-kafka and fastavro.

In the file each record is an Avro datum behind its length (4 bytes, big endian), session by session. Ids are counted, digests of
predecessors are zero (whoever reads the file seals it anew), and the folders of the machine that recorded are renamed; nothing
else is changed, and no record is left out.
"""
import argparse, collections, io, json, lzma, os, pathlib, shutil, struct, subprocess, uuid

import fastavro
from confluent_kafka import Consumer, TopicPartition

ROOT = pathlib.Path(__file__).resolve().parents[3]
HOME = pathlib.Path("/home/dev")
TOPIC = "agent.session.events.v1"
TOOLS = pathlib.Path(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache"))) / "watchkeeper/tools/agents"
CLAUDE = TOOLS / "claude-2.1.197/node_modules/.bin/claude"
CODEX = TOOLS / "codex-0.169.0/node_modules/.bin/codex"

def write(base, files):
    for name, text in files.items():
        path = base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

def git(base):
    env = dict(os.environ, HOME=str(HOME))
    for args in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run(["git", "-C", str(base), "-c", "user.name=dev", "-c", "user.email=dev@example.org", *args], check=True, env=env)

PY = {
    "README.md": "# shop\n\nPrices of carts. Run the tests with `python3 -m unittest`.\n",
    "shop/__init__.py": "",
    "shop/cart.py": "def total(items):\n    return sum(price * count for price, count in items)\n\n\ndef average(items):\n    return total(items) / len(items)\n",
    "shop/report.py": "import json\nfrom shop.cart import total\n\n\ndef report(items):\n    return json.dumps({'total': total(items)})\n",
    "tests/__init__.py": "",
    "tests/test_cart.py": "import unittest\nfrom shop.cart import total\n\n\nclass Cart(unittest.TestCase):\n    def test_total(self):\n        self.assertEqual(total([(2, 3)]), 6)\n",
    "setup.py": "from setuptools import setup\nsetup(name='shop', version='0.1', packages=['shop'])\n",
    ".gitignore": "__pycache__/\n*.egg-info/\nbuild/\nvenv/\n",
    ".env.example": "DATABASE_URL=postgres://localhost/shop\n",
}
RUST = {
    "README.md": "# words\n\nCounts words. `cargo test` runs the tests.\n",
    "Cargo.toml": "[package]\nname = \"words\"\nversion = \"0.1.0\"\nedition = \"2021\"\n",
    "src/main.rs": "mod count;\nfn main() {\n    let text = std::env::args().nth(1).unwrap_or_default();\n    println!(\"{}\", count::words(&text));\n}\n",
    "src/count.rs": "pub fn words(text: &str) -> usize {\n    text.split(' ').count()\n}\n\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn counts() {\n        assert_eq!(super::words(\"a b\"), 2);\n    }\n}\n",
    ".gitignore": "target/\n",
}
C = {
    "README.md": "# calc\n\n`make test`\n",
    "Makefile": "calc: calc.o main.o\n\t$(CC) -o $@ $^\n\ntest: calc\n\t./calc 2 3 | grep -q 5\n\nclean:\n\trm -f *.o calc\n",
    "calc.c": "int add(int a, int b) { return a + b; }\n",
    "main.c": "#include <stdio.h>\n#include <stdlib.h>\nint add(int a, int b);\nint main(int n, char **v) { return printf(\"%d\\n\", add(atoi(v[1]), atoi(v[2]))) < 0; }\n",
}
JS = {
    "README.md": "# slug\n\n`npm test`\n",
    "package.json": "{\"name\": \"slug\", \"version\": \"1.0.0\", \"main\": \"index.js\", \"scripts\": {\"test\": \"node test.js\", \"build\": \"node build.js\"}, \"dependencies\": {\"left\": \"file:./left\"}}\n",
    "left/package.json": "{\"name\": \"left\", \"version\": \"1.0.0\", \"main\": \"index.js\"}\n",
    "left/index.js": "module.exports = (s, n) => s.padStart(n)\n",
    "index.js": "module.exports = s => s.toLowerCase().replace(/[^a-z0-9]+/g, '-')\n",
    "test.js": "const slug = require('./index.js')\nrequire('assert').strictEqual(slug('A b'), 'a-b')\nconsole.log('ok')\n",
    "build.js": "require('fs').mkdirSync('dist', {recursive: true}); require('fs').copyFileSync('index.js', 'dist/index.js')\n",
    ".gitignore": "node_modules/\ndist/\n",
}
# (what the project is, the task, the plan or none, the commands, what the agent says at the end)
WORK = [
    (PY, "average() in shop/cart.py fails for an empty cart. Fix it, add a test and run the tests.", ["Read shop/cart.py", "Fix average", "Add a test", "Run the tests"],
     ["ls -la", "cat shop/cart.py", "grep -rn average .", "sed -i 's/return total(items) \\/ len(items)/return total(items) \\/ len(items) if items else 0/' shop/cart.py",
      "printf '\\n    def test_empty(self):\\n        from shop.cart import average\\n        self.assertEqual(average([]), 0)\\n' >> tests/test_cart.py",
      "python3 -m unittest 2>&1 | tail -5", "git diff --stat", "git status --short"], "average() gives 0 for an empty cart. All tests pass."),
    (PY, "Set up a virtual environment, install the package into it and check that it can be imported.", None,
     ["cat setup.py README.md", "python3 -m venv --without-pip venv", "venv/bin/python -c 'import sys; print(sys.prefix)'", "ls venv/bin",
      "PYTHONPATH=. venv/bin/python -c 'import shop.cart; print(shop.cart.total([(1,2)]))'", "python3 setup.py --version 2>&1 | tail -1", "git status --short", "rm -rf venv"],
     "The package can be imported from the environment."),
    (PY, "Commit the pending work on a branch called tidy and merge it into main.", ["Make the branch", "Commit", "Merge"],
     ["git status --short", "git log --oneline | head", "git checkout -b tidy", "echo 'See tests/ for examples.' >> README.md", "git add README.md", "git commit -m 'readme: say where examples are'",
      "git checkout main", "git merge --no-ff -m 'merge tidy' tidy", "git log --oneline --graph | head", "git branch -d tidy"], "I committed the change on tidy and merged it into main."),
    (PY, "Find out which functions have no docstring and add them.", None,
     ["find . -name '*.py' -not -path './venv/*'", "grep -n 'def ' -r shop", "sed -i 's/^def total(items):/def total(items):\\n    \"\"\"Sum of price times count.\"\"\"/' shop/cart.py",
      "sed -i 's/^def report(items):/def report(items):\\n    \"\"\"The total as JSON.\"\"\"/' shop/report.py", "python3 -m py_compile shop/cart.py shop/report.py", "git diff | cat",
      "python3 -c 'from shop.report import report; print(report([(1,1)]))'"], "Both functions have docstrings now."),
    (PY, "Write a script that prints a report for a JSON file of items, and try it on an example.", ["Write bin/report", "Make an example", "Run it"],
     ["mkdir -p bin examples", "printf 'import json, sys\\nfrom shop.report import report\\nprint(report(json.load(open(sys.argv[1]))))\\n' > bin/report.py", "echo '[[2, 3], [1, 4]]' > examples/items.json",
      "PYTHONPATH=. python3 bin/report.py examples/items.json", "chmod +x bin/report.py", "wc -l bin/report.py examples/items.json", "git add bin examples && git commit -qm 'a script that reports'"], "bin/report.py works; I committed it."),
    (PY, "Search the code for TODO comments, list large files, and archive the sources to /tmp.", None,
     ["grep -rn TODO . || true", "find . -type f -size +10k | head", "du -sh .", "tar czf /tmp/shop-src.tgz --exclude=.git .", "tar tzf /tmp/shop-src.tgz | head", "sha256sum /tmp/shop-src.tgz", "rm /tmp/shop-src.tgz"],
     "There are no TODO comments and no large files."),
    (RUST, "words() counts wrong when there are two blanks in a row. Fix it and run cargo test.", ["Read src/count.rs", "Use split_whitespace", "Run cargo test"],
     ["cat src/count.rs Cargo.toml", "sed -i \"s/split(' ')/split_whitespace()/\" src/count.rs", "cargo test --offline 2>&1 | tail -5", "cargo build --offline 2>&1 | tail -2", "./target/debug/words 'a  b c'", "git diff --stat", "git commit -qam 'count: any blanks separate words'"],
     "Fixed: any run of blanks separates words. The tests pass and I committed it."),
    (RUST, "Add a function that counts lines, with a test, and run clippy and fmt if they are there.", None,
     ["cat src/count.rs", "printf '\\npub fn lines(text: &str) -> usize {\\n    text.lines().count()\\n}\\n' >> src/count.rs", "cargo fmt 2>&1 | tail -2 || true", "cargo check --offline 2>&1 | tail -3", "cargo test --offline 2>&1 | grep 'test result'", "git status --short", "cargo clean --offline 2>&1 | tail -1"],
     "lines() is there; the tests pass."),
    (C, "Build the project with make, run its test, and add subtraction.", ["Build", "Test", "Add sub()"],
     ["cat Makefile calc.c main.c", "make 2>&1 | tail -3", "make test", "printf 'int sub(int a, int b) { return a - b; }\\n' >> calc.c", "make 2>&1 | tail -3", "make test && echo passed", "file calc || true", "make clean", "git diff --stat"],
     "sub() is there and the build passes."),
    (JS, "Install the dependencies and run the tests, then build.", None,
     ["cat package.json", "npm install --no-audit --no-fund --offline 2>&1 | tail -3", "ls node_modules", "npm test 2>&1 | tail -3", "npm run build 2>&1 | tail -2", "ls dist", "git status --short"],
     "Installed, and the tests pass. The build is in dist/."),
    (JS, "slug() should drop leading and trailing dashes. Fix it and extend the test.", ["Fix index.js", "Extend test.js", "Run npm test"],
     ["cat index.js test.js", "node -e \"console.log(require('./index.js')(' A b '))\"", "printf \"module.exports = s => s.toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-|-\\$/g, '')\\n\" > index.js",
      "echo \"require('assert').strictEqual(slug(' A b '), 'a-b')\" >> test.js", "node test.js", "npm test 2>&1 | tail -2", "git diff | cat", "git commit -qam 'slug: no dashes at the ends'"], "Fixed and committed; the tests pass."),
    (C, "Which files include stdio.h, and how big is the binary with -O2?", None,
     ["grep -ln stdio.h *.c", "gcc -O2 -c calc.c -o /tmp/calc.o && size /tmp/calc.o", "gcc -O2 -o /tmp/calc calc.c main.c && ls -l /tmp/calc", "/tmp/calc 2 3", "rm -f /tmp/calc /tmp/calc.o", "git log --stat | head -20"], "main.c includes stdio.h."),
]

def turns(agent, plan, commands, said, words):
    out = []
    if plan:
        if agent == "codex":
            out.append([{"call": {"name": "update_plan", "arguments": {"plan": [{"step": s, "status": "pending"} for s in plan]}}}])
        else:
            out.append([{"call": {"name": "TodoWrite", "arguments": {"todos": [{"content": s, "status": "pending", "activeForm": s} for s in plan]}}}])
    for number, command in enumerate(commands):
        call = {"name": "exec_command", "arguments": {"cmd": command}} if agent == "codex" else {"name": "Bash", "arguments": {"command": command, "description": "step"}}
        out.append(([{"say": words}] if number == 0 else []) + [{"call": call}])
    out.append([{"say": said}])
    return out

def session(args, number, agent, work):
    files, task, plan, commands, said = work
    base = HOME / f"p{number:03}"
    shutil.rmtree(base, ignore_errors=True)
    write(base, files)
    git(base)
    scratch = pathlib.Path(args.scratch) / f"s{number}"
    scratch.mkdir(parents=True, exist_ok=True)
    (scratch / "scenario.json").write_text(json.dumps({"turns": turns(agent, plan, commands, said, "I will look at the project first.")}))
    model = subprocess.Popen(["python3", str(ROOT / "tests/e2e/scripted_model.py"), str(scratch / "scenario.json")], stdout=subprocess.PIPE, text=True)
    try:
        port = model.stdout.readline().strip()
        (scratch / "policy.toml").write_text(f'name = "workspace"\n[network]\ndefault = "hold"\n[[network.rules]]\nmatch = "127.0.0.1:{port}"\naction = "allow"\nreason = "the model"\n')
        env = {"HOME": str(HOME), "LANG": "C.UTF-8", "USER": "dev", "PATH": args.path, "RUSTUP_HOME": args.rustup, "CARGO_NET_OFFLINE": "true"}
        if agent == "codex":
            write(HOME, {".codex/config.toml": f'model = "scripted"\nmodel_provider = "local"\ncheck_for_update_on_startup = false\n[features]\nplugins = false\n[model_providers.local]\nname = "local"\nbase_url = "http://127.0.0.1:{port}/v1"\nwire_api = "responses"\nrequires_openai_auth = false\n'})
            command = [str(CODEX), "exec", "--json", "--skip-git-repo-check", "-s", "danger-full-access", task]
        else:
            env |= {"ANTHROPIC_BASE_URL": f"http://127.0.0.1:{port}", "ANTHROPIC_API_KEY": "sk-test", "IS_SANDBOX": "1", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}
            command = [str(CLAUDE), "-p", task, "--output-format", "stream-json", "--verbose", "--allowedTools", "Bash Read Edit TodoWrite"]
        run = [args.wk, "--config", str(pathlib.Path(args.scratch) / "wk.toml"), "--data", str(pathlib.Path(args.scratch) / "data"), "--brokers", args.brokers, "--registry", args.registry, "--log", "error",
               "run", "--agent", agent, "--policy", str(scratch / "policy.toml"), "--", *command]
        with open(scratch / "out", "w") as out:
            code = subprocess.run(run, cwd=base, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, timeout=300).returncode
        print(number, agent, task[:50], "->", code, flush=True)
    finally:
        model.kill()
        model.wait()
        shutil.rmtree(base, ignore_errors=True)

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("wk", "brokers", "registry", "scratch", "out"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--path", default=os.environ["PATH"])
    parser.add_argument("--rustup", default=os.environ.get("RUSTUP_HOME", os.path.expanduser("~/.rustup")))
    args = parser.parse_args()
    HOME.mkdir(exist_ok=True)
    write(HOME, {".gitconfig": "[user]\n\tname = dev\n\temail = dev@example.org\n", ".bashrc": "export EDITOR=vi\n"})
    pathlib.Path(args.scratch, "wk.toml").write_text('[shim]\nconnect_patience = "5m"\ndrain_patience = "5m"\n')
    args.scratch = str(pathlib.Path(args.scratch).resolve())
    for number in range(2 * len(WORK)):
        session(args, number, ["claude-code", "codex"][number % 2], WORK[number // 2])
    keep(args)


def recorded(brokers):
    """The datums on the topic, session by session, the session that began first before the others."""
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": str(uuid.uuid4()), "enable.auto.commit": False})
    sessions = collections.OrderedDict()
    for partition in sorted(consumer.list_topics(TOPIC, 30).topics[TOPIC].partitions):
        at, high = consumer.get_watermark_offsets(TopicPartition(TOPIC, partition), 30)
        consumer.assign([TopicPartition(TOPIC, partition, at)])
        while at < high:
            message = consumer.poll(30)
            if message is None or message.error():
                raise SystemExit(message and message.error() or "the brokers do not answer")
            sessions.setdefault(message.key(), []).append((message.timestamp()[1], message.value()[5:]))
            at = message.offset() + 1
    return [[datum for _, datum in session] for session in sorted(sessions.values(), key=lambda s: s[0][0])]


def keep(args):
    schema = fastavro.parse_schema(json.loads((ROOT / "schemas/avro/audit_record.avsc").read_text()))
    tester = os.path.expanduser("~")
    renamed = [(str(pathlib.Path(args.wk).resolve()), "/usr/bin/wk"), (args.scratch, "/var/lib/wk"), (str(TOOLS), "/opt/agents"),
               (tester + "/", str(HOME) + "/")]

    def rename(value):
        if isinstance(value, str):
            for old, new in renamed:
                value = value.replace(old, new)
        elif isinstance(value, dict):
            return {name: rename(field) for name, field in value.items()}
        elif isinstance(value, list):
            return [rename(item) for item in value]
        return value

    ids = {}
    known = lambda id: ids.setdefault(id, str(uuid.UUID(int=0x0190 << 112 | 7 << 76 | 2 << 62 | len(ids) + 1)))
    sessions = [[fastavro.schemaless_reader(io.BytesIO(datum), schema) for datum in session] for session in recorded(args.brokers)]
    for record in (record for session in sessions for record in session):
        known(record["record_id"])
    raw = io.BytesIO()
    for number, session in enumerate(sessions):
        for record in map(rename, session):
            record |= {"session_id": f"kernel-{number}", "record_id": known(record["record_id"]), "prev_digest": bytes(32),
                       "caused_by": [known(cause) for cause in record["caused_by"]], "host": "build-7"}
            datum = io.BytesIO()
            fastavro.schemaless_writer(datum, schema, record)
            raw.write(struct.pack(">I", len(datum.getvalue())) + datum.getvalue())
    pathlib.Path(args.out).write_bytes(lzma.compress(raw.getvalue(), preset=9 | lzma.PRESET_EXTREME))
    print(len(sessions), "sessions,", sum(map(len, sessions)), "records")


main()
