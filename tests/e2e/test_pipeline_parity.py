"""One stage or two, in real processes: the same tokens and log-probabilities, bit for bit.

tests/conformance/model holds stages in one process to that; here the hidden states of the two pass
UCX, and the layers and the KV cache are laid out by the scheduler. The ranks are the same in both:
their number changes the partial sums.
"""

import concurrent.futures
import json

import running_group

ORACLE = running_group.DEMO_MODEL / "oracle/fp8.jsonl"
WAYS = [
    {"temperature": 0},
    {"temperature": 0.9, "seed": 5, "top_p": 0.95, "repetition_penalty": 1.05},
    {"temperature": 1.3, "seed": 6, "top_k": 40, "presence_penalty": 0.5},
]


def prompts():
    """A question; 609 tokens, which cross a split of the attention; 300 random tokens."""
    lines = map(json.loads, ORACLE.read_text().splitlines())
    found = [line["prompt_ids"] for line in lines if line["id"] in (0, 40, 45)]
    assert [len(ids) for ids in found] == [15, 609, 300]
    return found


def answers(group):
    """What is said of each prompt in each way, all of them asked at the same time: tokens, and as
    JSON writes a float32, so that no two of them look alike, log-probabilities of prompt and
    answer."""

    def ask(prompt, way):
        code, text = running_group.complete(group, prompt, max_tokens=40, ignore_eos=True,
                                            return_token_ids=True, logprobs=5, prompt_logprobs=3,
                                            return_tokens_as_token_ids=True, **way)
        assert code == 200, text
        choice = json.loads(text)["choices"][0]
        assert len(choice["token_ids"]) == 40
        assert len(choice["logprobs"]["token_logprobs"]) == 40
        assert len(choice["prompt_logprobs"]) == len(prompt)
        return {name: choice[name] for name in ("token_ids", "logprobs", "prompt_logprobs")}

    with concurrent.futures.ThreadPoolExecutor(9) as pool:
        asked = [pool.submit(ask, prompt, way) for prompt in prompts() for way in WAYS]
        return [answer.result() for answer in asked]


def test_one_stage_and_two_give_the_same_bits(group, start_group):
    two = answers(group)
    one = answers(start_group(stages=1, ranks=2))
    for i, (of_one, of_two) in enumerate(zip(one, two, strict=True)):
        assert of_one == of_two, f"answer {i}"
