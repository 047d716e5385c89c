#!/usr/bin/env python3
"""Bad input, and what is said of it: words, flags, files, memory, names; TAP on standard output.

    usage.py BULKHEAD PAYLOADS
"""

import json
import os
import pathlib
import re
import resource
import subprocess
import sys

from harness import BULKHEAD, PATIENCE, Skip, expect, expect_failure, main, need_kvm, payload, test


@test
def help_lists_every_verb(place):
    overview = place.run("--help")
    expect(overview.returncode == 0, "exit code")
    for verb in ("run", "inspect", "pause", "resume", "nmi", "button", "doctor", "help",
                 "version"):
        expect(f"\n  {verb} " in overview.stdout, verb)
        page = place.run("help", verb)
        expect(page.returncode == 0 and page.stdout.startswith(f"usage: bulkhead {verb}"), verb)
        expect(place.run(verb, "--help").stdout == page.stdout, f"{verb} --help")
    expect("143" in place.run("help", "run").stdout, "exit codes")
    expect(place.run("--version").stdout == place.run("version").stdout, "version")


def read_document(name):
    top = pathlib.Path(__file__).resolve().parents[2]
    return [text for path in sorted(top.glob(name))
            # What a reader would type: indented, or in backticks.
            for text in re.findall(r"^    .*|`[^`]+`", path.read_text(encoding="utf-8"), re.M)]


@test
def documents_name_what_there_is(place):
    verbs = re.findall(r"^  ([a-z-]+(?: [a-z][a-z-]+)?) ", place.does("help"), re.M)
    pages = {verb: place.does("help", *verb.split()) for verb in verbs}
    commands = [found for name in ("README.md", "docs/*.md") for text in read_document(name)
                for found in re.findall(r"\bbulkhead ([a-z][a-z-]+)(?: ([a-z][a-z-]+))?([^`#]*)", text)]
    expect(len(commands) > 50, commands)
    for first, second, rest in commands:
        expect(first in verbs or any(verb.startswith(first + " ") for verb in verbs), first)
        if first in verbs or not second:
            verb = first
        else:
            verb = f"{first} {second}"
            expect(verb in verbs, verb)
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", rest):
            expect(option in pages.get(verb, "--json"), f"{verb} {option}")


@test
def unknown_words_are_refused(place):
    expect_failure(place.run("start"), 2, '"start"')
    expect_failure(place.run("help", "start"), 2, '"start"')
    expect_failure(place.run("run", "--colour"), 2, "--colour")
    expect_failure(place.run("run", "vm"), 2, '"vm"')
    expect_failure(place.run("version", "--frob"), 2, "--frob")
    expect_failure(place.run("version", "x"), 2, '"x"')
    expect_failure(place.run("--version", "x"), 2, '"x"')
    expect_failure(place.run("help", "run", "x"), 2, '"x"')
    expect_failure(place.run("inspect"), 2, "NAME")
    expect_failure(place.run("inspect", "a", "b"), 2, '"b"')
    expect_failure(place.run("inspect", "../x"), 2, "../x")
    expect(place.run().returncode == 2, "no verb")
    for words in (("disk",), ("disk", "frob"), ("help", "disk", "frob")):
        expect_failure(place.run(*words), 2, "help disk")


@test
def a_noun_alone_lists_its_verbs(place):
    for words in (("help", "disk"), ("disk", "--help")):
        done = place.run(*words)
        expect(done.returncode == 0, words)
        verbs = {line.split()[1] for line in done.stdout.splitlines() if line.startswith("  disk ")}
        expect({"create", "check", "attach", "eject"} <= verbs, verbs)
        expect("nic attach" not in done.stdout, done.stdout)


