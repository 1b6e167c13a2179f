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

import pytest
from running_group import fetch, wait_until

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
QUESTION = "What is 17 + 25?"


class DevTools:
    """As much of the browser's own protocol as the test needs: one page, one command at a time."""

    def __init__(self, url):
        place = urllib.parse.urlsplit(url)
        self.socket = socket.create_connection((place.hostname, place.port), timeout=60)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(f"GET {place.path} HTTP/1.1\r\nHost: {place.netloc}\r\nUpgrade: websocket\r\n"
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


@pytest.fixture
def page(group, tmp_path):
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
            pages = [entry for entry in json.loads(fetch(base + "/json")[1]) if entry["type"] == "page"]
            return pages and pages[0]["webSocketDebuggerUrl"]

        yield DevTools(wait_until(target, "its page"))
    finally:
        browser.terminate()
        browser.wait(30)


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian package chromium)")
def test_a_question_is_answered_in_the_page(group, page, tmp_path):
    def look(expression):
        return page.call("Runtime.evaluate", expression=expression)["result"].get("value")

    def answered():
        return look("document.getElementById('send').textContent === 'Send' && "
                    "(document.querySelectorAll('.turn')[1] || {}).innerText || ''")

    turn = wait_until(answered, "an answer")
    assert re.search(r"Thought for [\d.]+ s", turn), turn
    assert "42" in turn and re.search(r"\d+ tokens", turn)
    assert look("document.querySelector('.turn.user').innerText") == QUESTION
    assert look("document.getElementById('model').textContent") == group.model
    assert look("document.querySelectorAll('.error').length") == 0
    picture = base64.b64decode(page.call("Page.captureScreenshot", format="png")["data"])
    (tmp_path / "chat_page.png").write_bytes(picture)
    assert picture.startswith(b"\x89PNG") and len(picture) > 5000
