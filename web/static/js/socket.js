// The connection to /ws: kept up, and brought back with what was missed.

import { Emitter } from "./events.js";
import { Subscription } from "./subscription.js";

const PAUSES_MS = [300, 700, 1_500, 3_000, 5_000, 10_000];
const PING_MS = 5_000;
const SILENCE_MS = 12_000; // the gateway sends its metrics every 2 s

/**
 * Emits `state` (`connecting`, `open`, `waiting`), `hello`, `event`, `metrics`, `config_update`, `configuration`,
 * `latency` (ms) and `refused` (the gateway can't be reached at all).
 */
export class Socket extends Emitter {
  /** @type {Map<Subscription, string>} each with its newest reqId */
  #subscriptions = new Map();
  #socket = null;
  #tries = 0;
  #timer = 0;
  #receivedMs = 0;
  #count = 0;
  #log = "";

  constructor() {
    super();
    /** @type {"connecting"|"open"|"waiting"} */
    this.state = "waiting";
    /** What the gateway's clock is ahead of this browser's, in ms. */
    this.aheadMs = 0;
    /** When the last value came, in ms; 0 before the first. */
    this.pushedMs = 0;
    setInterval(() => this.#checkSilence(), PING_MS);
    addEventListener("online", () => this.#now());
    document.addEventListener("visibilitychange", () => document.hidden || this.#now());
  }

  /** Connect, now and whenever the connection is lost. */
  start() {
    if (this.state !== "waiting") return;
    clearTimeout(this.#timer);
    this.#setState("connecting");
    const { protocol, host } = location;
    const socket = new WebSocket(`${protocol === "https:" ? "wss" : "ws"}://${host}/ws`);
    this.#socket = socket;
    socket.onopen = () => this.#opened();
    socket.onmessage = ({ data }) => {
      for (const line of data.split("\n")) this.#receive(JSON.parse(line)); // one frame may bring several
    };
    socket.onclose = () => this.#socket === socket && this.#lost();
  }

  /** @returns {Subscription} which has been asked for, or will be when there is a connection */
  subscribe(fields, listener) {
    const subscription = new Subscription(fields, listener);
    this.#subscriptions.set(subscription, "");
    if (this.state === "open") this.#ask(subscription);
    return subscription;
  }

  /** End a subscription. */
  unsubscribe(subscription) {
    if (this.#subscriptions.delete(subscription) && this.state === "open") {
      this.#send(subscription.ending(this.#id()));
    }
  }

  /** Leave a subscription for another one of the same symbol and timeframe, which takes its place there too. */
  replace(subscription) {
    this.#subscriptions.delete(subscription);
  }

  /** @returns {number} the gateway's time in ms */
  nowMs() {
    return Date.now() + this.aheadMs;
  }

  #opened() {
    this.#tries = 0;
    this.#receivedMs = Date.now();
    this.#setState("open");
    for (const subscription of this.#subscriptions.keys()) this.#ask(subscription);
    this.#ping();
  }

  #ask(subscription) {
    const reqId = this.#id();
    this.#subscriptions.set(subscription, reqId);
    this.#send(subscription.request(reqId));
  }

  #receive(message) {
    this.#receivedMs = Date.now();
    if (message.channel) {
      this.pushedMs = this.#receivedMs;
      for (const subscription of this.#subscriptions.keys()) {
        if (subscription.has(message.channel)) subscription.push(message);
      }
    } else if (message.type === "SNAPSHOT" || message.type === "ERROR") this.#answer(message);
    else if (message.type === "hello") this.#hello(message);
    else if (message.type === "pong") this.#pong(message);
    else this.emit(message.type, message);
  }

  #answer(message) {
    for (const [subscription, reqId] of this.#subscriptions) {
      if (reqId !== message.reqId) continue;
      if (message.type === "SNAPSHOT") subscription.snapshot(message);
      else subscription.listener.onError?.(message);
    }
  }

  #hello(message) {
    this.aheadMs = message.server_ts - Date.now();
    if (this.#log && message.log !== this.#log) {
      for (const subscription of this.#subscriptions.keys()) {
        subscription.forget();
        this.#ask(subscription);
      }
    }
    this.#log = message.log;
    this.emit("hello", message);
  }

  #pong({ ping, server_ts: serverMs }) {
    const latency = Date.now() - ping;
    this.aheadMs = serverMs - (ping + latency / 2);
    this.emit("latency", latency);
  }

  #lost() {
    this.#socket = null;
    const pause = PAUSES_MS[Math.min(this.#tries, PAUSES_MS.length - 1)] * (0.75 + Math.random() / 2);
    this.#tries += 1;
    this.#setState("waiting");
    if (this.#tries > 1) this.emit("refused");
    this.#timer = setTimeout(() => this.start(), pause);
  }

  #now() {
    if (this.state === "waiting") this.start();
    else this.#checkSilence();
  }

  /** A connection that died without a word is silent. */
  #checkSilence() {
    if (this.state !== "open") return;
    if (Date.now() - this.#receivedMs > SILENCE_MS) {
      const silent = this.#socket;
      this.#lost();
      silent.close();
    } else this.#ping();
  }

  #ping() {
    this.#send({ ping: Date.now() });
  }

  #send(message) {
    this.#socket.send(JSON.stringify(message));
  }

  #setState(state) {
    if (state === this.state) return;
    this.state = state;
    this.emit("state", state);
  }

  #id() {
    this.#count += 1;
    return `r${this.#count}`;
  }
}
