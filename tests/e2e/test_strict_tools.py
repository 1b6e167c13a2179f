"""Strict functions where the prompt leaves the reasoning to the model, as R1-0528's does: a call is
found, and keeps to its schema, with reasoning before it and without."""

import json

import openai
import pytest
from running_group import ROOT

TEMPLATE = ROOT / "manifests/chat_templates/deepseek_r1_tools.jinja"
CALLS = "<｜tool▁calls▁begin｜>"
SET_LIGHT = {"type": "function", "function": {"name": "set_light", "strict": True, "parameters": {
    "type": "object",
    "properties": {"room": {"enum": ["hall", "attic"]}, "on": {"type": "boolean"}},
    "required": ["room", "on"], "additionalProperties": False}}}


@pytest.fixture
def own_group(start_group, tmp_path):
    opened = TEMPLATE.read_text()
    assert opened.count("<｜Assistant｜><think>\\n") == 1
    template = tmp_path / "left_to_the_model.jinja"
    template.write_text(opened.replace("<｜Assistant｜><think>\\n", "<｜Assistant｜>"))
    return start_group("--chat-template", template, stages=2, ranks=2)


def token_id(client, text):
    answer = client.post("tokenize", cast_to=object,
                         body={"prompt": text, "add_special_tokens": False})
    token, = answer["tokens"]
    return token


def test_strict_calls_need_no_reasoning(own_group):
    with openai.OpenAI(base_url=own_group.endpoint, api_key="none", max_retries=0) as client:
        plain = client.with_options(base_url=own_group.base_url)
        bias = {str(token_id(plain, CALLS)): 100}

        def ask(**fields):
            choice, = client.chat.completions.create(
                model=own_group.model, messages=[{"role": "user", "content": "Light, please."}],
                tools=[SET_LIGHT], parallel_tool_calls=False, max_tokens=2000, seed=3,
                **fields).choices
            return choice

        # Where text may stand, the calls begin: at once ...
        at_once = ask(logit_bias=bias)
        # ... or behind the reasoning, which the model is made to open, and ends itself.
        behind = ask(logit_bias={str(token_id(plain, "<think>")): 100,
                                 str(token_id(plain, "</think>")): 9,
                                 **{key: 40 for key in bias}})
        for choice, reasons in ((at_once, False), (behind, True)):
            assert choice.finish_reason == "tool_calls", choice
            assert (choice.message.reasoning_content is not None) == reasons, choice
            call, = choice.message.tool_calls
            assert call.function.name == "set_light"
            arguments = json.loads(call.function.arguments)
            assert sorted(arguments) == ["on", "room"]
            assert arguments["room"] in ("hall", "attic") and arguments["on"] in (True, False)
