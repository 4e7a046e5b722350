// What has listeners.

/** Something that others listen to. */
export class Emitter {
  #listeners = new Map();

  /**
   * @param {string} kind what to listen to
   * @param {(...args: any[]) => void} listener
   */
  on(kind, listener) {
    if (!this.#listeners.has(kind)) this.#listeners.set(kind, new Set());
    this.#listeners.get(kind).add(listener);
  }

  /** Call the listeners of a kind. */
  emit(kind, ...args) {
    for (const listener of this.#listeners.get(kind) ?? []) listener(...args);
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
