"""The chat page at / in a browser without a screen."""

import base64
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import urllib.parse
import zlib

import pytest
from running_group import fetch, wait_until

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
QUESTION = "What is 17 + 25?"
ACCENT = (0x3b, 0x6f, 0xd4)  # of the page's button

# Answers to what is asked from now on do not end by themselves.
ENDLESS = """
const real = window.fetch;
const endless = body => JSON.stringify(
    {...JSON.parse(body), min_tokens: 3400, max_tokens: 3500});
window.fetch = (url, options) => real(
    url, !options.body ? options : {...options, body: endless(options.body)});
"""


class DevTools:
    """As much of the browser's own protocol as the test needs: one page, one command at a time."""

    def __init__(self, url):
        place = urllib.parse.urlsplit(url)
        self.socket = socket.create_connection((place.hostname, place.port), timeout=60)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(f"GET {place.path} HTTP/1.1\r\nHost: {place.netloc}\r\nUpgrade: "
                            "websocket\r\n"
                            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
                            "Sec-WebSocket-Version: 13\r\n\r\n".encode())
        self.reader = self.socket.makefile("rb")
        assert b" 101 " in self.reader.readline()
        while self.reader.readline() != b"\r\n":
            pass
        self.next_id = 0

    def call(self, method, **params):
        self.next_id += 1
        data = json.dumps({"id": self.next_id, "method": method, "params": params}).encode()
        self.socket.sendall(struct.pack("!BBHI", 0x81, 0x80 | 126, len(data), 0) + data)  # mask 0
        while True:
            answer = json.loads(self.read_message())
            if answer.get("id") == self.next_id:
                return answer["result"]

    def read_message(self):
        message, final = b"", False
        while not final:
            first, length = self.reader.read(2)
            final, length = first & 0x80, length & 0x7f
            if length >= 126:
                length = int.from_bytes(self.reader.read(2 if length == 126 else 8), "big")
            message += self.reader.read(length)
        return message


