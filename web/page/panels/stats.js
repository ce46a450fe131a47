/** The panel of statistics, updated with each snapshot. */

import { byId, createElement, createTime, isolate } from '../ui/dom.js';
import { formatNumber } from '../ui/format.js';

/** @import { Live, Snapshot } from '../../mayfly.js' */

const DAY_MS = 86_400_000;

export class StatsPanel {
  #clock;

  /** @param {import('../api.js').Context} context */
  constructor({ urls, clock }) {
    this.#clock = clock;
    urls.then(({ list_url }) => {
      byId('stats-json').setAttribute('href', `${list_url}/v1/stats`);
      byId('stats-docs').setAttribute('href', `${list_url}/docs`);
    });
  }

  /** @param {Live} live */
  watch(live) {
    live.on('stats', ({ snapshot }) => this.#draw(snapshot));
  }

  /** @param {Snapshot} snapshot */
  #draw({ generated_at, cities, users, messages, top_cities = [] }) {
    byId('stats-total').textContent = formatNumber(messages?.total);
    byId('stats-hour').textContent = formatNumber(messages?.last_hour);
    byId('stats-minute').textContent = formatNumber(messages?.last_minute);
    byId('stats-cities').textContent = formatNumber(cities);
    byId('stats-users').textContent = formatNumber(users);
    const max = Math.max(1, ...top_cities.map((city) => city.messages));
    byId('stats-top').replaceChildren(...top_cities.map((city) => createRow(city, max)));
    byId('stats-table').hidden = top_cities.length === 0;
    byId('stats-time').replaceChildren(...this.#createTime(generated_at));
    byId('stats-empty').hidden = true;
    byId('stats-content').hidden = false;
  }

  /** @param {string} generatedAt */
  #createTime(generatedAt) {
    const time = Date.parse(generatedAt);
    if (Number.isNaN(time)) return [];
    const element = createTime(time);
    // The time of day is ambiguous after a day.
    if (this.#clock.server - time > DAY_MS) element.textContent = element.title;
    return ['as of ', element];
  }
}

/**
 * Creates a table row, with a bar for the number of messages relative to the highest one.
 * @param {Snapshot['top_cities'][number]} city
 * @param {number} max
 */
function createRow({ city, state, messages }, max) {
  const title = [city, state].filter(Boolean).join(', ');
  const name = createElement('div', { className: 'city', title }, isolate(city));
  if (state) name.append(', ', isolate(state, 'state'));
  const header = createElement('th', { scope: 'row' }, name);
  header.style.setProperty('--share', `${Math.round((100 * messages) / max)}%`);
  return createElement(
    'tr',
    {},
    header,
    createElement('td', { textContent: formatNumber(messages) }),
  );
}
