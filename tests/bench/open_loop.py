"""An open-loop load on /v1/completions over kept connections, light enough to share two cores with
what it measures: one event loop, raw sockets, nothing parsed but status line, framing and times."""

import asyncio
import dataclasses
import json
import random
import time


_TOKENS = [str(token) for token in range(300, 1000)]


@dataclasses.dataclass
class Result:
    key: str
    sent: float            # time.perf_counter() when the request was written
    status: int = 0        # 0: the connection broke
    first: float = 0.0     # first event of a stream, or the whole of another answer
    end: float = 0.0
    tokens: int = 0
    complete: bool = False
    retry_after_ms: int = 0


class _Connection(asyncio.Protocol):
    """One request at a time; `done` is called with its result."""

    def __init__(self):
        self.transport = None
        self.result = None
        self.done = None

    def connection_made(self, transport):
        self.transport = transport

    def start(self, request, result, done):
        self.buffer = b""
        self.length = None
        self.whole = False
        self.result, self.done = result, done
        result.sent = time.perf_counter()
        self.transport.write(request)

    def data_received(self, data):
        result = self.result
        if result is None:
            return
        self.buffer += data
        if result.status == 0:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self.buffer[:end].lower()
            self.buffer = self.buffer[end + 4:]
            result.status = int(head[9:12])
            for line in head.split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    self.length = int(line[15:])
                elif line.startswith(b"retry-after-ms:"):
                    result.retry_after_ms = int(line[15:])
        if self.length is not None:
            if len(self.buffer) >= self.length:
                result.first = time.perf_counter()
                self._finish(True)
            return
        if not result.first and b"data: " in self.buffer:
            result.first = time.perf_counter()
        last = self.buffer.endswith(b"\r\n0\r\n\r\n")
        # Whole events only: a marker may be cut by the end of the data.
        cut = len(self.buffer) if last else self.buffer.rfind(b"\n\n") + 2
        if cut < 2:
            return
        events, self.buffer = self.buffer[:cut], self.buffer[cut:]
        result.tokens += events.count(b'"token_ids":[')
        self.whole = self.whole or b"data: [DONE]" in events
        if last:
            self._finish(self.whole)

    def connection_lost(self, _):
        self.transport = None
        if self.result is not None:
            self._finish(False)

    def _finish(self, complete):
        result, done = self.result, self.done
        self.result = self.done = None
        result.end = time.perf_counter()
        result.complete = complete and result.status == 200
        done(self)


class OpenLoop:
    """Sends requests when they are due, whatever happens to those before."""

    def __init__(self, port, model, prompt_tokens=32, max_tokens=16, seed=1):
        self.port = port
        self.model_json = json.dumps(model)
        self.prompt_tokens = prompt_tokens
        self.max_tokens = max_tokens
        self.random = random.Random(seed)
        self.idle = []
        self.results = []
        self.open = 0
        # Of poisson: requests that were due, and those of them that were sent before its end. How
        # many are due is chance; what is sent too late is the generator's fault, or the machine's.
        self.due = self.in_time = 0

    def request(self, api_key=None, max_tokens=None):
        """Bytes of a request with a prompt of its own."""
        # A refusal costs the service less than this process would take to make JSON of an object.
        prompt = ",".join(self.random.choices(_TOKENS, k=self.prompt_tokens))
        body = (f'{{"model":{self.model_json},"stream":true,"temperature":0,"ignore_eos":true,'
                f'"return_token_ids":true,"max_tokens":{max_tokens or self.max_tokens},'
                f'"prompt":[{prompt}]}}')
        key = f"Authorization: Bearer {api_key}\r\n" if api_key else ""
        return (f"POST /v1/completions HTTP/1.1\r\nHost: bench\r\n{key}"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
                f"{body}").encode()

    async def _send(self, api_key, on_done=None):
        """Its result, which is filled in later."""
        result = Result(api_key or "", time.perf_counter())
        self.results.append(result)
        self.open += 1

        def done(connection):
            self.open -= 1
            if connection.transport is not None:
                self.idle.append(connection)
            if on_done is not None:
                on_done(result)

        connection = None
        while self.idle and connection is None:
            connection = self.idle.pop()
            if connection.transport is None:
                connection = None
        if connection is None:
            try:
                _, connection = await asyncio.get_running_loop().create_connection(
                    _Connection, "127.0.0.1", self.port)
            except OSError:
                self.open -= 1
                result.end = time.perf_counter()
                return result
        connection.start(self.request(api_key), result, done)
        return result

    async def poisson(self, rate, seconds, api_key=None):
        """Random arrivals, `rate` a second, for `seconds`."""
        due = time.perf_counter()
        end = due + seconds
        tasks = set()

        def sent(task):
            tasks.discard(task)
            self.in_time += task.result().sent <= end

        while True:
            due += self.random.expovariate(rate)
            if due > end:
                await asyncio.sleep(max(0.0, end - time.perf_counter()))
                break
            self.due += 1
            # If late, too: others have their turn.
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            task = asyncio.ensure_future(self._send(api_key))
            tasks.add(task)
            task.add_done_callback(sent)
        if tasks:
            await asyncio.gather(*tasks)

    async def closed(self, workers, seconds, api_key=None):
        """`workers` callers, each of which sends its next request when the last one is answered."""
        end = time.perf_counter() + seconds

        async def caller():
            while time.perf_counter() < end:
                answered = asyncio.get_running_loop().create_future()
                await self._send(api_key, lambda result: answered.done()
                                 or answered.set_result(result))
                result = await answered
                if result.status != 200:
                    await asyncio.sleep(min(1.0, max(0.05, result.retry_after_ms / 1000)))

        await asyncio.gather(*(caller() for _ in range(workers)))

    async def settle(self, seconds=120):
        """Waits until every request is answered."""
        end = time.perf_counter() + seconds
        while self.open and time.perf_counter() < end:
            await asyncio.sleep(0.05)

    def close(self):
        for connection in self.idle:
            if connection.transport is not None:
                connection.transport.close()
        self.idle.clear()
