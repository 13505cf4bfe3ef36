"""Processes that a bench keeps and gives work to, one line of JSON at a time.

Ours and the floor each keep their processes for the whole run and are given short pieces of work in turn, so that
whatever the machine does in between hits both.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Self


class Worker:
    """One such process. `ask` is `tell`, then `hear`."""

    def __init__(self, *command: str) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.hear()

    @classmethod
    def of_module(cls, module: str, *arguments: str) -> Self:
        """Our own Python running a module."""
        return cls(sys.executable, "-m", module, *arguments)

    def tell(self, command: str, *arguments: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([command, *arguments]) + "\n")
        self._process.stdin.flush()

    def hear(self) -> Any:
        """The next answer. Raises RuntimeError when the process has ended; its own words are on standard error."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} ended with {self._process.wait()}")
        return json.loads(line)

    def ask(self, command: str, *arguments: object) -> Any:
        self.tell(command, *arguments)
        return self.hear()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()


async def obey(commands: Mapping[str, Callable[..., Awaitable[Any]]]) -> None:
    """The process's side: say that it is ready, then carry out one command after the other until input ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print(json.dumps("ready"), flush=True)
    while line := await reader.readline():
        command, *arguments = json.loads(line)
        print(json.dumps(await commands[command](*arguments)), flush=True)
