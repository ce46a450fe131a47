/** The panel of the statistics, as they come over the connection: the last ones at once, and whatever follows. */

import { apart, at, make, moment, number } from './ground.js';

/** After this long the time of day alone does not say when it was. */
const DAY_MS = 86_400_000;

export class Stats {
  #now;

  constructor({ where, now }) {
    this.#now = now;
    where.then(({ list_url }) => {
      at('stats-json').href = `${list_url}/v1/stats`;
      at('stats-docs').href = `${list_url}/docs`;
    });
  }

  watch(live) {
    live.on('stats', ({ snapshot }) => this.#show(snapshot));
  }

  #show({ generated_at, cities, users, messages, top_cities = [] }) {
    at('stats-total').textContent = number(messages?.total);
    at('stats-hour').textContent = number(messages?.last_hour);
    at('stats-minute').textContent = number(messages?.last_minute);
    at('stats-cities').textContent = number(cities);
    at('stats-users').textContent = number(users);
    const most = Math.max(1, ...top_cities.map((one) => one.messages));
    at('stats-top').replaceChildren(...top_cities.map((one) => row(one, most)));
    at('stats-table').hidden = top_cities.length === 0;
    at('stats-made').replaceChildren(...this.#made(generated_at));
    at('stats-empty').hidden = true;
    at('stats-body').hidden = false;
  }

  #made(generated_at) {
    const made = Date.parse(generated_at);
    if (Number.isNaN(made)) return [];
    const time = moment(made);
    if (this.#now() - made > DAY_MS) time.textContent = time.title;
    return ['as of ', time];
  }
}

/** A city, with a bar as long as its part of the most. */
function row({ city, state, messages }, most) {
  const name = make('div', { className: 'city', title: [city, state].filter(Boolean).join(', ') }, apart(city));
  if (state) name.append(', ', apart(state, 'of'));
  const head = make('th', { scope: 'row' }, name);
  head.style.setProperty('--part', `${Math.round((100 * messages) / most)}%`);
  return make('tr', {}, head, make('td', { textContent: number(messages) }));
}
