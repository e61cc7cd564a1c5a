"""What the shim costs: the witness's workloads bare, under the shim, under the least that notifications can cost (notified.c), and under strace, in turn.

    overhead.py <wk> <rounds> <dir>                              log, watcher and lake on the same processors
    overhead.py <log> <rounds> <dir> <wk-shim> [<wk-shim> …]     the log alone; each shim that is named, in the same run
                                                                 (BENCH_KAFKA: the bootstrap of a Kafka, instead of the embedded log)

`log` is the example of wk-shim. Each round runs every workload once under every watch, so that whatever else the machine does falls on all of them alike.
The time is taken inside the watch; what starting it costs is the row `start-up`, taken from outside. BENCH_WORK names the workloads (default: all).
"""
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

from services import Services

program, rounds, folder = pathlib.Path(sys.argv[1]).resolve(), int(sys.argv[2]), pathlib.Path(sys.argv[3]).resolve()
shims = [pathlib.Path(argument).resolve() for argument in sys.argv[4:]]
here = pathlib.Path(__file__).resolve().parent
script, timer = here.parent / "harness" / "workload", here / "timer.py"
policy = here.parent.parent / "sandbox-shim" / "policies" / "observe.toml"
work = os.environ.get("BENCH_WORK", "git-clone git-status cargo-build python-import find grep tar execs").split()
# The calls that the shim traps, for the strace that looks at nothing else.
calls = (
    "open,openat,openat2,creat,execve,execveat,setsid,unlink,unlinkat,rmdir,mkdir,mkdirat,rename,renameat,renameat2,link,linkat,"
    "symlink,symlinkat,mknod,mknodat,truncate,chmod,fchmod,fchmodat,chown,lchown,fchown,fchownat,connect,sendto,sendmsg,sendmmsg,bind,listen"
)
os.environ.update(WORKLOAD_KEEP_PYCACHE="1", WORKLOAD_FOLDERS="480")


folder.mkdir(parents=True, exist_ok=True)
data = folder / "data"
reads = folder / "reads.toml"
reads.write_text("[shim]\nebpf_reads = true\n")
services = Services(program, data, os.environ.get("BENCH_KAFKA"))
watches = {"bare": []}
if shims:
    for number, shim in enumerate(shims):
        name = "shim" if len(shims) == 1 else f"shim {number + 1}"
        log = ["--data", str(data), "--brokers", services.brokers, "--registry", services.registry]
        watches[name] = [str(shim), *log, "run", "--policy", str(policy), "--"]
        if os.geteuid() == 0:
            watches[f"{name}, ebpf_reads"] = [str(shim), "--config", str(reads), *log, "run", "--policy", str(policy), "--"]
else:
    watches["shim"] = [str(program), "--data", str(data), "run", "--policy", str(policy), "--"]
if compiler := shutil.which("cc"):
    notified = folder / "notified"
    subprocess.run([compiler, "-O2", "-o", str(notified), str(here / "notified.c")], check=True)
    watches["notified, unseen"] = [str(notified)]
else:
    print("SKIPPED: no C compiler for the least that notifications cost")
if shutil.which("strace"):
    watches["strace, same calls"] = ["strace", "-f", "--seccomp-bpf", "-e", f"trace={calls}", "-o", "/dev/null"]
    watches["strace -f"] = ["strace", "-f", "-o", "/dev/null"]
else:
    print("SKIPPED: strace is not installed")


def inside(watch, name):
    """Milliseconds of one run; one before it warms what the first run of a session has to do."""
    warm = 0 if watch.startswith("strace") else 1
    command = [*watches[watch], sys.executable, str(timer), str(1 + warm), str(script), name, str(folder / name)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    lists = [line for line in done.stdout.splitlines() if line.startswith("[")]
    if done.returncode != 0 or not lists:
        sys.exit(f"{name} under {watch} ended with {done.returncode}:\n{done.stderr}")
    return json.loads(lists[-1])[-1]


def outside(watch):
    begun = time.perf_counter()
    subprocess.run([*watches[watch], "/bin/true"], stdin=subprocess.DEVNULL, capture_output=True, check=True)
    return (time.perf_counter() - begun) * 1000


for name in work:
    subprocess.run(["/bin/sh", script, "prepare", name, folder / name], check=True)
    subprocess.run(["/bin/sh", script, "run", name, folder / name], check=True)

times = {}
before = os.getloadavg()[0]
try:
    for _ in range(rounds):
        for name in [*work, "start-up"]:
            for watch in watches:
                taken = outside(watch) if name == "start-up" else inside(watch, name)
                times.setdefault((name, watch), []).append(taken)
finally:
    services.end()

print(f"load before {before:.2f}, after {os.getloadavg()[0]:.2f}; {rounds} rounds; milliseconds, best (median); ratios of best and of median to bare")
print(f"{'workload':14} {'bare':>18}" + "".join(f" {watch:>34}" for watch in list(watches)[1:]))
for name in [*work, "start-up"]:
    best = {watch: min(times[name, watch]) for watch in watches}
    middle = {watch: statistics.median(times[name, watch]) for watch in watches}
    line = f"{name:14} {best['bare']:8.1f} ({middle['bare']:7.1f})"
    for watch in list(watches)[1:]:
        ratios = f"{best[watch] / best['bare']:.2f}x {middle[watch] / middle['bare']:.2f}x"
        line += f" {best[watch]:9.1f} ({middle[watch]:8.1f}) {ratios:>14}"
    print(line)
