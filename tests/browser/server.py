"""The real thing, `visavis run` or `visavis room`, in a process of its own."""

from __future__ import annotations

import os
import queue
import re
import subprocess
import sys
import threading

from tests.browser import DIST

START_S = 150
"""A cold start compiles and loads; a loaded machine is slow."""


class RunningVisavis:
    """`with RunningVisavis("run", "--port", "0") as kiosk: kiosk.next_link()`. Every kiosk visitor needs a new link."""

    def __init__(self, *command: str) -> None:
        self._command = command
        self._links: queue.Queue[str] = queue.Queue()
        self._link: str | None = None
        self.log: list[str] = []

    def __enter__(self) -> RunningVisavis:
        command = [sys.executable, "-m", "agent", *self._command]
        environment = os.environ | {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            command, cwd=DIST.parents[1], env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._reader.join(5)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def next_link(self) -> str:
        """The next link that it prints."""
        try:
            self._link = self._links.get(timeout=START_S)
        except queue.Empty:
            raise AssertionError("no link was printed:\n" + "".join(self.log[-30:])) from None
        return self._link

    @property
    def link(self) -> str:
        """The last link that was taken; a room's link may be used again."""
        assert self._link is not None, "next_link comes first"
        return self._link

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.log.append(line)
            if found := re.search(r"http://\S+(token|key)=\S+", line):
                self._links.put(found[0])
