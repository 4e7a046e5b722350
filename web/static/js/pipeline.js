// How the roles are: how far each is in every topic and partition, and the stores.

import { get } from "./api.js";
import { byId, el, say } from "./dom.js";
import { number } from "./format.js";

const ASK_MS = 3_000;
const BEHIND_S = 5;
const COLUMNS = 4;

/** Lines by role and topic; they stay as they are between answers, so that nobody loses the focus. */
class Stages {
  #rows = new Map();

  constructor(body) {
    this.body = body;
  }

  show(stages) {
    const keys = stages.map(({ role, stage = "" }) => `${role} ${stage}`);
    if (keys.join() !== [...this.#rows.keys()].join()) {
      this.#rows = new Map(stages.map((stage, index) => [keys[index], newRow(stage)]));
      this.body.replaceChildren(...[...this.#rows.values()].map(({ element }) => element));
    }
    stages.forEach((stage, index) => fill(this.#rows.get(keys[index]), stage));
  }
}

/** Ask the gateway now and then, while the page is in sight, and show what it says. */
export function showPipeline(socket) {
  const stages = new Stages(byId("stages", HTMLTableElement).tBodies[0]);
  const ask = async () => {
    if (document.hidden) return;
    try {
      const pipeline = await get("/api/pipeline");
      stages.show(pipeline.stages);
      showFacts(pipeline);
      say(byId("pipeline-note"), "");
    } catch (error) {
      say(byId("pipeline-note"), error.message);
    }
  };
  setInterval(ask, ASK_MS);
  socket.on("metrics", ({ metrics }) => showMachine(metrics));
  return ask();
}

function newRow({ role, stage = "" }) {
  const cells = { frames: el("td", { class: "number" }), behind: el("td", { class: "number" }) };
  const problem = el("td", { colspan: COLUMNS - 1, class: "bad" });
  const partitions = el("div", { class: "partitions muted" });
  const topic = el("td", {}, el("details", {}, el("summary", { text: stage }), partitions));
  const element = el("tr", {}, el("th", { scope: "row", text: role }), topic, cells.frames, cells.behind, problem);
  return { element, topic, partitions, problem, ...cells };
}

function fill(row, { behind_frames: frames = null, behind_s: seconds = null, places = [], problem = "" }) {
  for (const cell of [row.topic, row.frames, row.behind]) cell.hidden = problem !== "";
  row.problem.hidden = problem === "";
  say(row.problem, problem);
  say(row.frames, frames === null ? "n/a" : number(frames, 0));
  say(row.behind, seconds === null ? "n/a" : `${number(seconds, 1)} s`);
  row.behind.classList.toggle("bad", seconds === null || seconds > BEHIND_S);
  say(row.partitions, places.map(partitionText).join("\n"));
}

function partitionText({ partition, position, end, behind_frames: frames }) {
  const where = position === null ? "nothing yet" : number(position, 0);
  const behind = frames ? `, ${number(frames, 0)} behind` : "";
  return `partition ${partition}: ${where} of ${end === null ? "none" : number(end, 0)}${behind}`;
}

function showFacts({ ticks: { per_s: rate, late, out_of_session: outside, gaps: unusable }, redis, sqlite }) {
  say(byId("rate"), number(rate, 1));
  for (const [id, value] of Object.entries({ late, outside, unusable })) say(byId(id), number(value, 0));
  for (const [id, problem] of Object.entries({ redis, sqlite })) {
    byId(id).dataset.well = String(problem === "ok");
    say(byId(id), problem);
  }
}

function showMachine({ cpu_load_1: load, cpu_cores: cores, mem_percent: memory }) {
  if (load === undefined) return;
  say(byId("machine"), `load ${number(load)} on ${cores} cores, memory ${number(memory, 0)}%`);
}
