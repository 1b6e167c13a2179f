#include "services/gateway/pages/chat_page.h"

namespace baton::gateway {
namespace {

constexpr char kPage[] = R"page(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Baton</title>
<style>
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --accent: #3b6fd4; }
* { box-sizing: border-box; }
body { margin: 0; height: 100vh; display: flex; flex-direction: column;
       font: 16px/1.5 system-ui, sans-serif; }
header { display: flex; gap: 1em; align-items: baseline; padding: .6em 1em;
         border-bottom: 1px solid var(--line); }
header b { font-size: 1.1em; }
header span { opacity: .7; }
header input { margin-left: auto; width: 12em; }
#talk { flex: 1; overflow-y: auto; padding: 1em; max-width: 52em; width: 100%; margin: 0 auto; }
.turn { margin: 0 0 1em; white-space: pre-wrap; overflow-wrap: anywhere; }
.user { background: var(--soft); border-radius: .8em; padding: .5em .9em; margin-left: 15%; }
.error { color: #c33; }
details { border-left: 3px solid var(--line); padding-left: .8em; margin: 0 0 .5em; opacity: .8; }
summary { cursor: pointer; }
.rate { font-size: .8em; opacity: .6; }
form { display: flex; gap: .6em; padding: .8em 1em; max-width: 52em; width: 100%; margin: 0 auto; }
textarea { flex: 1; font: inherit; padding: .5em; border-radius: .5em;
           border: 1px solid var(--line); resize: vertical; min-height: 3.2em;
           background: transparent; color: inherit; }
button { font: inherit; padding: 0 1.2em; border: 0; border-radius: .5em; color: #fff;
         background: var(--accent); cursor: pointer; }
button:disabled { opacity: .5; }
</style>
</head>
<body>
<header><b>Baton</b><span id="model"></span>
<input id="key" type="password" placeholder="API key, if any" autocomplete="off"></header>
<main id="talk" aria-live="polite"></main>
<form id="ask">
<textarea id="text" placeholder="Ask something" aria-label="Question"></textarea>
<button id="send">Send</button>
</form>
<script>
'use strict';
const element = (id) => document.getElementById(id);
const talk = element('talk'), text = element('text'), send = element('send');
const messages = [];
let running = null;  // the AbortController of the answer that is being written

function add(parent, tag, name, content) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  made.textContent = content || '';
  parent.appendChild(made);
  return made;
}

function headers() {
  const made = {'Content-Type': 'application/json'};
  if (element('key').value) made.Authorization = 'Bearer ' + element('key').value;
  return made;
}

async function showModel() {
  try {
    const answer = await fetch('v1/models', {headers: headers()});
    const models = answer.ok ? (await answer.json()).data : [];
    element('model').textContent = models.length ? models[0].id : '';
  } catch (error) {
    element('model').textContent = '';
  }
}

// Calls `take` with the data of each event; throws if the stream breaks off before its end mark.
async function readEvents(body, take) {
  const reader = body.getReader(), decoder = new TextDecoder();
  let rest = '';
  for (;;) {
    const {done, value} = await reader.read();
    if (done) throw new Error('the connection was lost');
    rest += decoder.decode(value, {stream: true});
    const events = rest.split('\n\n');
    rest = events.pop();
    for (const event of events) {
      if (!event.startsWith('data: ')) continue;
      const data = event.slice(6);
      if (data === '[DONE]') return;
      take(JSON.parse(data));
    }
  }
}

async function answerInto(turn) {
  const details = add(turn, 'details'), summary = add(details, 'summary', '', 'Thinking ...');
  const reasoning = add(details, 'div'), content = add(turn, 'div');
  const rate = add(turn, 'div', 'rate');
  details.hidden = true;
  const began = performance.now();
  let tokens = 0, first = 0, thinking = 0;
  const response = await fetch('v1/chat/completions', {
    method: 'POST', headers: headers(), signal: running.signal,
    body: JSON.stringify({messages, stream: true,
                          stream_options: {include_usage: true, continuous_usage_stats: true}})});
  if (!response.ok) {
    const body = await response.json().catch(() => ({}));
    throw new Error(body.error ? body.error.message : 'HTTP ' + response.status);
  }
  const kept = {role: 'assistant', content: ''};
  messages.push(kept);
  await readEvents(response.body, (chunk) => {
    if (chunk.error) throw new Error(chunk.error.message);
    const now = performance.now();
    const follow = talk.scrollHeight - talk.scrollTop - talk.clientHeight < 80;
    if (chunk.usage) tokens = chunk.usage.completion_tokens;
    first = first || now;
    for (const choice of chunk.choices) {
      const thought = choice.delta.reasoning_content || choice.delta.reasoning || '';
      if (thought) {
        details.hidden = false;
        reasoning.textContent += thought;
        thinking = now;
      }
      if (choice.delta.content) {
        kept.content += choice.delta.content;
        content.textContent = kept.content.trimStart();
        const seconds = ((thinking - began) / 1000).toFixed(1);
        if (thinking) summary.textContent = `Thought for ${seconds} s`;
      }
    }
    const seconds = (now - first) / 1000;
    rate.textContent = `${tokens} tokens` +
        (seconds > 0.2 ? `, ${((tokens - 1) / seconds).toFixed(1)} tokens/s` : '');
    if (follow) talk.scrollTop = talk.scrollHeight;
  });
}

async function ask(question) {
  messages.push({role: 'user', content: question});
  add(talk, 'div', 'turn user', question);
  const turn = add(talk, 'div', 'turn');
  talk.scrollTop = talk.scrollHeight;
  running = new AbortController();
  send.textContent = 'Stop';
  try {
    await answerInto(turn);
  } catch (error) {
    const stopped = error.name === 'AbortError';
    add(turn, 'div', stopped ? 'rate' : 'error', stopped ? 'stopped' : error.message);
  }
  running = null;
  send.textContent = 'Send';
}

element('ask').addEventListener('submit', (event) => {
  event.preventDefault();
  if (running) return running.abort();
  const question = text.value.trim();
  if (!question) return;
  text.value = '';
  ask(question);
});
text.addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  if (!running) element('ask').requestSubmit();
});
element('key').addEventListener('change', showModel);
showModel();
text.focus();
// A link may bring its question: /?ask=What+is+17+%2B+25%3F
const given = new URLSearchParams(location.search).get('ask');
if (given) ask(given);
</script>
</body>
</html>
)page";

}  // namespace

absl::string_view ChatPage() { return absl::string_view(kPage, sizeof(kPage) - 1); }

}  // namespace baton::gateway
