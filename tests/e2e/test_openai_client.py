"""The official `openai` client against a running group."""

import asyncio
import json
import pathlib

import openai
import pytest
from running_group import ROOT, wait_until

QUESTION = [{"role": "user", "content": "What is 17 + 25?"}]
CHINESE = "十七加二十五等于四十二。🎉👩‍👩‍👧‍👦🇨🇳好的！"
ORACLE = pathlib.Path(ROOT / "tests/data/tiny-r1/oracle/fp8.jsonl")


@pytest.fixture
def client(group):
    with openai.OpenAI(base_url=group.endpoint, api_key="none", max_retries=0, timeout=60) as made:
        yield made


def chat(client, group, **options):
    options.setdefault("messages", QUESTION)
    return client.chat.completions.create(model=group.model, **options)


def joined(stream):
    """(reasoning, content, finish reason, usage) of a streamed chat completion."""
    reasoning, content, finish, usage = "", "", None, None
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            content += choice.delta.content or ""
            reasoning += getattr(choice.delta, "reasoning_content", None) or ""
            finish = choice.finish_reason or finish
    return reasoning, content, finish, usage


def test_models(client, group):
    models = client.models.list().data
    assert [model.id for model in models] == [group.model]
    assert client.models.retrieve(group.model).id == group.model


def test_chat_has_reasoning_and_answer(client, group):
    answer = chat(client, group, temperature=0)
    choice = answer.choices[0]
    assert choice.finish_reason == "stop"
    assert "42" in choice.message.content
    assert choice.message.reasoning_content
    assert choice.message.reasoning == choice.message.reasoning_content
    assert "think>" not in choice.message.content
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    usage = answer.usage
    assert 0 < usage.completion_tokens_details.reasoning_tokens < usage.completion_tokens


def test_an_answer_cut_inside_its_reasoning_can_be_a_turn(client, group):
    cut = chat(client, group, temperature=0, max_tokens=3).choices[0]
    assert cut.finish_reason == "length"
    assert cut.message.content is None and cut.message.reasoning
    messages = [*QUESTION, cut.message, {"role": "user", "content": "Go on."}]
    assert chat(client, group, messages=messages, max_tokens=3).usage.completion_tokens == 3


def test_stream_equals_whole_answer(client, group):
    whole = chat(client, group, temperature=0.8, seed=11, max_tokens=200)
    reasoning, content, finish, usage = joined(
        chat(client, group, temperature=0.8, seed=11, max_tokens=200, stream=True,
             stream_options={"include_usage": True}))
    message = whole.choices[0].message
    assert (reasoning, content) == (message.reasoning_content or "", message.content or "")
    assert finish == whole.choices[0].finish_reason
    assert usage.completion_tokens == whole.usage.completion_tokens


def test_role_comes_with_the_first_token_and_only_once(client, group):
    roles = [choice.delta.role for chunk in chat(client, group, stream=True, max_tokens=20)
             for choice in chunk.choices]
    assert roles[0] == "assistant"
    assert not any(roles[1:])


@pytest.mark.parametrize("text", ["你好，世界！日本語 한국어", "emoji 🎉👩‍👩‍👧‍👦🇨🇳 done", "naïve – “quotes”"])
def test_text_survives_token_boundaries(client, group, text):
    # The prompt is echoed from token ids, so it passes the tokenizer both ways.
    echoed = client.completions.create(model=group.model, prompt=text, echo=True, max_tokens=0)
    assert echoed.choices[0].text == text
    assert echoed.usage.completion_tokens == 0


def test_streamed_pieces_make_the_whole_text(client, group):
    # Random tokens of a hot sampler hold parts of characters.
    options = {"model": group.model, "prompt": "你", "max_tokens": 200, "temperature": 2.0,
               "seed": 5,
               "extra_body": {"ignore_eos": True}}
    whole = client.completions.create(**options).choices[0].text
    pieces = [chunk.choices[0].text for chunk in client.completions.create(stream=True, **options)]
    assert "".join(pieces) == whole


@pytest.mark.parametrize("field", [{"guided_choice": [CHINESE]},
                                   {"structured_outputs": {"choice": [CHINESE]}}])
def test_chinese_and_emoji_stream_in_whole_characters(client, group, field):
    # The demo model writes no Chinese of its own: it is made to. Each of these characters takes
    # several tokens.
    stream = chat(client, group, max_tokens=400, temperature=0, stream=True, extra_body=field,
                  stream_options={"include_usage": True})
    pieces, finish, usage = [], None, None
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            finish = choice.finish_reason or finish
            if choice.delta.content:
                pieces.append(choice.delta.content)
    assert "".join(pieces) == CHINESE
    assert finish == "stop"
    assert not any("\ufffd" in piece for piece in pieces)
    assert len(pieces) > 10, "characters must not be held back until the end"
    num_tokens = usage.completion_tokens - usage.completion_tokens_details.reasoning_tokens
    assert num_tokens > 2 * len(CHINESE), "the test needs characters of several tokens"


