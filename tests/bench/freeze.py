"""From the system call to the frozen tree: an agent reads a credential and connects to a host that nobody named.

    freeze.py <wk> <sessions> <dir> [<bootstrap of a Kafka>]

The connection is held, the watcher hears of it, orders a freeze, and the shim carries it out. All times are read from the records
in the lake: from the record of the held call to the fact that nothing runs any more.
"""
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading
import time

wk, sessions, folder = pathlib.Path(sys.argv[1]).resolve(), int(sys.argv[2]), pathlib.Path(sys.argv[3]).resolve()
kafka = sys.argv[4] if len(sys.argv) > 4 else None
pause = float(os.environ.get("BENCH_PAUSE", "0.8"))
data, home = folder / "data", folder / "home"
(home / ".aws").mkdir(parents=True, exist_ok=True)
(home / ".aws" / "credentials").write_text("[default]\naws_secret_access_key = planted-by-the-bench\n")
(folder / "policy.toml").write_text(
    'name = "bench"\nhold_timeout = "5m"\n\n[files]\ndefault = "allow"\n\n[network]\ndefault = "hold"\n'
)

# The host that nobody named. Nothing may arrive there.
stranger = socket.create_server(("127.0.0.66", 0))
arrived = []
threading.Thread(target=lambda: [arrived.append(stranger.accept()) for _ in range(sessions)], daemon=True).start()
# It waits first: what is measured is a session under way, not one whose shim is still connecting to the log. It is a file, because a
# command line that names /dev/tcp is a finding by itself, and the session would be frozen before it does anything.
(folder / "agent.sh").write_text(
    f'sleep 0.7; : > acting; cat "$HOME/.aws/credentials" >/dev/null; exec 3<>/dev/tcp/127.0.0.66/{stranger.getsockname()[1]}\n'
)

base = [str(wk), "--data", str(data)]
options = ["--brokers", kafka] if kafka else []
if kafka:
    # Without a registry of somebody's, `wk up` serves one, so topics are made without it.
    subprocess.run([*base, "topics", "create", *options], check=True, stdout=subprocess.DEVNULL)


def sql(query):
    done = subprocess.run([*base, "sql", "--format", "json", query], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        return []
    text = done.stdout.strip()
    return json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines() if line]


out = open(folder / "up.out", "w")
services = subprocess.Popen([*base, *options, "up"], stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
while "ready;" not in (folder / "up.out").read_text():
    if services.poll() is not None:
        sys.exit(f"`wk up` ended:\n{(folder / 'up.out').read_text()}")
    time.sleep(0.1)

environment = {"HOME": str(home), "PATH": os.environ["PATH"], "USER": "bench"}
before = os.getloadavg()[0]
command = [*base, *options, "run", "--policy", str(folder / "policy.toml"), "--", "/bin/bash", str(folder / "agent.sh")]


def run(number):
    """One session, until it is frozen; then it is ended, because nobody will answer."""
    with open(folder / f"run-{number}.err", "w") as err:
        return subprocess.Popen(command, cwd=home, env=environment, stdin=subprocess.DEVNULL, stdout=err, stderr=err)


MICROS = "CAST(extract(epoch FROM {}) * 1000000 AS BIGINT)"
QUERY = f"""
SELECT h.session_id AS session,
       {MICROS.format('h.at')} AS held, {MICROS.format('c.at')} AS commanded, {MICROS.format('f.at')} AS frozen, f.took_us AS took_us
FROM (SELECT session_id, min(occurred_at) AS at FROM records WHERE kind = 'approval_requested' GROUP BY session_id) h
LEFT JOIN (SELECT session_id, min(recorded_at) AS at FROM records WHERE kind = 'command' GROUP BY session_id) c ON c.session_id = h.session_id
LEFT JOIN (SELECT session_id, occurred_at AS at, session_frozen['took_us'] AS took_us FROM records WHERE kind = 'session_frozen') f
  ON f.session_id = h.session_id
"""
try:
    for number in range(sessions):
        (home / "acting").unlink(missing_ok=True)
        process = run(number)
        while not (home / "acting").exists():
            if process.poll() is not None:
                sys.exit((folder / f"run-{number}.err").read_text())
            time.sleep(0.02)
        # Long enough for the freeze; asking the lake meanwhile would disturb what is measured. A frozen agent hears no signal, and
        # nobody will answer, so the shim is killed: that ends the agent too, and the fact is on the log long since.
        time.sleep(pause)
        process.kill()
        process.wait()
    rows = []
    until = time.monotonic() + 60
    while time.monotonic() < until:
        rows = sql(QUERY)
        if len(rows) >= sessions and all(row.get("frozen") for row in rows):
            break
        time.sleep(1)
finally:
    services.terminate()
    services.wait()

frozen = [row for row in rows if row.get("frozen")]
print(f"load before {before:.2f}, after {os.getloadavg()[0]:.2f}; log: {'Kafka' if kafka else 'embedded'}")
print(f"{len(rows)} of {sessions} sessions in the lake, {len(frozen)} frozen; connections that arrived: {len(arrived)}")
if not frozen:
    sys.exit("nothing was frozen")


def show(what, values):
    values = sorted(values)
    at = lambda share: values[min(len(values) - 1, int(len(values) * share))] / 1000
    print(f"{what:48} p50 {at(0.5):8.2f} ms   p90 {at(0.9):8.2f} ms   p99 {at(0.99):8.2f} ms   max {values[-1] / 1000:8.2f} ms")


show("held call's record to session_frozen", [row["frozen"] - row["held"] for row in frozen])
show("  held call's record to the command on the log", [row["commanded"] - row["held"] for row in frozen if row["commanded"]])
show("  command at the shim to frozen tree (took_us)", [row["took_us"] for row in frozen])
