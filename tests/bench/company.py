#!/usr/bin/env python3
"""Many clients with mixed lengths for minutes: is every answer the one that its question got alone?

  tests/bench/company.py [--clients 64] [--seconds 300] [--questions 96] [--stages 2] [--ranks 2] [--seed 1]

Prompts of 1 to 1,500 tokens, answers of 1 to 256, greedy and seeded, streamed and not, some with
log-probabilities; every eighth shares a long beginning with the others of its kind. Each question is
first asked alone. Prints answers per second, tokens per second, preemptions and prefix cache hits; exits 1
if an answer differs or is lost, if a client had to ask again for whatever reason, or if a sequence or a used
KV block is left.
"""

import argparse
import random
import sys
import tempfile
import time

import load_client
import running_group  # on the path since load_client
import steady_load


def questions(model, count, seed):
    generator = random.Random(seed)
    beginning = [generator.randrange(300, 1000) for _ in range(700)]
    made = []
    for number in range(count):
        length = round(1500 ** generator.random())
        prompt = [generator.randrange(300, 1000) for _ in range(length)]
        if number % 8 == 0:
            prompt = beginning + prompt[:200]
        body = {"model": model, "prompt": prompt, "ignore_eos": True, "return_token_ids": True,
                "max_tokens": round(256 ** generator.random()), "stream": number % 5 != 4}
        if number % 2:
            body.update(temperature=0.9, top_p=0.95, seed=number, presence_penalty=0.3)
        else:
            body.update(temperature=0)
        if number % 3 == 0:
            body.update(logprobs=2)
        if body["stream"]:
            body["stream_options"] = {"include_usage": True}
        made.append(body)
    return made


def left(group):
    """Metrics that should be zero with nobody around."""
    now = group.metrics("scheduler")
    wanted = ("running_sequences", "waiting_sequences", "kv_blocks_used")
    return {name: now[f"baton_scheduler_{name}"] for name in wanted if now[f"baton_scheduler_{name}"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--questions", type=int, default=96)
    parser.add_argument("--stages", type=int, default=2)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("flags", nargs="*", help="after --: passed to `baton serve`")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        group = load_client.start(folder, *arguments.flags, stages=arguments.stages, ranks=arguments.ranks)
        try:
            group.wait_ready()
            bodies = questions(group.model, arguments.questions, arguments.seed)
            alone = steady_load.solo(group.port, bodies)
            before = group.metrics("scheduler")
            began = time.monotonic()
            with steady_load.SteadyLoad(group.port, bodies, alone, arguments.clients) as load:
                time.sleep(arguments.seconds)
            seconds = time.monotonic() - began
            leftovers = left(group)
            if leftovers:
                running_group.wait_until(lambda: not left(group), "nothing left behind", timeout=20)
            after = group.metrics("scheduler")
        finally:
            group.stop()
    print(f"{arguments.clients} clients, {seconds:.0f} s: {load.answered} answers, {load.lost} lost, "
          f"{load.different} different, {load.asked_again} asked again after a broken stream, "
          f"{load.retried} after a refusal or broken connection, {load.answered / seconds:.1f} answers/s")
    for name, value in sorted(after.items()):
        if any(word in name for word in ("preempt", "prefix", "generation_tokens", "prompt_tokens")) \
                and value != before.get(name) and "bucket" not in name:
            print(f"  {name} {value - before.get(name, 0):g}")
    for problem in load.problems:
        print("  " + problem)
    sys.exit(1 if load.lost or load.different or load.asked_again or load.retried or not load.answered else 0)


if __name__ == "__main__":
    main()
