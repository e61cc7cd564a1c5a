"""What a measurement of the shim needs around it: a log alone, or everything that `wk up` runs."""
import json
import pathlib
import subprocess
import sys
import time


class Services:
    """Started when made; `brokers` and `registry` say where. `end()` stops it."""

    def __init__(self, program, data, kafka=None):
        """`program` is `wk` (log, watcher, ingest and queries) or the example `log` of wk-shim (the log alone)."""
        data.mkdir(parents=True, exist_ok=True)
        if pathlib.Path(program).name == "log":
            self.process = subprocess.Popen([program, data, *([kafka] if kafka else [])], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            line = self.process.stdout.readline()
            if not line:
                sys.exit("the log did not start")
            found = json.loads(line)
            self.brokers, self.registry = found["brokers"], found["registry"]
            return
        options = ["--brokers", kafka] if kafka else []
        if kafka:
            subprocess.run([program, "--data", data, "topics", "create", *options], check=True, stdout=subprocess.DEVNULL)
        out = data.parent / "up.out"
        command = [program, "--data", data, *options, "up"]
        self.process = subprocess.Popen(command, stdout=out.open("w"), stderr=subprocess.STDOUT, stdin=subprocess.PIPE)
        while "ready;" not in out.read_text():
            if self.process.poll() is not None:
                sys.exit(f"`wk up` ended:\n{out.read_text()}")
            time.sleep(0.1)
        found = json.loads((data / "up.json").read_text())
        self.brokers, self.registry = found["brokers"]["bootstrap"], found["registry"]

    def end(self):
        # The log ends with its input, the rest when it is told.
        self.process.stdin.close()
        self.process.terminate()
        self.process.wait()
