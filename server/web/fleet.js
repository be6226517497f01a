// The fleet at a glance, its sensors, and one of them.
import { get, post, put, remove } from './api.js';
import { badge, button, facts, field, fill, form, h, notice, submit, table, time } from './element.js';
import { row, TITLES } from './alerts.js';

export const STATES = { online: 'good', late: 'warn', gone: 'bad' };
export const SEVERITIES = ['none', 'low', 'medium', 'high', 'critical'];
/** How often what is shown is asked for again. */
const REFRESH = 15000;

export async function fleet(content) {
  const refresh = async () => {
    const [overview, latest] = await Promise.all([get('/overview'), get('/alerts', { limit: 8 })]);
    const { total, by } = overview.sensors;
    if (total === 0) return fill(content, h('h1', {}, 'Fleet'), howToEnrol());
    const number = (value, text, kind, href) => h('a', { class: 'card', href },
      h('div', { class: `number ${kind ?? ''}` }, value), h('div', { class: 'quiet' }, text));
    const alerts = overview.alerts_of_a_day;
    const counts = (what, title) => by[what] && h('section', { class: 'card' }, h('h2', {}, title),
      facts(Object.entries(by[what]).map(([name, count]) => [name, count])));
    fill(content, h('h1', {}, 'Fleet'),
      h('div', { class: 'cards' },
        number(total, total === 1 ? 'sensor' : 'sensors', '', '#/sensors'),
        Object.keys(STATES).map((state) => number(by.state?.[state] ?? 0, state, by.state?.[state] ? STATES[state] : '', `#/sensors?state=${state}`)),
        number(by.health?.degraded ?? 0, 'degraded', by.health?.degraded ? 'warn' : '', '#/sensors?degraded=1')),
      h('h2', {}, 'Alerts of the last 24 hours'),
      h('div', { class: 'cards' }, [4, 3, 2, 1].map((severity) =>
        number(alerts[severity] ?? 0, SEVERITIES[severity], alerts[severity] && severity > 2 ? 'bad' : '', `#/alerts?severity=${severity}`))),
      h('h2', {}, 'The latest'),
      latest.events.length ? table(TITLES, latest.events.map((found) => row(found)))
        : h('p', { class: 'card' }, 'No alerts yet. A rule of a policy makes one: see ', h('a', { href: '#/policies' }, 'Policies'), '.'),
      h('div', { class: 'cards' }, counts('tier', 'Tiers'), counts('mode', 'Modes'), counts('version', 'Versions')));
  };
  await refresh();
  const timer = setInterval(() => refresh().catch(() => {}), REFRESH);
  return () => clearInterval(timer);
}

function howToEnrol() {
  const url = location.origin;
  return h('section', { class: 'card' }, h('h2', {}, 'No sensor has enrolled yet'),
    h('p', {}, 'Make an installation key, here at ', h('a', { href: '#/admin' }, 'Admin'), ' or on the server:'),
    h('pre', {}, 'holdfast-server key create'),
    h('p', {}, 'and start a sensor with it:'),
    h('pre', {}, `sudo holdfast run --set uplink.url=${url} --set uplink.key=KEY`),
    h('p', { class: 'quiet' }, 'It is here as soon as it has enrolled.'));
}

/** All sensors, page by page. */
async function everySensor() {
  const all = [];
  let after = 0;
  do {
    const page = await get('/sensors', { after });
    all.push(...page.sensors);
    after = page.next;
  } while (after && all.length < 5000);
  return all;
}

export async function sensors(content, { query }) {
  let all = await everySensor();
  const list = h('div', {});
  const search = h('input', { type: 'search', name: 'search', value: query.search ?? '', input: () => draw() });
  const draw = () => {
    const wanted = search.value.toLowerCase();
    const met = all.filter((one) => (!query.state || one.state === query.state)
      && (!query.degraded || one.degraded?.length)
      && [one.host.name, one.id, one.tier, one.mode, ...one.tags].join(' ').toLowerCase().includes(wanted));
    fill(list, all.length === 0 ? howToEnrol() : table(
      ['Host', 'State', 'Tier', 'Mode', 'Bundle', 'Tags', 'Version', 'Heard'],
      met.map((one) => [
        h('a', { href: `#/sensors/${encodeURIComponent(one.id)}` }, one.host.name || one.id),
        [badge(one.state, STATES[one.state]), one.degraded?.length ? [' ', badge('degraded', 'warn')] : ''],
        one.tier ?? '', one.mode ?? '', bundle(one), one.tags.join(', '), one.version, time(one.seen)])));
  };
  const filtered = query.state || query.degraded;
  fill(content, h('h1', {}, 'Sensors'), h('form', { class: 'row', submit: (event) => event.preventDefault() }, field('Search', search),
    filtered && h('a', { href: '#/sensors' }, `only ${query.state ?? 'degraded'}: show all`)), list);
  draw();
  const timer = setInterval(async () => {
    try { all = await everySensor(); draw(); } catch { /* It is asked again. */ }
  }, REFRESH);
  return () => clearInterval(timer);
}