@test
def flags_are_checked_before_anything_is_opened(place):
    kernel = ("--kernel", "/nonexistent")
    for flag, *values in (
            ("--cpus", "0", "65", "-1", "1.5", "x", "99999999999999999999"),
            ("--memory", "0", "1M", "257G", "99999999999T", "1k", "4097K", "-1", "", "startup=",
             "min=1G", "startup=1G,min=2G", "startup=1G,max=512M", "startup=1G,max=257G",
             "startup=1G,", "startup=1G,buffer=4", "startup=1G,weight=10001", "startup=1G,reporting=1",
             "startup=1G,protocol=3.0", "startup=1G,size=1G"),
            ("--name", "", "a/b", "..", "x" * 64, "a b"),
            ("--disk", "", ",ro", "a,rw", "a,ro,", "a,iops=x", "a,iops=-1", "a,bandwidth=1",
             "a,bandwidth=1.5M"),
            ("--console", "tty", "file:", "unix:", ""),
            ("--vmbus-max-version", "5", "6.0", "1.1", "5.3.1"),
            ("--stimer", "yes", ""),
            ("--on-reset", "reboot"),
            ("--on-full", "wait", ""),
            ("--kernel", ""),
            ("--initrd", "")):
        for value in values:
            expect_failure(place.run("run", *kernel, flag, value), 2, flag)
            expect_failure(place.run("run", *kernel, f"{flag}={value}"), 2, flag)
        expect_failure(place.run("run", flag), 2, flag)
    expect_failure(place.run("run", *kernel, "--dtb=1"), 2, "--dtb")
    expect_failure(place.run("run"), 2, "--kernel")
    expect_failure(place.run("run", *kernel, *["--disk", "a"] * 65), 2, "--disk", "64")
    expect(os.listdir(place.path) == [], "something was created")


@test
def memory_verbs_say_what_they_need(place):
    expect_failure(place.run("memory", "show"), 2, "NAME")
    expect_failure(place.run("memory", "set", "vm"), 2, "--target")
    expect_failure(place.run("memory", "set", "vm", "--target", "lots"), 2, "--target lots")
    expect_failure(place.run("memory", "set", "vm", "--buffer", "1"), 2, "--buffer 1")
    expect_failure(place.run("memory", "set", "vm", "--weight", "x"), 2, "--weight x")
    expect_failure(place.run("memory", "show", "a", "b"), 2, '"b"')


@test
def memory_the_host_lacks_is_refused(place):
    kernel = place.file("kernel")
    has = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    if has >= 256 << 10:
        raise Skip("this host has more than any VM may have")
    result = place.run("run", "--kernel", kernel, "--memory", "256g")
    expect_failure(result, 1, "--memory", "262144 MiB", f"{has} MiB")
    result = place.run("run", "--kernel", kernel, "--memory", "startup=512M,max=256g")
    expect_failure(result, 1, "--memory", "262144 MiB", f"{has} MiB")


@test
def files_are_named_with_what_is_wrong(place):
    good = place.file("good")
    empty = place.file("empty", b"")
    fifo = os.path.join(place.path, "fifo")
    os.mkfifo(fifo)
    before = sorted(os.listdir(place.path))
    missing = os.path.join(place.path, "missing")
    for flag, others in (("--kernel", []), ("--initrd", ["--kernel", good]),
                         ("--disk", ["--kernel", good])):
        expect_failure(place.run("run", *others, flag, missing), 1, flag, missing, "no such file")
        expect_failure(place.run("run", *others, flag, place.path), 1, flag, "directory")
        expect_failure(place.run("run", *others, flag, fifo), 1, flag, fifo)
        expect_failure(place.run("run", *others, flag, "/dev/null"), 1, flag, "regular file")
        expect_failure(place.run("run", *others, flag, empty), 1, flag, empty)
    expect(sorted(os.listdir(place.path)) == before, "something was created")


@test
def a_kernel_that_is_none_is_named(place):
    payload("exit")
    text = place.file("text", b"no kernel at all\n" * 100)
    result = place.run("run", "--kernel", text)
    expect(result.returncode == 1, f"exit {result.returncode}")
    expect(result.stderr.startswith(f"bulkhead: --kernel {text} is not a kernel"), result.stderr)
    expect(result.stderr.count("\n") == 1, result.stderr)
    result = place.run("run", "--name", "vm", "--kernel", text)
    expect(result.stderr.startswith(f"bulkhead: vm: --kernel {text} "), result.stderr)
    expect(os.listdir(os.path.join(place.path, "bulkhead")) == [], "the socket stayed")


