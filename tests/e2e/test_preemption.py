"""Sequences that lose their blocks to others and get them back: what they say is what they say in a
group with room for all, the same tokens and log-probabilities, bit for bit."""

import concurrent.futures
import json

import pytest
import running_group

ORACLE = running_group.DEMO_MODEL / "oracle/fp8.jsonl"
# Blocks of 64 tokens. Each sequence fits, up to eight of them; the twelve want some fifty.
FEW_BLOCKS = ("--num-gpu-blocks-override", "9", "--max-model-len", "512")
MAX_TOKENS = 200
WAYS = [
    {"temperature": 0},
    {"temperature": 0.9, "seed": 5, "top_p": 0.95, "repetition_penalty": 1.05,
     "prompt_logprobs": 3},
    {"temperature": 1.3, "seed": 6, "top_k": 40, "presence_penalty": 0.5,
     "frequency_penalty": 0.2},
]


def prompts():
    """Three questions, one with a system prompt, and 300 random tokens."""
    lines = map(json.loads, ORACLE.read_text().splitlines())
    found = [line["prompt_ids"] for line in lines if line["id"] in (0, 13, 38, 45)]
    assert [len(ids) for ids in found] == [15, 15, 25, 300]
    return found


def answers(group):
    """(what is said of each prompt in each way, all of them asked at the same time; preemptions
    meanwhile). Log-probabilities are as JSON writes a float32: no two of them look alike."""

    def ask(prompt, way):
        code, text = running_group.complete(group, prompt, max_tokens=MAX_TOKENS, ignore_eos=True,
                                            return_token_ids=True, logprobs=5,
                                            return_tokens_as_token_ids=True, **way)
        assert code == 200, text
        choice = json.loads(text)["choices"][0]
        assert len(choice["token_ids"]) == len(choice["logprobs"]["token_logprobs"]) == MAX_TOKENS
        return {name: choice.get(name) for name in ("token_ids", "logprobs", "prompt_logprobs")}

    def preemptions():
        return group.metrics("scheduler")["baton_scheduler_preemptions_total"]

    before = preemptions()
    asked = [(prompt, way) for prompt in prompts() for way in WAYS]
    with concurrent.futures.ThreadPoolExecutor(len(asked)) as pool:
        said = list(pool.map(lambda one: ask(*one), asked))
    return said, preemptions() - before


@pytest.mark.parametrize("more", [(), ("--no-enable-prefix-caching",)],
                         ids=["finds_its_blocks", "computes_all_again"])
def test_preempted_sequences_say_the_same(group, start_group, more):
    undisturbed, none = answers(group)
    assert none == 0
    # Its stages and ranks are those of `group`: their number changes the partial sums.
    crowded = start_group(*FEW_BLOCKS, *more, stages=2, ranks=2)
    disturbed, some = answers(crowded)
    assert some > 0
    for i, (expected, said) in enumerate(zip(undisturbed, disturbed, strict=True)):
        assert said == expected, f"answer {i}"
    assert crowded.leftovers() == {}
    print(f"{some:.0f} preemptions")
