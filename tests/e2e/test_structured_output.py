"""Structured output: whatever the model would say, the text is what the request asks for."""

import concurrent.futures
import json
import os
import re
import signal

import openai
import pytest
import running_group
from running_group import wait_until

QUESTION = [{"role": "user", "content": "What is 17 + 25?"}]
SCHEMA = {
    "type": "object",
    "properties": {
        "sum": {"type": "integer", "minimum": 10, "maximum": 99},
        "parts": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 9},
                  "minItems": 2, "maxItems": 3},
        "word": {"enum": ["odd", "even", "dunno"]},
        "next": {"anyOf": [{"type": "null"}, {"type": "boolean"}]},
    },
    "required": ["sum", "parts", "word", "next"],
}
# Without blanks: this model likes them.
COMPACT = {"structured_outputs": {"json": SCHEMA, "disable_any_whitespace": True}}
GRAMMAR = 'root ::= "(" root ")" | [0-9]{1,3} ("+" [0-9]{1,3}){2}'


@pytest.fixture(scope="module")
def own_group(tmp_path_factory):
    running = running_group.RunningGroup(
        tmp_path_factory.mktemp("structured"), *running_group.PATIENT, "--max-restarts", "100",
        "--chat-template", running_group.ROOT / "manifests/chat_templates/deepseek_r1_tools.jinja",
        stages=2, ranks=2)
    try:
        yield running.wait_ready()
    finally:
        status = running.stop()
    assert status == 0, running.log_tail()


@pytest.fixture
def client(own_group):
    return openai.OpenAI(base_url=own_group.endpoint, api_key="none", max_retries=0)


def check_schema(text):
    value = json.loads(text)
    assert list(value) == list(SCHEMA["properties"])
    assert 10 <= value["sum"] <= 99 and value["word"] in ("odd", "even", "dunno")
    assert 2 <= len(value["parts"]) <= 3 and all(0 <= part <= 9 for part in value["parts"])
    assert value["next"] in (None, True, False)


def prompt_answer(client, group, **fields):
    fields = {"max_tokens": 200, "temperature": 1, "seed": 5, **fields}
    return client.completions.create(model=group.model, prompt="What is 17 + 25?", **fields)


def test_chat_gives_the_schema_behind_its_reasoning(client, own_group):
    response_format = {"type": "json_schema", "json_schema": {"name": "sum", "schema": SCHEMA}}
    answer = client.chat.completions.create(model=own_group.model, messages=QUESTION, temperature=0,
                                            max_tokens=400, response_format=response_format)
    choice = answer.choices[0]
    assert choice.finish_reason == "stop"
    check_schema(choice.message.content)
    # The reasoning is the model's own.
    plain = client.chat.completions.create(model=own_group.model, messages=QUESTION, temperature=0,
                                           max_tokens=400)
    assert choice.message.reasoning_content == plain.choices[0].message.reasoning_content


def test_every_choice_and_the_stream_keep_to_it(client, own_group):
    extra = COMPACT
    answer = prompt_answer(client, own_group, n=2, extra_body=extra)
    assert [choice.finish_reason for choice in answer.choices] == ["stop", "stop"]
    for choice in answer.choices:
        check_schema(choice.text)
    texts = ["", ""]
    for chunk in prompt_answer(client, own_group, n=2, stream=True, extra_body=extra):
        for choice in chunk.choices:
            texts[choice.index] += choice.text
    assert texts == [choice.text for choice in answer.choices]


@pytest.mark.parametrize("fields, pattern", [
    ({"guided_regex": r"[A-F]{3}-\d{4}"}, r"[A-F]{3}-\d{4}"),
    ({"structured_outputs": {"choice": ["forty-two", "seven"]}}, r"forty-two|seven"),
    ({"guided_choice": ["深度", "好"]}, "深度|好"),
    ({"structured_outputs": {"grammar": GRAMMAR}}, r"\(*\d{1,3}(\+\d{1,3}){2}\)*"),
])
def test_text_matches(client, own_group, fields, pattern):
    choice = prompt_answer(client, own_group, extra_body=fields).choices[0]
    assert re.fullmatch(pattern, choice.text), choice.text
    assert choice.finish_reason == "stop"


