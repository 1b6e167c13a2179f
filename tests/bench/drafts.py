#!/usr/bin/env python3
"""What guesses of the MTP module are worth: groups side by side, asked in turns.

  tests/bench/drafts.py [--shape 1x1 --shape 2x8] [--drafts 1 --drafts 3]
                        [--streams 1 --streams 8] [--tokens 256]

One group guesses nothing, one each number of tokens.

Prints medians over the turns: tokens/s of all streams together; tokens that a step gives a
sequence; part of the guesses that were right, by place; and where a step's time goes: from order to
report, and of it what each stage computes. Asserts nothing. Needs a build and a model with the
module (default: the demo model).
"""

import argparse
import statistics
import tempfile

import load_client

QUESTIONS = ["What is 17 + 25?", "Sort these numbers: 9, 3, 27, 14.",
             "What is the capital of France?", "What does KV cache mean?",
             "Which is larger, 481 or 418?", "What day comes after Tuesday?",
             "What is the symbol of iron?", "How many minutes are 3 hours?"]


def ask(group, num_streams, tokens, turn):
    """Tokens per second of `num_streams` requests at a time; one of questions that differ from turn
    to turn."""
    def body(index):
        question = QUESTIONS[(turn + index) % len(QUESTIONS)]
        # As the chat template writes it: behind the end of an answer there would be little to
        # guess.
        return {"model": group.model,
                "prompt": f"<｜begin▁of▁sentence｜><｜User｜>{question}<｜Assistant｜><think>\n",
                "temperature": 0, "max_tokens": tokens, "return_token_ids": True,
                "add_special_tokens": False}
    return load_client.rate(group.port, [body(index) for index in range(num_streams)])


class Side:
    """One of the groups and what was measured of it."""

    def __init__(self, folder, num_drafts, stages, ranks, arguments):
        self.num_drafts = num_drafts
        flags = list(arguments.flag)
        if num_drafts > 0:
            flags += ["--speculative-config",
                      f'{{"method":"mtp","num_speculative_tokens":{num_drafts}}}']
        options = {"model_dir": arguments.model} if arguments.model else {}
        self.group = load_client.start(f"{folder}/{num_drafts}", *flags, stages=stages,
                                       ranks=ranks, **options)
        self.stages = [f"stage-worker-{index}" for index in range(stages)]

    def read(self):
        """Counters so far."""
        scheduler = self.group.metrics("scheduler")
        values = {"steps": scheduler["baton_scheduler_step_seconds_count"],
                  "seconds": scheduler["baton_scheduler_step_seconds_sum"]}
        for name, value in self.group.metrics("gateway").items():
            if name.startswith("vllm:spec_decode_num_drafts_total"):
                values["runs"] = value
            elif name.startswith("vllm:spec_decode_num_accepted_tokens_per_pos_total"):
                values["right" + name.split('position="')[1].split('"')[0]] = value
        for stage in self.stages:
            values[stage] = self.group.metrics(stage)["baton_stage_step_compute_seconds_sum"]
        return values

    def begin(self):
        self.rates = []
        self.before = self.read()

    def report(self, plain_rate):
        grown = {name: value - self.before.get(name, 0) for name, value in self.read().items()}
        rate = statistics.median(self.rates)
        step = grown["seconds"] / grown["steps"] * 1e6
        computes = [f"{grown[stage] / grown['steps'] * 1e6:.0f}" for stage in self.stages]
        text = (f"    {self.num_drafts} drafts: {rate:.0f} tokens/s ({min(self.rates):.0f} to "
                f"{max(self.rates):.0f})"
                f", x{rate / plain_rate:.2f}; a step {step:.0f} us, of it stages compute "
                f"{', '.join(computes)} us")
        if self.num_drafts > 0 and grown["runs"] > 0:
            right = [grown.get(f"right{place}", 0) / grown["runs"]
                     for place in range(self.num_drafts)]
            text += (f"; {1 + sum(right):.2f} tokens a step, right by place: "
                     + ", ".join(f"{share:.3f}" for share in right))
        print(text, flush=True)
        return rate


def measure(folder, shape, arguments):
    stages, ranks = (int(part) for part in shape.split("x"))
    sides = [Side(folder, num_drafts, stages, ranks, arguments)
             for num_drafts in [0, *(arguments.drafts or [1, 3])]]
    try:
        for side in sides:
            side.group.wait_ready()
            ask(side.group, 1, 16, 0)
            load_client.await_idle(side.group)
        print(f"{shape}:")
        for num_streams in arguments.streams or [1, 8]:
            load_client.measure_in_turns(
                sides, arguments.repeat,
                lambda group, turn, count=num_streams: ask(group, count, arguments.tokens, turn))
            print(f"  {num_streams} streams:")
            plain_rate = statistics.median(sides[0].rates)
            for side in sides:
                side.report(plain_rate)
    finally:
        for side in sides:
            side.group.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", action="append", help="stages x ranks; default 1x1 and 2x8")
    parser.add_argument("--drafts", action="append", type=int,
                        help="guesses behind each token; default 1 and 3")
    parser.add_argument("--streams", action="append", type=int,
                        help="requests at a time; default 1 and 8")
    parser.add_argument("--model", help="folder of the model; default: the demo model")
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--flag", action="append", default=[], help="passed on to baton serve")
    arguments = parser.parse_args()
    for shape in arguments.shape or ["1x1", "2x8"]:
        with tempfile.TemporaryDirectory() as folder:
            measure(folder, shape, arguments)


if __name__ == "__main__":
    main()
