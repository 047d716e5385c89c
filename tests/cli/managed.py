"""A daemon of a test's own, in its directory, for tests of the command line as its client."""

import os
import subprocess
import sys
import tempfile

from harness import BULKHEAD, PATIENCE, expect, wait_for

VMMS = os.path.join(os.path.dirname(BULKHEAD), "bulkhead-vmms")


class Daemon:
    """bulkhead-vmms at the place's socket; its VMs are turned off where its block ends."""

    def __init__(self, place):
        self.place = place
        self.path = place.socket("vmms")
        os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
        self.words = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [VMMS, "--socket", self.path, "--state", os.path.join(place.path, "state")],
            env=place.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=self.words)

    def said(self):
        self.words.seek(0)
        return self.words.read()

    def answers(self):
        expect(self.process.poll() is None, f"no daemon: {self.said()}")
        return self.place.run("vm", "list").returncode == 0

    def __enter__(self):
        try:
            wait_for(self.answers, "the daemon")
        except BaseException:
            self.kill()
            raise
        return self

    def states(self):
        return {vm["name"]: vm["state"] for vm in self.place.reply("vm", "list")["vms"]}

    def kill(self):
        self.process.kill()
        self.process.wait(PATIENCE)
        self.words.close()

    def __exit__(self, *_):
        try:
            if self.process.poll() is None:
                for name, state in self.states().items():
                    if not state.startswith("off"):
                        self.place.run("vm", "stop", name, "--turn-off")
        except (OSError, ValueError, AssertionError) as fault:
            print(f"# the VMs could not be turned off: {fault}", file=sys.stderr)
        finally:
            self.kill()
