// What has listeners.

/** Something that tells others what has happened to it. */
export class Emitter {
  #listeners = new Map();

  /**
   * @param {string} kind what to listen to
   * @param {(...told: any[]) => void} listener
   */
  on(kind, listener) {
    if (!this.#listeners.has(kind)) this.#listeners.set(kind, new Set());
    this.#listeners.get(kind).add(listener);
  }

  /** Tell the listeners of a kind. */
  emit(kind, ...told) {
    for (const listener of this.#listeners.get(kind) ?? []) listener(...told);
  }
}

/**
 * @param {() => void} work
 * @returns {() => void} asks for the work to be done before the next frame is painted, once however often it is asked
 */
export function onceAFrame(work) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      work();
    });
  };
}
