"""bad_words and thinking_token_budget: what answers do not hold, and how long they think."""

import concurrent.futures
import os
import signal

import openai
import pytest
import running_group
from running_group import wait_until

QUESTION = [{"role": "user", "content": "What is 17 + 25?"}]
BUDGET = 9


@pytest.fixture(scope="module")
def own_group(tmp_path_factory):
    running = running_group.RunningGroup(tmp_path_factory.mktemp("draw_limits"),
                                         *running_group.PATIENT, "--max-restarts", "100", stages=2,
                                         ranks=1)
    try:
        yield running.wait_ready()
    finally:
        status = running.stop()
    assert status == 0, running.log_tail()


@pytest.fixture
def client(own_group):
    return openai.OpenAI(base_url=own_group.endpoint, api_key="none", max_retries=0)


def ask(client, group, **extra):
    fields = {name: extra.pop(name) for name in ("n", "seed", "temperature") if name in extra}
    return client.chat.completions.create(
        model=group.model, messages=QUESTION, **{"temperature": 0, **fields},
        max_tokens=extra.pop("max_tokens", 300), extra_body={"return_token_ids": True, **extra})


def whole_text(choice):
    return choice.message.reasoning_content + (choice.message.content or "")


def test_words_that_are_said_are_not_said_once_they_are_bad(client, own_group):
    plain = whole_text(ask(client, own_group).choices[0])
    words = sorted({word for word in plain.split() if word.isalpha()}, key=len)[-4:]
    assert len(words) == 4, plain
    for choice in ask(client, own_group, bad_words=words, n=3, temperature=1, seed=5).choices:
        assert not set(words) & set(whole_text(choice).split())
    assert not set(words) & set(whole_text(ask(client, own_group,
                                               bad_words=words).choices[0]).split())


def test_every_choice_thinks_no_longer_than_its_budget(client, own_group):
    free = ask(client, own_group)
    assert free.usage.completion_tokens_details.reasoning_tokens > BUDGET + 1
    end = own_group_token(own_group, "</think>")
    bounded = ask(client, own_group, thinking_token_budget=BUDGET)
    token_ids = bounded.choices[0].token_ids
    assert token_ids[:BUDGET] == free.choices[0].token_ids[:BUDGET]
    assert token_ids.index(end) == BUDGET
    assert bounded.usage.completion_tokens_details.reasoning_tokens == BUDGET + 1
    assert bounded.choices[0].message.content
    for choice in ask(client, own_group, thinking_token_budget=BUDGET, n=3, temperature=1,
                      seed=5).choices:
        assert choice.token_ids.index(end) <= BUDGET
    none = ask(client, own_group, thinking_token_budget=0)
    assert none.choices[0].token_ids[0] == end and not none.choices[0].message.reasoning_content


def own_group_token(group, text):
    """The id of the one token that `text` is."""
    [token] = openai.OpenAI(base_url=group.base_url, api_key="none").post(
        "/tokenize", cast_to=object, body={"prompt": text, "add_special_tokens": False})["tokens"]
    return token


@pytest.mark.parametrize("lost", ["stage-worker-1", "scheduler"])
def test_a_loss_changes_no_token(client, own_group, lost):
    fields = {"bad_words": ["a", "is", "so", "the"], "thinking_token_budget": 150,
              "ignore_eos": True,
              "temperature": 1, "seed": 3}
    expected = ask(client, own_group, **fields).choices[0].token_ids
    pid = own_group.pids[lost]
    steps = "baton_scheduler_generated_tokens_total"
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        before = own_group.metrics("scheduler")[steps]
        asked = pool.submit(ask, client, own_group, **fields)
        wait_until(lambda: own_group.metrics("scheduler")[steps] > before + 20, "tokens")
        os.kill(pid, signal.SIGKILL)
        assert asked.result().choices[0].token_ids == expected
    own_group.wait_replaced(lost, pid)
    wait_until(own_group.ready, "ready again")


def test_what_cannot_be_had_is_refused(client, own_group):
    for field, value in (("bad_words", [" "]), ("bad_words", ["x"] * 129),
                         ("thinking_token_budget", -2)):
        with pytest.raises(openai.BadRequestError) as refused:
            ask(client, own_group, **{field: value})
        assert refused.value.param == field
