// In the worker: the newest request is computed, in pieces that leave room for a newer one.
"use strict";

let latest = 0;
const { port1, port2 } = new MessageChannel();

// Each piece waits for a message of its own, so that none is left to hold up a request.
const waiting = [];
port1.onmessage = () => waiting.shift()();

const breath = () =>
  new Promise((resolve) => {
    waiting.push(resolve);
    port2.postMessage(0);
  });

onmessage = async ({ data: { id, config } }) => {
  latest = id;
  let since = performance.now();
  for (const picture of Experiment.rounds(config)) {
    if (picture) postMessage({ id, picture });
    if (performance.now() - since > 15) {
      await breath();
      since = performance.now();
    }
    if (id !== latest) return;
  }
};