def pixels_of(png):
    """Rows of colours (red, green, blue) of a PNG of 8 bits without interlacing."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    packed, at = b"", 8
    while at < len(png):
        length, kind = struct.unpack_from("!I4s", png, at)
        if kind == b"IHDR":
            width, _, depth, colour, *_, interlaced = struct.unpack_from("!IIBBBBB", png, at + 8)
            assert depth == 8 and colour in (2, 6) and not interlaced
        if kind == b"IDAT":
            packed += png[at + 8:at + 8 + length]
        at += length + 12
    size = 3 if colour == 2 else 4
    data, row_bytes = zlib.decompress(packed), size * width
    above, rows = bytearray(row_bytes), []
    for begin in range(0, len(data), row_bytes + 1):
        method, row = data[begin], bytearray(data[begin + 1:begin + 1 + row_bytes])
        for i in range(row_bytes):
            left = row[i - size] if i >= size else 0
            corner = above[i - size] if i >= size else 0
            guess = left + above[i] - corner
            nearest = min((left, above[i], corner), key=lambda value: abs(guess - value))
            row[i] = row[i] + (0, left, above[i], (left + above[i]) // 2, nearest)[method] & 0xff
        rows.append([tuple(row[i:i + 3]) for i in range(0, row_bytes, size)])
        above = row
    return rows


class ChatPage:
    """The page as its user has it."""

    def __init__(self, tools):
        self.tools = tools

    def look(self, expression):
        answer = self.tools.call("Runtime.evaluate", expression=expression)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def ask(self, question):
        self.look(f"document.getElementById('text').value = {json.dumps(question)}")
        self.press()

    def press(self):
        """The button: Send or Stop."""
        self.look("document.getElementById('send').click()")

    def button(self):
        return self.look("document.getElementById('send').textContent")

    def turn(self, index, part=""):
        """What can be read in the turn; with a selector, in that part of it."""
        found = f"document.querySelectorAll('.turn')[{index}]"
        found = f"{found}?.querySelector({json.dumps(part)})" if part else found
        return self.look(f"{found}?.innerText || ''")

    def ink_of(self, selector):
        """(most common colour of the element as it is drawn, share of pixels far from that)."""
        found = f"document.querySelector({json.dumps(selector)})"
        box = json.loads(self.look(f"JSON.stringify({found}.getBoundingClientRect())"))
        clip = {key: box[key] for key in ("x", "y", "width", "height")}
        png = self.tools.call("Page.captureScreenshot", format="png",
                              clip={**clip, "scale": 1})["data"]
        pixels = [pixel for row in pixels_of(base64.b64decode(png)) for pixel in row]
        ground = max(set(pixels), key=pixels.count)
        far = sum(max(abs(a - b) for a, b in zip(pixel, ground)) > 96 for pixel in pixels)
        return ground, far / len(pixels)


@pytest.fixture
def page(group, tmp_path):
    assert CHROMIUM, "chromium is not installed: tools/setup installs tools/packages.txt"
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
               "--remote-debugging-port=0", "--remote-allow-origins=*",
               f"--user-data-dir={tmp_path}/profile", "--window-size=900,640",
               f"{group.base_url}/?{urllib.parse.urlencode({'ask': QUESTION})}"]
    with open(tmp_path / "chromium.log", "wb") as log:
        browser = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        ports = tmp_path / "profile/DevToolsActivePort"
        wait_until(lambda: ports.exists() and ports.read_text().count("\n"), "the browser")
        base = f"http://127.0.0.1:{ports.read_text().splitlines()[0]}"

        def target():
            pages = [entry for entry in json.loads(fetch(base + "/json")[1])
                     if entry["type"] == "page"]
            return pages and pages[0]["webSocketDebuggerUrl"]

        shown = ChatPage(DevTools(wait_until(target, "its page")))
        wait_until(lambda: shown.look("document.readyState === 'complete' && !!window.ask"),
                   "all of it")
        yield shown
    finally:
        browser.terminate()
        browser.wait(30)


def await_answer(page, index):
    return wait_until(lambda: page.button() == "Send" and page.turn(index), "an answer")


def await_running(group, number):
    wait_until(lambda: group.metrics("scheduler")["baton_scheduler_running_sequences"] == number,
               f"{number} running sequences")


def test_a_question_is_answered_in_the_page(group, page):
    turn = await_answer(page, 1)
    assert re.search(r"Thought for [\d.]+ s", turn), turn
    assert "42" in turn and re.search(r"\d+ tokens", turn)
    assert page.turn(0) == QUESTION
    assert page.look("document.getElementById('model').textContent") == group.model
    assert page.look("document.querySelectorAll('.error').length") == 0
    # What is written is drawn, too: words on their ground, the button in its own colour.
    for words in (".turn.user", ".turn:not(.user) > div", "header"):
        assert 0.001 < page.ink_of(words)[1] < 0.5, words
    colour, share = page.ink_of("#send")
    assert colour == ACCENT
    assert 0.01 < share < 0.5


def test_an_answer_is_read_while_it_is_written_and_can_be_stopped(group, page):
    await_answer(page, 1)
    page.look(ENDLESS)
    page.ask("And 1 + 1?")
    text = wait_until(lambda: page.turn(3, ":scope > div"), "the beginning of an answer")
    assert page.button() == "Stop"
    assert page.turn(3, "summary").startswith("Thought for")
    assert not page.look("document.querySelectorAll('details')[1].open"), "reasoning is folded"
    reasoning = "document.querySelectorAll('details')[1].querySelector('div')"
    assert page.look(f"{reasoning}.textContent")
    assert not page.look(f"{reasoning}.checkVisibility()")
    wait_until(lambda: len(page.turn(3, ":scope > div")) > len(text), "more of it")
    await_running(group, 1)

    page.press()
    await_running(group, 0)
    wait_until(lambda: page.button() == "Send", "the end of the stream")
    assert page.turn(3).endswith("stopped")
    assert page.look("document.querySelectorAll('.error').length") == 0

    page.look("window.fetch = real")
    page.ask("And 2 + 2?")
    assert re.search(r"\d+ tokens", await_answer(page, 5)), "the conversation goes on"