def test_json_object_begins_one(client, own_group):
    choice = prompt_answer(client, own_group,
                           extra_body={"response_format": {"type": "json_object"}}).choices[0]
    assert choice.text.startswith("{")
    if choice.finish_reason == "stop":
        assert isinstance(json.loads(choice.text), dict)


TOOLS = [
    {"type": "function", "function": {"name": "set_light", "parameters": {
        "type": "object", "properties": {"room": {"enum": ["hall", "attic"]},
                                         "on": {"type": "boolean"}},
        "required": ["room", "on"]}}},
    {"type": "function", "function": {"name": "wait"}},
]


def call_of(choice):
    call, = choice.message.tool_calls
    return call.function.name, json.loads(call.function.arguments)


def test_required_and_named_calls(client, own_group):
    fields = {"model": own_group.model, "messages": QUESTION, "max_tokens": 400, "temperature": 1,
              "seed": 4, "tools": TOOLS, "parallel_tool_calls": False}
    answer = client.chat.completions.create(tool_choice="required", **fields)
    assert answer.choices[0].finish_reason == "tool_calls"
    name, arguments = call_of(answer.choices[0])
    assert name in ("set_light", "wait")
    named = {"type": "function", "function": {"name": "set_light"}}
    answer = client.chat.completions.create(tool_choice=named, **fields)
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].message.content is None
    name, arguments = call_of(answer.choices[0])
    assert name == "set_light"
    assert arguments["room"] in ("hall", "attic") and isinstance(arguments["on"], bool)
    # A stream's pieces add up to the same.
    pieces = [call for chunk in client.chat.completions.create(tool_choice=named, stream=True,
                                                               **fields)
              for choice in chunk.choices for call in choice.delta.tool_calls or []]
    assert pieces[0].function.name == "set_light"
    assert json.loads("".join(piece.function.arguments for piece in pieces)) == arguments


def test_the_constraint_begins_where_the_thinking_budget_ends(client, own_group):
    response_format = {"type": "json_schema", "json_schema": {"name": "sum", "schema": SCHEMA}}
    answer = client.chat.completions.create(model=own_group.model, messages=QUESTION, temperature=0,
                                            max_tokens=400, response_format=response_format,
                                            extra_body={"thinking_token_budget": 4})
    assert answer.usage.completion_tokens_details.reasoning_tokens == 5
    check_schema(answer.choices[0].message.content)


def test_goes_with_min_tokens_and_ignored_ends(client, own_group):
    fields = {"guided_choice": ["seven"], "min_tokens": 12}
    assert prompt_answer(client, own_group, extra_body=fields).choices[0].text == "seven"
    fields = {"guided_choice": ["seven"], "ignore_eos": True}
    answer = prompt_answer(client, own_group, max_tokens=20, extra_body=fields)
    assert answer.choices[0].text == "seven"
    assert answer.usage.completion_tokens == 20


def test_refuses_what_does_not_compile(client, own_group):
    for fields, words in [
            ({"guided_json": {"properties": {"a": {"not": {}}}}}, "#/properties/a"),
            ({"guided_regex": "(a"}, "without its )"),
            ({"guided_grammar": "root ::= root \"a\" | \"b\""}, "left recursion"),
            ({"guided_regex": "(((a{1000}){1000}){1000})"}, "too large")]:
        with pytest.raises(openai.BadRequestError) as refused:
            prompt_answer(client, own_group, extra_body=fields)
        assert words in str(refused.value), refused.value


