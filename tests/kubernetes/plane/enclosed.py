"""A program in a network of its own that reaches one port of this machine: for one that listens on a fixed port.

`python -m tests.kubernetes.plane.enclosed outside SOCKET PORT` forwards what comes to a Unix socket to a loopback port.
`unshare --net python -m tests.kubernetes.plane.enclosed inside SOCKET PORT PROGRAM...` runs the program, for which that
port leads to the socket. It takes root.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.ports import LOOPBACK

_ROOT = Path(__file__).resolve().parents[3]

_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
_CHUNK = 1 << 16


def commands(socket: Path, port: int) -> tuple[list[str], list[str]]:
    """Return the command outside, and the prefix of the program's own command."""
    # Programs of a control plane run in a folder of their own.
    module = ["env", f"PYTHONPATH={_ROOT}", sys.executable, "-m", "tests.kubernetes.plane.enclosed"]
    inside = ["unshare", "--net", *module, "inside", str(socket), str(port)]
    return [*module, "outside", str(socket), str(port)], inside


async def _forward(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connect: Callable[[], Awaitable[_Streams]]
) -> None:
    """Carry what one side of a connection sends to the other, both ways, until one of them ends."""

    async def carry(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while text := await source.read(_CHUNK):
            target.write(text)
            await target.drain()
        target.write_eof()

    with contextlib.suppress(OSError):
        far_reader, far_writer = await connect()
        with contextlib.suppress(OSError):
            await asyncio.gather(carry(reader, far_writer), carry(far_reader, writer))
        far_writer.close()
    writer.close()


async def _outside(socket: str, port: int) -> int:
    server = await asyncio.start_unix_server(
        lambda reader, writer: _forward(reader, writer, lambda: asyncio.open_connection(LOOPBACK, port)),
        socket,
    )
    await server.serve_forever()
    return 0


async def _inside(socket: str, port: int, program: list[str]) -> int:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    await asyncio.start_server(
        lambda reader, writer: _forward(reader, writer, lambda: asyncio.open_unix_connection(socket)),
        LOOPBACK,
        port,
    )
    process = await asyncio.create_subprocess_exec("setpriv", "--pdeathsig", "KILL", *program)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, process.terminate)
    return await process.wait()


def main() -> int:
    """Run the command line; the exit code is the program's."""
    side, socket, port, *program = sys.argv[1:]
    return asyncio.run(
        _outside(socket, int(port)) if side == "outside" else _inside(socket, int(port), program)
    )


if __name__ == "__main__":
    sys.exit(main())
