// Which hosts enforce which rules, and which techniques of ATT&CK these cover.
import { get } from './api.js';
import { badge, button, h, fill, table, time } from './element.js';
import { SEVERITIES, STATES } from './fleet.js';

/** How often what is shown is asked for again. */
const REFRESH = 15000;
const COUNTS = ['Enforced', 'Observed', 'Without', 'Not known'];

export async function compliance(content) {
  await show(content);
  const timer = setInterval(() => show(content).catch(() => {}), REFRESH);
  return () => clearInterval(timer);
}

async function show(content) {
  const { total, hosts, controls, techniques, tactics, time: when } = await get('/compliance');
  const title = h('h1', {}, 'Compliance');
  if (total === 0) {
    return fill(content, title, h('p', { class: 'card' }, 'No sensor has enrolled yet: ', h('a', { href: '#/fleet' }, 'Fleet'), ' says how.'));
  }
  if (controls.length === 0) {
    return fill(content, title, h('p', { class: 'card' }, 'No sensor has a bundle of this server in force, and of policies that hosts have of their own nothing is known here. ',
      h('a', { href: '#/policies' }, 'Policies'), ' makes and assigns one.'));
  }
  const own = hosts.filter((host) => host.bundle == null).length;
  return fill(content, title,
    h('p', {}, `Hosts: ${total}. Rules: ${controls.length}. Techniques: ${Object.keys(techniques).length}. `, time(when), ' ',
      h('span', { class: 'no-print' }, button('Print, or save as PDF', () => window.print(), 'plain'), ' ',
        h('a', { href: '/api/v1/compliance.csv', download: 'holdfast-compliance.csv' }, 'Each rule on each host, as CSV'))),
    h('p', { class: 'quiet' }, 'Enforced: the sensor and the policy enforce, and the rule acts. Observed: it is reported, and happens. Not known: the host was not heard for minutes',
      own ? `, or has policies of its own (${own} hosts).` : ', or has policies of its own.'),
    h('h2', {}, 'Tactics of ATT&CK'),
    h('p', { class: 'quiet' }, 'The techniques that rules are about, with how many of the hosts enforce one.'),
    h('div', { class: 'cards matrix' }, tactics.map((tactic) => column(tactic, techniques, total))),
    h('h2', {}, 'Techniques of ATT&CK'),
    table(['Technique', 'Name', 'Rules', 'Hosts that enforce', ...COUNTS], Object.entries(techniques).map(([id, of]) => [
      technique(id), of.name, of.rules, share(of.hosts, total, id), ...counts(of.hosts)])),
    h('h2', {}, 'Rules'),
    table(['Rule', 'Policy', 'Action', 'Severity', 'Techniques', ...COUNTS], controls.map((control) => [
      control.name, control.policy, control.action, SEVERITIES[control.severity], control.techniques.join(' '), ...counts(control.hosts)])),
    h('h2', {}, 'Hosts'),
    hosts.length < total && h('p', {}, `The first ${hosts.length} of ${total}; the CSV has all.`),
    table(['Host', 'State', 'Tier', 'Mode', 'Bundle', 'Rules enforced', 'Observed', 'Degraded'], hosts.map((host) => [
      h('a', { href: `#/sensors/${encodeURIComponent(host.sensor)}` }, host.host), badge(host.state, STATES[host.state]),
      host.tier, host.mode, host.bundle ?? 'its own', host.enforced, host.observed, host.degraded || ''])));
}

const reference = (id) => `https://attack.mitre.org/techniques/${id.replace('.', '/')}/`;
const technique = (id) => h('a', { href: reference(id), rel: 'noreferrer' }, id);

/** A tactic, and below it each technique that serves it. */
function column({ name, techniques: ids }, techniques, total) {
  const covered = (id) => {
    const { name: called, hosts: { enforced, observed } } = techniques[id];
    const kind = enforced === total ? 'good' : enforced + observed > 0 ? 'warn' : 'bad';
    return h('li', {}, technique(id), ' ', badge(`${enforced} of ${total}`, kind), called && h('div', { class: 'quiet' }, called));
  };
  return h('section', { class: 'card' }, h('h3', {}, name), ids.length ? h('ul', {}, ids.map(covered)) : h('p', { class: 'quiet' }, 'No rule is about it.'));
}

const counts = ({ enforced, observed, absent, unknown }) => [enforced, observed, absent, unknown];
const share = ({ enforced }, total, id) =>
  h('progress', { max: total, value: enforced, 'aria-label': `Hosts that enforce a rule about ${id}` });
