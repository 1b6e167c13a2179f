#!/usr/bin/env python3
"""Rates of vLLM's engine without its server, for compare.py: one line of JSON, {row: tokens/s}.

  compare_vllm.py MODEL_DIR      with the python of vLLM's environment
"""

import json
import random
import sys
import time

PROMPT, SHORT, LONG = 128, 1, 64


def main():
    from vllm import LLM, SamplingParams  # only in vLLM's environment

    engine = LLM(model=sys.argv[1], dtype="bfloat16", max_model_len=4096, max_num_seqs=32, seed=0,
                 enable_prefix_caching=False, disable_log_stats=True)
    numbers = random.Random(7)

    def prompts(count, size):
        return [{"prompt_token_ids": [numbers.randrange(1000, 120000) for _ in range(size)]}
                for _ in range(count)]

    def seconds(batch, tokens):
        sampling = SamplingParams(max_tokens=tokens, min_tokens=tokens, ignore_eos=True,
                                  temperature=0.0,
                                  detokenize=False)
        began = time.perf_counter()
        engine.generate(batch, sampling, use_tqdm=False)
        return time.perf_counter() - began

    figures = {}
    for size in (512, 2048):
        seconds(prompts(1, size), SHORT)  # warm
        figures[f"prefill {size}"] = size / seconds(prompts(1, size), SHORT)
    for count in (1, 8, 32):
        batch = prompts(count, PROMPT)
        seconds(batch, 4)  # warm
        short, long = seconds(batch, SHORT), seconds(batch, LONG)
        figures[f"decode B={count}"] = count * (LONG - SHORT) / (long - short)
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
