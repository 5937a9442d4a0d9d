"""The command at work: started as a shell would, its log and progress as they come, and its end."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import Any

from pymopex.kit.errors import EXIT_DONE, EXIT_INTERRUPTED, InputError

_KEPT = 20000  # lines of the log
_GRACE = 10  # s, from an interrupt to the end by force
_MODULE = re.compile(r"^\S*/mopex (\w+) (\S+)$")
_PIPELINE = re.compile(r"^== (\w+): (.*)$")


class Runner:
    """Runs one command at a time.

    Attributes
    ----------
    lines : list of str
        The log of all commands, from the start of the viewer.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._dropped = 0
        self._lock = threading.Lock()
        self._process: subprocess.Popen | None = None
        self._about: dict[str, Any] = {"status": None, "command": ""}
        self._threads: list[threading.Thread] = []

    @property
    def running(self) -> bool:
        """Whether a command is at work."""
        return self._process is not None

    def start(self, words: list[str]) -> None:
        """Start a command.

        Parameters
        ----------
        words : list of str
            A shell driver or ``mopex``, and its words.

        Raises
        ------
        InputError
            One is at work, or there is no such command.
        """
        with self._lock:
            if self._process is not None:
                raise InputError("a command is at work; stop it first, or wait for its end")
            programs = os.path.dirname(sys.executable)
            path = os.pathsep.join([programs, os.environ.get("PATH", os.defpath)])
            program = shutil.which(words[0], path=path)
            if program is None:
                raise InputError(f"{words[0]}: no such command in PATH")
            self._say(f"$ {shlex.join(words)}")
            reader, writer = os.openpty()  # progress is shown to a terminal alone
            try:
                self._process = subprocess.Popen(
                    [program, *words[1:]],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=writer,
                    env={**os.environ, "PATH": path},
                    start_new_session=True,
                )
            finally:
                os.close(writer)
            self._about = {
                "command": shlex.join(words),
                "status": None,
                "started": time.time(),
                "pipeline": "",
                "module": "",
                "progress": "",
            }
            watcher = threading.Thread(target=self._watch, args=(reader,), daemon=True)
            follower = threading.Thread(target=self._follow, args=(self._process, watcher), daemon=True)
            self._threads = [watcher, follower]  # the follower waits for the watcher, which must be at work
            for thread in self._threads:
                thread.start()

    def _say(self, line: str) -> None:
        self.lines.append(line)
        if len(self.lines) > _KEPT:
            cut = len(self.lines) - _KEPT
            del self.lines[:cut]
            self._dropped += cut

    def _follow(self, process: subprocess.Popen, watcher: threading.Thread) -> None:
        """Take the lines of the log until the command ends."""
        assert process.stdout is not None
        with process.stdout as log:
            for raw in log:
                line = raw.decode(errors="replace").rstrip("\n")
                self._note(line)
                with self._lock:
                    self._say(line)
        status = process.wait()
        watcher.join(2)
        with self._lock:
            status = EXIT_INTERRUPTED if status in (-signal.SIGINT, -signal.SIGKILL) else status
            self._say(f"exit status {status}")
            self._about.update(status=status, progress="", module=self._about["module"] if status else "")
            self._about["seconds"] = time.time() - self._about["started"]
            self._process = None

    def _note(self, line: str) -> None:
        """Learn from a line of the log which module is at work."""
        if match := _PIPELINE.match(line):
            self._about.update(pipeline=match[1], module="")
        elif match := _MODULE.match(line):
            self._about.update(module=match[1], progress="")

    def _watch(self, reader: int) -> None:
        """Take the progress that is written over itself on a terminal; other text goes into the log."""
        left = ""
        with suppress(OSError), os.fdopen(reader, "rb", buffering=0) as terminal:
            while piece := terminal.read(4096):
                *lines, left = (left + piece.decode(errors="replace")).replace("\r\n", "\n").split("\n")
                shown = [text for text in re.sub(r"\x1b\[K", "", left).split("\r") if text.strip()]
                self._about["progress"] = shown[-1].strip() if shown else ""
                left = left[-500:]
                with self._lock:
                    for line in lines:
                        self._say(re.sub(r"\x1b\[K", "", line).split("\r")[-1])

    def stop(self) -> None:
        """Interrupt the command as Ctrl-C does; what does not end within ten seconds is ended by force."""
        process = self._process
        if process is None:
            return
        self._signal(process, signal.SIGINT)
        threading.Timer(_GRACE, self._signal, (process, signal.SIGKILL)).start()

    def _signal(self, process: subprocess.Popen, number: int) -> None:
        if self._process is process and process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)

    def close(self) -> None:
        """Stop the command, and wait for its end."""
        self.stop()
        for thread in self._threads:
            thread.join(_GRACE + 5)

    def state(self, since: int = 0) -> dict[str, Any]:
        """Give what is at work, and the lines of the log from a number on."""
        with self._lock:
            first = max(since - self._dropped, 0)
            ended = self._about["status"]
            return {
                **self._about,
                "running": self.running,
                "failed": ended not in (None, EXIT_DONE),
                "lines": self.lines[first:],
                "next": self._dropped + len(self.lines),
                "now": time.time(),
            }
