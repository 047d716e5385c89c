#!/usr/bin/env python3
"""What a worker may become that a guest got hold of: it behaves as its VM's name says.

    hostile_worker.py NAME

The control socket is descriptor 3.
"""

import json
import os
import socket
import sys

LINK = socket.socket(fileno=3)
EVENTS = b"".join(b'{"event":"crash","message":"forged %d"}\0{"event":"ready"}\0'
                  b'{"event":"device","device":"scsi","full":"%d","lun":0}\0' % (i, i)
                  for i in range(50))


def messages():
    data = b""
    while True:
        while b"\0" not in data:
            part, files, _, _ = socket.recv_fds(LINK, 1 << 16, 250)
            for file in files:
                os.close(file)
            if not part:
                return
            data += part
        text, data = data.split(b"\0", 1)
        yield json.loads(text)


def answer(message, reply=b"{}"):
    LINK.sendall(b'{"id":%d,"reply":%s}\0' % (message["id"], reply))


def end(message=b""):
    LINK.sendall(b'{"event":"end","reason":"stopped","code":0,"message":"%s"}\0' % message)


def flood(_):
    while True:
        LINK.sendall(EVENTS)


def overfeed(requests):
    for message in requests:
        answer(message, b'{"tree":[%s1]}' % (b"[]," * (1 << 20)))


def forge(requests):
    os.write(2, b"<5>forged: nothing happened\n\x1b[2Jforged\r\n" * 9)
    try:
        os.ftruncate(2, 0)
    except OSError:
        pass
    LINK.sendall(b'{"event":"crash","message":"the guest\\nbulkhead-vmms: forged\\u001b\\n<5>forged"}\0')
    for message in requests:
        answer(message)
        if message["request"] == "stop":
            end(b"\\nforged")
            return


def main():
    requests = messages()
    next(requests)  # the configuration
    LINK.sendall(b'{"event":"ready"}\0')
    {"flood": flood, "overfeed": overfeed, "forge": forge}[sys.argv[1]](requests)


main()
