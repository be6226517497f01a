// Roll-outs: a bundle comes to the sensors in stages.
import { get, post } from './api.js';
import { badge, button, facts, field, fill, form, h, notice, select, submit, table, time } from './element.js';

const STATES = { running: 'warn', halted: 'bad', finished: 'good', 'rolled-back': '' };
const MINUTE = 60;
/** How often what is shown is asked for again. */
const REFRESH = 5000;

export async function rollouts(content, { may, query }) {
  const list = h('div', {});
  const refresh = async () => {
    const { rollouts: all } = await get('/rollouts');
    fill(list, all.length === 0
      ? h('p', { class: 'card' }, 'There are no roll-outs yet. One brings a bundle to a few sensors first, and stops by itself when they report errors. ',
        may('admin') ? 'Begin one below, with a bundle of ' : 'An admin begins one, with a bundle of ', h('a', { href: '#/policies' }, 'Policies'), '.')
      : all.map((one) => card(one, may('admin'), refresh)));
  };
  const begin = h('div', {});
  fill(content, h('h1', {}, 'Roll-outs'), list, begin);
  await refresh();
  if (may('admin')) await plan(begin, query, refresh);
  const timer = setInterval(() => {
    // What somebody is about to press stays where it is.
    if (!list.contains(document.activeElement)) refresh().catch(() => {});
  }, REFRESH);
  return () => clearInterval(timer);
}

const size = (stage) => (stage.percent == null ? `${stage.sensors} sensors` : `${stage.percent} %`);
const wait = (stage) => (stage.wait_seconds % MINUTE ? `${stage.wait_seconds} s` : `${stage.wait_seconds / MINUTE} min`);

function card(one, mayChange, refresh) {
  const act = (what, text) => async () => {
    if (text && !confirm(text)) return;
    const { version } = await post(`/rollouts/${one.id}/${what}`);
    notice(`Roll-out ${one.id}: version ${version}.`);
    await refresh();
  };
  const { sensors } = one;
  return h('section', { class: 'card', 'aria-label': `Roll-out ${one.id}` },
    h('h2', {}, `${one.id}: version ${one.version} to ${one.target} `, badge(one.state, STATES[one.state])),
    one.reason && h('p', { class: one.state === 'halted' ? 'problem' : 'quiet' }, one.reason),
    h('ol', { class: 'stages' }, one.stages.map((stage, index) => h('li', { 'aria-current': !one.ended && index === one.stage && 'step' },
      `${size(stage)}, ${wait(stage)}`))),
    sensors && h('progress', { max: Math.max(sensors.all, 1), value: sensors.taken, 'aria-label': 'Sensors that have it' }),
    facts([
      ['Sensors', sensors && `${sensors.reached} of ${sensors.all} reached: ${sensors.taken} have it, ${sensors.waiting} waiting, ${sensors.failed} failed, ${sensors.away} away`],
      ['Not counted', sensors?.excused > 0 ? `${sensors.excused} that had failed when it was resumed` : null],
      ['Halts above', `${one.limit_percent} % failed`], ['Before', one.former ?? 'nothing was assigned'],
      ['Begun', [time(one.created), ` by ${one.author}`]],
      [one.ended ? 'Ended' : 'This stage until', time(one.ended ?? one.stage_until)]]),
    one.failures?.length > 0 && table(['Failed', 'Why'], one.failures.map((failed) => [
      h('a', { href: `#/sensors/${encodeURIComponent(failed.sensor)}` }, failed.host), failed.reason])),
    mayChange && h('p', {},
      one.state === 'running' && [button('Halt', act('halt'), 'plain'), ' '],
      one.state === 'halted' && [button('Go on', act('resume', 'Go on? The sensors that have failed so far are no longer counted.'), 'plain'), ' '],
      one.state !== 'rolled-back' && button('Roll back', act('rollback', 'Give all sensors of this target what they had before?'), 'danger')));
}

async function plan(place, query, refresh) {
  const { bundles } = await get('/bundles');
  if (bundles.length === 0) {
    return fill(place, h('p', { class: 'quiet' }, 'To begin one there has to be a bundle: ', h('a', { href: '#/policies' }, 'write one'), '.'));
  }
  const stage = (name, label, value, minutes) => [
    field(label, h('input', { name: `${name}-percent`, type: 'number', min: 0.01, max: 99.99, step: 'any', value })),
    field('for minutes', h('input', { name: `${name}-minutes`, type: 'number', min: 0, max: 43200, value: minutes, required: true }))];
  fill(place, h('h2', {}, 'Begin one'), form({ class: 'row card' }, async (values) => {
    const stages = ['first', 'second'].filter((name) => values[`${name}-percent`] !== '').map((name) => (
      { percent: Number(values[`${name}-percent`]), wait_seconds: Number(values[`${name}-minutes`]) * MINUTE }));
    stages.push({ percent: 100, wait_seconds: Number(values['last-minutes']) * MINUTE });
    const begun = await post('/rollouts', {
      target: values.tag ? `tag:${values.tag}` : 'all', version: Number(values.version), stages, limit_percent: Number(values.limit) });
    notice(`Roll-out ${begun.id} has begun, with version ${begun.version}.`);
    await refresh();
  },
  field('Bundle', select('version', bundles.map((one) => [one.version, `${one.version}: ${one.name}`]), query.version)),
  field('Tag; empty for all sensors', h('input', { name: 'tag', pattern: '[A-Za-z0-9._@\\-]*' })),
  stage('first', 'First, % of the sensors', 1, 30), stage('second', 'Then, %; empty for none', 10, 60),
  field('All, watched for minutes', h('input', { name: 'last-minutes', type: 'number', min: 0, max: 43200, value: 60, required: true })),
  field('Halt above % failed', h('input', { name: 'limit', type: 'number', min: 0, max: 100, value: 5, required: true })),
  submit('Begin')));
}