def test_stop_string(client, group):
    full = chat(client, group, temperature=0).choices[0].message.content.strip()
    stop = full[-1]
    choice = chat(client, group, temperature=0, stop=[stop]).choices[0]
    assert choice.finish_reason == "stop"
    assert choice.stop_reason == stop
    assert stop not in (choice.message.content or "") + (choice.message.reasoning_content or "")


def test_max_tokens(client, group):
    for name in ("max_tokens", "max_completion_tokens"):
        answer = chat(client, group, temperature=0, **{name: 3})
        assert answer.choices[0].finish_reason == "length"
        assert answer.usage.completion_tokens == 3


def test_several_choices(client, group):
    answer = client.completions.create(model=group.model, prompt=[5, 6, 7], n=3, seed=1,
                                       temperature=2.0, max_tokens=40,
                                       extra_body={"ignore_eos": True})
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert len({choice.text for choice in answer.choices}) == 3
    assert answer.usage.prompt_tokens == 3
    assert answer.usage.completion_tokens == 120


def test_same_seed_same_answer(client, group):
    answers = [chat(client, group, seed=3, temperature=1.0, max_tokens=60).choices[0].message
               for _ in range(2)]
    assert answers[0] == answers[1]


def test_chat_logprobs(client, group):
    answer = chat(client, group, temperature=0, logprobs=True, top_logprobs=3, max_tokens=12)
    content = answer.choices[0].logprobs.content
    assert len(content) == answer.usage.completion_tokens
    for entry in content:
        assert len(entry.top_logprobs) == 3
        assert entry.logprob == pytest.approx(entry.top_logprobs[0].logprob, abs=1e-6)  # greedy
        assert entry.logprob <= 0


def test_completion_from_token_ids(client, group):
    answer = client.completions.create(
        model=group.model, prompt=[5, 300, 7], max_tokens=6, temperature=0, logprobs=1,
        extra_body={"return_token_ids": True, "ignore_eos": True,
                    "return_tokens_as_token_ids": True})
    choice = answer.choices[0]
    assert choice.prompt_token_ids == [5, 300, 7]
    assert len(choice.token_ids) == 6
    assert choice.logprobs.tokens == [f"token_id:{token}" for token in choice.token_ids]


def test_min_tokens_keeps_the_end_from_being_drawn(client, group):
    # The bias makes the end-of-sequence token, 1, certain wherever it may be drawn.
    answer = client.completions.create(
        model=group.model, prompt=[5, 300, 7], max_tokens=20, temperature=1, seed=3,
        logit_bias={"1": 100}, extra_body={"min_tokens": 5, "return_token_ids": True})
    tokens = answer.choices[0].token_ids
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.completion_tokens == 6
    assert 1 not in tokens[:5]
    assert tokens[5:] == [1]


def test_batch_of_prompts(client, group):
    answer = client.completions.create(model=group.model, prompt=[[5, 6, 7], [8, 9]], max_tokens=4,
                                       temperature=0, extra_body={"ignore_eos": True})
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert answer.usage.prompt_tokens == 5
    alone = client.completions.create(model=group.model, prompt=[8, 9], max_tokens=4, temperature=0,
                                      extra_body={"ignore_eos": True})
    assert answer.choices[1].text == alone.choices[0].text


def test_chat_prompt_is_the_models(client, group):
    line = next(json.loads(text) for text in ORACLE.read_text().splitlines()
                if json.loads(text).get("messages"))
    answer = chat(client, group, messages=line["messages"], max_tokens=1,
                  extra_body={"return_token_ids": True})
    assert answer.prompt_token_ids == line["prompt_ids"]


def resources(group):
    """What live sequences cost the scheduler and every stage, by process and metric."""
    names = {"scheduler": ("baton_scheduler_running_sequences", "baton_scheduler_waiting_sequences",
                           "baton_scheduler_kv_blocks_used"),
             "stage-worker": ("baton_stage_sequences", "baton_stage_kv_blocks_used")}
    found = {}
    for process in group.metrics_urls:
        for role, wanted in names.items():
            if not process.startswith(role):
                continue
            metrics = group.metrics(process)
            for name in wanted:
                values = [value for sample, value in metrics.items()
                          if sample.split("{")[0] == name]
                assert values, f"{process} does not report {name}"
                found[process, name] = sum(values)
    return found


