// The fleet at a glance, its sensors, and one of them.
import { asked, get, post, put, remove } from './api.js';
import { badge, button, facts, field, fill, form, h, notice, submit, table, time } from './element.js';
import { row, TITLES } from './alerts.js';

export const STATES = { online: 'good', late: 'warn', gone: 'bad' };
export const SEVERITIES = ['none', 'low', 'medium', 'high', 'critical'];
/** As much of a container's id as people read. */
const SHORT = 12;
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

/** How long somebody types before it is searched for. */
const TYPING = 300;

export async function sensors(content, { query }) {
  const list = h('div', {});
  const more = h('div', {});
  const count = h('p', { class: 'quiet', role: 'status' });
  let [pages, timer, turn] = [1, 0, 0];
  /** The pages that are open, asked for anew. */
  const refresh = async () => {
    const own = ++turn;
    const [all, wanted] = [[], { search: search.value, state: query.state, degraded: query.degraded && true }];
    let after = 0;
    for (let page = 0; page < pages && after != null; page++) {
      const answer = await get('/sensors', { ...wanted, after });
      all.push(...answer.sensors);
      after = answer.next;
    }
    // Somebody may have typed on meanwhile.
    if (own !== turn) return;
    const isFiltered = Object.values(wanted).some(Boolean);
    fill(list, all.length > 0 ? table(
      ['Host', 'State', 'Tier', 'Mode', 'Bundle', 'Tags', 'Version', 'Heard'],
      all.map((one) => [
        h('a', { href: `#/sensors/${encodeURIComponent(one.id)}` }, one.host.name || one.id),
        [badge(one.state, STATES[one.state]), one.degraded?.length ? [' ', badge('degraded', 'warn')] : ''],
        one.tier ?? '', one.mode ?? '', bundle(one), one.tags.join(', '), one.version, time(one.seen)]))
      : isFiltered ? h('p', { class: 'card' }, 'No sensor meets this. ', h('a', { href: '#/sensors' }, 'Show all'), ', or search for a part of a host\'s name, a tag, a tier or a mode.') : howToEnrol());
    fill(count, all.length > 0 && `${all.length} shown`);
    fill(more, after != null && h('p', {}, button('More', async () => { pages += 1; await refresh(); }, 'plain')));
  };
  const search = h('input', { type: 'search', name: 'search', value: query.search ?? '', input: () => {
    clearTimeout(timer);
    timer = setTimeout(() => { pages = 1; refresh().catch((error) => notice(error.message)); }, TYPING);
  } });
  const filtered = query.state || query.degraded;
  fill(content, h('h1', {}, 'Sensors'), h('form', { class: 'row', submit: (event) => event.preventDefault() }, field('Search', search),
    filtered && h('a', { href: '#/sensors' }, `only ${query.state ?? 'degraded'}: show all`)), list, count, more);
  await refresh();
  // What fails is asked again.
  const again = setInterval(() => refresh().catch(() => {}), REFRESH);
  return () => { clearTimeout(timer); clearInterval(again); };
}

/** The version in force, and the one that should be. */
function bundle(one) {
  const there = one.policy?.bundle;
  if (one.bundle == null) return there == null ? 'its own policies' : `${there}`;
  if (one.bundle === there) return `${there}`;
  return [`${there ?? 'none'} `, badge(`should be ${one.bundle}`, one.policy?.error ? 'bad' : 'warn')];
}

/** What runs on a host. */
function containers(told) {
  if (!told) return h('p', {}, 'The sensor has not said yet which containers run here: it does with its next heartbeat, in half a minute; an older one does not.');
  if (told.total === 0) return h('p', {}, 'None that an engine told of. If there are some, ', h('code', {}, 'holdfast doctor'), ' on the host says which engines it finds.');
  return [table(['Name', 'Image', 'Pod', 'Runtime', 'Id', ''], told.list.map(({ id, name, image, pod, namespace, runtime }) => [
    name ?? '', image ?? '', pod ? `${namespace ?? ''}/${pod}` : '', runtime ?? '', h('code', { title: id }, id.slice(0, SHORT)),
    h('a', { href: `#/alerts${asked({ container: id })}` }, 'Alerts')])),
  told.list.length < told.total && h('p', { class: 'quiet' }, `${told.list.length} of ${told.total} are shown.`)];
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
      h('h2', {}, 'Containers'), containers(one.containers),
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
