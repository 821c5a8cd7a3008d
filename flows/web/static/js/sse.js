// Server-sent events by fetch: unlike EventSource it sends the token in a header, and leaves reconnecting to us.

import { parse, request } from "./api.js";

const QUIET = 25_000;

/** Call `onEvent(name, data)` for each event until the stream ends, the signal aborts, or the line is dead. */
export async function listen(path, signal, onEvent) {
  const response = await request(path, { signal, headers: { Accept: "text/event-stream" } });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  for (;;) {
    // Heartbeats come every ten seconds: longer silence is a connection that died without a word.
    const alarm = setTimeout(() => reader.cancel(), QUIET);
    const { value, done } = await reader.read().finally(() => clearTimeout(alarm));
    if (done) return;
    waiting += value;
    const events = waiting.split("\n\n");
    waiting = events.pop();
    for (const event of events) deliver(event, onEvent);
  }
}

function deliver(event, onEvent) {
  let name = "";
  let data = "";
  for (const line of event.split("\n")) {
    if (line.startsWith("event: ")) name = line.slice(7);
    else if (line.startsWith("data: ")) data = line.slice(6);
  }
  if (name) onEvent(name, parse(data));
}
