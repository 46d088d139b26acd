// A performer of unified procedure steps over UPS-RS (PS3.18 section 11) with
// nothing but fetch and WebSocket: it watches an item that it creates, performs
// and completes, and prints what it heard of it.
const base = process.argv[2];
const json = { 'Content-Type': 'application/dicom+json', Accept: 'application/dicom+json' };
const uid = '2.25.' + BigInt('0x' + crypto.randomUUID().replaceAll('-', '')).toString();
const lock = '2.25.' + BigInt('0x' + crypto.randomUUID().replaceAll('-', '')).toString();
const value = (vr, ...Value) => ({ vr, Value });
const coded = (v, scheme, meaning) => ({ '00080100': value('SH', v), '00080102': value('SH', scheme), '00080104': value('LO', meaning) });

async function must(status, method, path, body) {
  const answer = await fetch(base + path, { method, headers: json, body: body && JSON.stringify([body]) });
  const text = await answer.text();
  if (answer.status !== status) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
  return { answer, data: text.startsWith('[') ? JSON.parse(text) : undefined };
}

const heard = [];
const { answer: subscribed } = await must(201, 'POST', '/workitems/1.2.840.10008.5.1.4.34.5/subscribers/NODE');
const socket = new WebSocket(subscribed.headers.get('Content-Location'));
await new Promise((resolve, reject) => ((socket.onopen = resolve), (socket.onerror = () => reject(new Error('no channel')))));
const ended = new Promise((resolve) => {
  socket.onmessage = ({ data }) => {
    const event = JSON.parse(data);
    if (event['00001000'].Value[0] !== uid) return;
    const type = event['00001002'].Value[0];
    const word = type === 1 ? event['00741000'].Value[0] : 'progress ' + event['00741002'].Value[0]['00741004'].Value[0];
    heard.push(word);
    if (word === 'COMPLETED') resolve();
  };
});

await must(201, 'POST', '/workitems?' + uid, {
  '00741000': value('CS', 'SCHEDULED'), '00741200': value('CS', 'MEDIUM'), '00741204': value('LO', 'Ўпка КТ'), '00741202': value('LO', 'CAD'),
  '00404005': value('DT', '20261122093000'), '00404041': value('CS', 'READY'), '00404018': value('SQ', coded('110004', 'DCM', 'Computer Aided Detection')),
});
const { data: found } = await must(200, 'GET', '/workitems?ProcedureStepState=SCHEDULED&WorklistLabel=C*&includefield=all');
if (!found.some((item) => item['00080018'].Value[0] === uid && item['00741204'].Value[0] === 'Ўпка КТ')) throw new Error('not found: ' + JSON.stringify(found));
const change = (state) => ({ '00741000': value('CS', state), '00081195': value('UI', lock) });
await must(200, 'PUT', `/workitems/${uid}/state`, change('IN PROGRESS'));
await must(409, 'PUT', `/workitems/${uid}/state`, change('COMPLETED')); // the final state requirements
await must(200, 'POST', `/workitems/${uid}?transaction-uid=${lock}`, { '00741002': value('SQ', { '00741004': value('DS', 50) }) });
await must(200, 'POST', `/workitems/${uid}`, {
  '00081195': value('UI', lock),
  '00741216': value('SQ', {
    '00404028': value('SQ', coded('GPU1', '99TEST', 'First')), '00404019': value('SQ', coded('110004', 'DCM', 'Computer Aided Detection')),
    '00404050': value('DT', '20261122093100'), '00404051': value('DT', '20261122093200'), '00404033': { vr: 'SQ' },
  }),
});
await must(200, 'PUT', `/workitems/${uid}/state`, change('COMPLETED'));
const { data: whole } = await must(200, 'GET', '/workitems/' + uid);
if ('00081195' in whole[0] || whole[0]['00741000'].Value[0] !== 'COMPLETED') throw new Error('the transaction is told: ' + JSON.stringify(whole));
await ended;
socket.close();
console.log('heard ' + heard.join(', '));
process.exit(0);
