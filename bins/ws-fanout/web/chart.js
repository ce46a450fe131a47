/** A chart of lines over the last minutes, drawn by hand. Its colours are those of the style sheet. */

import { lasting } from './ground.js';

const NAMESPACE = 'http://www.w3.org/2000/svg';
/** What is around the lines, for the labels. */
const [LEFT, RIGHT, TOP, BOTTOM] = [58, 8, 10, 26];
const [SECOND, MINUTE, HOUR, DAY] = [1000, 60_000, 3_600_000, 86_400_000];
/** How far it reaches back, and how far apart its labels are then: as little as holds everything. */
const WINDOWS = [
  { reach: MINUTE, step: 15 * SECOND },
  { reach: 2 * MINUTE, step: 30 * SECOND },
  { reach: 5 * MINUTE, step: MINUTE },
];
/** Distances of lines that have round numbers, whatever their unit. */
const STEPS = [
  ...[0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500],
  ...[1, 2, 5, 10, 15, 30].map((seconds) => seconds * SECOND),
  ...[1, 2, 5, 10, 15, 30].map((minutes) => minutes * MINUTE),
  ...[1, 2, 6, 12].map((hours) => hours * HOUR),
];
const STEPS_MAX = 4;
/** Points that are farther apart than this have nothing known between them. */
const GAP_MS = 5000;

export class Chart {
  #svg;
  #lines;
  #grid = draw('g', { class: 'lines' });

  /** Draws into an `svg` a line for each of these names. */
  constructor(svg, names) {
    this.#svg = svg;
    this.#lines = names.map((name) => ({
      name,
      path: draw('path', { class: `line ${name}` }),
      end: draw('circle', { class: `end ${name}`, r: 3.5 }),
    }));
    svg.replaceChildren(this.#grid, ...this.#lines.flatMap(({ path, end }) => [path, end]));
  }

  /** Shows points, oldest first: each has a time `at`, and a number or null by the name of each line. */
  show(points, now) {
    const { width, height } = this.#svg.getBoundingClientRect();
    if (width === 0) return;
    const age = points.length ? now - points[0].at : 0;
    const { reach, step } = WINDOWS.find((window) => window.reach >= age) ?? WINDOWS.at(-1);
    const within = points.filter((point) => now - point.at <= reach);
    const heights = within.flatMap((point) => this.#lines.map(({ name }) => point[name] ?? 0));
    const rise = findStep(Math.max(...heights, 1));
    const top = rise * Math.max(1, Math.ceil(Math.max(...heights, 0) / rise));
    const x = (at) => width - RIGHT - ((now - at) / reach) * (width - LEFT - RIGHT);
    const y = (ms) => height - BOTTOM - (ms / top) * (height - TOP - BOTTOM);

    const marks = [];
    for (let ms = 0; ms <= top * 1.001; ms += rise) {
      const label = { class: 'label', x: LEFT - 8, y: y(ms) + 4, 'text-anchor': 'end' };
      marks.push(draw('line', { x1: LEFT, x2: width - RIGHT, y1: y(ms), y2: y(ms) }), draw('text', label, lasting(ms)));
    }
    for (let ago = 0; ago <= reach; ago += step) {
      const label = { class: 'label', x: x(now - ago), y: height - 6, 'text-anchor': ago ? 'middle' : 'end' };
      marks.push(draw('text', label, ago ? `−${lasting(ago)}` : 'now'));
    }
    this.#grid.replaceChildren(...marks);
    for (const { name, path, end } of this.#lines) {
      path.setAttribute('d', trace(within, name, x, y));
      const last = within.at(-1);
      const ends = last?.[name] != null;
      end.setAttribute('visibility', ends ? 'visible' : 'hidden');
      if (ends) set(end, { cx: x(last.at), cy: y(last[name]) });
    }
  }
}

/** The line through points, with a gap where nothing is known. A point alone is a dot. */
function trace(points, name, x, y) {
  let line = '';
  let before = -Infinity;
  for (const point of points) {
    const value = point[name];
    if (value == null) {
      before = -Infinity;
      continue;
    }
    const place = `${x(point.at).toFixed(1)} ${y(value).toFixed(1)}`;
    line += point.at - before > GAP_MS ? `M${place}h0` : `L${place}`;
    before = point.at;
  }
  return line;
}

function findStep(most) {
  return STEPS.find((step) => most / step <= STEPS_MAX) ?? DAY * Math.ceil(most / DAY / STEPS_MAX);
}

function draw(tag, attributes, text = '') {
  const element = document.createElementNS(NAMESPACE, tag);
  element.textContent = text;
  return set(element, attributes);
}

function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}
