// What policies would have said of the last day's events, and what these cannot tell.
import { h, table, time } from './element.js';

const CUT = {
  number: (answer) => `There are more events than are looked at: only the latest ${answer.most} were.`,
  time: () => 'It took too long: the latest events were not looked at.',
};

/** What came of a dry-run. */
export function dryRun(answer) {
  return [
    h('p', { class: answer.matched ? 'hint' : 'good' }, headline(answer)),
    answer.cut && h('p', { class: 'hint' }, CUT[answer.cut](answer)),
    table(['Rule', 'Would have', 'How often', 'For example'], answer.rules.map((rule) => [
      `${rule.policy}/${rule.id}`, would(rule), [rule.count, rule.throttled && ' before its throttle'],
      rule.examples.map((example) => h('div', {}, h('a', { href: `#/alerts/${example.id}` }, time(example.time)),
        ` ${example.sensor.host}: ${example.message ?? `${example.action} ${example.process ?? ''}`}`))])),
    cannotTell(answer),
  ];
}

function headline(answer) {
  if (answer.events === 0) return 'There are no stored events that these policies are about.';
  const span = [time(answer.first), ' to ', time(answer.last)];
  return [`${answer.events} events from `, span, `: ${answer.matched} match a rule, ${answer.new} of these raised no alert when they happened. `,
    answer.gone > 0 && `${answer.gone} alerts of policies of these names would not be raised any more.`];
}

/** What a rule would have done; in observe mode, and where a sensor observes, that is an alert. */
function would(rule) {
  if (rule.action === rule.verdict) return rule.action;
  return `${rule.verdict} (${rule.action}, were it not in ${rule.mode} mode)`;
}

function cannotTell(answer) {
  const none = answer.kinds.filter((kind) => kind.events === 0).map((kind) => kind.action);
  const partial = answer.kinds.filter((kind) => kind.events > 0 && kind.events === kind.alerts).map((kind) => kind.action);
  return h('section', {}, h('h3', {}, 'What this cannot tell'), h('ul', {},
    none.length > 0 && h('li', {}, `Of ${none.join(', ')} no event is stored. Sensors send alerts, and of other events those that `,
      h('code', {}, 'uplink.events'), ' names.'),
    partial.length > 0 && h('li', {}, `Of ${partial.join(', ')} only such events are stored as raised an alert: what no rule matched then is not among them.`),
    answer.missing.length > 0 && h('li', {}, 'No stored event has ', answer.missing.map((field, at) => [at > 0 && ', ', h('code', {}, field)]), ': conditions on that were not met.'),
    answer.forgotten > 0 && h('li', {}, `Of what happened before, ${answer.forgotten} events were forgotten, as on a sensor.`),
    h('li', {}, 'What sensors redacted or cut is judged as it was sent. What a rule refuses may keep later events from happening.')));
}