@test
def names_of_any_bytes_are_told(place):
    """The worker's sentence comes over JSON, whatever is in a path, and wherever it is cut."""
    payload("exit")
    face = "\N{GRINNING FACE}"
    for path, told in ((b"k\xff", "/k? is not a kernel"),
                       *((os.path.join(b"x" * shift + face.encode() * 60, face.encode() * 63), face)
                         for shift in range(4))):
        path = os.path.join(place.path.encode(), path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(b"no kernel at all\n" * 100)
        result = place.run("run", "--json", "--kernel", path, errors="replace")
        answer = json.loads(result.stdout)
        expect(answer["reason"] == "failed" and told in answer["message"], answer)


@test
def variables_that_are_wrong_are_named(place):
    kernel = place.file("kernel")
    need_kvm()  # it is opened before
    for program in "/nonexistent", kernel, "/bin/true":
        place.environment["BULKHEAD_VMWP"] = program
        expect_failure(place.run("run", "--kernel", kernel), 1, "BULKHEAD_VMWP")
        expect_failure(place.run("doctor"), 1, "BULKHEAD_VMWP")
    del place.environment["BULKHEAD_VMWP"]
    place.environment["XDG_RUNTIME_DIR"] = "/nonexistent"
    expect_failure(place.run("run", "--kernel", kernel), 1, "XDG_RUNTIME_DIR")


@test
def the_worker_is_not_run_by_hand(place):
    worker = os.path.join(os.path.dirname(BULKHEAD), "../worker/bulkhead-vmwp")
    result = subprocess.run([worker], capture_output=True, text=True, timeout=PATIENCE)
    expect(result.returncode == 2 and "`bulkhead run`" in result.stderr, result)


@test
def too_few_descriptors_are_told(place):
    # Whatever it is that cannot be opened any more, the cause is the same.
    kernel = payload("idle")
    disk = place.file("disk", bytes(4096))

    def limited(count):
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))

    for count in range(5, 32):
        result = place.run("run", "--kernel", kernel, "--disk", disk, "--console", "none",
                           preexec_fn=lambda: limited(count))
        expect_failure(result, 1, "Too many open files", "ulimit -n")


@test
def a_small_stack_is_enough(place):
    def limited():
        resource.setrlimit(resource.RLIMIT_STACK, (64 << 10, 64 << 10))

    result = place.run("run", "--kernel", "/nonexistent", preexec_fn=limited)
    expect_failure(result, 1, "/nonexistent")
    result = place.run("run", "--kernel", payload("smoke"), "--debug-exit", "--disk",
                       place.file("disk", bytes(4096)), preexec_fn=limited)
    expect(result.returncode == 0, result.stderr)


@test
def failures_are_json_too(place):
    result = place.run("run", "--json", "--kernel", "/nonexistent")
    expect(result.returncode == 1, "exit code")
    error = json.loads(result.stdout)
    expect(set(error) == {"name", "exit", "reason", "message", "crash", "console_lost"}, error)
    expect(error["exit"] == 1 and error["reason"] == "failed" and
           "/nonexistent" in error["message"], error)
    error = json.loads(place.run("run", "--json", "--kernel", b"/\xff", errors="replace").stdout)
    expect("/?:" in error["message"], error)
    error = json.loads(place.run("run", "--json", "--cpus", "0").stdout)
    expect(error["exit"] == 2 and error["reason"] == "usage", error)
    error = json.loads(place.run("inspect", "--json", "nobody").stdout)
    expect(error["exit"] == 5 and error["reason"] == "not-found" and "nobody" in error["message"],
           error)


@test
def wrong_usage_is_json_wherever_the_flag_is(place):
    for line in ("run --json --bogus", "run --bogus --json", "run --bogus x --json=1 --json",
                 "run --cpus 0 --json", "inspect --json a b", "inspect a b --json",
                 "inspect --bogus --json a", "doctor --bogus --json", "version --bogus --json",
                 "version x --json", "start --json", "help start --json", "help run x --json"):
        result = place.run(*line.split())
        expect(result.returncode == 2 and result.stdout.count("\n") == 1, f"{line}: {result}")
        error = json.loads(result.stdout)
        expect(error["exit"] == 2 and error["reason"] == "usage", f"{line}: {error}")
        expect(error["message"] and result.stderr.endswith(f": {error['message']}\n"), result)
    for line in ("run --bogus", "run --bogus -- --json", "run --bogus --append --json", "start",
                 "inspect a b"):
        expect_failure(place.run(*line.split()), 2)


@test
def a_vm_that_does_not_run_is_told(place):
    expect_failure(place.run("inspect", "nobody"), 5, "nobody")
    os.mkdir(os.path.join(place.path, "bulkhead"))
    expect_failure(place.run("pause", "nobody"), 5, "nobody")


sys.exit(main())
