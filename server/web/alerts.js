// Alerts: live with filters, and one of them with what is known of it.
import { asked, follow, get } from './api.js';
import { badge, button, facts, field, fill, form, h, select, submit, table, time } from './element.js';

const SEVERITIES = [['none', ''], ['low', ''], ['medium', 'warn'], ['high', 'bad'], ['critical', 'bad']];
const OUTCOMES = { blocked: 'good', killed: 'good', killed_after: 'warn', would_block: 'warn' };
/** Rows that stay on the page: more make a browser slow, and nobody reads them. */
const MAX_ROWS = 500;
export const TITLES = ['Time', 'Severity', 'Host', 'Rule', 'What', 'Outcome'];

export function severity(event) {
  const [name, kind] = SEVERITIES[event.event?.severity ?? 0] ?? [String(event.event.severity), 'bad'];
  return badge(name, kind);
}

/** What happened, in a line. */
export function summary(event) {
  const { process, file, destination, dns, holdfast } = event;
  const object = file?.path ?? dns?.question?.name ?? holdfast?.socket?.path
    ?? (destination?.ip && `${destination.ip}${destination.port ? `:${destination.port}` : ''}`) ?? holdfast?.target?.executable ?? '';
  const actor = process?.executable ?? process?.name ?? '';
  return event.message ?? `${event.event?.action ?? ''} ${actor} ${object === actor ? '' : object}`.trim();
}

export function row(found, fresh) {
  const { event } = found;
  return h('tr', { class: fresh && 'fresh', 'data-id': found.id, 'data-place': found.place },
    h('td', {}, h('a', { href: `#/alerts/${found.id}` }, time(event['@timestamp']))),
    h('td', {}, severity(event)),
    h('td', {}, h('a', { href: `#/sensors/${encodeURIComponent(found.sensor.id)}` }, found.sensor.host)),
    h('td', {}, event.rule?.name ?? event.rule?.id ?? ''),
    h('td', { class: 'wide' }, summary(event), event.container?.name && [' ', badge(event.container.name)]),
    h('td', {}, event.holdfast?.outcome && badge(event.holdfast.outcome, OUTCOMES[event.holdfast.outcome])));
}

/** Filters that can be put away, and are on a phone until there are any. */
export function folded(filters, query) {
  const open = Object.keys(query).length > 0 || window.matchMedia('(min-width: 600px)').matches;
  return h('details', { open }, h('summary', {}, 'Filters'), filters);
}

/** RFC 3339 of a field with local time. */
const instant = (text) => (text ? new Date(text).toISOString() : '');

/** Time and number of an event. */
const parts = (place) => place.split('.').map(BigInt);

/** Whether an event at one place is later than that at the other. */
function isLater(one, other) {
  const [[time, id], [otherTime, otherId]] = [parts(one), parts(other)];
  return time === otherTime ? id > otherId : time > otherTime;
}

/** A place of which the event at this one is the next before it. */
function justAfter(place) {
  const [time, id] = parts(place);
  return `${time}.${id + 1n}`;
}

/** Puts an event's row below those that are later. What came live stands above, whenever it happened. */
function put(body, found) {
  let above = body.lastElementChild;
  while (above && isLater(found.place, above.dataset.place)) above = above.previousElementSibling;
  if (above) above.after(row(found)); else body.prepend(row(found));
}

