// npm dcmjs and dicom-parser against a DICOMweb service: what the service sends
// is what they understand, and what dcmjs writes is stored. Reads what the
// service holds from standard input, as dicomweb-client.mjs does.

import './xhr.mjs';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import dcmjs from 'dcmjs';
import dicomParser from 'dicom-parser';
import * as library from 'dicomweb-client';

const { DICOMwebClient } = library.api ?? library.default.api;
const { DicomMetaDictionary, DicomMessage } = dcmjs.data;
dcmjs.log?.setLevel?.('error');

async function get(url, accept) {
  const answer = await fetch(url, { headers: { Accept: accept } });
  assert.equal(answer.status, 200, `${url}: ${answer.status}`);
  return answer;
}

async function check(expected) {
  globalThis.pageOrigin = new URL(expected.url).origin;
  const { url, study, series, instances } = expected;
  const at = `${url}/studies/${study}/series/${series}`;

  // Metadata: dcmjs makes JavaScript objects of them, with names for tags.
  const metadata = await (await get(`${at}/metadata`, 'application/dicom+json')).json();
  assert.equal(metadata.length, instances.length);
  const byUID = new Map();
  for (const instance of metadata) {
    const natural = DicomMetaDictionary.naturalizeDataset(instance);
    assert.equal(natural.StudyInstanceUID, study);
    assert.equal(natural.SeriesInstanceUID, series);
    assert.equal(typeof natural.Rows, 'number');
    assert.ok(!natural.PatientName?.length || natural.PatientName[0].Alphabetic, 'a name has its components');
    byUID.set(natural.SOPInstanceUID, natural);
  }

  for (const { uid } of instances) {
    const natural = byUID.get(uid);
    assert.ok(natural, `${uid} is in the metadata`);
    const file = await (await get(`${at}/instances/${uid}`, 'application/dicom')).arrayBuffer();

    // dicom-parser, which Cornerstone reads files with.
    const parsed = dicomParser.parseDicom(Buffer.from(file));
    assert.equal(parsed.string('x00080018'), uid);
    assert.equal(parsed.uint16('x00280010'), natural.Rows);
    assert.equal(parsed.uint16('x00280011'), natural.Columns);
    assert.ok(parsed.elements.x7fe00010, 'there are pixels');

    // dcmjs reads the file, and finds in it what the metadata say.
    const message = DicomMessage.readFile(file);
    const dataset = DicomMetaDictionary.naturalizeDataset(message.dict);
    for (const name of ['SOPClassUID', 'Modality', 'Rows', 'Columns', 'BitsAllocated', 'PhotometricInterpretation', 'StudyDate']) {
      assert.deepEqual(natural[name] ?? '', dataset[name] ?? '', `${uid}: ${name}`); // an empty value is null or ''
    }
  }

  // What dcmjs writes is stored by dicomweb-client, and found.
  const template = await (await get(`${at}/instances/${instances[0].uid}`, 'application/dicom')).arrayBuffer();
  const message = DicomMessage.readFile(template);
  const copy = `${instances[0].uid.slice(0, 55)}.4711`;
  message.dict['00080018'] = { vr: 'UI', Value: [copy] };
  message.meta['00020003'] = { vr: 'UI', Value: [copy] };
  const client = new DICOMwebClient({ url, verbose: false });
  const stored = JSON.parse(await client.storeInstances({ datasets: [message.write()] }));
  assert.deepEqual(stored['00081199'].Value.map((i) => i['00081155'].Value[0]), [copy]);
  const found = await client.searchForInstances({ studyInstanceUID: study, seriesInstanceUID: series, queryParams: { SOPInstanceUID: copy } });
  assert.equal(found.length, 1);

  // The same by metadata and bulk data: dcmjs' JSON model of another copy.
  const another = `${copy}1`;
  const model = structuredClone(metadata.find((i) => i['00080018'].Value[0] === instances[0].uid));
  model['00080018'] = { vr: 'UI', Value: [another] };
  delete model['7FE00010'];
  const answer = await fetch(`${url}/studies/${study}`, {
    method: 'POST', headers: { 'Content-Type': 'application/dicom+json', Accept: 'application/dicom+json' }, body: JSON.stringify([DicomMetaDictionary.denaturalizeDataset(DicomMetaDictionary.naturalizeDataset(model))]),
  });
  const text = await answer.text();
  assert.ok(answer.status === 200, `metadata of dcmjs: ${answer.status} ${text}`);
}

for (const expected of JSON.parse(readFileSync(0, 'utf8'))) await check(expected);
