#!/usr/bin/env python3
"""bulkhead-vnc between a worker and viewers that the tests play; TAP on standard output.

    vnc.py BULKHEAD_VNC SCREEN		SCREEN: tests/lab/screen, a VNC client
"""

import fcntl
import importlib.machinery
import importlib.util
import mmap
import os
import select
import socket
import struct
import sys
import tempfile

from harness import expect, main, test

VNC, SCREEN = sys.argv[1:3]
VRAM_BYTES = 32 << 20
PATIENCE = 30
MODE, DIRT, KEY = 1, 2, 16
BREAK = 2  # of a key's bits

sys.dont_write_bytecode = True
loader = importlib.machinery.SourceFileLoader("screen", SCREEN)
screen = importlib.util.module_from_spec(importlib.util.spec_from_loader("screen", loader))
loader.exec_module(screen)
screen.TIMEOUT = PATIENCE


class Helper:
    """A bulkhead-vnc: its worker is self.worker, its video memory self.vram."""

    def __init__(self, directory):
        self.path = os.path.join(directory, "vnc")
        self.worker, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.worker.settimeout(PATIENCE)
        memory = os.memfd_create("vram")
        os.truncate(memory, VRAM_BYTES)
        self.vram = mmap.mmap(memory, VRAM_BYTES)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self.path)
            listener.listen()
            # Above the numbers that they have there.
            given = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10)
                     for fd in (theirs.fileno(), memory, listener.fileno())]
        self.words = tempfile.TemporaryFile("w+")
        self.pid = os.posix_spawn(VNC, [VNC], {}, file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, self.words.fileno(), 2),
            *((os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(given, 3))])
        for fd in given:
            os.close(fd)
        theirs.close()
        os.close(memory)

    def __enter__(self):
        return self

    def tell(self, kind, *values):
        self.worker.send(struct.pack("=6I", kind, *values, *[0] * (5 - len(values))))

    def hear(self):
        """The next message that it has for the worker."""
        return struct.unpack("=6I", self.worker.recv(64))

    def mode(self, width, height):
        self.tell(MODE, width, height, 32, 4 * width, 0)

    def draw(self, x, y, width, colour):
        """A pixel: 0xRRGGBB."""
        at = 4 * (y * width + x)
        self.vram[at:at + 4] = struct.pack("<I", colour)
        self.tell(DIRT, x, y, 1, 1)

    def viewer(self, kind=screen.Client):
        """One that has its first picture."""
        client = kind(self.path)
        client.update()
        return client

    def connect(self):
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(PATIENCE)
        client.connect(self.path)
        return client

    def __exit__(self, *error):
        """It ends well with its worker."""
        self.worker.close()
        status = os.waitpid(self.pid, 0)[1]
        self.words.seek(0)
        words = self.words.read()
        self.words.close()
        expect(status == 0 and not words, f"status {status}: {words}", *error[:2])


class RedLowest(screen.Client):
    """A viewer of another pixel format."""

    def request(self, incremental):
        if not incremental and not hasattr(self, "asked"):
            self.asked = True
            self.sock.sendall(struct.pack(">BxxxBBBBHHHBBBxxx", 0, 32, 24, 0, 1, 255, 255, 255,
                                          0, 8, 16))
        super().request(incremental)

    def pixel(self, x, y):
        at = 4 * (y * self.width + x)
        return bytes(self.pixels[at:at + 3]).hex()


def sees(client, x, y, colour):
    client.until(lambda: client.pixel(x, y) == colour, f"{colour} at {x},{y}")


def sees_all(client, width, colours):
    client.until(lambda: client.width == width, "the size")
    for place, colour in enumerate(colours, 1):
        sees(client, place, place, f"{colour:06x}")


@test
def colours_are_the_guests(place):
    colours = (0xff0000, 0x00ff00, 0x0000ff, 0x123456)
    for kind in (screen.Client, RedLowest):
        with tempfile.TemporaryDirectory() as folder, Helper(folder) as helper:
            early = helper.viewer(kind)
            for width, height in ((800, 600), (1024, 768)):
                helper.mode(width, height)
                for where, colour in enumerate(colours, 1):
                    helper.draw(where, where, width, colour)
                # Who was there before the mode, and who comes after it.
                sees_all(early, width, colours)
                late = helper.viewer(kind)
                sees_all(late, width, colours)
                late.sock.close()


def handshake(helper, late):
    """What a web page's WebSocket gets; late: it speaks when it has been greeted."""
    words = (b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
             b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
             b"Origin: http://example.com\r\nSec-WebSocket-Protocol: binary\r\n"
             b"Sec-WebSocket-Version: 13\r\n\r\n")
    answer = b""
    with helper.connect() as client:
        try:
            if late:
                answer += client.recv(12)
            client.sendall(words)
            while part := client.recv(4096):
                answer += part
        except ConnectionError:
            pass
    return answer


