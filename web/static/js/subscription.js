// One SUBSCRIBE of this page: what it asks for, and how far it has come in each channel.

/**
 * How far a channel has come. Several messages can have one position (a correction brings many candles at once), and
 * the connection can break between them: `whole` is the newest position of which all have certainly come.
 * @typedef {{partition: number, whole: number, newest: number}} Mark
 */

/** A subscription; the socket sends it again after each reconnect, with `resume` where it can. */
export class Subscription {
  /** @type {Map<string, Mark>} */
  #marks = new Map();
  #channels = new Set();

  /**
   * @param {object} wanted the fields of SUBSCRIBE but for type, reqId and resume
   * @param {object} taker what takes the answers
   * @param {(message: object) => void} taker.onSnapshot
   * @param {(data: object, channel: string, initial: boolean) => void} taker.onPush
   * @param {(error: {error: string, detail: string}) => void} [taker.onError]
   */
  constructor(wanted, taker) {
    this.wanted = wanted;
    this.taker = taker;
    for (const channel of channelsOf(wanted)) this.#channels.add(channel);
  }

  /** @returns {boolean} whether this channel is one of its own */
  has(channel) {
    return this.#channels.has(channel);
  }

  /** @returns {object} the message that asks for it */
  request(reqId) {
    const resume = {};
    for (const [channel, { partition, whole }] of this.#marks) resume[channel] = { partition, position: whole };
    const known = this.#marks.size > 0 ? { resume } : {};
    return { type: "SUBSCRIBE", reqId, ...this.wanted, ...known };
  }

  /** @returns {object} the message that ends it */
  ending(reqId) {
    const { symbol, tf, channels } = this.wanted;
    return channels ? { type: "UNSUBSCRIBE", reqId, channels } : { type: "UNSUBSCRIBE", reqId, symbol, tf };
  }

  /** Take a SNAPSHOT. */
  snapshot(message) {
    const resumed = new Set(message.resumed ?? []);
    for (const [channel, { partition, position }] of Object.entries(message.positions ?? {})) {
      this.#channels.add(channel);
      if (!resumed.has(channel)) this.#marks.set(channel, { partition, whole: position, newest: position });
    }
    this.taker.onSnapshot(message);
  }

  /** Take a push of one of its channels. */
  push({ channel, data, initial }) {
    const mark = this.#marks.get(channel);
    if (mark && !data.forming && !data.live && data.position > mark.newest) {
      mark.whole = mark.newest;
      mark.newest = data.position;
    }
    this.taker.onPush(data, channel, initial === true);
  }

  /** Forget how far it has come: another log counts anew. */
  forget() {
    this.#marks.clear();
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
