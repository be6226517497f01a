// Events, searched.
import { asked, get } from './api.js';
import { button, field, fill, form, h, submit, time } from './element.js';
import { folded, summary } from './alerts.js';

const TITLES = ['Time', 'Host', 'Action', 'Process', 'What'];
/** Where no time is asked for: a search through everything would take long. */
const HOURS = 24;

export async function events(content, { query }) {
  const input = (name, attributes) => h('input', { name, value: query[name], ...attributes });
  const filters = form({ class: 'row' }, (values) => {
    location.hash = `#/events${asked({ ...values, search: 1 })}`;
  },
  field('Action', input('action', { placeholder: 'file.open' })),
  field('Process', input('process', { placeholder: 'name or executable' })),
  field('Sensor', input('sensor', { placeholder: 'host or id' })),
  field('Container', input('container', { placeholder: 'name or id' })),
  field('Text', input('text', { type: 'search', placeholder: 'anywhere in the event' })),
  field('From', input('from', { type: 'datetime-local' })),
  field('To', input('to', { type: 'datetime-local' })), submit('Search'));
  const { search, ...wanted } = query;
  wanted.from = (wanted.from ? new Date(wanted.from) : new Date(Date.now() - HOURS * 3600 * 1000)).toISOString();
  wanted.to = wanted.to ? new Date(wanted.to).toISOString() : '';
  const body = h('tbody', {});
  const more = h('div', {});
  const count = h('p', { class: 'quiet', role: 'status' });
  fill(content, h('h1', {}, 'Events'), folded(filters, query),
    h('p', { class: 'quiet' }, query.from ? '' : `The last ${HOURS} hours, the latest first.`),
    h('div', { class: 'scroll', tabindex: 0 }, h('table', {},
      h('thead', {}, h('tr', {}, TITLES.map((title) => h('th', { scope: 'col' }, title)))), body)), count, more);
  const page = async (before) => {
    const { events: list, next } = await get('/events', { ...wanted, before });
    for (const found of list) {
      const { event } = found;
      body.append(h('tr', {},
        h('td', {}, h('a', { href: `#/alerts/${found.id}` }, time(event['@timestamp']))),
        h('td', {}, h('a', { href: `#/sensors/${encodeURIComponent(found.sensor.id)}` }, found.sensor.host)),
        h('td', {}, event.event?.action ?? ''), h('td', {}, event.process?.name ?? ''),
        h('td', { class: 'wide' }, summary(event))));
    }
    fill(count, body.childElementCount === 0 ? 'No event meets this: clear a filter or take a longer time. Beside alerts a sensor sends the events that its setting uplink.events names.' : `${body.childElementCount} shown`);
    fill(more, next && h('p', {}, button('Earlier ones', () => page(next), 'plain')));
  };
  await page();
}
