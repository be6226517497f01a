// Policies: written and checked, made into bundles, assigned.
import { get, post, put, remove } from './api.js';
import { dryRun } from './dryrun.js';
import { badge, button, field, fill, form, h, notice, select, submit, table, time } from './element.js';

const EXAMPLE = `{
  "apiVersion": "holdfast/v1",
  "kind": "Policy",
  "name": "example",
  "mode": "observe",
  "rules": [
    {
      "id": "shadow-read",
      "on": ["file.open"],
      "when": "file.path == '/etc/shadow' && process.executable != '/usr/bin/passwd'",
      "action": "deny",
      "severity": "high",
      "mitre": ["T1003.008"]
    }
  ]
}
`;

export async function policies(content, { may }) {
  const list = h('div', {});
  const editor = h('div', {});
  fill(content, h('h1', {}, 'Policies'), list, editor);
  const assign = async (target, version) => {
    const assigned = await put('/assignments', { target, version });
    notice(`Version ${assigned.version} is assigned: sensors take it with their next heartbeat.`);
    await refresh();
  };
  const refresh = async () => {
    const { bundles, assignments } = await get('/bundles');
    const rows = bundles.map((bundle) => [
      bundle.version, bundle.name, bundle.origin == null ? '' : `content of ${bundle.origin}`,
      `${bundle.author}`, time(bundle.created),
      bundle.assigned.map((tag) => [badge(tag === '' ? 'all' : `tag:${tag}`, 'good'), ' ']),
      [button('Open', () => open(bundle.version), 'plain'),
        may('admin') && [' ', button('Assign…', () => ask(bundle), 'plain'), ' ',
          h('a', { href: `#/rollouts?version=${bundle.version}` }, 'Roll out…')]]]);
    fill(list, bundles.length === 0
      ? h('p', { class: 'card' }, 'There are no bundles yet: sensors go by their own policies. Write one below, check it, and save it.')
      : table(['Version', 'Name', '', 'By', 'Made', 'Assigned to', ''], rows),
    assignments.length > 0 && [h('h2', {}, 'Assigned'), table(['Sensors', 'Version', ''], assignments.map(({ target, version }) => [
      target, version, may('admin') && button('Take away', async () => {
        if (!confirm(`Take away what is assigned to ${target}?`)) return;
        await remove(`/assignments/${encodeURIComponent(target)}`);
        await refresh();
      }, 'danger')]))]);
    latest = bundles[0]?.version ?? 0;
  };
  let latest = 0;
  const ask = (bundle) => {
    const dialog = form({ class: 'row card' }, async (values) => {
      await assign(values.tag ? `tag:${values.tag}` : 'all', bundle.version);
    }, h('strong', {}, `Version ${bundle.version}, ${bundle.name}`),
    bundle.version < latest && h('p', { class: 'hint' }, 'Going back: the content gets a new version where a later one is assigned.'),
    field('Tag; empty for all sensors', h('input', { name: 'tag', pattern: '[A-Za-z0-9._@\\-]*' })), submit('Assign'));
    list.append(dialog);
    dialog.querySelector('input').focus();
  };
  const open = async (version) => {
    const bundle = await get(`/bundles/${version}`);
    edit(bundle.name, bundle.policies);
    editor.scrollIntoView();
  };

  const edit = (name, files) => {
    if (!may('analyst')) {
      return fill(editor, h('h2', {}, name), files.map((file) => [h('h3', {}, file.file), h('pre', { tabindex: 0 }, file.text)]));
    }
    let at = 0;
    const named = h('input', { name: 'name', required: true, maxlength: 128, value: name });
    const file = h('input', { name: 'file', required: true, pattern: '[A-Za-z0-9_\\-][A-Za-z0-9._\\-]*\\.json' });
    const text = h('textarea', { name: 'text', spellcheck: 'false', 'aria-label': 'The policy, JSON' });
    const chosen = h('div', { class: 'row' });
    const result = h('div', { role: 'status' });
    const keep = () => { files[at] = { file: file.value, text: text.value }; };
    const draw = () => {
      file.value = files[at].file;
      text.value = files[at].text;
      const choice = select('which', files.map((one, index) => [index, one.file]), at);
      choice.addEventListener('change', () => { keep(); at = Number(choice.value); draw(); });
      fill(chosen, field(`Policy (${files.length})`, choice), ' ',
        button('One more', () => { keep(); files.push({ file: `policy-${files.length + 1}.json`, text: EXAMPLE }); at = files.length - 1; draw(); }, 'plain'), ' ',
        files.length > 1 && button('Leave this one out', () => { files.splice(at, 1); at = 0; draw(); }, 'danger'));
    };
    const check = () => judge('/policies/check', good);
    const tryOut = () => {
      fill(result, h('p', { class: 'quiet' }, 'Looking through the last day…'));
      return judge('/policies/dry-run', dryRun);
    };
    const judge = async (path, show) => {
      keep();
      const answer = await post(path, { policies: files });
      fill(result, answer.ok ? show(answer) : answer.errors.map((error) => h('p', { class: 'problem' },
        button(`${error.file}:${error.line}:${error.column}`, () => go(error), 'plain'), ` ${error.reason}`,
        error.nearest && ` (did you mean ${error.nearest}?)`)));
    };
    const go = (error) => {
      keep();
      at = Math.max(0, files.findIndex((one) => one.file === error.file));
      draw();
      const before = text.value.split('\n').slice(0, error.line - 1).reduce((sum, line) => sum + line.length + 1, 0);
      text.focus();
      text.setSelectionRange(before + error.column - 1, before + error.column);
    };
    const upload = h('input', { type: 'file', multiple: true, accept: '.json,application/json', change: async () => {
      const taken = await Promise.all([...upload.files].filter((one) => !one.name.endsWith('.test.json'))
        .map(async (one) => ({ file: one.name, text: await one.text() })));
      if (taken.length) { files.splice(0, files.length, ...taken); at = 0; draw(); }
    } });
    fill(editor, h('h2', {}, 'Write a bundle'), form({ class: 'stack card' }, async () => {
      keep();
      const { version } = await post('/bundles', { name: named.value, policies: files });
      notice(`Saved as version ${version}.`);
      await refresh();
    }, field('Name of the bundle', named), field('Or take files', upload), chosen, field('File', file), text,
    h('div', {}, button('Check', check, 'plain'), ' ', button('Try against the last day', tryOut, 'plain'), ' ', submit('Save as a new version')), result));
    draw();
  };

  const good = (answer) => [h('p', { class: 'good' }, `Fine: ${answer.policies.map((policy) => `${policy.name} (${policy.rules} rules, ${policy.mode})`).join(', ')}.`),
    table(['Rule', 'Action', 'Hook', 'Decided by', 'deny in lsm', 'in kprobe', 'in fanotify'], answer.rules.flatMap((rule) => rule.hooks.map((hook) => [
      `${rule.policy}/${rule.id}`, rule.action, hook.action, hook.decided, hook.deny_means.lsm, hook.deny_means.kprobe, hook.deny_means.fanotify])))];

  await refresh();
  if (may('analyst')) edit('', [{ file: 'example.json', text: EXAMPLE }]);
}