@test
def web_pages_see_nothing(place):
    """Nor does anybody who speaks first, and no more, keep others waiting."""
    with Helper(place.path) as helper:
        watcher = helper.viewer()
        for late in (False, True, True):
            answer = handshake(helper, late)
            expect(answer in (b"", b"RFB 003.008\n"), answer)
        quiet = []
        for noise in (b"\x16\3\1\2\0\1\0", b"\x80\0\0\0", b"R", b"RFX 003.008\n"):
            for greeted in (False, True):
                client = helper.connect()
                if greeted:
                    client.recv(12)
                client.sendall(noise)
                quiet.append(client)
        helper.mode(800, 600)
        helper.draw(1, 1, 800, 0xff0000)
        sees_all(watcher, 800, (0xff0000,))
        for client in quiet:
            client.close()


class DuringChange(screen.Client):
    """A viewer that is told one size while the next is set."""

    def __init__(self, path, change):
        self.change = change
        super().__init__(path)

    def resize(self, width, height):
        change, self.change = self.change, None
        if change:
            change()
        super().resize(width, height)


@test
def nobody_misses_a_change_of_size(place):
    with Helper(place.path) as helper:
        watcher = helper.viewer()

        def change():
            helper.mode(800, 600)
            watcher.until(lambda: watcher.width == 800, "the size")

        late = DuringChange(helper.path, change)
        expect(late.width == 640, late.width)
        sees_all(late, 800, ())
        helper.mode(1024, 768)
        sees_all(late, 1024, ())


def changes(helper, watcher, colour):
    """The others are served."""
    helper.draw(1, 1, 800, colour)
    sees(watcher, 1, 1, f"{colour:06x}")


@test
def a_viewer_that_drips_keeps_nobody_waiting(place):
    with Helper(place.path) as helper:
        watcher, dripping = helper.viewer(), helper.viewer()
        helper.mode(800, 600)
        # A key and a text, each in pieces.
        for colour, part in enumerate((b"\4\1\0\0", b"\0\0\0a\6\0", b"\0\0\0\0\2", b"\0" + b"x" * 200,
                                       b"\4" * 312, b"\4\0\0", b"\0\0\0\0a"), 1):
            dripping.sock.sendall(part)
            changes(helper, watcher, colour)
        expect(helper.hear() == (KEY, 0x1e, 0, 0, 0, 0), "no press")
        expect(helper.hear() == (KEY, 0x1e, BREAK, 0, 0, 0), "no release")


@test
def a_viewer_that_does_not_read_keeps_nobody_waiting(place):
    with Helper(place.path) as helper:
        watcher, late = helper.viewer(), helper.viewer()
        helper.mode(800, 600)
        for colour in range(1, 50):
            late.request(False)
            changes(helper, watcher, colour)
        # It sees the last of them when it looks, and has been heard all the time.
        late.key(ord("a"), 1)
        expect(helper.hear()[1] == 0x1e, "no press")
        sees_all(late, 800, (49,))


@test
def a_viewer_that_takes_no_answers_is_cut_off(place):
    with Helper(place.path) as helper:
        watcher, greedy = helper.viewer(), helper.viewer()
        helper.mode(800, 600)
        # 8 bits a pixel, of a colour map, which is told each time.
        mapped = struct.pack(">BxxxBBBBHHHBBBxxx", 0, 8, 8, 0, 0, 0, 0, 0, 0, 0, 0)
        try:
            # Their answers are far less than a picture may be.
            greedy.sock.sendall(mapped * 5000)
        except ConnectionError:
            pass
        end = select.poll()
        end.register(greedy.sock, 0)
        expect(end.poll(1000 * PATIENCE), "it is still there")
        changes(helper, watcher, 1)


@test
def nothing_stays_pressed(place):
    """Though the worker does not listen, and its socket is full."""
    with Helper(place.path) as helper:
        client = helper.viewer()
        client.key(ord("a"), 1)
        client.pointer(1, 1, 1)
        for x in range(5000):
            client.pointer(x % 100, 1, 1)
        client.key(ord("a"), 0)
        client.pointer(7, 0, 0)
        client.request(False)
        client.update()  # all of that has been heard
        pressed, buttons = None, None
        while pressed is not False or buttons != 0:
            message = helper.hear()
            if message[0] == KEY:
                pressed = not message[2] & BREAK
            else:
                buttons = message[3]


sys.exit(main())
