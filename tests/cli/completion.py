#!/usr/bin/env python3
"""Completion and manual pages, which are made of the table of commands; TAP on standard output.

    completion.py BULKHEAD PAYLOADS GENERATED
"""

import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time

from harness import BULKHEAD, PATIENCE, Place, expect, main, test
from managed import Daemon

GENERATED = sys.argv[3]
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCRIPT = os.path.join(GENERATED, "bulkhead")


def complete(place, *words):
    """What bash would offer for the last word."""
    line = f'source {SCRIPT}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _bulkhead; ' \
           'printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(["bash", "--norc", "-c", line, "bash", BULKHEAD, *words],
                          env=place.environment, capture_output=True, text=True, timeout=PATIENCE)
    expect(done.returncode == 0 and not done.stderr, done)
    return set(done.stdout.split())


def verbs(place):
    """Each verb that help lists, with its noun."""
    return re.findall(r"^  ([a-z-]+(?: [a-z][a-z-]+)?) ", place.does("help"), re.M)


@test
def verbs_are_completed(place):
    first = complete(place, "")
    for verb in verbs(place):
        expect(verb.split()[0] in first, verb)
    expect("complete" not in first, "a hidden verb")
    expect(complete(place, "ev") == {"events"}, complete(place, "ev"))
    expect({"start", "stop", "create"} <= complete(place, "vm", ""), complete(place, "vm", ""))
    expect(complete(place, "vm", "sta") == {"start"}, "vm sta")
    expect("rename" not in complete(place, "disk", ""), "a verb of another noun")
    expect(complete(place, "--socket", "/x", "vm", "sta") == {"start"}, "--socket")


@test
def options_and_their_values_are_completed(place):
    for verb in verbs(place):
        offered = complete(place, *verb.split(), "--")
        listed = set(re.findall(r"^  (--[a-z-]+)", place.does("help", *verb.split()), re.M))
        expect(offered == listed | {"--help"}, verb, offered ^ (listed | {"--help"}))
    expect(complete(place, "vm", "wait", "web", "--state", "off") == {"off", "off-after-crash"},
           complete(place, "vm", "wait", "web", "--state", "off"))
    expect(complete(place, "run", "--stimer", "") == {"on", "off"}, "on or off")
    expect(complete(place, "vm", "create", "x", "--start-action", "") ==
           {"nothing", "if-ran", "always"}, "--start-action")
    place.file("kernel.img")
    expect(complete(place, "vm", "create", "x", "--kernel", "ker") == {"kernel.img"}, "a file")
    expect(complete(place, "disk", "info", "ker") == {"kernel.img"}, "a file as a word")
    expect(not complete(place, "vm", "create", "x", "--cpus", ""), "a number")


@test
def values_may_follow_an_equals_sign(place):
    place.file("kernel.img")
    expect(complete(place, "vm", "create", "x", "--kernel", "=", "ker") == {"kernel.img"}, "a file")
    expect("paused" in complete(place, "vm", "wait", "x", "--state", "="), "nothing yet")
    expect(complete(place, "--socket", "=", "/x", "vm", "sta") == {"start"}, "--socket=")
    expect(complete(place, "help", "vm", "rena") == {"rename"}, "help of a verb with a noun")


def fish(place, line):
    """What fish would offer."""
    script = os.path.join(GENERATED, "bulkhead.fish")
    done = subprocess.run(["fish", "--no-config", "-c", f"source {script}; complete -C '{line}'"],
                          env=dict(place.environment, HOME=place.path), text=True,
                          capture_output=True, timeout=PATIENCE)
    expect(done.returncode == 0 and not done.stderr, done)
    return {offer.split("\t")[0] for offer in done.stdout.splitlines()}


@test
def fish_completes_where_it_is_installed(place):
    if not shutil.which("fish"):
        return
    first = fish(place, "bulkhead ")
    expect({"vm", "disk", "events"} <= first and "complete" not in first, first)
    expect(fish(place, "bulkhead vm sta") == {"start"}, "vm sta")
    expect(fish(place, "bulkhead --socket /x vm wait --timeout 3 x --state pa") == {"paused"},
           "a value")
    expect(fish(place, "bulkhead help vm rena") == {"rename"}, "help")


