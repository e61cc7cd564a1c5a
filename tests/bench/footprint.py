"""What the shim itself weighs: its stripped binary, its memory with a log connected, and how long an agent waits for its first instruction.

    footprint.py <wk or log> <wk-shim> <dir> [<rounds>] [<bootstrap of a Kafka>]

`log` is the example of wk-shim: a log and nothing else. Memory is read five seconds after the agent stands still, and again after it has started 500
programs: all of it, what is the program's own, and what is the file that it was loaded from. Start-up is from the fork of `wk-shim` to the agent's first
line, less the same without a shim: of an agent that opens nothing before (now.c), and of Python, whose own start is some dozens of opens under watch.
"""
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

from services import Services

program, shim, folder = (pathlib.Path(argument).resolve() for argument in sys.argv[1:4])
rounds = int(sys.argv[4]) if len(sys.argv) > 4 else 20
kafka = sys.argv[5] if len(sys.argv) > 5 else None
folder.mkdir(parents=True, exist_ok=True)
data, work = folder / "data", folder / "work"
work.mkdir(exist_ok=True)

stripped = folder / "wk-shim.stripped"
subprocess.run(["strip", "-o", stripped, shim], check=True)
print(f"size: {stripped.stat().st_size / 1e6:.1f} MB stripped, {shim.stat().st_size / 1e6:.1f} MB as built")

services = Services(program, data, kafka)
run = [str(stripped), "--data", str(data), "--brokers", services.brokers, "--registry", services.registry]
run += ["run", "--policy", "observe", "--"]


def memory(pid):
    """Kilobytes and threads, by the names of proc_pid_status(5)."""
    lines = (line.split() for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())
    fields = {words[0].rstrip(":"): int(words[1]) for words in lines if words[0][:3] in ("VmR", "VmH", "Rss", "Thr")}
    return ", ".join(
        f"{name} {fields[key] / 1024:.1f} MiB" for name, key in (("resident", "VmRSS"), ("own", "RssAnon"), ("file", "RssFile"), ("peak", "VmHWM"))
    ) + f", {fields['Threads']} threads"


def until(path):
    while not path.exists():
        time.sleep(0.01)


try:
    for what, before in (("standing still", ""), ("after 500 programs", "for i in $(seq 500); do /bin/true; done; ")):
        mark = work / "ready"
        mark.unlink(missing_ok=True)
        agent = subprocess.Popen([*run, "sh", "-c", before + ": > ready; sleep 8"], cwd=work)
        until(mark)
        time.sleep(5)
        print(f"memory, {what}: {memory(agent.pid)}", flush=True)
        agent.wait()

    now = folder / "now"
    compiler = shutil.which("cc") or shutil.which("gcc") or sys.exit("no C compiler for now.c")
    subprocess.run([compiler, "-O2", "-static", "-o", str(now), str(pathlib.Path(__file__).with_name("now.c"))], check=True)
    agents = {
        "first line of a program that opens nothing": [str(now)],
        "first line of Python": [sys.executable, "-S", "-c", "import time; print(time.monotonic_ns())"],
    }

    def first_line(command):
        began = time.monotonic_ns()
        # CLOCK_MONOTONIC, which all processes share.
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=True)
        return (int(done.stdout) - began) / 1e6

    times = {(what, watch): [] for what in agents for watch in ("bare", "shim")}
    for _ in range(rounds):
        for what, agent in agents.items():
            times[what, "bare"].append(first_line(agent))
            times[what, "shim"].append(first_line([*run, *agent]))
    cost = {"best": min, "median": statistics.median}
    for what in agents:
        bare, shim = times[what, "bare"], times[what, "shim"]
        said = ", ".join(f"{name} {pick(shim) - pick(bare):.1f} ms" for name, pick in cost.items())
        print(f"start-up, to the {what}: {said} ({rounds} rounds; bare {min(bare):.1f} ms; load {os.getloadavg()[0]:.1f})")
finally:
    services.end()
