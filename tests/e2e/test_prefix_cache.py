"""Sequences that begin alike share their KV: counted exactly, and without a trace in the
answers."""

import concurrent.futures
import json

import pytest
from running_group import complete, wait_until

SYSTEM = [5 + i * 7 % 1900 for i in range(192)]  # three blocks of 64 tokens
ASK = {"max_tokens": 12, "temperature": 0.8, "seed": 4, "logprobs": 3, "ignore_eos": True}


def ask(group, prompt, **fields):
    """(choices, usage) of a completion."""
    code, text = complete(group, prompt, **{**ASK, **fields})
    assert code == 200, text
    answer = json.loads(text)
    choices = [(choice["text"], choice["logprobs"]) for choice in answer["choices"]]
    return choices, answer["usage"]


def cached(usage):
    return usage["prompt_tokens_details"]["cached_tokens"]


def counts(group):
    """(looked up, found, evicted) as the scheduler counts them."""
    samples = group.metrics("scheduler")
    return tuple(samples[f"baton_scheduler_prefix_cache_{name}_total"]
                 for name in ("query_tokens", "hit_tokens", "evicted_blocks"))


def wait_counts(group, *expected):
    wait_until(lambda: counts(group) == expected, f"counts {expected}, now {counts(group)}")


@pytest.fixture
def pair(start_group):
    """The same group with and without the cache."""
    return start_group(), start_group("--no-enable-prefix-caching")


def test_shared_system_prompt(pair):
    group, uncached = pair
    prompts = [SYSTEM + [100 + 31 * user + i for i in range(10)] for user in range(4)]
    for number, prompt in enumerate(prompts):
        choices, usage = ask(group, prompt)
        assert cached(usage) == (192 if number else 0)
        plain, plain_usage = ask(uncached, prompt)
        assert choices == plain
        assert cached(plain_usage) == 0
    wait_counts(group, 4 * 202, 3 * 192, 0)
    wait_counts(uncached, 0, 0, 0)
    # All of them at once, and again: what is found changes nothing.
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda prompt: ask(group, prompt), prompts * 2))
    assert {cached(usage) for _, usage in answers} == {192}
    assert [choices for choices, _ in answers] == [ask(uncached, prompt)[0]
                                                   for prompt in prompts] * 2
    # Each of the eight looks its 202 tokens up once, and finds three blocks; two at a time take
    # none twice.
    wait_counts(group, (4 + 8) * 202, (3 + 8) * 192, 0)
    wait_counts(uncached, 0, 0, 0)
    # Cached blocks are free ones.
    wait_until(lambda: group.metrics("scheduler")["baton_scheduler_kv_blocks_used"] == 0,
               "no block used")


def test_choices_share_their_prompt(pair):
    group, uncached = pair
    prompt = SYSTEM[:130]
    choices, usage = ask(group, prompt, n=4)
    assert choices == ask(uncached, prompt, n=4)[0]
    assert usage["prompt_tokens"] == 130
    assert cached(usage) == 0  # nobody had asked before
    wait_counts(group, 4 * 130, 3 * 128, 0)
    # A prompt that is all there has its last block computed again.
    assert cached(ask(group, prompt[:128])[1]) == 64


def second_turn(group):
    """A turn whose KV of 159 tokens was computed by the first one, of which 100 were prompt."""
    first = SYSTEM[:100]
    choices, _ = ask(group, first, max_tokens=60, return_tokens_as_token_ids=True)
    answer = [int(token.removeprefix("token_id:")) for token in choices[0][1]["tokens"]]
    assert len(answer) == 60
    return first + answer + [9] * 40


def test_a_second_turn_finds_what_was_prompt_in_the_first(pair):
    group, uncached = pair
    second = second_turn(group)
    choices, usage = ask(group, second)
    assert cached(usage) == 64  # prompts are expanded: the block with the answer is another one now
    assert choices == ask(uncached, second)[0]
    again, usage = ask(group, second)
    assert (again, cached(usage)) == (choices, 192)


def test_a_second_turn_finds_the_first_answer_where_prompts_are_absorbed(start_group):
    group = start_group("--prompt-attention", "absorbed")
    second = second_turn(group)
    choices, usage = ask(group, second)
    assert cached(usage) == 128
    uncached = start_group("--prompt-attention", "absorbed", "--no-enable-prefix-caching")
    assert choices == ask(uncached, second)[0]


def test_salts_and_prompt_logprobs_stand_aside(pair):
    group, uncached = pair
    ask(group, SYSTEM)
    assert cached(ask(group, SYSTEM, cache_salt="mine")[1]) == 0
    assert cached(ask(group, SYSTEM, cache_salt="mine")[1]) == 128
    assert cached(ask(group, SYSTEM, cache_salt="other")[1]) == 0
    choices, usage = ask(group, SYSTEM, echo=True)
    assert cached(usage) == 0
    assert choices == ask(uncached, SYSTEM, echo=True)[0]
    assert len(choices[0][1]["tokens"]) == 192 + 12


def test_evicts_when_blocks_run_out(start_group):
    group = start_group("--num-gpu-blocks-override", "8", stages=1)
    for user in range(3):
        prompt = [7 + user] * 300  # five blocks, four of them full
        assert cached(ask(group, prompt)[1]) == 0
    # Of 8 blocks, the second takes four that were never used and the first one's tail; the third
    # takes the one of the second that was not full, the first one's other three, and the second
    # one's tail.
    wait_counts(group, 900, 0, 5)
    assert cached(ask(group, [9] * 300)[1]) == 256  # the last one is still there