@test
def names_are_those_of_the_daemon(place):
    expect(not complete(place, "vm", "start", ""), "names without a daemon")
    with Daemon(place):
        kernel = place.file("kernel")
        for name in ("web", "db"):
            place.does("vm", "create", name, "--kernel", kernel, "--nic", "user", "--disk",
                       place.file(name + ".img"))
        expect(complete(place, "vm", "start", "") == {"web", "db"}, place.run("complete", "vms"))
        expect(complete(place, "inspect", "w") == {"web"}, "the other verbs")
        expect(complete(place, "events", "--vm", "d") == {"db"}, "an option's")
        disks = {disk["name"] for disk in
                 place.reply("vm", "show", "web")["vm"]["settings"]["disks"]}
        expect(complete(place, "disk", "detach", "web", "") == disks, disks)
        nics = {nic["name"] for nic in place.reply("vm", "show", "web")["vm"]["settings"]["nics"]}
        expect(complete(place, "nic", "detach", "web", "") == nics, nics)
        elsewhere = Place(place.path, BULKHEAD_SOCKET="/nonexistent")
        path = place.socket("vmms")
        expect(complete(elsewhere, "--socket", path, "vm", "start", "w") == {"web"}, "--socket")


@test
def a_terminal_completes_by_tab(place):
    pid, terminal = pty.fork()
    if pid == 0:
        place.environment.update(PS1="> ", TERM="dumb", PATH=os.path.dirname(BULKHEAD) + ":/bin:/usr/bin")
        os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"], place.environment)
    seen = b""

    def until(text):
        nonlocal seen
        end = time.monotonic() + PATIENCE
        while text not in seen:
            ready, _, _ = select.select([terminal], [], [], max(0, end - time.monotonic()))
            expect(ready, f"{text} did not come: {seen}")
            seen += os.read(terminal, 4096)

    try:
        os.write(terminal, f"bind 'set enable-bracketed-paste off'; source {SCRIPT}; echo re''ady\n".encode())
        until(b"ready\r\n> ")  # the shell reads keys from here on
        os.write(terminal, b"bulkhead vm sus\x15bulkhead vm ren\tx\ty\x15")
        until(b"bulkhead vm rename x")
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)


@test
def scripts_are_well_formed(place):
    for shell, name in (("bash", "bulkhead"), ("zsh", "_bulkhead"), ("fish", "bulkhead.fish")):
        path = os.path.join(GENERATED, name)
        with open(path, encoding="utf-8") as file:
            text = file.read()
        for verb in verbs(place):
            expect(re.search(rf"['\s]{verb.split()[-1]}[':\s]", text), shell, verb)
        # Other shells are tried where they are installed.
        if shell == "bash" or shutil.which(shell):
            done = subprocess.run([shell, "-n", path], capture_output=True, text=True,
                                  timeout=PATIENCE)
            expect(done.returncode == 0 and not done.stderr, done)


@test
def every_verb_has_its_section_of_the_manual(place):
    with open(os.path.join(GENERATED, "bulkhead.1.scd"), encoding="utf-8") as file:
        sections = re.split(r"^## bulkhead ", file.read(), flags=re.M)[1:]
    with open(os.path.join(GENERATED, "bulkhead.1"), encoding="utf-8") as file:
        page = file.read()
    for verb in verbs(place):
        found = [section for section in sections if section.startswith(verb + " ")]
        expect(len(found) == 1, verb)
        for option in re.findall(r"^  (--[a-z-]+)", place.does("help", *verb.split()), re.M):
            expect(f"*{option}*" in found[0], verb, option)
        expect(f"bulkhead {verb}".replace("-", "\\-") in page or f"bulkhead {verb}" in page, verb)
    with open(os.path.join(GENERATED, "bulkhead-vmms.8"), encoding="utf-8") as file:
        page = file.read().replace("\\-", "-")
    daemon = os.path.join(os.path.dirname(BULKHEAD), "bulkhead-vmms")
    done = subprocess.run([daemon, "--help"], capture_output=True, text=True, timeout=PATIENCE)
    for option in re.findall(r"^  (--[a-z-]+)", done.stdout, re.M):
        expect(option in page, option)


@test
def exit_codes_are_told_alike(place):
    codes = dict(re.findall(r"^ +(\d+)  (.+)$", place.does("help"), re.M))
    expect(set(codes) == {str(code) for code in range(11)}, codes)
    with open(os.path.join(GENERATED, "bulkhead.1.scd"), encoding="utf-8") as file:
        told = dict(re.findall(r"^\*(\d+)\*\t(.+)\.$", file.read(), re.M))
    expect(told == codes, told)
    with open(os.path.join(TOP, "docs/json.md"), encoding="utf-8") as file:
        rows = re.findall(r"^\| (\d+) \| (?:`([a-z-]+)`)? ?\|", file.read().split("\n## ")[1], re.M)
    expect({code for code, _ in rows} == set(codes), rows)
    reasons = dict(rows)
    for words in (("vm", "frob"), ("vm", "start", "x")):
        failed = json.loads(place.run(*words, "--json").stdout)
        expect(reasons[str(failed["exit"])] == failed["reason"], failed)


sys.exit(main())
