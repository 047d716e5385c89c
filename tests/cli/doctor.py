#!/usr/bin/env python3
"""What bulkhead doctor finds; TAP on standard output.

    doctor.py BULKHEAD PAYLOADS
"""

import json
import os
import subprocess
import sys

from harness import BULKHEAD, PATIENCE, Skip, expect, main, payload, test


@test
def doctor_agrees_with_what_runs(place):
    kernel = payload("smoke")
    runs = place.run("run", "--kernel", kernel, "--debug-exit").returncode == 0
    report = place.run("doctor", "--json")
    findings = json.loads(report.stdout)
    expect(findings["payloads"] is runs, findings)
    expect(report.returncode == (0 if runs else 1), report.returncode)
    expect(isinstance(findings["linux_userland"], bool) and findings["kvm"]["ok"], findings)
    for check in findings["checks"]:
        expect(set(check) == {"name", "title", "needed_for", "ok", "detail", "remedy"}, check)
        expect(check["detail"] and not check["remedy"].startswith("nothing"), check)
        if check["needed_for"] != "optional":
            expect(bool(check["remedy"]) == (check["ok"] is False), check)
    table = place.run("doctor").stdout
    expect(all(check["title"] in table for check in findings["checks"]), table)


@test
def doctor_needs_a_kvm_that_answers(place):
    if not os.path.exists("/dev/kvm"):
        raise Skip("no /dev/kvm to hide")
    hide = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c",
            'mount --bind /dev/null /dev/kvm && exec "$@"', "sh"]
    if subprocess.run([*hide, "true"], capture_output=True, check=False).returncode:
        raise Skip("no right to mount")
    report = subprocess.run([*hide, BULKHEAD, "doctor", "--json"], capture_output=True, text=True,
                            timeout=PATIENCE, env=place.environment)
    expect(report.returncode == 1, report.returncode)
    findings = json.loads(report.stdout)
    expect(not findings["kvm"]["ok"] and "kvm_intel" in findings["kvm"]["detail"], findings["kvm"])
    tries = [check for check in findings["checks"] if check["needed_for"] == "linux_userland"]
    expect(tries and all(check["ok"] is None and "not tried" in check["detail"]
                         for check in tries), tries)
    table = subprocess.run([*hide, BULKHEAD, "doctor"], capture_output=True, text=True,
                           timeout=PATIENCE, env=place.environment).stdout
    expect("No VM can run" in table and "update the kernel" not in table, table)


sys.exit(main())
