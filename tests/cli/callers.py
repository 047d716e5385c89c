"""Callers of the daemon who are somebody else than the test, and the daemon for them.

As root they are users that no host has.  Who is not root has a daemon that is theirs alone.
"""

import json
import os

from daemon import Client, Daemon, Refused
from harness import expect

ROOT = os.geteuid() == 0
GROUP = 65532  # of the administrators
ADMINISTRATOR, FRIEND, STRANGER = 65531, 65530, 65529


def place_for_all(place):
    """Others than root come into it, too."""
    os.chmod(place.path, 0o755)
    return place


def daemon_of(place):
    options = ["--no-journal"] + (["--group", str(GROUP)] if ROOT else [])
    return Daemon(place_for_all(place), *options)


class User:
    """Calls as somebody else: each from a process that has become that user."""

    def __init__(self, daemon, uid, *groups):
        self.path = os.path.join(daemon.run, "public.sock")
        self.uid = uid
        self.groups = groups

    def answer(self, act):
        if self.uid != os.geteuid():
            os.setgroups(self.groups)
            os.setresgid(self.uid, self.uid, self.uid)
            os.setresuid(self.uid, self.uid, self.uid)
        try:
            return {"reply": act()}
        except Refused as refused:
            return {"error": refused.error, "message": refused.message}
        except OSError as error:
            return {"error": type(error).__name__, "message": str(error)}

    def do(self, act):
        """What a function returns when this user runs it, or how it fails."""
        read, write = os.pipe()
        child = os.fork()
        if not child:
            os.close(read)
            with os.fdopen(write, "w") as file:
                json.dump(self.answer(act), file)
                file.flush()
                os._exit(0)
        os.close(write)
        with os.fdopen(read) as file:
            text = file.read()
        os.waitpid(child, 0)
        return json.loads(text)

    def ask(self, method, at=None, **parameters):
        def act():
            with Client(at or self.path) as client:
                return client.call(method, **parameters)
        return self.do(act)

    def watch(self, **parameters):
        """The first answer to a call for events."""
        def act():
            with Client(self.path) as client:
                return client.send("WatchEvents", more=True, **parameters).reply()
        return self.do(act)

    def call(self, method, **parameters):
        answer = self.ask(method, **parameters)
        expect("reply" in answer, f"{method}: {answer}")
        return answer["reply"]

    def fails(self, error, method, **parameters):
        answer = self.ask(method, **parameters)
        expect(answer.get("error") == error, f"{method} by {self.uid}: {answer}")
        return answer["message"]


def lines(daemon):
    """The audit log."""
    with open(os.path.join(daemon.state, "audit.log"), encoding="ascii") as file:
        return [json.loads(line) for line in file]


def caller_of_files(daemon):
    """Somebody who may make VMs and is not root; and how to call as them."""
    if ROOT:
        return User(daemon, ADMINISTRATOR, GROUP)
    user = User(daemon, os.geteuid())
    user.path = daemon.socket
    return user