/** The version in force, and the one that should be. */
function bundle(one) {
  const there = one.policy?.bundle;
  if (one.bundle == null) return there == null ? 'its own policies' : `${there}`;
  if (one.bundle === there) return `${there}`;
  return [`${there ?? 'none'} `, badge(`should be ${one.bundle}`, one.policy?.error ? 'bad' : 'warn')];
}

export async function sensor(content, { id, may }) {
  const refresh = async () => {
    const [one, latest] = await Promise.all([get(`/sensors/${encodeURIComponent(id)}`), get('/alerts', { sensor: id, limit: 10 })]);
    const kinds = Object.entries(one.ledger?.kinds ?? {});
    const columns = ['seen', 'filtered', 'submitted', 'ring_full', 'missed', 'received', 'evaluated', 'emitted', 'suppressed', 'dropped'];
    const tags = form({ class: 'row' }, async (values) => {
      await put(`/sensors/${encodeURIComponent(id)}/tags`, { tags: values.tags.split(',').map((tag) => tag.trim()).filter(Boolean) });
      notice('Tagged.');
      await refresh();
    }, field('Tags, separated by commas', h('input', { name: 'tags', value: one.tags.join(', ') })), submit('Save'));
    fill(content, h('h1', {}, one.host.name || one.id),
      h('div', { class: 'card' }, facts([
        ['State', [badge(one.state, STATES[one.state]), ' heard ', time(one.seen)]],
        ['Tier', one.tier], ['Mode', one.mode], ['Version', one.version], ['Bundle', bundle(one)],
        ['Bundle refused', one.policy?.error && h('span', { class: 'bad' }, one.policy.error)],
        ['Policy revision', one.policy?.revision], ['Kernel', one.kernel], ['Architecture', one.architecture],
        ['Host id', one.host.id], ['Sensor id', one.id], ['Tags', one.tags.join(', ')], ['Enrolled', [time(one.enrolled), one.may_enrol && ', may enrol again without its token']],
        ['Uplink', one.uplink && `${one.uplink.sent} sent, ${one.uplink.spooled} waiting, ${one.uplink.lost} lost`]])),
      may('admin') && tags,
      one.degraded?.length > 0 && [h('h2', {}, 'Degraded'), table(['What', 'Why', 'Since'],
        one.degraded.map((item) => [item.what, item.reason, time(item.since)]))],
      h('h2', {}, 'Alerts'), latest.events.length ? [table(TITLES, latest.events.map((found) => row(found))),
        h('p', {}, h('a', { href: `#/alerts?sensor=${encodeURIComponent(id)}` }, 'All of them'))] : h('p', {}, 'None.'),
      kinds.length > 0 && [h('h2', {}, 'Ledger'), table(['Kind', ...columns],
        kinds.map(([kind, counts]) => [kind, ...columns.map((column) => counts[column] ?? '')]))],
      h('p', {}, button('Look again', refresh, 'plain'), ' ', may('admin') && !one.may_enrol && button('May enrol again', async () => {
        if (!confirm('Let this host enrol again without its token, as after a new installation? Until it has, whoever has an installation key may be this host.')) return;
        await post(`/sensors/${encodeURIComponent(id)}/allow-enrolment`);
        notice('It may enrol again, once.');
        await refresh();
      }, 'plain'), ' ', may('admin') && button('Remove', async () => {
        if (!confirm('Remove this sensor? Its token is void then; its events stay. It is there again when it enrols again.')) return;
        await remove(`/sensors/${encodeURIComponent(id)}`);
        location.hash = '#/sensors';
      }, 'danger')));
  };
  await refresh();
}
