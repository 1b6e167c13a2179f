#!/usr/bin/env python3
"""Many clients with mixed lengths for minutes: is every answer the one that its question got alone?

  tests/bench/company.py [--clients 64] [--seconds 300] [--questions 96] [--stages 2] [--ranks 2]
                         [--seed 1]

Prompts of 1 to 1,500 tokens, answers of 1 to 256, greedy and seeded, streamed and not, some with
log-probabilities; every eighth shares a long beginning with the others of its kind. Each question
is first asked alone. Prints answers per second, tokens per second (sampled, and computed: prompts
too), preemptions and prefix cache hits, and what is wrong; exits 1 if nothing was answered, an
answer differs or is lost, if a client had to ask again for whatever reason, or if a sequence or a
used KV block is left.
"""

import argparse
import random
import sys
import tempfile
import time

import load_client
import steady_load  # on the path since load_client

RATES = {"generated": "baton_scheduler_generated_tokens_total",
         "computed": "baton_scheduler_computed_tokens_total"}
COUNTS = {"preemptions": "baton_scheduler_preemptions_total",
          "prompt tokens looked up in the prefix cache":
              "baton_scheduler_prefix_cache_query_tokens_total",
          "of these found": "baton_scheduler_prefix_cache_hit_tokens_total"}


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


def work(before, after, seconds):
    """What the scheduler did between two readings of its metrics, in words."""
    rates = ", ".join(f"{(after[metric] - before[metric]) / seconds:.0f} {word}"
                      for word, metric in RATES.items())
    counts = ", ".join(f"{after[metric] - before[metric]:.0f} {word}"
                       for word, metric in COUNTS.items())
    return f"tokens/s: {rates}; {counts}"


def failures(load, leftovers):
    """What is wrong; `load` is over."""
    wrong = [f"{count} {what}" for count, what in (
        (load.lost, "answers lost"), (load.different, "answers different"),
        (load.asked_again, "asked again after a broken stream"),
        (load.retried, "asked again after a refusal or broken connection")) if count]
    if not load.answered:
        wrong.append("nothing was answered")
    if leftovers:
        wrong.append(f"left behind: {leftovers}")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--questions", type=int, default=96)
    parser.add_argument("--stages", type=int, default=2)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("flags", nargs="*", help="after --: passed to `baton serve`")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        group = load_client.start(folder, *arguments.flags, stages=arguments.stages,
                                  ranks=arguments.ranks)
        try:
            group.wait_ready()
            bodies = questions(group.model, arguments.questions, arguments.seed)
            alone = steady_load.solo(group.port, bodies)
            before = group.metrics("scheduler")
            began = time.monotonic()
            with steady_load.SteadyLoad(group.port, bodies, alone, arguments.clients) as load:
                time.sleep(arguments.seconds)
            seconds = time.monotonic() - began
            print(f"{arguments.clients} clients, {seconds:.0f} s: {load.answered} answers, "
                  f"{load.answered / seconds:.1f}/s")
            for problem in load.problems:
                print("  " + problem)
            wrong = failures(load, group.leftovers())
            print("  " + work(before, group.metrics("scheduler"), seconds))
            for text in wrong:
                print("WRONG " + text)
        finally:
            group.stop()
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
