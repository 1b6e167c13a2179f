#!/usr/bin/env python3
"""Asks an OpenAI-compatible endpoint one question and prints reasoning and answer as they arrive.

Exits 0 if both came and the answer ended by itself; else 1, with the reason on standard error.
Standard library only.
"""

import argparse
import json
import sys
import urllib.error
import urllib.request


def events(response):
    """The JSON objects of a server-sent event stream; returns at [DONE]."""
    for line in response:
        text = line.decode().strip()
        if not text.startswith("data: "):
            continue
        if text == "data: [DONE]":
            return
        yield json.loads(text[len("data: "):])
    raise RuntimeError("the stream broke off before [DONE]")


class Printer:
    """Writes pieces under a heading per kind; dims the reasoning on a terminal."""

    def __init__(self):
        self.kind = None
        self.dim = sys.stdout.isatty()

    def write(self, kind, piece):
        if kind != self.kind:
            if self.kind is not None:
                print()
            style = "\033[2m" if kind == "reasoning" else "\033[0m"
            print(f"{style if self.dim else ''}{kind}: ", end="")
            self.kind = kind
        print(piece, end="", flush=True)

    def close(self):
        if self.dim:
            print("\033[0m", end="")
        print(flush=True)


def ask(endpoint, model, question, timeout):
    body = {
        "model": model,
        "messages": [{"role": "user", "content": question}],
        "stream": True,
        "temperature": 0,
        "max_tokens": 512,
    }
    request = urllib.request.Request(
        f"{endpoint}/chat/completions",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    parts = {"reasoning": "", "answer": ""}
    finish = None
    printer = Printer()
    # The endpoint is on this machine: no proxy of the environment applies.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=timeout) as response:
        for event in events(response):
            if "error" in event:
                raise RuntimeError(event["error"].get("message", event["error"]))
            for choice in event["choices"]:
                delta = choice["delta"]
                for kind, piece in (("reasoning", delta.get("reasoning_content")),
                                    ("answer", delta.get("content"))):
                    if piece:
                        printer.write(kind, piece)
                        parts[kind] += piece
                finish = choice.get("finish_reason") or finish
    printer.close()
    for kind, text in parts.items():
        if not text.strip():
            raise RuntimeError(f"the {kind} is empty")
    if finish != "stop":
        raise RuntimeError(f"the answer ended by {finish!r}, not by itself")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("question")
    parser.add_argument("--endpoint", default="http://127.0.0.1:8000/v1")
    parser.add_argument("--model", required=True)
    parser.add_argument("--timeout", type=float, default=60, help="seconds without a byte")
    arguments = parser.parse_args()
    try:
        ask(arguments.endpoint, arguments.model, arguments.question, arguments.timeout)
    except urllib.error.HTTPError as error:
        sys.exit(f"{error}: {error.read().decode(errors='replace')}")
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
