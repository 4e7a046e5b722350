// One SUBSCRIBE of this page: what it asks for, and how far it has come in each channel.

/**
 * How far a channel has come. Several messages can have one position (a correction brings many candles at once), and
 * the connection can break between them: `complete` is the newest position of which all have certainly come.
 * @typedef {{partition: number, complete: number, newest: number}} ChannelPosition
 */

/** A subscription; the socket sends it again after each reconnect, with `resume` where it can. */
export class Subscription {
  /** @type {Map<string, ChannelPosition>} */
  #positions = new Map();
  #channels = new Set();

  /**
   * @param {object} fields the fields of SUBSCRIBE but for type, reqId and resume
   * @param {object} listener called with the answers
   * @param {(message: object) => void} listener.onSnapshot
   * @param {(data: object, channel: string, initial: boolean) => void} listener.onPush
   * @param {(error: {error: string, detail: string}) => void} [listener.onError]
   */
  constructor(fields, listener) {
    this.fields = fields;
    this.listener = listener;
    for (const channel of channelsOf(fields)) this.#channels.add(channel);
  }

  /** @returns {boolean} whether this channel is one of its own */
  has(channel) {
    return this.#channels.has(channel);
  }

  /** @returns {object} the message that asks for it */
  request(reqId) {
    const resume = {};
    for (const [channel, { partition, complete }] of this.#positions) resume[channel] = { partition, position: complete };
    const resuming = this.#positions.size > 0 ? { resume } : {};
    return { type: "SUBSCRIBE", reqId, ...this.fields, ...resuming };
  }

  /** @returns {object} the message that ends it */
  ending(reqId) {
    const { symbol, tf, channels } = this.fields;
    return channels ? { type: "UNSUBSCRIBE", reqId, channels } : { type: "UNSUBSCRIBE", reqId, symbol, tf };
  }

  /** Apply a SNAPSHOT. */
  snapshot(message) {
    const resumed = new Set(message.resumed ?? []);
    for (const [channel, { partition, position }] of Object.entries(message.positions ?? {})) {
      this.#channels.add(channel);
      if (!resumed.has(channel)) this.#positions.set(channel, { partition, complete: position, newest: position });
    }
    this.listener.onSnapshot(message);
  }

  /** Pass on a push of one of its channels. */
  push({ channel, data, initial }) {
    const position = this.#positions.get(channel);
    if (position && !data.forming && !data.live && data.position > position.newest) {
      position.complete = position.newest;
      position.newest = data.position;
    }
    this.listener.onPush(data, channel, initial === true);
  }

  /** Forget how far it has come: another log counts anew. */
  forget() {
    this.#positions.clear();
  }
}

/** @returns {string[]} the channels that a SUBSCRIBE brings */
function channelsOf({ symbol, tf, indicators = [], channels = [] }) {
  if (!symbol) return channels;
  const names = indicators.map(({ id, params, tf: own }) => indicatorChannel(id, params.length, own ?? tf, symbol));
  return [candleChannel(tf, symbol), ...names];
}

/** @returns {string} the channel of candles */
export function candleChannel(tf, symbol) {
  return `pub:candle:${tf}s:${symbol}`;
}

function indicatorChannel(id, length, tf, symbol) {
  return `pub:ind:${id.toUpperCase()}_${length}:${tf}s:${symbol}`;
}
