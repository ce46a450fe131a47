/** A line chart of the last few minutes, as SVG. The style sheet defines its colors. */

import { createSvg, setAttributes } from './dom.js';
import { formatDuration } from './format.js';

/** Space around the plot, for the labels. */
const [LEFT, RIGHT, TOP, BOTTOM] = [58, 8, 10, 26];
const [SECOND, MINUTE, HOUR, DAY] = [1000, 60_000, 3_600_000, 86_400_000];
/** The chart shows the shortest of these windows that contains all points. */
const WINDOWS = [
  { length: MINUTE, step: 15 * SECOND },
  { length: 2 * MINUTE, step: 30 * SECOND },
  { length: 5 * MINUTE, step: MINUTE },
];
/** The possible distances between grid lines in milliseconds: round numbers of a unit. */
const STEPS = [
  ...[0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500],
  ...[1, 2, 5, 10, 15, 30].map((seconds) => seconds * SECOND),
  ...[1, 2, 5, 10, 15, 30].map((minutes) => minutes * MINUTE),
  ...[1, 2, 6, 12].map((hours) => hours * HOUR),
];
const STEPS_MAX = 4;
/** Points farther apart than this are not connected. */
const GAP_MS = 5000;

/**
 * The values of all series at one time. The values and the time are in milliseconds.
 * @typedef {{ time: number, values: { [series: string]: number | null } }} Point
 */

export class Chart {
  #series;
  /** The size of the element, stored because reading it while drawing would force a layout. */
  #size = { width: 0, height: 0 };
  #grid = createSvg('g', { class: 'gridlines' });

  /**
   * @param {Element} svg
   * @param {string[]} names the names of the series
   */
  constructor(svg, names) {
    this.#series = names.map((name) => ({
      name,
      path: createSvg('path', { class: `line ${name}` }),
      marker: createSvg('circle', { class: `marker ${name}`, r: 3.5 }),
    }));
    svg.replaceChildren(this.#grid, ...this.#series.flatMap(({ path, marker }) => [path, marker]));
  }

  /** @param {{ width: number, height: number }} size */
  resize({ width, height }) {
    this.#size = { width, height };
  }

  /**
   * Draws points, oldest first.
   * @param {Point[]} points
   * @param {number} now
   */
  draw(points, now) {
    const { width, height } = this.#size;
    if (width === 0) return;
    const age = points.length ? now - points[0].time : 0;
    const { length, step } = WINDOWS.find((window) => window.length >= age) ?? WINDOWS[2];
    const visible = points.filter(({ time }) => now - time <= length);
    const values = visible.flatMap((point) =>
      Object.values(point.values).map((value) => value ?? 0),
    );
    const rowStep = findStep(Math.max(...values, 1));
    const max = rowStep * Math.max(1, Math.ceil(Math.max(...values, 0) / rowStep));
    /** @param {number} time */
    const x = (time) => width - RIGHT - ((now - time) / length) * (width - LEFT - RIGHT);
    /** @param {number} value */
    const y = (value) => height - BOTTOM - (value / max) * (height - TOP - BOTTOM);

    const grid = [];
    for (let value = 0; value <= max * 1.001; value += rowStep) {
      const label = { class: 'label', x: LEFT - 8, y: y(value) + 4, 'text-anchor': 'end' };
      grid.push(
        createSvg('line', { x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }),
        createSvg('text', label, formatDuration(value)),
      );
    }
    for (let ago = 0; ago <= length; ago += step) {
      const anchor = ago ? 'middle' : 'end';
      const label = { class: 'label', x: x(now - ago), y: height - 6, 'text-anchor': anchor };
      grid.push(createSvg('text', label, ago ? `−${formatDuration(ago)}` : 'now'));
    }
    this.#grid.replaceChildren(...grid);
    for (const { name, path, marker } of this.#series) {
      path.setAttribute('d', tracePath(visible, name, x, y));
      const last = visible.at(-1);
      const value = last?.values[name] ?? null;
      marker.setAttribute('visibility', value === null ? 'hidden' : 'visible');
      if (last && value !== null) setAttributes(marker, { cx: x(last.time), cy: y(value) });
    }
  }
}

/**
 * Returns the path through the points of a series, interrupted where values are missing. An
 * isolated point is a dot.
 * @param {Point[]} points
 * @param {string} name
 * @param {(time: number) => number} x
 * @param {(value: number) => number} y
 */
function tracePath(points, name, x, y) {
  let path = '';
  let previous = -Infinity;
  for (const { time, values } of points) {
    const value = values[name];
    if (value === null) {
      previous = -Infinity;
      continue;
    }
    const position = `${x(time).toFixed(1)} ${y(value).toFixed(1)}`;
    path += time - previous > GAP_MS ? `M${position}h0` : `L${position}`;
    previous = time;
  }
  return path;
}

/** @param {number} max */
function findStep(max) {
  return STEPS.find((step) => max / step <= STEPS_MAX) ?? DAY * Math.ceil(max / DAY / STEPS_MAX);
}
