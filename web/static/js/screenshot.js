// A picture of the chart, with its legend.

import { clock, day } from "./format.js";
import { colour } from "./theme.js";

const TONES = { strong: "--text", muted: "--muted", up: "--up", down: "--down", warn: "--warn" };
const LINE = 18;
const MARGIN = 12;

/**
 * Download a PNG.
 * @param {HTMLCanvasElement} drawing of the chart
 * @param {import("./legend.js").Group[][]} lines of the legend
 * @param {{name: string, simulated: boolean, nowS: number}} about
 */
export async function savePicture(drawing, lines, { name, simulated, nowS }) {
  const ratio = devicePixelRatio;
  const head = MARGIN + (lines.length + 1) * LINE;
  const canvas = document.createElement("canvas");
  canvas.width = drawing.width;
  canvas.height = drawing.height + head * ratio;
  const context = canvas.getContext("2d");
  context.fillStyle = colour("--panel");
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(drawing, 0, head * ratio);
  context.scale(ratio, ratio);
  context.font = `12px ${getComputedStyle(document.body).fontFamily}`;
  context.textBaseline = "top";
  lines.forEach((line, number) => write(context, line, MARGIN + number * LINE));
  const stamp = { text: `${day(nowS)} ${clock(nowS)} IST`, tone: "muted" };
  const warning = simulated ? [{ text: "SIMULATED", tone: "warn" }] : [];
  write(context, [warning, [stamp]], MARGIN + lines.length * LINE);
  const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${name}-${new Date(nowS * 1000).toISOString().slice(0, 19).replaceAll(":", "")}.png`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function write(context, groups, y) {
  let x = MARGIN;
  for (const group of groups) {
    for (const { text, tone, color } of group) {
      context.fillStyle = color ?? colour(TONES[tone] ?? "--text");
      context.fillText(text, x, y);
      x += context.measureText(text).width + 5;
    }
    x += 6;
  }
}