def test_one_sequence_fails_alone(client, own_group):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        good = pool.submit(prompt_answer, client, own_group, extra_body=COMPACT)
        with pytest.raises(openai.BadRequestError) as failed:
            prompt_answer(client, own_group,
                          extra_body={"guided_choice": ["zz"], "allowed_token_ids": [5]})
        assert "allowed_token_ids" in str(failed.value)
        check_schema(good.result().choices[0].text)
    assert own_group.ready()


def token_of(group, text):
    """The id of the one token that `text` is."""
    [token] = openai.OpenAI(base_url=group.base_url, api_key="none").post(
        "/tokenize", cast_to=object, body={"prompt": text, "add_special_tokens": False})["tokens"]
    return token


def impossible(group):
    """Fields of a request of which the second token cannot be drawn."""
    return {"guided_regex": "ab", "allowed_token_ids": [token_of(group, "a")]}


ANSWERS = [
    ("/completions", {"prompt": "What is 17 + 25?", "max_tokens": 20}),
    # The token that ends the reasoning is drawn whatever is allowed.
    ("/chat/completions", {"messages": QUESTION, "max_tokens": 20, "thinking_token_budget": 0}),
    ("/messages", {"messages": QUESTION, "max_tokens": 20, "thinking_token_budget": 0}),
    ("/responses", {"input": "What is 17 + 25?", "max_output_tokens": 20,
                    "thinking_token_budget": 0}),
]


@pytest.mark.parametrize("path, fields", ANSWERS, ids=[path for path, _ in ANSWERS])
def test_a_request_that_cannot_go_on_is_its_clients_fault(client, own_group, path, fields):
    fields = {"model": own_group.model, **impossible(own_group), **fields}
    before = own_group.metrics("gateway")
    with pytest.raises(openai.BadRequestError) as failed:
        client.post(path, cast_to=object, body=fields)
    error = failed.value.response.json()["error"]
    assert error["type"] == "invalid_request_error", error
    assert "none of allowed_token_ids can follow" in error["message"], error
    assert "x-should-retry" not in failed.value.response.headers
    after = own_group.metrics("gateway")
    changed = {name for name, value in after.items() if value != before.get(name, 0)}
    assert 'baton_gateway_refusals_total{reason="INVALID_ARGUMENT"}' in changed, changed
    # As any sequence that began and got no finish reason.
    assert any(name.startswith("vllm:request_success_total") and '"error"' in name
               for name in changed), changed
    answered = [name for name in changed if name.startswith("baton_gateway_http_answers_total")]
    assert len(answered) == 1 and '400' in answered[0], answered


def test_a_stream_that_cannot_go_on_ends_with_the_error_that_names_why(client, own_group):
    """What was drawn comes first; the framing is left open behind the error, as at any other."""
    stream = prompt_answer(client, own_group, stream=True, extra_body=impossible(own_group))
    text = ""
    with pytest.raises(openai.APIError) as failed:
        for chunk in stream:
            text += "".join(choice.text for choice in chunk.choices)
    assert text == "a"
    assert failed.value.type == "invalid_request_error", failed.value.body
    assert failed.value.code == "invalid_value", failed.value.body
    assert "none of allowed_token_ids can follow" in failed.value.message
    assert own_group.ready()


def test_a_lost_stage_changes_no_byte(client, own_group):
    extra = {"guided_regex": "([0-9]{2}[a-f] ){150}"}
    expected = prompt_answer(client, own_group, max_tokens=400, extra_body=extra).choices[0].text
    text = ""
    pid = own_group.pids["stage-worker-1"]
    for chunk in prompt_answer(client, own_group, max_tokens=400, stream=True, extra_body=extra):
        if not text and chunk.choices:
            os.kill(pid, signal.SIGKILL)
        text += "".join(choice.text for choice in chunk.choices)
    own_group.wait_replaced("stage-worker-1", pid)
    assert text == expected
    assert re.fullmatch("([0-9]{2}[a-f] )*.{0,3}", text)
    wait_until(own_group.ready, "ready again")
