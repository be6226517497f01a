// pages.mjs URL PASSWORD OFFENDER VICTIM DIRECTORY: each page of a Team Server, as somebody sees it who looks after a fleet of
// one sensor, which raises an alert when OFFENDER runs; a policy is written that kills VICTIM, and assigned. Pictures go to DIRECTORY.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { launch } from './browser.mjs';
import { end, rows, shows, step, title } from './steps.mjs';

const [url, password, offender, victim, directory] = process.argv.slice(2);

const browser = await launch();
const { evaluate, go, press, type, until } = browser;
const picture = (name) => browser.picture(join(directory, `${name}.png`));

await step('a wrong password is refused, the right one lets in', async () => {
  await go(url);
  await until(`document.querySelector('input[name=password]')`);
  await type('input[name=name]', 'admin');
  await type('input[name=password]', 'not the password');
  await press('Log in');
  await until(`document.querySelector('.problem:not([hidden])')`);
  await type('input[name=password]', password);
  await press('Log in');
  await until(title('Fleet'));
});
// The refusal is an answer, which browsers log.
browser.problems.length = 0;

await step('the fleet: its sensor, and what it found', async () => {
  await until(rows('>= 8'));
  await until(`[...document.querySelectorAll('.cards .card')].some((it) => it.innerText.startsWith('1') && it.innerText.includes('online'))`);
  await picture('fleet');
});

await step('an alert appears as it is raised', async () => {
  await go(`${url}/#/alerts`);
  await until(`document.querySelector('[role=status].good')`);
  await until(rows('> 0'));
  const before = await evaluate(`document.querySelectorAll('tbody tr').length`);
  execFileSync(offender, ['echo', 'live']);
  await until(rows(`=== ${before} + 1`));
  await until(`document.querySelector('tr.fresh')`);
  await picture('alerts');
});

await step('an alert: its rule, its process below its ancestors', async () => {
  await evaluate(`document.querySelector('tbody a').click()`);
  await until(title('offence'));
  await until(`document.querySelectorAll('ol.tree li').length > 1`);
  await until(shows(`${offender}`));
  await picture('alert');
});

await step('an alert: what its process started, and its parent beside it', async () => {
  // By one shell, since what starts first is the parent of both.
  execFileSync(offender, ['sh', '-c', `${offender} echo brother; ${offender} sh -c '${offender} echo child; true'; true`]);
  const process = (args) => `fetch('/api/v1/alerts?limit=20').then((it) => it.json()).then(({ events }) =>
    events.find(({ event }) => event.process.args?.join(' ') === ${JSON.stringify(args)})?.id)`;
  const middle = `sh -c ${offender} echo child; true`;
  await until(process(`${offender} echo child`));
  await go(`${url}/#/alerts/${await evaluate(process(`${offender} ${middle}`))}`);
  const links = (within) => `[...document.querySelectorAll('${within}')].map((it) => it.textContent)`;
  await until(`${links('li.own ol.tree a')}.includes(${JSON.stringify(`${offender} echo child`)})`);
  await until(`${links('li.own ~ li a, li:has(~ li.own) > a')}.includes(${JSON.stringify(`${offender} echo brother`)})`);
  await picture('tree');
});

await step('events are found by what they say', async () => {
  await go(`${url}/#/events`);
  await until(rows('> 0'));
  await type('input[name=text]', '"live"');
  await press('Search');
  await until(rows('=== 1'));
});

await step('a policy: what is wrong is shown with its place; what is right is saved and assigned', async () => {
  await go(`${url}/#/policies`);
  await until(`document.querySelector('textarea')`);
  const policy = (field) => JSON.stringify({
    apiVersion: 'holdfast/v1', kind: 'Policy', name: 'from-the-browser', mode: 'enforce',
    rules: [{ id: 'no-victim', on: ['process.exec'], when: `${field} == '${victim}'`, action: 'kill', severity: 'high', mitre: ['T1059.004'] }],
  }, null, 2);
  await type('textarea', policy('process.executible'));
  await press('Check');
  await until(`document.querySelector('.problem')?.textContent.includes('process.executable')`);
  await type('textarea', policy('process.executable'));
  await press('Check');
  await until(`document.querySelector('p.good')`);
  await picture('policies');
  await press('Try against the last day');
  await until(shows('match a rule'));
  await until(shows('What this cannot tell'));
  await picture('dry-run');
  await type('input[name=name]', 'from the browser');
  await press('Save as a new version');
  await until(`document.querySelector('tbody td')?.textContent === '1'`);
  await press('Assign…');
  await until(`document.querySelector('input[name=tag]')`);
  await press('Assign');
  await until(`document.querySelector('#notice').textContent.includes('assigned')`);
});

await step('a sensor: found, how it is; tags', async () => {
  await go(`${url}/#/sensors`);
  await until(rows('=== 1'));
  await type('input[name=search]', 'nowhere');
  await until(shows('No sensor meets this'));
  await type('input[name=search]', 'TRACEPOINT');
  await until(rows('=== 1'));
  await evaluate(`document.querySelector('tbody a').click()`);
  await until(shows('Kernel'));
  await type('input[name=tags]', 'web, prod');
  await press('Save');
  await until(`document.querySelector('#notice').textContent.includes('Tagged')`);
  await picture('sensor');
});

