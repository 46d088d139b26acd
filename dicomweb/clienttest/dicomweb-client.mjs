// npm dicomweb-client against a DICOMweb service. Reads what the service holds
// from standard input, a list of
//
//   {url, store: [file], study, series, count, instances: [{uid, file, frames: [sha256], transferSyntax}]}
//
// The files of store are sent first. Every failed expectation ends the script.

import './xhr.mjs';
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import * as library from 'dicomweb-client';

const { DICOMwebClient } = library.api ?? library.default.api;
const sha256 = (bytes) => createHash('sha256').update(new Uint8Array(bytes)).digest('hex');
const value = (dataset, tag) => dataset[tag]?.Value?.[0];
const arrayBuffer = (file) => {
  const b = readFileSync(file);
  return b.buffer.slice(b.byteOffset, b.byteOffset + b.byteLength);
};

async function refused(promise, status) {
  await assert.rejects(promise, (error) => {
    assert.equal(error.status, status);
    return true;
  });
}

async function check(expected) {
  globalThis.pageOrigin = new URL(expected.url).origin;
  const headers = expected.token ? { Authorization: `Bearer ${expected.token}` } : {};
  const client = new DICOMwebClient({ url: expected.url, headers, verbose: false });
  const plain = new DICOMwebClient({ url: expected.url, headers, verbose: false, singlepart: true });


  if (expected.store.length > 0) {
    const answer = JSON.parse(await client.storeInstances({ datasets: expected.store.map(arrayBuffer) }));
    assert.equal(answer['00081199'].Value.length, expected.store.length, 'all are stored');
    assert.equal(answer['00081198'], undefined, 'none has failed');
    await refused(client.storeInstances({ datasets: [new ArrayBuffer(1000)] }), 409);
    await refused(client.storeInstances({ datasets: [arrayBuffer(expected.store[0])], studyInstanceUID: '1.2.3.4.5.6' }), 409);
  }
  if (expected.waitForStudy) {
    for (let i = 0; (await client.searchForInstances({ studyInstanceUID: expected.study })).length < expected.count; i++) {
      assert.ok(i < 600, 'the study is published within a minute');
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  // QIDO-RS
  const { study, series } = expected;
  let found = await client.searchForStudies({ queryParams: { StudyInstanceUID: study, includefield: 'all', fuzzymatching: true, limit: 101, offset: 0 } });
  assert.deepEqual(found.map((s) => value(s, '0020000D')), [study]);
  assert.equal(value(found[0], '00201208'), expected.count);
  if (expected.patientName) {
    found = await client.searchForStudies({ queryParams: { PatientName: `*${expected.patientName}*`, StudyInstanceUID: study } });
    assert.equal(value(found[0], '00100010').Alphabetic.includes(expected.patientName), true);
  }
  assert.deepEqual(await client.searchForStudies({ queryParams: { PatientID: 'nobody at all' } }), []);
  await refused(client.searchForStudies({ queryParams: { StudyDate: 'yesterday' } }), 400);
  found = await client.searchForSeries({ studyInstanceUID: study });
  assert.ok(found.some((s) => value(s, '0020000E') === series));
  found = await client.searchForSeries({ queryParams: { SeriesInstanceUID: series } });
  assert.equal(value(found[0], '0020000D'), study);
  found = await client.searchForInstances({ studyInstanceUID: study, seriesInstanceUID: series });
  assert.deepEqual(found.map((i) => value(i, '00080018')).sort(), expected.instances.map((i) => i.uid).sort());
  found = await client.searchForInstances({ studyInstanceUID: study });
  assert.equal(found.length, expected.count);

  // Metadata
  const metadata = await client.retrieveSeriesMetadata({ studyInstanceUID: study, seriesInstanceUID: series });
  assert.equal(metadata.length, expected.instances.length);
  assert.equal((await client.retrieveStudyMetadata({ studyInstanceUID: study })).length, expected.count);

  // Instances, byte for byte
  const stored = new Map(expected.instances.map((i) => [sha256(arrayBuffer(i.file)), i.uid]));
  const all = await client.retrieveSeries({ studyInstanceUID: study, seriesInstanceUID: series });
  assert.deepEqual(all.map(sha256).sort(), [...stored.keys()].sort());
  assert.equal((await client.retrieveStudy({ studyInstanceUID: study })).length, expected.count);

  for (const instance of expected.instances) {
    const address = { studyInstanceUID: study, seriesInstanceUID: series, sopInstanceUID: instance.uid };
    assert.equal(sha256(await client.retrieveInstance(address)), sha256(arrayBuffer(instance.file)), instance.file);
    const one = await client.retrieveInstanceMetadata(address);
    assert.equal(value(one[0], '00080018'), instance.uid);

    for (const [n, hash] of instance.frames.entries()) {
      const [frame] = await client.retrieveInstanceFrames({ ...address, frameNumbers: [n + 1] });
      assert.equal(sha256(frame), hash, `${instance.file}, frame ${n + 1}`);
      assert.equal(frame.contentType, 'application/octet-stream');
      assert.equal(frame.transferSyntaxUID, instance.transferSyntax);
    }
    if (instance.frames.length > 1) {
      const frames = await client.retrieveInstanceFrames({ ...address, frameNumbers: instance.frames.map((_, n) => n + 1) });
      assert.deepEqual(frames.map(sha256), instance.frames);
    }
    if (instance.mediaType) {
      const mediaTypes = [{ mediaType: instance.mediaType, transferSyntaxUID: instance.transferSyntax }];
      const [frame] = await client.retrieveInstanceFrames({ ...address, frameNumbers: [1], mediaTypes });
      assert.equal(sha256(frame), instance.frames[0]);
      assert.equal(frame.contentType, instance.mediaType);
    }
    await refused(client.retrieveInstanceFrames({ ...address, frameNumbers: [instance.frames.length + 1] }), 404);

    // Pictures, unless the codec is one that only some builds have
    if (!/^1\.2\.840\.10008\.1\.2\.4\.(8|9|20)/.test(instance.transferSyntax)) {
      const mediaTypes = [{ mediaType: 'image/png' }];
      const bytes = (answer) => Buffer.from(new Uint8Array([answer].flat()[0])); // the client wraps a single part in a list
      const isPNG = (picture) => assert.equal(bytes(picture).toString('latin1', 1, 4), 'PNG');
      isPNG(await client.retrieveInstanceRendered({ ...address, mediaTypes, queryParams: { viewport: '64,64', window: '40,400,linear' } }));
      isPNG(await client.retrieveInstanceThumbnail({ ...address, mediaTypes }));
      isPNG(await client.retrieveInstanceFramesRendered({ ...address, frameNumbers: [1], mediaTypes }));
      const jpeg = bytes(await client.retrieveInstanceRendered(address));
      assert.deepEqual([jpeg[0], jpeg[1]], [0xff, 0xd8]);
    }

    // What the metadata point at
    const uri = one[0]['7FE00010']?.BulkDataURI;
    if (uri) {
      const parts = await client.retrieveBulkData({ BulkDataURI: new URL(uri, expected.url).href });
      if (instance.encapsulated) {
        assert.deepEqual(parts.map(sha256), instance.frames);
      } else {
        const [whole] = await plain.retrieveBulkData({ BulkDataURI: new URL(uri, expected.url).href, headers: { Accept: 'application/octet-stream' } });
        assert.equal(sha256(parts[0]), sha256(whole));
        const [range] = await client.retrieveBulkData({ BulkDataURI: new URL(uri, expected.url).href, byteRange: [0, 1] });
        assert.equal(range.byteLength, 2);
        assert.deepEqual(new Uint8Array(range), new Uint8Array(whole).slice(0, 2));
      }
    }
  }
  await refused(client.retrieveInstance({ studyInstanceUID: study, seriesInstanceUID: series, sopInstanceUID: '1.2.3.4.5.6' }), 404);
  await refused(client.retrieveSeriesMetadata({ studyInstanceUID: '1.2.3.4.5.6', seriesInstanceUID: series }), 404);
}

for (const expected of JSON.parse(readFileSync(0, 'utf8'))) {
  try {
    await check(expected);
  } catch (error) {
    console.error(`Study ${expected.study}:`);
    throw error;
  }
}
