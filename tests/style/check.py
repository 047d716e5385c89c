#!/usr/bin/env python3
"""Checks the tree against the rules of docs/hacking.md; TAP on standard output."""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

TOP = pathlib.Path(sys.argv[1])

# Who may include whom: a folder of src/ sees itself and those named here.
MAY_INCLUDE = {
    "base": set(),
    "vmm": {"base"},
    "vmbus": {"base", "vmm"},
    "devices": {"base", "vmm", "vmbus"},
    "worker": {"base", "vmm", "vmbus", "devices"},
    "mgmt": {"base"},
    "tools": {"base", "vmbus", "devices"},
}
# What mgmt shares with the worker, and bulkhead-disk's sandbox.
SHARED_HEADERS = {"worker/protocol.h", "worker/sandbox.h"}

# A pattern, and the only files that may hold it.
SINGLE_OWNERS = [
    (r"\bKVM_(RUN|CREATE|SET|GET|IOEVENTFD|IRQFD|IRQ|CHECK|NMI|X86)_?\w*\s*[,)]", "ioctl",
     {"src/vmm/kvm.c"}),
    (r"\bio_uring_|<liburing", "liburing", {"src/base/uring.c"}),
    # Where guest memory lies on the host; kvm.c only tells KVM.
    (r"(->|\.)host\b", "the host address of guest memory", {"src/vmm/gpa.c", "src/vmm/kvm.c"}),
    # And what saves it.
    (r"\bgpa_memfd\(", "the file of guest memory",
     {"src/vmm/gpa.c", "src/vmm/gpa.h", "src/worker/vm_state.c"}),
    (r"(->|\.)(write_index|read_index|interrupt_mask)\b", "the indices of a ring",
     {"src/vmbus/ring.c"}),
]

INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)


# Where shell scripts are, and those folders whose scripts are read by another and so name no shell.
SHELL_FOLDERS = [".ci", "guest/images", "scripts", "src", "tests"]
READ_BY_OTHERS = {"guest/images/root/bh": "sh", "tests/lab": "bash", "tests/lab/cases": "bash"}


class Skip(Exception):
    pass


def shell_of(path):
    """The shell that a script is for; None if the file is no shell script."""
    with path.open("rb") as file:
        first = file.readline(100).decode(errors="replace")
    found = re.match(r"#!\s*\S*[/ ](sh|bash)\b", first)
    if found:
        return found[1]
    folder = path.parent.relative_to(TOP).as_posix()
    sourced = path.suffix == ".sh" or folder == "guest/images/root/bh"
    return READ_BY_OTHERS.get(folder) if sourced and not first.startswith("#!") else None


def sources(*folders):
    for folder in folders:
        for path in sorted((TOP / folder).rglob("*.[ch]")):
            yield path, path.relative_to(TOP).as_posix()


def forbidden_includes():
    for path, name in sources("src"):
        home = name.split("/")[1]
        for header in INCLUDE.findall(path.read_text()):
            folder = header.split("/")[0]
            if "/" not in header:
                yield f'{name}: "{header}" is not written from src/ on'
            elif folder != home and folder not in MAY_INCLUDE[home] and header not in SHARED_HEADERS:
                yield f'{name}: src/{home} may not include "{header}"'


def foreign_owners():
    for path, name in sources("src"):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            for pattern, what, owners in SINGLE_OWNERS:
                if what == "ioctl" and "ioctl" not in line:
                    continue
                if name not in owners and re.search(pattern, line):
                    yield f"{name}:{number}: only {', '.join(owners)} may use {what}: {line.strip()}"


def missing_guards():
    for path, name in sources("src", "tests", "guest"):
        if name.endswith(".h") and "#pragma once" not in path.read_text():
            yield f"{name}: has no #pragma once"


def unowned_words():
    for path, name in sources("src", "tests", "guest"):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if re.search(r"\b(TODO|FIXME|XXX)\b", line):
                yield f"{name}:{number}: unfinished work: {line.strip()}"


def stopped_sentences():
    """A sentence of struct error is printed after a prefix and may be followed: no full stop."""
    call = re.compile(r'error_set\([^;]*?"([^"\\]|\\.)*"(?=\s*[,)])', re.S)
    for path, name in sources("src"):
        if name.endswith(".h"):
            continue
        text = path.read_text()
        for found in call.finditer(text):
            if found.group(0).endswith('."'):
                number = text.count("\n", 0, found.end()) + 1
                yield f"{name}:{number}: the sentence ends with a full stop"


def memory_without_remedy():
    """Whoever reads that memory ran out wants to know what to do: error_memory says it."""
    call = re.compile(r'error_set\(([^;"]*)((?:"(?:[^"\\]|\\.)*"\s*)+)')
    for path, name in sources("src"):
        text = path.read_text()
        for found in call.finditer(text):
            ours = "ENOMEM" in found[1] or re.search(r"(no|enough|out of) memory", found[2])
            if ours and ";" not in found[2] and "PRI" not in text[found.end():found.end() + 3]:
                number = text.count("\n", 0, found.start()) + 1
                yield f"{name}:{number}: memory ran out, and no word on what to do"


