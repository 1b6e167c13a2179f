"""Steps ordered ahead of their tokens (--lookahead-steps) change when a token comes, never
which."""

import concurrent.futures
import json

import pytest
import running_group

PROMPTS = ["What is 17 + 25?", "The quick brown fox", "List three colours:", "Once upon a time"]
WAYS = [
    {"temperature": 0},
    {"temperature": 0.8, "seed": 7, "presence_penalty": 0.7, "frequency_penalty": 0.3},
    {"temperature": 1.0, "seed": 8, "repetition_penalty": 1.2, "logprobs": 3},
    {"temperature": 0.6, "seed": 9, "top_p": 0.9, "max_tokens": 1},
    {"temperature": 0, "stop": ["e"]},
]


def answers(group):
    """Everything that is said of each prompt in each way, all of them asked at the same time."""

    def ask(prompt, way):
        code, text = running_group.complete(group,
                                            prompt, **{"max_tokens": 40,
                                                       "return_token_ids": True, **way})
        assert code == 200, text
        choice = json.loads(text)["choices"][0]
        return [choice["text"], choice["finish_reason"], choice.get("token_ids"),
                choice.get("logprobs")]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask, prompt, way) for prompt in PROMPTS for way in WAYS]
        return [answer.result() for answer in asked]


@pytest.mark.parametrize("stages", [1, 2, 3])
def test_answers_are_the_same_on_and_off(start_group, stages):
    without = start_group("--lookahead-steps", "0", stages=stages, ranks=1)
    expected = answers(without)
    assert without.stop() == 0
    running = start_group(stages=stages, ranks=1)
    assert answers(running) == expected
    # Nothing is left behind the rows that were computed in vain.
    running_group.wait_until(
        lambda: all(running.metrics(name)["baton_stage_kv_blocks_used"] == 0
                    for name in running.pids if name.startswith("stage-worker")), "free blocks")
    for name in running.pids:
        if name.startswith("stage-worker"):
            assert running.metrics(name)["baton_stage_gap_seconds_count"] > 0
            assert running.metrics(name)["baton_stage_frames_refused_total"] == 0
    assert running.stop() == 0