export async function alerts(content, { query }) {
  const input = (name, attributes) => h('input', { name, value: query[name], ...attributes });
  const filters = form({ class: 'row' }, (values) => {
    location.hash = `#/alerts${asked(values)}`;
  },
  field('Severity', select('severity', [['', 'any'], [2, 'medium or more'], [3, 'high or more'], [4, 'critical']], query.severity)),
  field('Rule', input('rule', { placeholder: 'id of a rule' })),
  field('Sensor', input('sensor', { placeholder: 'host or id' })),
  field('Container', input('container', { placeholder: 'name or id' })),
  field('From', input('from', { type: 'datetime-local' })),
  field('To', input('to', { type: 'datetime-local' })),
  submit('Filter'), h('a', { href: '#/alerts' }, 'Clear'));
  const wanted = { ...query, from: instant(query.from), to: instant(query.to) };
  const state = h('span', { class: 'badge', role: 'status' }, 'connecting');
  const body = h('tbody', {});
  const list = h('div', { class: 'scroll', tabindex: 0 }, h('table', {},
    h('thead', {}, h('tr', {}, TITLES.map((title) => h('th', { scope: 'col' }, title)))), body));
  const empty = h('p', { class: 'card' }, 'No alert meets this. They appear here as they come. ', Object.keys(query).length > 0
    ? ['Look at ', h('a', { href: '#/alerts' }, 'all of them'), ', or change the filters.']
    : ['A rule of a policy makes one: see ', h('a', { href: '#/policies' }, 'Policies'), '.']);
  const more = h('div', {});
  fill(content, h('h1', {}, 'Alerts'), h('p', {}, state), folded(filters, query), list, empty, more);
  const seen = new Set();
  /** Rows that may stay: as many as were asked for. */
  let most = MAX_ROWS;
  const draw = () => { list.hidden = body.childElementCount === 0; empty.hidden = !list.hidden; };
  /** Where what is not on the page begins: behind the last page, or with what was cut. */
  let place;
  const earlier = () => fill(more, place && h('p', {}, button('Earlier ones', page, 'plain')));
  const page = async () => {
    const before = place;
    const { events, next } = await get('/alerts', { ...wanted, before });
    for (const found of events) if (!seen.has(found.id)) { seen.add(found.id); put(body, found); }
    // Some may have been cut meanwhile.
    if (place === before) place = next;
    most = Math.max(MAX_ROWS, body.childElementCount);
    earlier();
    draw();
  };
  /** Has no more rows than may stay; those that go are asked for with the earlier ones. */
  const cut = () => {
    if (body.childElementCount <= most) return;
    while (body.childElementCount > most) {
      const { id, place: of } = body.lastElementChild.dataset;
      seen.delete(Number(id));
      body.lastElementChild.remove();
      if (!place || !isLater(place, of)) place = justAfter(of);
    }
    earlier();
  };
  // Followed first, so that what comes between the two is not missed.
  const stop = follow(wanted, (found) => {
    if (seen.has(found.id)) return;
    seen.add(found.id);
    body.prepend(row(found, true));
    cut();
    draw();
  }, (live) => {
    state.className = `badge ${live ? 'good' : 'warn'}`;
    fill(state, live ? 'live' : 'connecting again');
  });
  try { await page(); } catch (error) { stop(); throw error; }
  return stop;
}

export async function alert(content, { id }) {
  const path = `/alerts/${encodeURIComponent(id)}`;
  const [found, known] = await Promise.all([get(path), get(`${path}/processes`)]);
  const { event } = found;
  fill(content, h('h1', {}, event.rule?.name ?? event.event?.action ?? 'Event'),
    h('p', {}, severity(event), ' ', event.holdfast?.outcome && badge(event.holdfast.outcome, OUTCOMES[event.holdfast.outcome]), ' ', summary(event)),
    h('div', { class: 'card' }, facts([
      ['Time', time(event['@timestamp'])], ['Stored', time(found.received)],
      ['Host', h('a', { href: `#/sensors/${encodeURIComponent(found.sensor.id)}` }, found.sensor.host)],
      ['Action', event.event?.action], ['Tier', event.holdfast?.tier], ['Mode', event.holdfast?.mode],
      ['File', event.file?.path && h('code', {}, event.file.path)],
      ['Destination', event.destination?.ip && `${event.destination.ip}:${event.destination.port ?? ''}`],
      ['Question', event.dns?.question?.name]])),
    h('h2', {}, 'Rule'), rule(found),
    h('h2', {}, 'Process'), tree(event, known),
    event.container && [h('h2', {}, 'Container'), container(event)],
    h('h2', {}, 'Event'), h('details', {}, h('summary', {}, 'As the sensor sent it'), h('pre', { tabindex: 0 }, JSON.stringify(event, null, 2))));
}