def shell_faults():
    if not shutil.which("shellcheck"):
        raise Skip("shellcheck is not installed")
    for folder in SHELL_FOLDERS:
        for path in sorted((TOP / folder).rglob("*")):
            shell = path.is_file() and shell_of(path)
            if not shell:
                continue
            run = subprocess.run(["shellcheck", "-x", "-s", shell, "-f", "gcc",
                                  str(path.relative_to(TOP))], cwd=TOP, capture_output=True,
                                 text=True)
            yield from run.stdout.splitlines() + run.stderr.splitlines()


def documents():
    return [TOP / "README.md", *sorted((TOP / "docs").rglob("*.md"))]


def missing_files():
    """A file that a document names is there; where it says no folder, somewhere in the sources."""
    path = re.compile(r"(?<![\w/.~$-])(?:src|tests|docs|guest|scripts)/[\w./*-]*[\w*]")
    name = re.compile(r"(?<![\w./*~-])(?!(?:src|tests|guest|include/linux)/)[\w/*-]+\.(?:[ch]|asl|py)\b(?![./])")
    for document in documents():
        text = document.read_text()
        wanted = [(found, TOP.glob(found[0])) for found in path.finditer(text)
                  if not re.search(r"\b\w*(NAME|SCRIPT)\b", found[0])]
        wanted += [(found, (match for folder in ("src", "tests", "guest")
                            for match in (TOP / folder).glob("**/" + found[0])))
                   for found in name.finditer(text)]
        for found, matches in wanted:
            if not any(matches):
                number = text.count("\n", 0, found.start()) + 1
                yield f"{document.relative_to(TOP)}:{number}: {found[0]} is not there"


def dead_links():
    for document in documents():
        text = document.read_text()
        for found in re.finditer(r"\]\((?!\w+:)([^)#]+)", text):
            if not (document.parent / found[1]).exists():
                number = text.count("\n", 0, found.start()) + 1
                yield f"{document.relative_to(TOP)}:{number}: {found[1]} is not there"


def stale_interface_document():
    """docs/api.md is what the interface definitions say."""
    mgmt = TOP / "src/mgmt"
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as made:
        run = subprocess.run([mgmt / "api_document", mgmt / "api_introduction.md",
                              mgmt / "io.bulkhead.VMMS.varlink", mgmt / "io.bulkhead.VM.varlink",
                              made.name], capture_output=True, text=True)
        yield from run.stderr.splitlines()
        if run.returncode == 0 and made.read() != (TOP / "docs/api.md").read_text():
            yield "docs/api.md: the interfaces have changed; run ninja -C build api"


def verbs_without_methods():
    """The table of what each verb calls has every verb, and every method of each interface once."""
    mgmt = TOP / "src/mgmt"
    rows = re.findall(r"^\| (.+?) \| (.*?) ?\| (.*?) ?\|$",
                      (mgmt / "api_introduction.md").read_text(), re.M)[1:]
    told = {verb for row in rows for verb in re.findall(r"`(?!bulkhead )([a-z -]+)`", row[0])}
    verbs = {f"{noun} {verb}".strip() for noun, verb in re.findall(
        r'\{(?:NULL|"([\w-]+)"),\s*"([\w-]+)",', (mgmt / "commands.c").read_text())}
    for verb in sorted(verbs ^ told):
        yield f"src/mgmt/api_introduction.md: {verb} is {'no verb' if verb in told else 'missing'}"
    for column, name in ((1, "VMMS"), (2, "VM")):
        called = {method for row in rows for method in re.findall(r"\w+", row[column])}
        there = set(re.findall(r"^method (\w+)",
                               (mgmt / f"io.bulkhead.{name}.varlink").read_text(), re.M))
        for method in sorted(called ^ there):
            yield (f"src/mgmt/api_introduction.md: io.bulkhead.{name} has "
                   f"{'no ' if method in called else ''}{method}")


def badly_formatted():
    files = [str(path) for path, _ in sources("src", "tests", "guest")]
    run = subprocess.run(["clang-format", "--dry-run", *files], capture_output=True, text=True)
    for name in sorted(set(re.findall(r"^(\S+?):\d+:\d+: warning", run.stderr, re.M))):
        yield f"{pathlib.Path(name).relative_to(TOP)}: run clang-format -i on it"


CHECKS = [forbidden_includes, foreign_owners, missing_guards, unowned_words, stopped_sentences,
          memory_without_remedy, missing_files, dead_links, stale_interface_document,
          verbs_without_methods, shell_faults, badly_formatted]


def main():
    failed = 0
    print(f"1..{len(CHECKS)}")
    for number, check in enumerate(CHECKS, 1):
        try:
            faults = list(check())
        except Skip as reason:
            print(f"ok {number} - {check.__name__.replace('_', ' ')} # SKIP {reason}")
            continue
        failed += bool(faults)
        print(f"{'not ok' if faults else 'ok'} {number} - {check.__name__.replace('_', ' ')}")
        for fault in faults:
            print(f"# {fault}")
    return 1 if failed else 0


sys.exit(main())
