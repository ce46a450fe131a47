/** Numbers, durations and times as text, in the user's locale. */

const time = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' });
const dateTime = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });

/** @param {Date} date */
export const formatTime = (date) => time.format(date);

/** @param {Date} date */
export const formatDateTime = (date) => dateTime.format(date);

/**
 * Formats a number; anything else is a dash.
 * @param {unknown} value
 */
export const formatNumber = (value) => (isFiniteNumber(value) ? value.toLocaleString() : '–');

/**
 * Formats a number with its noun: "1 message", "2 messages".
 * @param {number} number
 * @param {string} noun
 */
export const formatCount = (number, noun) =>
  `${number.toLocaleString()} ${number === 1 ? noun : `${noun}s`}`;

/**
 * Formats a rate, with a decimal place if it is small.
 * @param {unknown} value
 */
export const formatRate = (value) =>
  isFiniteNumber(value) ? formatNumber(Number(value.toFixed(value < 10 ? 1 : 0))) : '–';

/**
 * Formats a remaining time: 48 s, 12 min, 3 h, 2 days.
 * @param {number} ms
 */
export function formatRemaining(ms) {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

const UNITS = [
  { unit: 'ms', ms: 1, limit: 1000 },
  { unit: 's', ms: 1000, limit: 60 },
  { unit: 'min', ms: 60_000, limit: 60 },
  { unit: 'h', ms: 3_600_000, limit: 48 },
  { unit: 'days', ms: 86_400_000, limit: Infinity },
];

/**
 * Formats a measured duration: 0.4 ms, 12 ms, 1.2 s, 2 min.
 * @param {unknown} duration
 */
export function formatDuration(duration) {
  if (!isFiniteNumber(duration)) return '–';
  /** @param {number} value */
  const round = (value) => Number(value.toFixed(value < 9.95 ? 1 : 0));
  const unit = UNITS.find(({ ms, limit }) => round(duration / ms) < limit) ?? UNITS[0];
  return `${formatNumber(round(duration / unit.ms))} ${unit.unit}`;
}

/**
 * @param {unknown} value
 * @returns {value is number}
 */
export const isFiniteNumber = (value) => Number.isFinite(value);
