#!/usr/bin/env python3
"""Compares a template of the tests with a published one: compare_templates.py OURS PUBLISHED

Both are rendered by Jinja2 from the random conversations of the oracle test. PUBLISHED is a .jinja
file, or a tokenizer_config.json that holds one. Prints the first conversation for which they
differ; the status is 1 then.
"""

import argparse
import json
import pathlib
import random
import sys

from test_chat_template_oracle import expected, random_context


def read_template(path):
    text = path.read_text()
    return json.loads(text)["chat_template"] if path.suffix == ".json" else text


def first_difference(ours, published, contexts):
    """(context, what ours prints, what the other prints), None where one refuses; or None."""
    for context in contexts:
        said = expected(ours, context), expected(published, context)
        if said[0] != said[1]:
            return context, *said
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ours", type=pathlib.Path)
    parser.add_argument("published", type=pathlib.Path)
    parser.add_argument("--conversations", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=20250120)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    contexts = [random_context(rng) for _ in range(arguments.conversations)]
    ours = read_template(arguments.ours)
    found = first_difference(ours, read_template(arguments.published), contexts)
    if found is None:
        rendered = sum(expected(ours, context) is not None for context in contexts)
        print(f"the same for {len(contexts)} conversations, of which {rendered} are rendered")
        return 0
    context, here, there = found
    print(f"{json.dumps(context, ensure_ascii=False)}\nours:      {here!r}\npublished: {there!r}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
