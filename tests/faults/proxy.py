"""A line between a client and a server that a test can cut, slow down or silence."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from typing import Self


class Proxy:
    """Listens on a port of its own and passes bytes on; ``mood`` says how.

    ``pass``: as they come · ``slow``: half a second late · ``trickle``: one byte a second ·
    ``hold``: not at all, until the mood changes · ``lose``: what the client says arrives, the
    answer does not, and the line is cut. ``strand`` leaves the lines that there are to
    themselves: either end believes that the other is there.
    """

    def __init__(
        self, connect: Callable[[], socket.socket], host: str = "127.0.0.1"
    ) -> None:
        self._connect = connect
        self._listener = socket.create_server((host, 0))
        self.port = self._listener.getsockname()[1]
        self.mood = "pass"
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._stranded: list[socket.socket] = []
        self._over = False

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._listener.close()
        self._pairs += [(end, end) for end in self._stranded]
        self.cut()

    def cut(self) -> None:
        """Break every line there is, in the middle of whatever is said."""
        pairs, self._pairs = self._pairs, []
        for each in (end for pair in pairs for end in pair):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def strand(self) -> None:
        """Swallow from now on whatever is said on the lines that there are."""
        self._pairs, stranded = [], self._pairs
        self._stranded += [end for pair in stranded for end in pair]

    def _accept(self) -> None:
        while not self._over:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = self._connect()
            except OSError:
                client.close()
                continue
            pair = (client, server)
            self._pairs.append(pair)
            for ends, answers in ((pair, False), (pair[::-1], True)):
                threading.Thread(
                    target=self._carry,
                    args=ends,
                    kwargs={"answers": answers},
                    daemon=True,
                ).start()

    def _carry(
        self, source: socket.socket, target: socket.socket, *, answers: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if source in self._stranded:
                    continue
                if self.mood == "lose" and answers:
                    break
                self._say(data, target)
        if source in self._stranded:
            return
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _say(self, data: bytes, target: socket.socket) -> None:
        if self.mood == "slow":
            time.sleep(0.5)
        while self.mood == "trickle" and data and not self._over:
            target.sendall(data[:1])
            data = data[1:]
            time.sleep(1.0)
        while self.mood == "hold" and not self._over:
            time.sleep(0.02)
        target.sendall(data)