def test_closing_a_stream_cancels_it(client, group):
    # Uncancelled it would go on for some seconds and end by itself: time proves nothing, tokens do.
    wanted, far_below = 3000, 1500
    labels = f'{{engine="0",model_name="{group.model}"}}'
    running = "scheduler", "baton_scheduler_running_sequences"

    def generated():
        return group.metrics("scheduler")["baton_scheduler_generated_tokens_total"]

    wait_until(lambda: not any(resources(group).values()), "nothing is held before the test")
    before, baseline, already = group.metrics("gateway"), resources(group), generated()
    stream = client.completions.create(model=group.model, prompt=[5, 6, 7], max_tokens=wanted,
                                       stream=True, extra_body={"ignore_eos": True})
    next(iter(stream))
    busy = wait_until(lambda: (now := resources(group))[running] >= 1 and now,
                      "the sequence runs")
    assert busy["scheduler", "baton_scheduler_kv_blocks_used"] > \
        baseline["scheduler", "baton_scheduler_kv_blocks_used"]
    stages = [key for key in busy if key[1] == "baton_stage_sequences"]
    assert len(stages) == sum(name.startswith("stage-worker") for name in group.pids) == 2
    assert generated() - already < far_below, "the test must close it long before its end"
    stream.close()

    def idle():
        # Both stages' blocks among them: they come back before the sequence would have ended.
        assert generated() - already < far_below, "it is computed though nobody reads it"
        metrics = group.metrics("gateway")
        return (metrics[f"vllm:num_requests_running{labels}"] == 0
                and metrics[f"baton_gateway_live_requests{labels}"] == 0
                and resources(group) == baseline)

    wait_until(idle, "the sequence and all that it held are gone after its client")
    assert generated() - already < far_below
    after = group.metrics("gateway")
    name = f"baton_gateway_client_disconnects_total{labels}"
    assert after[name] == before[name] + 1
    name = f"vllm:generation_tokens_total{labels}"
    assert 0 < after[name] - before[name] < far_below


@pytest.mark.parametrize("fields, param", [
    ({"messages": []}, "messages"),
    ({"messages": [{"role": "user"}]}, "messages[0].content"),
    ({"messages": 7}, "messages"),
    ({"messages": "Hi"}, "messages"),
    ({"messages": [{"role": "king", "content": "Hi"}]}, "messages[0].role"),
    ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
    ({"temperature": "hot"}, "temperature"),
    ({"temperature": True}, "temperature"),
    ({"stream": "yes"}, "stream"),
    ({"stop": {}}, "stop"),
    ({"logit_bias": [1]}, "logit_bias"),
    ({"tools": [{"type": "function"}]}, "tools[0].function"),
    ({"max_tokens": -1}, "max_tokens"),
    ({"max_tokens": -1, "stream": True}, "max_tokens"),
    ({"max_tokens": 1.5}, "max_tokens"),
    ({"max_tokens": 10**30}, "max_tokens"),
    ({"max_completion_tokens": 100_000}, "max_completion_tokens"),
    ({"temperature": -0.5}, "temperature"),
    ({"temperature": 1e300}, "temperature"),
    ({"top_p": 0}, "top_p"),
    ({"n": 100}, "n"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
])
def test_bad_requests_are_the_clients_exceptions(client, group, fields, param):
    with pytest.raises(openai.BadRequestError) as error:
        chat(client, group, **fields)
    assert error.value.type == "invalid_request_error"
    assert error.value.param == param
    assert set(error.value.body) == {"message", "type", "param", "code"}
    assert error.value.body["message"]
    assert chat(client, group, max_tokens=1).usage.completion_tokens == 1, "it lives on"


def test_errors_with_a_code_are_the_clients_exceptions(client, group):
    with pytest.raises(openai.NotFoundError) as error:
        client.chat.completions.create(model="gpt-4", messages=QUESTION)
    assert error.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as error:
        client.completions.create(model=group.model, prompt=[7] * 5000)
    assert error.value.code == "context_length_exceeded"
    assert chat(client, group, max_tokens=1).usage.completion_tokens == 1, "it lives on"


def test_concurrent_streams_do_not_mix(client, group):
    async def run():
        async with openai.AsyncOpenAI(base_url=group.endpoint, api_key="none", timeout=60) as many:
            return await asyncio.gather(*[
                many.completions.create(model=group.model, prompt=[5, 6, 7 + i], max_tokens=20,
                                        temperature=0, extra_body={"ignore_eos": True})
                for i in range(16)])

    together = [answer.choices[0].text for answer in asyncio.run(run())]
    for i in range(16):
        alone = client.completions.create(model=group.model, prompt=[5, 6, 7 + i], max_tokens=20,
                                          temperature=0, extra_body={"ignore_eos": True})
        assert together[i] == alone.choices[0].text, f"stream {i}"
    assert len(set(together)) > 1, "answers that are all the same would not show a mix"


def test_tokens_come_as_they_are_made(client, group):
    chunks = list(client.completions.create(model=group.model, prompt=[5, 6, 7], max_tokens=200,
                                            stream=True, extra_body={"ignore_eos": True}))
    assert len(chunks) > 10, "tokens must not be held back until the end"