await step('a bundle comes in stages, is halted, and is taken back', async () => {
  await go(`${url}/#/rollouts?version=1`);
  await until(`document.querySelector('input[name=tag]')`);
  await until(shows('There are no roll-outs yet'));
  await type('input[name=tag]', 'web');
  await press('Begin');
  await until(shows('version 1 to tag:web'));
  await until(`document.querySelector('h2 .badge')?.textContent === 'running'`);
  await picture('rollouts');
  await press('Halt');
  await until(`document.querySelector('h2 .badge')?.textContent === 'halted'`);
  await evaluate('window.confirm = () => true');
  await press('Roll back');
  await until(`document.querySelector('h2 .badge')?.textContent === 'rolled-back'`);
});

await step('who enforces what, and as a table', async () => {
  await go(`${url}/#/compliance`);
  // The sensor has asked for its bundle and said that it has it, a heartbeat later each.
  await until(shows('no-victim'), 75_000);
  await until(shows('Hosts that enforce'));
  // It serves one tactic.
  await until(`document.querySelectorAll('.matrix section').length === 12 && document.querySelectorAll('.matrix li').length === 1`);
  await picture('compliance');
  const table = await evaluate(`fetch('/api/v1/compliance.csv').then((answer) => answer.text())`);
  if (!/"from-the-browser","no-victim","kill","3","T1059.004","(observed|enforced|absent)"/.test(table)) throw new Error(table);
});

await step('the report is printed: what it says, and nothing that is for the screen alone', async () => {
  const file = join(directory, 'compliance.pdf');
  await browser.pdf(file);
  // Cell by cell, and without spaces: what is too wide for a cell goes on in its next line.
  const joined = (text) => text.replace(/\s+/g, '');
  const text = joined(execFileSync('pdftotext', ['-raw', file, '-'], { encoding: 'utf8' }));
  const host = await evaluate(`fetch('/api/v1/sensors').then((it) => it.json()).then(({ sensors }) => sensors[0].host.name)`);
  for (const part of ['Compliance', 'Hosts: 1. Rules: 1. Techniques: 1.', 'Execution', 'T1059.004', 'no-victim', 'from-the-browser', host]) {
    if (!text.includes(joined(part))) throw new Error(`${part} is not in the PDF: ${text}`);
  }
  for (const part of ['Print, or save as PDF', 'as CSV', 'Log out']) {
    if (text.includes(joined(part))) throw new Error(`${part} is in the PDF: ${text}`);
  }
});

await step('keys are made, what is forwarded is said, what was done is on record', async () => {
  await go(`${url}/#/admin`);
  await until(shows('bundle.assign'));
  await until(shows('rollout.rollback'));
  await until(shows('Nothing is forwarded.'));
  await press('Make a key');
  await until(`document.querySelector('.hint pre')`);
});

await step('the containers of a host, and the alerts of one of them', async () => {
  await go(`${url}/#/sensors`);
  await until(rows('=== 1'));
  await evaluate(`document.querySelector('tbody a').click()`);
  await until(shows('holdfast doctor'));
  // Another host, as its sensor would say it.
  await go(`${url}/#/admin`);
  await until(title('Admin'));
  await press('Make a key');
  await until(`document.querySelector('.hint pre')`);
  const key = await evaluate(`document.querySelector('.hint pre').textContent`);
  const say = async (path, message, token) => {
    const answer = await fetch(`${url}/uplink/v1/${path}`, { method: 'POST', body: JSON.stringify(message), headers: token ? { Authorization: `Bearer ${token}` } : {} });
    if (!answer.ok) throw new Error(`${path}: ${await answer.text()}`);
    return answer.json();
  };
  const { sensor_id: id, token } = await say('enrol', { installation_key: key, host_id: 'node-7', host_name: 'node-7', version: '0.1.0', architecture: 'x86_64', kernel: '6.1.0' });
  const web = { id: 'c0ffee'.repeat(10), name: 'web', image: 'nginx:1.27', runtime: 'containerd', namespace: 'shop', pod: 'web-0' };
  await say('heartbeat', { version: '0.1.0', tier: 'lsm', mode: 'observe', policy: { revision: 1 }, containers: { total: 2, list: [web] } }, token);
  await go(`${url}/#/sensors/${id}`);
  await until(shows('nginx:1.27'));
  await until(shows('shop/web-0'));
  await until(shows('1 of 2 are shown'));
  await picture('containers');
  await evaluate(`[...document.querySelectorAll('tbody a')].find((it) => it.textContent === 'Alerts').click()`);
  await until(title('Alerts'));
  await until(`document.querySelector('input[name=container]').value === ${JSON.stringify(web.id)}`);
  await until(shows('No alert meets this'));
});

await step('logged out, nothing is shown', async () => {
  await press('Log out');
  await until(`document.querySelector('.login')`);
  await go(`${url}/#/alerts`);
  await until(`document.querySelector('.login')`);
});

await step('no page has errors', async () => {
  const left = browser.problems.filter((problem) => !problem.includes('401'));
  if (left.length > 0) throw new Error(left.join('; '));
});
browser.close();
end();