function rule(found) {
  const { event } = found;
  if (!event.rule) return h('p', {}, 'No rule: the event was asked for by itself.');
  const techniques = (event.threat?.technique?.id ?? []).map((technique) => [badge(technique), ' ']);
  const known = found.rule;
  return h('div', { class: 'card' }, facts([
    ['Id', event.rule.id], ['Policy', event.rule.ruleset], ['ATT&CK', techniques],
    ['What it did', event.holdfast?.action], ['On', known?.rule.on?.join(', ')],
    ['Condition', known?.rule.when && h('code', {}, known.rule.when)],
    ['Also looks like it', known?.rule.falsePositives ?? known?.rule.false_positives],
    ['Who decides', known?.hooks?.map((hook) => `${hook.action}: ${hook.decided}`).join(', ')],
    ['Bundle', known && `${known.bundle}, ${known.file}`]]),
  !known && h('p', { class: 'quiet' }, 'The condition is shown for policies that come from this server: those of this sensor are its own, or have changed.'));
}

/** Processes that one started, those that are not shown counted. */
function started({ processes, more, at_least: atLeast }, whose, own) {
  const others = more > 0 && `and ${atLeast ? 'at least ' : ''}${more} more ${whose}`;
  return [processes.map((process) => h('li', {},
    h('a', { href: `#/alerts/${process.event}` }, h('code', {}, process.args?.join(' ') || process.executable || process.name || '?')),
    process.pid != null && ` pid ${process.pid}`,
    own && process.pid === own.pid && process.start === own.start && ', the same process with another program',
    list(started(process.children, 'below it')))),
  others && h('li', { class: 'quiet' }, others)];
}

/** Items of a tree, if there are any. */
function list(items) {
  const there = items.flat(Infinity).filter(Boolean);
  return there.length > 0 && h('ol', { class: 'tree' }, there);
}

/** The process below its ancestors, the oldest first, with what it and its parent started as far as events tell. */
function tree(event, known) {
  const { process } = event;
  if (!process) return h('p', {}, 'No process: it is the sensor that says it.');
  const ancestors = [process.parent, ...(process.ancestors ?? [])].filter(Boolean).reverse();
  const own = h('ol', { class: 'tree' }, h('li', { class: 'own' }, h('strong', {}, h('code', {}, process.executable ?? process.name ?? '?')), ` pid ${process.pid}`,
    facts([['Arguments', process.args && h('code', {}, process.args.join(' '))], ['Directory', process.working_directory],
      ['User', process.user && `${process.user.name ?? ''} (${process.user.id})`], ['Started', time(process.start)],
      ['Capabilities', process.thread?.capabilities?.effective?.join(', ')]]),
    list(started(known.children, 'below it'))), started(known.siblings, 'of the same parent', process));
  const whole = ancestors.reduceRight((below, ancestor) => h('ol', { class: 'tree' },
    h('li', {}, h('code', {}, ancestor.executable ?? ancestor.name ?? '?'), ancestor.pid != null && ` pid ${ancestor.pid}`, below)), own);
  return h('div', { class: 'card' }, whole, h('p', { class: 'quiet' },
    'Beside and below it is what stored events tell: alerts, and executions and forks where uplink.events has sensors send them.'));
}

function container({ container: of, orchestrator }) {
  return h('div', { class: 'card' }, facts([
    ['Name', of.name], ['Id', of.id], ['Runtime', of.runtime],
    ['Image', of.image?.name && `${of.image.name}${of.image.tag ? `:${[of.image.tag].flat().join(', ')}` : ''}`],
    ['Privileged', of.privileged === true && badge('privileged', 'bad')],
    ['Pod', orchestrator?.resource?.name && `${orchestrator.namespace ?? ''}/${orchestrator.resource.name}`],
    ['Labels', of.labels && Object.entries(of.labels).map(([key, value]) => [badge(`${key}=${value}`), ' '])]]));
}
