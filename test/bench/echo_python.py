"""The echo and HTTP servers on asyncio, on its own event loop or on uvloop's.

How it works: `echo_python.py asyncio|uvloop FORM`.  In the forms echo and http a Protocol writes to
its transport in data_received; in streams and http-streams a coroutine for each connection reads
from a StreamReader, writes and drains.  Both set TCP_NODELAY by themselves.  The collector is on.
"""
import asyncio
import os
import sys

PAGE = (
    b"HTTP/1.1 200 OK\r\n"
    b"Content-Type: text/plain\r\n"
    b"Content-Length: 13\r\n"
    b"\r\n"
    b"Hello, ferry\n"
)
END = b"\r\n\r\n"  # of a request
BACKLOG = 1024


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


class Pages(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        self.begun = b""  # of a request that came in part

    def data_received(self, data):
        if self.begun:
            data = self.begun + data
        requests = data.count(END)
        if requests:
            self.transport.write(PAGE * requests)
        self.begun = b"" if data.endswith(END) else data[data.rfind(END) + 4 if requests else 0 :]


async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def pages(reader, writer):
    try:
        while True:
            await reader.readuntil(END)
            writer.write(PAGE)
            await writer.drain()
    except asyncio.IncompleteReadError:
        writer.close()


async def serve(form):
    loop = asyncio.get_running_loop()
    if form in ("echo", "http"):
        protocol = Echo if form == "echo" else Pages
        server = await loop.create_server(protocol, "127.0.0.1", 0, backlog=BACKLOG)
    else:
        handler = echo if form == "streams" else pages
        server = await asyncio.start_server(handler, "127.0.0.1", 0, backlog=BACKLOG)
    print(server.sockets[0].getsockname()[1], os.getpid(), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    if sys.argv[2:] not in (["echo"], ["http"], ["streams"], ["http-streams"]):
        print("usage: echo_python.py asyncio|uvloop FORM", file=sys.stderr)
        sys.exit(2)
    if sys.argv[1] == "uvloop":
        import uvloop

        uvloop.install()
    asyncio.run(serve(sys.argv[2]))
