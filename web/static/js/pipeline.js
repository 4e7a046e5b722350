// How the roles are: how far each is in every topic and partition, and the stores.

import { get } from "./api.js";
import { byId, el, say } from "./dom.js";
import { number } from "./format.js";

const ASK_MS = 3_000;
const BEHIND_S = 5;
const COLUMNS = 4;

/** Lines by role and topic; they stay as they are between answers, so that nobody loses the focus. */
class Stages {
  #lines = new Map();

  constructor(body) {
    this.body = body;
  }

  show(stages) {
    const keys = stages.map(({ role, stage = "" }) => `${role} ${stage}`);
    if (keys.join() !== [...this.#lines.keys()].join()) {
      this.#lines = new Map(stages.map((stage, index) => [keys[index], newLine(stage)]));
      this.body.replaceChildren(...[...this.#lines.values()].map(({ element }) => element));
    }
    stages.forEach((stage, index) => fill(this.#lines.get(keys[index]), stage));
  }
}

/** Ask the gateway now and then, while the page is in sight, and show what it says. */
export function showPipeline(socket) {
  const stages = new Stages(byId("stages").tBodies[0]);
  const ask = async () => {
    if (document.hidden) return;
    try {
      const found = await get("/api/pipeline");
      stages.show(found.stages);
      showFacts(found);
      say(byId("pipeline-note"), "");
    } catch (error) {
      say(byId("pipeline-note"), error.message);
    }
  };
  setInterval(ask, ASK_MS);
  socket.on("metrics", ({ metrics }) => showMachine(metrics));
  return ask();
}

function newLine({ role, stage = "" }) {
  const cells = { frames: el("td", { class: "number" }), behind: el("td", { class: "number" }) };
  const problem = el("td", { colspan: COLUMNS - 1, class: "bad" });
  const places = el("div", { class: "place muted" });
  const topic = el("td", {}, el("details", {}, el("summary", { text: stage }), places));
  const element = el("tr", {}, el("th", { scope: "row", text: role }), topic, cells.frames, cells.behind, problem);
  return { element, topic, places, problem, ...cells };
}

function fill(line, { behind_frames: frames = null, behind_s: seconds = null, places = [], problem = "" }) {
  for (const cell of [line.topic, line.frames, line.behind]) cell.hidden = problem !== "";
  line.problem.hidden = problem === "";
  say(line.problem, problem);
  say(line.frames, frames === null ? "n/a" : number(frames, 0));
  say(line.behind, seconds === null ? "n/a" : `${number(seconds, 1)} s`);
  line.behind.classList.toggle("bad", seconds === null || seconds > BEHIND_S);
  say(line.places, places.map(place).join("\n"));
}

function place({ partition, position, end, behind_frames: frames }) {
  const where = position === null ? "nothing yet" : number(position, 0);
  const behind = frames ? `, ${number(frames, 0)} behind` : "";
  return `partition ${partition}: ${where} of ${end === null ? "none" : number(end, 0)}${behind}`;
}

function showFacts({ ticks: { per_s: rate, late, out_of_session: outside, gaps }, redis, sqlite }) {
  say(byId("rate"), number(rate, 1));
  for (const [id, value] of Object.entries({ late, outside, gaps })) say(byId(id), number(value, 0));
  for (const [id, problem] of Object.entries({ redis, sqlite })) {
    byId(id).dataset.well = String(problem === "ok");
    say(byId(id), problem);
  }
}

function showMachine({ cpu_load_1: load, cpu_cores: cores, mem_percent: memory }) {
  if (load === undefined) return;
  say(byId("machine"), `load ${number(load)} on ${cores} cores, memory ${number(memory, 0)}%`);
}
